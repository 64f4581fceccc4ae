"""Ensembles that are found: better members weigh more, and nothing of a fold decides over it."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, with_holes

from narrutils.errors import InputError
from narrutils.evaluation.calibration import fit_calibration
from narrutils.evaluation.ensemble import combine, without_fold
from narrutils.evaluation.ladder import Step, decisions
from narrutils.evaluation.stacking import fit_weights, form, mixture_weights
from narrutils.evaluation.thresholds import search, search_shrunk

N, K = 120, 3
LABELS = random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % K, index=LABELS.index)
TEST = uids(10, "t")


def reader(seed: int, skill: float) -> pd.DataFrame:
    """Probabilities that lean to the labels by `skill`."""
    noise = random_probabilities(TOY, LABELS.index, seed)
    return (1 - skill) * noise + skill * TOY.to_targets(LABELS)


def step(name: str, seed: int, skill: float = 0.3, **more) -> Step:
    by_fold = {k: random_probabilities(TOY, TEST, 10 * seed + k) for k in range(K)}
    test = sum(by_fold.values()) / K
    return Step(
        name.title(),
        name,
        reader(seed, skill).sample(frac=1, random_state=seed),
        test,
        by_fold=by_fold,
        **more,
    )


GOOD, FAIR, BAD = step("good", 1, 0.5), step("fair", 2, 0.3), step("bad", 3, 0.0)
STEPS = [GOOD, FAIR, BAD]
EQUAL = {"good": 1.0, "fair": 1.0, "bad": 1.0}


def found(labels=LABELS, steps=STEPS, weighting="fitted", calibrate=True, **settings):
    return form(TOY, steps, EQUAL, labels, FOLDS, weighting, calibrate=calibrate, **settings)


def test_the_better_member_weighs_more_and_weights_sum_to_one():
    weights = found().found_on(LABELS).weights
    assert weights["good"] > weights["fair"] > weights["bad"] > 0
    assert sum(weights.values()) == pytest.approx(1)
    for own in found().found_on(LABELS).by_variable.values():
        assert sum(own.values()) == pytest.approx(1)


def test_the_weights_are_the_most_likely_ones():
    """Of two members, held against a search over the whole line."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.05, 0.95, (400, 2))
    line = np.linspace(0.001, 0.999, 999)
    best = line[np.argmax([np.log(rows @ [w, 1 - w]).sum() for w in line])]
    got = mixture_weights(rows, np.array([0.5, 0.5]), pull=0)
    assert got[0] == pytest.approx(best, abs=0.01)
    pulled = mixture_weights(rows, np.array([0.9, 0.1]), pull=1e9)
    assert pulled == pytest.approx([0.9, 0.1], abs=1e-3)


def test_few_rows_stay_near_the_given_weights():
    tables = {s.model: s.out_of_fold.loc[LABELS.index] for s in STEPS}
    given = {"good": 0.2, "fair": 0.2, "bad": 0.6}
    few = LABELS[:3]
    weights, _ = fit_weights(TOY, few, {m: t.loc[few.index] for m, t in tables.items()}, given)
    assert weights == pytest.approx(given, abs=0.08)
    many, _ = fit_weights(TOY, LABELS, tables, given)
    assert many["good"] > 0.3


def scrambled(fold: int) -> pd.DataFrame:
    other = LABELS.copy()
    own = FOLDS.eq(fold)
    other[own] = random_labels(TOY, N, 9)[own].to_numpy()
    return other


@pytest.mark.parametrize("thresholds_from", ["ensemble", "members"])
def test_nothing_of_a_fold_decides_over_it(thresholds_from):
    """Its labels are changed: its probabilities, thresholds and codes are the same, others' are not."""
    ways = {"thresholds_from": thresholds_from, "way": search_shrunk}
    honest, other = found(**ways), found(scrambled(1), **ways)
    own, rest = FOLDS.index[FOLDS.eq(1)], FOLDS.index[FOLDS.ne(1)]
    a, b = honest.step(), other.step()
    pd.testing.assert_frame_equal(a.out_of_fold.loc[own], b.out_of_fold.loc[own])
    assert not a.out_of_fold.loc[rest].equals(b.out_of_fold.loc[rest])
    codes = [decisions(TOY, s, e.labels, FOLDS)["oof", "cross_fitted"] for s, e in ((a, honest), (b, other))]
    pd.testing.assert_frame_equal(codes[0].loc[own], codes[1].loc[own])
    one, two = honest.to_dict()["by_fold"], other.to_dict()["by_fold"]
    assert one[1] == two[1] and one[0] != two[0]
    pd.testing.assert_frame_equal(a.by_fold[1], b.by_fold[1])


def test_the_test_split_is_read_by_what_all_rows_say():
    made = found().found_on(LABELS)
    expected = made.apply(TOY, {s.model: s.test for s in STEPS})
    pd.testing.assert_frame_equal(found().step().test, expected)
    assert found().step().thresholds(TOY, LABELS) == search(
        TOY, LABELS, made.apply(TOY, {s.model: s.out_of_fold.loc[LABELS.index] for s in STEPS})
    )


def test_the_stored_ensemble_reads_as_the_step_does():
    ensemble = found()
    made, step = ensemble.to_dict(), ensemble.step()
    pd.testing.assert_frame_equal(combine(TOY, {s.model: s.test for s in STEPS}, made), step.test)
    made["by_fold"] = {str(k): v for k, v in made["by_fold"].items()}  # as JSON has it
    for k in range(K):
        rows = FOLDS.index[FOLDS.eq(k)]
        members = {s.model: s.out_of_fold.loc[rows] for s in STEPS}
        pd.testing.assert_frame_equal(
            combine(TOY, members, without_fold(made, k)), step.out_of_fold.loc[rows]
        )
        alone = {s.model: s.by_fold[k] for s in STEPS}
        pd.testing.assert_frame_equal(combine(TOY, alone, without_fold(made, k)), step.by_fold[k])


def test_given_weights_without_calibration_are_the_authors_mean():
    step = form(TOY, STEPS, {"good": 3, "bad": 1}, LABELS, FOLDS).step()
    tables = {s.model: s.out_of_fold.loc[LABELS.index] for s in STEPS}
    pd.testing.assert_frame_equal(step.out_of_fold, 0.75 * tables["good"] + 0.25 * tables["bad"])
    assert step.thresholds(TOY, LABELS) == search(TOY, LABELS, step.out_of_fold)
    authors = form(TOY, STEPS, {"good": 3, "bad": 1}, LABELS, FOLDS, thresholds_from="members")
    own = [search(TOY, LABELS, tables[m]) for m in ("good", "bad")]
    expected = {v: 0.75 * own[0][v] + 0.25 * own[1][v] for v in own[0]}
    assert authors.thresholds(LABELS) == pytest.approx(expected)


def test_members_are_calibrated_by_themselves():
    blend = found(weighting="given").found_on(LABELS)
    alone = fit_calibration(TOY, LABELS, GOOD.out_of_fold)
    assert blend.calibration["good"] == alone and not blend.by_variable
    assert found(weighting="given", calibrate=False).found_on(LABELS).calibration == {}


def test_a_member_of_weight_0_takes_no_part():
    step = form(TOY, STEPS, {"good": 1, "bad": 0}, LABELS, FOLDS, "fitted").step()
    pd.testing.assert_frame_equal(step.out_of_fold, GOOD.out_of_fold.loc[LABELS.index])


def test_a_refused_round_hands_its_weight_to_the_kept_one():
    refused = step("late", 4, instead="good")
    made = form(TOY, [*STEPS, refused], {"late": 1.0, "fair": 1.0}, LABELS, FOLDS)
    assert made.weights == {"good": 0.5, "fair": 0.5}
    both = form(TOY, [*STEPS, refused], {"late": 1.0, "good": 1.0, "fair": 2.0}, LABELS, FOLDS)
    assert both.weights == {"good": 0.5, "fair": 0.5}


def test_without_a_member_everything_else_is_found_anew():
    rest = found().without("good")
    assert set(rest.members) == {"fair", "bad"}
    anew = form(TOY, [FAIR, BAD], {"fair": 1.0, "bad": 1.0}, LABELS, FOLDS, "fitted", calibrate=True)
    pd.testing.assert_frame_equal(rest.step().out_of_fold, anew.step().out_of_fold)


def test_an_optimistic_member_makes_it_optimistic():
    assert found(steps=[GOOD, FAIR, step("bad", 3, 0.0, optimistic=True)]).step().optimistic
    assert not found().step().optimistic


def test_an_unknown_member_or_way_is_one_line():
    with pytest.raises(InputError, match="no model 'c' in this run; there are good, fair, bad"):
        form(TOY, STEPS, {"good": 1, "c": 1}, LABELS, FOLDS)
    with pytest.raises(InputError, match="thresholds_from is 'guess'"):
        found(thresholds_from="guess")
    with pytest.raises(InputError, match="weighting is 'guess'"):
        found(weighting="guess")


def test_weights_make_the_labels_likely_that_are_given():
    members, given = {s.model: s.out_of_fold.loc[LABELS.index] for s in STEPS}, dict.fromkeys(EQUAL, 1 / 3)
    rows = LABELS.index[: N // 2]
    half = LABELS.loc[rows].astype("Int64").reindex(LABELS.index)
    weights, own = fit_weights(TOY, half, members, given)
    alone = fit_weights(TOY, LABELS.loc[rows], {m: t.loc[rows] for m, t in members.items()}, given)
    assert (weights, own) == alone
    none = with_holes(LABELS, 0.2).assign(Note=pd.array([None] * N, "Int64"))
    weights, own = fit_weights(TOY, none, members, given)
    assert own["Note"] == pytest.approx(weights) and own["Sad"] != pytest.approx(weights)
    assert max(weights, key=weights.get) == "good"


def test_an_ensemble_is_found_where_labels_are_missing():
    partly = with_holes(LABELS, 0.3).assign(Note=pd.array([None] * N, "Int64"))
    partly.iloc[:5] = None
    made = found(partly, way=search_shrunk)
    stored = made.to_dict()
    assert stored["thresholds"]["Note"] == 0.5
    assert all(entry["thresholds"]["Note"] == 0.5 for entry in stored["by_fold"].values())
    assert made.step().out_of_fold.index.equals(LABELS.index)  # cases without a label are read all the same
