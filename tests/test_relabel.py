"""Label correction: the author's rule by hand, 0 to 1 only, and no look at the held-out fold."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.crossfit import PLAIN, for_fold, stack
from narrutils.relabel import (
    correct,
    correct_by_fold,
    correction_rates,
    flip_table,
    flip_totals,
    missed_positives,
)

N = 120
LABELS = random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % 3, index=LABELS.index)


def readings(seed=0):
    """Readings of every row outside each fold, and of all rows as the plain version."""
    tables = {PLAIN: random_probabilities(TOY, LABELS.index, seed)}
    for k in range(3):
        rows = LABELS.index[FOLDS.ne(k)]
        tables[k] = random_probabilities(TOY, rows, seed + 10 + k)
    return stack(tables)


def test_the_rule_by_hand():
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
    assert rates["DepressedMood"] == 0
    from sklearn.metrics import f1_score

    f1 = {n: f1_score(labels[n], table[n] > 0.5) for n in rates.index}
    for name in wrong:
        share = (f1[name] - min(f1.values())) / (max(f1.values()) - min(f1.values()))
        assert rates[name] == pytest.approx(0.2 * (1 - share))
    assert (correction_rates(nvdrs, labels, nvdrs.to_targets(labels)) == 0).all()


def test_only_zeros_become_ones_and_categories_stay():
    table = random_probabilities(TOY, LABELS.index)
    targets, flips = correct(TOY, LABELS, table)
    given = TOY.to_targets(LABELS)
    changed = targets != given
    assert (targets >= given).all().all()
    assert 0 < changed.sum().sum() == len(flips)
    assert not changed[[c for v in TOY.categorical for c in v.columns]].any().any()
    assert (flips["before"] == 0).all()
    assert (flips["after"] == 1).all()
    assert (flips["probability"] > 0.5).all()
    for row in flips.itertuples():
        assert LABELS.loc[row.uid, row.variable] == 0
        assert targets.loc[row.uid, row.variable] == 1
        assert row.probability == table.loc[row.uid, row.variable]
    rates = correction_rates(TOY, LABELS, table)
    worst = rates.idxmax()
    zeros = table.loc[LABELS[worst] == 0, worst]
    top = zeros.nlargest(len(zeros) - 1 - int((len(zeros) - 1) * 0.8))  # above the .8 quantile
    assert set(flips.loc[flips["variable"] == worst, "uid"]) == set(top.index[top > 0.5])


def test_readings_are_joined_by_uid():
    table = random_probabilities(TOY, LABELS.index)
    targets, flips = correct(TOY, LABELS, table)
    again, same = correct(TOY, LABELS, table.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(again, targets)
    pd.testing.assert_frame_equal(same, flips)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_correction_for_fold_k_ignores_fold_ks_labels(k):
    table = readings()
    honest = correct_by_fold(TOY, LABELS, table)
    altered = LABELS.copy()
    own = FOLDS.eq(k)
    altered.loc[own, ["Sad", "Note"]] = 1 - altered.loc[own, ["Sad", "Note"]]
    again = correct_by_fold(TOY, altered, table)
    pd.testing.assert_frame_equal(for_fold(again.targets, k), for_fold(honest.targets, k))
    before, after = (c.flips[c.flips["held_out_fold"] == k].reset_index(drop=True) for c in (honest, again))
    pd.testing.assert_frame_equal(before, after)
    assert not again.targets.equals(honest.targets)
    assert set(for_fold(honest.targets, k).index) == set(LABELS.index[~own])


def test_the_correction_for_fold_k_uses_its_own_readings_alone():
    table, other = readings(), readings(seed=50)
    mixed = table.copy()
    elsewhere = table.index.get_level_values("held_out_fold") != 1
    mixed.loc[elsewhere] = other.loc[table.index[elsewhere]].to_numpy()
    honest, again = (correct_by_fold(TOY, LABELS, t) for t in (table, mixed))
    pd.testing.assert_frame_equal(for_fold(again.targets, 1), for_fold(honest.targets, 1))
    assert not for_fold(again.targets, 0).equals(for_fold(honest.targets, 0))


def test_targets_and_flips_tell_the_same_story():
    made = correct_by_fold(TOY, LABELS, readings())
    assert made.flips.columns.tolist() == [
        "uid",
        "variable",
        "before",
        "after",
        "probability",
        "held_out_fold",
    ]
    for fold in (PLAIN, 0, 1, 2):
        targets = for_fold(made.targets, fold)
        changed = (targets != TOY.to_targets(LABELS.loc[targets.index])).sum()
        flips = made.flips.loc[made.flips["held_out_fold"] == fold, "variable"].value_counts()
        assert changed[changed > 0].to_dict() == flips.to_dict()


def test_flips_are_counted_and_judged_by_the_truth():
    given = pd.DataFrame({"Sad": [0, 0, 0, 1], "Note": [0, 0, 0, 0]}, index=uids(4))
    truth = pd.DataFrame({"Sad": [1, 0, 1, 1], "Note": [0, 0, 0, 0]}, index=uids(4)).iloc[::-1]
    flips = pd.DataFrame(
        {
            "uid": ["u000", "u001", "u000", "u002"],
            "variable": "Sad",
            "held_out_fold": [PLAIN, PLAIN, 1, 1],
        }
    )
    table = flip_table(TOY, flips, given, truth)
    assert table.loc["Sad"].to_dict() == {
        "positives given": 1,
        "changed": 2,
        "missed": 2,
        "found": 1,
        "precision": 0.5,
        "recall": 0.5,
    }
    assert table.loc["Note", "changed"] == 0
    assert table.loc["Note", ["precision", "recall"]].isna().all()
    total = flip_totals(table).iloc[0]
    assert (total["changed"], total["precision"], total["recall"]) == (2, 0.5, 0.5)
    assert flip_table(TOY, flips, given).columns.tolist() == ["positives given", "changed"]
    assert flip_totals(flip_table(TOY, flips, given)).iloc[0].to_dict() == {
        "positives given": 1,
        "changed": 2,
    }
