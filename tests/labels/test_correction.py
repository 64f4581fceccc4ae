"""Label correction: the author's rule by hand, three methods, no look at the held-out fold, tables."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.data.folds import PLAIN, for_fold, stack
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.labels.changes import by_fold, compare, flip_table, flip_totals
from narrutils.labels.correction import METHODS, by_method, correct, correct_by_fold
from narrutils.labels.rules import correction_rates, missed_positives

N, K = 120, 4
LABELS = random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % K, index=LABELS.index)


def readings(seed=0):
    """Readings of every row outside each fold, and of all rows as the plain version; firm ones."""
    tables = {}
    for k in range(PLAIN, K):
        rows = LABELS.index[FOLDS.ne(k)]
        chance = random_probabilities(TOY, rows, seed + 10 + k)
        tables[k] = 0.3 * chance + 0.7 * TOY.to_targets(random_truth().loc[rows])
    return stack(tables)


def random_truth():
    """The labels but for every sixth: errors that readings can find."""
    truth = LABELS.copy()
    truth.iloc[::6, [0, 2]] = 1 - truth.iloc[::6, [0, 2]]
    return truth


@cache
def honest(method):
    return correct_by_fold(TOY, LABELS, readings(), FOLDS, method)


def test_the_author_s_rule_by_hand():
    """Eleven rows labelled 0 with p = 0, .1, … 1; r = .2 looks above the .8 quantile, which is .8."""
    index = uids(13)
    p = pd.Series([*np.arange(11) / 10, 0.99, 0.1], index=index)
    labels = pd.Series([0] * 11 + [1, 1], index=index)
    assert missed_positives(labels, p, 0.2).tolist() == ["u009", "u010"]
    assert missed_positives(labels, p, 0.1).tolist() == ["u010"]
    assert missed_positives(labels, p / 2, 0.2).empty  # in the top fifth, but none above one half
    assert missed_positives(labels, p / 1.9, 0.2).tolist() == ["u010"]
    assert missed_positives(labels, p, 0.0).empty
    assert missed_positives(labels * 0 + 1, p, 0.2).empty


def test_the_worst_variable_has_a_rate_of_one_fifth_and_the_best_none(nvdrs):
    labels = random_labels(nvdrs, 200)
    table = nvdrs.to_targets(labels)
    wrong = {"Argument": 100, "SuicideNote": 50, "SchoolProblem": 20}
    for name, rows in wrong.items():
        table.iloc[:rows, table.columns.get_loc(name)] = 1 - table[name].iloc[:rows]
    rates = correction_rates(nvdrs, labels, table)
    assert list(rates.index) == [v.name for v in nvdrs.binary]
    assert rates["Argument"] == pytest.approx(0.2)
    f1 = {n: f1_score(labels[n], table[n] > 0.5) for n in rates.index}
    for name in wrong:
        share = (f1[name] - min(f1.values())) / (max(f1.values()) - min(f1.values()))
        assert rates[name] == pytest.approx(0.2 * (1 - share))
    assert (correction_rates(nvdrs, labels, nvdrs.to_targets(labels)) == 0).all()


def test_the_author_turns_only_zeros_to_ones_and_leaves_categories():
    table = random_probabilities(TOY, LABELS.index)
    targets, flips = correct(TOY, LABELS, table, FOLDS, "author")
    changed = targets != TOY.to_targets(LABELS)
    assert 0 < changed.sum().sum() == len(flips)
    assert not changed[[c for v in TOY.categorical for c in v.columns]].any().any()
    assert set(flips["before"]) == {0} and set(flips["after"]) == {1}
    for row in flips.itertuples():
        assert row.probability == table.loc[row.uid, row.variable] > 0.5
    rates = correction_rates(TOY, LABELS, table)
    worst = rates.idxmax()
    zeros = table.loc[LABELS[worst] == 0, worst]
    top = zeros.nlargest(len(zeros) - 1 - int((len(zeros) - 1) * 0.8))  # above the .8 quantile
    assert set(flips.loc[flips["variable"] == worst, "uid"]) == set(top.index[top > 0.5])


@pytest.mark.parametrize("method", ["cleanlab", "noise_model"])
def test_the_others_find_firm_errors_in_both_directions(method):
    truth = random_labels(TOY, 900)
    labels, planted = truth.copy(), truth.index[::6]
    labels.loc[planted, "Sad"] = 1 - labels.loc[planted, "Sad"]
    read = 0.3 * random_probabilities(TOY, truth.index) + 0.7 * TOY.to_targets(truth)
    folds = pd.Series(np.arange(900) % K, index=truth.index)
    flips = correct(TOY, labels, read, folds, method)[1]
    assert set(flips["before"]) == {0, 1} and set(flips["variable"]) == {"Sad"}
    assert set(flips["uid"]) <= set(planted) and len(flips) > len(planted) / 2
    assert flips["probability"].between(0.5, 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_targets_and_flips_tell_the_same_story(method):
    made = honest(method)
    columns = ["uid", "variable", "before", "after", "probability", "method", "held_out_fold"]
    assert made.flips.columns.tolist() == columns
    assert (made.flips["method"] == method).all()
    for fold in range(PLAIN, K):
        targets = for_fold(made.targets, fold)
        codes = TOY.to_labels(targets)
        flips = made.flips[made.flips["held_out_fold"] == fold]
        assert len(flips) and not flips.duplicated(["uid", "variable"]).any()
        given = LABELS.loc[codes.index]
        assert (codes != given).sum().sum() == len(flips)
        for row in flips.itertuples():
            assert given.at[row.uid, row.variable] == row.before
            assert codes.at[row.uid, row.variable] == row.after


@pytest.mark.parametrize("method", METHODS)
def test_readings_and_folds_are_joined_by_uid(method):
    table = for_fold(readings(), PLAIN)
    targets, flips = correct(TOY, LABELS, table, FOLDS, method)
    again, same = correct(TOY, LABELS, table.sample(frac=1, random_state=3), FOLDS.iloc[::-1], method)
    pd.testing.assert_frame_equal(again, targets)
    pd.testing.assert_frame_equal(same, flips)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [0, K - 1])
def test_the_correction_for_fold_k_ignores_fold_ks_labels(k, method):
    altered, own = LABELS.copy(), FOLDS.eq(k)
    altered.loc[own, ["Sad", "Note"]] = 1 - altered.loc[own, ["Sad", "Note"]]
    again = correct_by_fold(TOY, altered, readings(), FOLDS, method)
    pd.testing.assert_frame_equal(for_fold(again.targets, k), for_fold(honest(method).targets, k))
    before, after = (
        made.flips[made.flips["held_out_fold"] == k].reset_index(drop=True)
        for made in (honest(method), again)
    )
    pd.testing.assert_frame_equal(before, after)
    assert not again.targets.equals(honest(method).targets)
    assert set(for_fold(again.targets, k).index) == set(LABELS.index[~own])


@pytest.mark.parametrize("method", METHODS)
def test_the_correction_for_fold_k_uses_its_own_readings_alone(method):
    table, other = readings(), readings(seed=50)
    mixed = table.copy()
    elsewhere = table.index.get_level_values("held_out_fold") != 1
    mixed.loc[elsewhere] = 1 - other.loc[table.index[elsewhere]].to_numpy()
    for v in TOY.categorical:
        mixed[list(v.columns)] = mixed[list(v.columns)].div(mixed[list(v.columns)].sum(axis=1), axis=0)
    again = correct_by_fold(TOY, LABELS, mixed, FOLDS, method)
    pd.testing.assert_frame_equal(for_fold(again.targets, 1), for_fold(honest(method).targets, 1))
    assert not for_fold(again.targets, 0).equals(for_fold(honest(method).targets, 0))


def hardly_seen(times, labels=LABELS):
    """Labels where Note is 1 and Place 3 in so many cases of different folds, and readings that deny it."""
    labels = labels.assign(Note=0, Place=labels["Place"].clip(upper=2))
    read = 0.04 + 0.92 * TOY.to_targets(labels)
    for v in TOY.categorical:
        read[list(v.columns)] = read[list(v.columns)].div(read[list(v.columns)].sum(axis=1), axis=0)
    labels.loc[labels.index[:times], ["Note", "Place"]] = [1, 3]
    return labels, read


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_code_that_its_teacher_hardly_saw_stays_as_given(method, times):
    """With the fold that is left out for the nested version it saw even fewer."""
    labels, read = hardly_seen(times)
    nested = stack({k: read[FOLDS.ne(k)] for k in range(PLAIN, K)})
    made = correct_by_fold(TOY, labels, nested, FOLDS, method)
    assert made.flips.query("variable == 'Note' or (variable == 'Place' and before == 3)").empty
    for k in range(PLAIN, K):
        codes = TOY.to_labels(for_fold(made.targets, k))
        assert (codes["Note"] == labels.loc[codes.index, "Note"]).all()


def test_with_enough_examples_what_readings_deny_is_changed():
    labels, read = hardly_seen(12)
    assert len(correct(TOY, labels, read, FOLDS, "cleanlab")[1].query("variable == 'Note' and before == 1"))


def test_nobody_calls_a_case_missed_who_hardly_saw_one():
    """One reader is sure of a second positive, having seen one: it stays 0 under every method."""
    labels, read = hardly_seen(1)
    read.loc["u005", "Note"] = 0.99
    for method in METHODS:
        assert correct(TOY, labels, read, FOLDS, method)[1].query("variable == 'Note'").empty


@cache
def gaps():
    """The labels with a fifth of the cells, and one whole case, taken out."""
    out = np.random.default_rng(4).random(LABELS.shape) < 0.2
    out[7] = True
    return LABELS.astype("Int64").mask(out)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_label_stays_missing_and_nothing_is_learned_of_it(method, tmp_path):
    labels = gaps()
    made = correct_by_fold(TOY, labels, readings(), FOLDS, method)
    assert len(made.flips)
    for k in range(PLAIN, K):
        targets = for_fold(made.targets, k)
        none = targets.isna()
        pd.testing.assert_frame_equal(none, TOY.to_targets(labels.loc[targets.index]).isna())
        flips = made.flips[made.flips["held_out_fold"] == k]
        assert not [row for row in flips.itertuples() if pd.isna(labels.at[row.uid, row.variable])]
    run = Run(tmp_path, stage="03_relabeling")
    made.save(run, TOY, nested=True)
    stored = run.read("labels/corrected.parquet").set_index(["uid", "held_out_fold"])
    pd.testing.assert_frame_equal(stored, made.targets)


@pytest.mark.parametrize("method", ["author", "cleanlab"])
def test_a_variable_is_corrected_on_its_labelled_cases_alone(method):
    """Take out the cases, or only one variable's labels of them: for that variable it is the same."""
    labels, out = LABELS.astype("Int64"), LABELS.index[::5]
    labels.loc[out, "Sad"] = pd.NA
    table, rest = for_fold(readings(), PLAIN), LABELS.index.difference(out)
    if method == "author":
        table["Note"] = TOY.to_targets(LABELS)[
            "Note"
        ]  # the best variable in both, so that rates are the same
    with_gaps, without = (
        correct(TOY, rows, table, FOLDS, method)[1].query("variable == 'Sad'").reset_index(drop=True)
        for rows in (labels, LABELS.loc[rest])
    )
    assert len(without)
    pd.testing.assert_frame_equal(with_gaps, without)


@pytest.mark.parametrize("method", METHODS)
def test_where_no_label_is_missing_the_type_of_the_table_is_no_matter(method):
    table = for_fold(readings(), PLAIN)
    targets, flips = correct(TOY, LABELS, table, FOLDS, method)
    again, same = correct(TOY, LABELS.astype("Int64"), table, FOLDS, method)
    pd.testing.assert_frame_equal(again, targets)
    pd.testing.assert_frame_equal(same, flips)


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(InputError, match="method is 'magic'"):
        correct(TOY, LABELS, for_fold(readings(), PLAIN), FOLDS, "magic")


FLIPS = pd.DataFrame(
    {
        "uid": ["u000", "u001", "u003", "u001", "u000", "u002"],
        "variable": ["Sad", "Sad", "Sad", "Place", "Sad", "Sad"],
        "after": [1, 1, 0, 2, 1, 1],
        "method": "author",
        "held_out_fold": [PLAIN, PLAIN, PLAIN, PLAIN, 1, 1],
    }
)


def small(codes):
    return pd.DataFrame(codes | {"Note": 0, "Tool": 5}, index=uids(4))


def test_changes_are_counted_and_judged_by_the_truth():
    given = small({"Sad": [0, 0, 0, 1], "Place": [1, 1, 1, 1]})
    truth = small({"Sad": [1, 0, 1, 0], "Place": [1, 3, 1, 1]}).iloc[::-1]
    table = flip_table(TOY, FLIPS, given, truth)
    sad = {"changed": 3, "to 1": 2, "to 0": 1, "wrong": 3, "found": 2, "precision": 2 / 3, "recall": 2 / 3}
    assert table.loc["Sad"].to_dict() == sad
    assert table.loc["Place", ["changed", "wrong", "found"]].tolist() == [1, 1, 0]  # 3 was right, not 2
    assert table.loc["Place", ["to 1", "to 0"]].isna().all()
    assert table.loc["Note", ["precision", "recall"]].isna().all()
    total = flip_totals(table).iloc[0]
    assert total.to_dict() == sad | {"changed": 4, "wrong": 4, "precision": 0.5, "recall": 0.5}
    unknown = flip_table(TOY, FLIPS, given)
    assert unknown.columns.tolist() == ["changed", "to 1", "to 0"]
    assert flip_totals(unknown).iloc[0].to_dict() == {"changed": 4, "to 1": 2, "to 0": 1}


def test_a_missing_label_is_not_wrong():
    given = small({"Sad": [0, 0, 0, 1], "Place": [1, 1, 1, 1]}).astype("Int64")
    truth = small({"Sad": [1, 0, 1, 0], "Place": [1, 3, 1, 1]})
    given.loc["u002", "Sad"] = given.loc["u001", "Place"] = pd.NA
    table = flip_table(TOY, FLIPS.head(1), given, truth)
    assert table["wrong"].to_dict() == {"Sad": 2, "Place": 0, "Note": 0, "Tool": 0}
    assert table.at["Sad", "recall"] == 0.5


def test_of_a_variable_whose_truth_is_not_known_nothing_is_called_right_or_wrong():
    given, truth = small({"Sad": [0, 0, 0, 1], "Place": [1, 1, 1, 1]}), small({"Place": [1, 3, 1, 1]})
    truth = truth.astype("Int64").assign(Sad=pd.array([pd.NA] * len(truth), dtype="Int64"))
    table = flip_table(TOY, FLIPS, given, truth)
    assert table.loc["Sad", "changed"] == 3
    assert table.loc["Sad", ["wrong", "found", "precision", "recall"]].isna().all()
    assert table.loc["Place", ["changed", "wrong", "found"]].tolist() == [1, 1, 0]
    assert flip_totals(table)[["wrong", "found"]].iloc[0].tolist() == [1, 0]


def test_methods_are_compared_by_what_they_change_to():
    given = small({"Sad": [0, 0, 0, 1], "Place": [1, 1, 1, 1]})
    other = FLIPS.iloc[1:].assign(after=[1, 0, 3, 1, 1])
    table = compare(TOY, {"author": FLIPS, "other": other}, given)
    assert table["changed"].to_dict() == {"author": 4, "other": 3}
    assert table["with author"].to_dict() == {"author": 4, "other": 2}
    assert table["with other"].to_dict() == {"author": 2, "other": 3}


def test_counts_by_fold_and_every_method_on_the_plain_readings():
    assert by_fold(FLIPS) == {"-1": {"author": 4}, "1": {"author": 2}}
    ways = by_method(TOY, LABELS, readings(), FOLDS)
    assert list(ways) == list(METHODS)
    for method, flips in ways.items():
        made = honest(method).flips
        pd.testing.assert_frame_equal(made[made["held_out_fold"] == PLAIN].reset_index(drop=True), flips)
