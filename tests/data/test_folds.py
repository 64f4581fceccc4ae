"""Folds: disjoint, complete, stratified, the same each time; and who may learn from what."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids

from narrutils.data.folds import allowed, draw_folds, learns_from, pairs, singles
from narrutils.data.intake.schema_file import parse_schema
from narrutils.errors import InputError


@pytest.fixture(scope="module")
def labels():
    made = random_labels(TOY, 240)
    made["Note"] = (np.random.default_rng(1).random(240) < 0.1).astype(int)
    return made


@pytest.fixture(scope="module")
def folds(labels):
    return draw_folds(TOY, labels, 4, seed=3)


def test_every_case_stands_in_one_fold(labels, folds):
    assert folds.index.equals(labels.index)
    assert folds.name == "fold"
    assert sorted(folds.unique()) == [0, 1, 2, 3]
    assert folds.value_counts().between(54, 66).all()


def test_every_class_of_every_variable_is_spread_evenly(labels, folds):
    targets = TOY.to_targets(labels)
    by_fold = targets.groupby(folds).sum()
    assert ((by_fold - targets.sum() / 4).abs() <= 3).all().all()


def test_the_draw_depends_on_the_seed_alone(labels, folds):
    pd.testing.assert_series_equal(draw_folds(TOY, labels, 4, seed=3), folds)
    assert (draw_folds(TOY, labels, 4, seed=4) != folds).any()


@pytest.mark.parametrize("sets", [False, True])
def test_an_auxiliary_variable_moves_no_case(labels, sets):
    """Whole, with holes, without any label, or not in the schema: the folds are the same."""
    few = replace(TOY, variables=tuple(v for v in TOY.variables if v.name not in ("Sad", "Tool")))
    marked = tuple(replace(v, auxiliary=v.name in ("Sad", "Tool")) for v in TOY.variables)
    more, holes = replace(TOY, variables=marked), labels.astype("Int64")
    holes.loc[holes.index[::3], "Sad"], holes["Tool"] = pd.NA, pd.NA
    clusters = pd.Series(np.arange(240) // 2, labels.index) if sets else None
    alone = draw_folds(few, labels[few.names], 4, 3, clusters)
    for given in (labels, holes):
        pd.testing.assert_series_equal(draw_folds(more, given, 4, 3, clusters), alone)
    assert (draw_folds(TOY, labels, 4, 3, clusters) != alone).any()


def test_too_few_cases_are_refused(labels):
    with pytest.raises(InputError, match="3 training cases cannot fill 4 folds"):
        draw_folds(TOY, labels[:3], 4, seed=0)


def test_without_sets_it_is_the_draw_that_it_was(labels, folds):
    """Iterative stratification; these are the folds that finished runs have."""
    assert "".join(map(str, folds)).startswith("230223001322332310101011")
    alone = pd.Series(range(len(labels)), labels.index)[::-1]
    pd.testing.assert_series_equal(draw_folds(TOY, labels, 4, seed=3, clusters=alone), folds)


def sets(n: int, sizes: list[int]) -> pd.Series:
    """Numbers of sets of these sizes, scattered over n cases; all others alone."""
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    numbers = np.append(numbers, np.arange(len(sizes), len(sizes) + n - len(numbers)))
    return pd.Series(np.random.default_rng(0).permutation(numbers), uids(n), name="cluster")


@pytest.mark.parametrize("sizes", [[2], [60], [2] * 120, [30, 20, 10] + [5] * 20, [40] * 6])
def test_sets_of_cases_stay_whole_and_folds_even(labels, sizes):
    together = sets(240, sizes)
    drawn = draw_folds(TOY, labels, 4, seed=3, clusters=together.sample(frac=1, random_state=0))
    assert drawn.index.equals(labels.index) and sorted(drawn.unique()) == [0, 1, 2, 3]
    assert (drawn.groupby(together).nunique() == 1).all()
    slack = max(3, max(sizes) // 2 if len(set(sizes)) == 1 and sum(sizes) == 240 else 3)
    assert drawn.value_counts().between(60 - slack, 60 + slack).all()
    if max(sizes) <= 5:
        by_fold = TOY.to_targets(labels).groupby(drawn).sum()
        assert ((by_fold - by_fold.mean()).abs() <= 4).all().all()
    pd.testing.assert_series_equal(draw_folds(TOY, labels, 4, seed=3, clusters=together), drawn)
    assert (draw_folds(TOY, labels, 4, seed=4, clusters=together) != drawn).any()


def test_every_fold_gets_a_set_however_few_there_are(labels):
    few = labels[:12].assign(Sad=0, Note=0, Place=1, Tool=0)
    numbers = pd.Series(np.repeat([7, 2, 5], 4), few.index)
    assert (
        draw_folds(TOY, few, 3, seed=0, clusters=numbers).groupby(numbers).unique().map(len).tolist()
        == [1] * 3
    )
    assert draw_folds(TOY, few, 3, seed=0, clusters=numbers).nunique() == 3
    with pytest.raises(InputError, match="3 sets of training cases that belong together cannot fill 4 folds"):
        draw_folds(TOY, few, 4, seed=0, clusters=numbers)


@pytest.mark.parametrize("sizes", [[], [2] * 60])
def test_missing_labels_are_a_state_of_their_own(labels, sizes):
    rng, some = np.random.default_rng(2), labels.astype("Int64")
    some["Sad"] = some["Sad"].mask(rng.random(240) < 0.1)
    some["Place"] = some["Place"].mask(rng.random(240) < 0.2)
    some.iloc[:8] = pd.NA  # nothing is known of these
    drawn = draw_folds(TOY, some, 4, seed=3, clusters=sets(240, sizes))
    by_fold = some[["Sad", "Place", "Note"]].isna().groupby(drawn).sum()
    assert ((by_fold - by_fold.mean()).abs() <= 2).all().all()
    by_fold = TOY.to_targets(some).groupby(drawn).sum()  # leaves out what is missing
    assert ((by_fold - by_fold.mean()).abs() <= 4).all().all()


def test_a_single_binary_variable_may_lack_labels():
    one = parse_schema({"text": [{"name": "First"}], "variables": [{"name": "Sad"}]}, "one.yaml")
    labels = pd.DataFrame({"Sad": pd.array([0, 1, None] * 12, dtype="Int64")}, index=uids(36))
    drawn = draw_folds(one, labels, 3, seed=0)
    assert labels["Sad"].isna().groupby(drawn).sum().tolist() == [4, 4, 4]
    assert labels["Sad"].groupby(drawn).sum().tolist() == [4, 4, 4]


def test_who_is_held_out(folds):
    assert singles(folds) == [(0,), (1,), (2,), (3,)]
    assert len(pairs(folds)) == 4 * 3 // 2 == len(set(pairs(folds)))
    assert all(j < k for j, k in pairs(folds))


def test_held_out_and_learned_from_are_disjoint_and_cover(folds):
    for held_out in singles(folds) + pairs(folds):
        learned = learns_from(folds, held_out)
        assert not set(folds[learned]) & set(held_out)
        assert set(learned) | set(folds.index[folds.isin(held_out)]) == set(folds.index)


def test_a_generated_row_is_kept_from_the_models_of_the_folds_it_saw():
    seen = [[0], [1, 2], [], np.array([2])]
    rows = pd.DataFrame({"seen_folds": seen}, index=["g0", "g12", "g", "g2"])
    assert allowed(rows, (0,)).index.tolist() == ["g12", "g", "g2"]
    assert allowed(rows, (2,)).index.tolist() == ["g0", "g"]
    assert allowed(rows, (0, 2)).index.tolist() == ["g"]
    assert allowed(rows, (3,)).index.tolist() == rows.index.tolist()
    assert allowed(rows[:0], (0,)).empty
