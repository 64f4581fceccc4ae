"""Folds: disjoint, complete, stratified, the same each time; and who may learn from what."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels

from narrutils.data.folds import allowed, draw_folds, learns_from, pairs, singles
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


def test_too_few_cases_are_refused(labels):
    with pytest.raises(InputError, match="3 training cases cannot fill 4 folds"):
        draw_folds(TOY, labels[:3], 4, seed=0)


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
