"""Sets change places as they are; p values are valid where groups vary within sets; Holm by hand."""

import numpy as np
import pandas as pd
import pytest

from narrutils.evaluation.metrics import share
from narrutils.findings.permutation import DRAWS, exchanged, holm, p_values, signs, two_sided

RNG = np.random.default_rng(0)
SETS = np.repeat(np.arange(40), [1, 2, 3, 5] * 10)
GROUPS = RNG.integers(0, 3, len(SETS))


def all_of(**how) -> np.ndarray:
    return np.concatenate(list(exchanged(GROUPS, SETS, draws=50, **how)))


def held(groups: np.ndarray, of_size: int) -> list:
    """What the sets of a size hold, in order of what they hold."""
    sizes = np.bincount(SETS)
    return sorted(tuple(groups[np.equal(SETS, one)]) for one in np.flatnonzero(sizes == of_size))


def test_sets_of_one_size_change_places_whole():
    drawn = all_of()
    assert drawn.shape == (50, len(SETS))
    for groups in drawn:
        for size in (1, 5):  # no other set is within a factor of two of these
            assert held(groups, size) == held(GROUPS, size)
    assert len(np.unique(drawn, axis=0)) == 50


def test_sets_of_like_size_take_over_what_others_hold():
    sets, groups = np.array([0, 0, 1, 1, 1]), np.array([7, 8, 1, 2, 3])
    drawn = np.concatenate(list(exchanged(groups, sets, draws=60)))
    assert {tuple(row) for row in drawn} == {(7, 8, 1, 2, 3), (1, 2, 7, 8, 7)}


def test_a_set_alone_of_its_size_stays_where_it_is():
    sets, groups = np.array([0] * 8 + [1]), np.array([1, 0, 1, 0, 1, 0, 1, 0, 1])
    assert (np.concatenate(list(exchanged(groups, sets, draws=20))) == groups).all()


def test_within_a_fold_sets_stay_there():
    folds, single = (SETS < 20).astype(int), np.bincount(SETS)[SETS] == 1
    drawn = all_of(within=folds)
    for groups in drawn:
        for fold in (0, 1):
            assert sorted(groups[single & (folds == fold)]) == sorted(GROUPS[single & (folds == fold)])
    assert (drawn != GROUPS).any()


def test_the_order_of_the_cases_says_nothing_of_their_sets():
    order = np.random.default_rng(1).permutation(len(SETS))
    mixed = np.concatenate(list(exchanged(GROUPS[order], SETS[order], draws=50)))
    back = np.empty_like(mixed)
    back[:, order] = mixed
    for groups in back:
        assert held(groups, 1) == held(GROUPS, 1)


def test_many_cases_are_drawn_in_blocks_from_one_stream(monkeypatch):
    whole = all_of()
    monkeypatch.setattr("narrutils.findings.permutation.BLOCK", 7 * len(SETS))
    assert len(list(exchanged(GROUPS, SETS, draws=50))) == 8
    assert whole.shape == all_of().shape


def one_p(hits, of, groups, sets) -> float:
    counts = share(np.asarray(hits)[:, None], np.asarray(of)[:, None])
    return p_values(counts, groups, sets, {1: np.ones((1, 1))})[1][0][0]


def test_a_difference_is_found_and_none_is_not():
    rng, n = np.random.default_rng(1), 300
    groups = rng.integers(0, 2, n)
    same, other = rng.random(n) < 0.6, rng.random(n) < np.where(groups == 1, 0.3, 0.8)
    assert one_p(other, np.ones(n), groups, np.arange(n)) < 1e-6  # beyond what so many draws can count
    assert one_p(same, np.ones(n), groups, np.arange(n)) > 0.05


def test_the_mean_of_columns_is_tested_as_one():
    rng, n = np.random.default_rng(2), 400
    groups = rng.integers(0, 2, n)
    hits = rng.random((n, 12)) < 0.5 + 0.06 * (groups == 1)[:, None]
    means = np.column_stack([np.ones(12), np.eye(12)[0]])
    each, of_means = p_values(share(hits, np.ones((n, 12))), groups, np.arange(n), {1: means})[1]
    assert of_means[0] < 0.001 < each.min()
    assert of_means[1] == each[0]


@pytest.mark.parametrize("heeded", [True, False])
def test_the_false_alarm_rate_is_that_of_sets(heeded):
    """Cases of a set are alike in group and in outcome, though not wholly: unheeded, that alarms falsely."""
    alarms = []
    for seed in range(120):
        rng = np.random.default_rng([seed, 7])
        sets = np.repeat(np.arange(50), rng.choice([2, 6], 50))
        groups, hits = (rng.integers(0, 2, 50)[sets] for _ in range(2))
        groups, hits = (np.where(rng.random(len(sets)) < 0.05, 1 - x, x) for x in (groups, hits))
        alarms.append(
            one_p(hits, np.ones(len(sets)), groups, sets if heeded else np.arange(len(sets))) < 0.05
        )
    assert (np.mean(alarms) < 0.1) if heeded else (np.mean(alarms) > 0.15)


def test_rare_hits_do_not_alarm_more_often():
    """Fewer than ten positives in the group, most of them found: no normal law holds there."""
    alarms, strong = [], []
    for seed in range(200):
        rng = np.random.default_rng([seed, 8])
        groups = (rng.random(120) < 0.1).astype(int)
        p = one_p(rng.random(120) < 0.95, np.ones(120), groups, np.arange(120))
        alarms.append(p < 0.05)
        strong.append(p < 0.001)
    assert np.mean(alarms) < 0.1 and np.mean(strong) < 0.015


def test_a_side_without_cases_has_no_p_value():
    groups, of = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 1, 0, 0])
    assert np.isnan(one_p(np.zeros(5), of, groups, np.arange(5)))
    assert one_p(np.ones(5), np.ones(5), groups, np.arange(5)) == 1  # alike to the last case


def test_counted_where_there_is_something_to_count():
    drawn = np.random.default_rng(3).normal(size=(DRAWS, 1))
    assert two_sided(np.array([1.0]), drawn)[0] == pytest.approx(
        (1 + (abs(drawn) >= 1).sum()) / (1 + DRAWS), abs=1e-3
    )
    assert two_sided(np.array([5.0]), drawn)[0] == pytest.approx(5.7e-7, rel=0.9)


def test_holm_by_hand():
    p = pd.Series([0.01, np.nan, 0.04, 0.03], list("abcd"))
    np.testing.assert_allclose(holm(p), [0.03, np.nan, 0.06, 0.06])
    assert holm(pd.Series([], dtype=float)).empty


def test_signs_of_whole_rows_change():
    rng = np.random.default_rng(4)
    even = share(rng.normal(size=(80, 2)), np.ones((80, 2)))
    up = share(rng.normal(0.7, 1, size=(80, 2)), np.ones((80, 2)))
    assert signs(even) > 0.05 and signs(up) < 0.001
    assert signs(share(np.zeros((4, 1)), np.ones((4, 1)))) == 1
