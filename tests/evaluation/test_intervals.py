"""Bootstrap intervals: exact where the answer is known, and paired where they should be."""

import numpy as np
import pytest
from toys import TOY, random_labels

from narrutils.evaluation.intervals import (
    Interval,
    in_columns,
    paired_gain,
    resample,
    score_interval,
    unpaired_gap,
    variable_intervals,
)
from narrutils.evaluation.metrics import count, per_variable

TRUTH = random_labels(TOY, 200)


def noisy(share: float, seed: int):
    """Counts of a guess with about this share of the labels drawn anew."""
    guess, other = TRUTH.copy(), random_labels(TOY, 200, seed)
    change = np.random.default_rng(seed).random(guess.shape) < share
    return count(TOY, TRUTH, guess.where(~change, other))


def test_every_draw_has_as_many_cases_as_the_data():
    weights = resample(30, draws=50)
    assert weights.shape == (50, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert (weights >= 0).all()
    assert weights.std() > 0.5


def test_a_perfect_score_has_no_width():
    interval = score_interval(count(TOY, TRUTH, TRUTH))
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_a_model_gains_exactly_nothing_on_itself():
    counts = noisy(0.4, 1)
    assert paired_gain(counts, counts) == Interval(0.0, 0.0, 0.0)
    gap = unpaired_gap(counts, counts)
    assert gap.value == 0
    assert gap.low < 0 < gap.high


def test_paired_is_narrower_than_unpaired():
    base, better = noisy(0.4, 1), noisy(0.4, 1)
    better.hits[:20], better.errors[:20] = count(TOY, TRUTH, TRUTH).hits[:20], 0
    paired, unpaired = paired_gain(better, base), unpaired_gap(better, base)
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.value > 0
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)
    assert paired.low > 0  # a gain on the same cases shows where unpaired bounds would not


def test_a_gain_has_the_sign_of_better_minus_base():
    good, bad = noisy(0.1, 1), noisy(0.8, 2)
    assert paired_gain(good, bad).low > 0 > paired_gain(bad, good).high
    assert unpaired_gap(good, bad).low > 0 > unpaired_gap(bad, good).high


def test_same_seed_same_bounds():
    counts = noisy(0.4, 1)
    assert score_interval(counts) == score_interval(counts)
    assert (resample(30) == resample(30)).all()
    assert (resample(30) != resample(30, seed=1)).any()


def test_bounds_hold_the_middle_95_per_cent_of_the_draws():
    counts = noisy(0.4, 1)
    draws = counts.scores(resample(200)).mean(axis=1)
    interval = score_interval(counts)
    assert interval.low < interval.value < interval.high
    assert ((draws < interval.low).mean(), (draws > interval.high).mean()) == pytest.approx((0.025, 0.025))
    # The spread is that of a mean over 200 cases: about 1 / sqrt(200) of a case's.
    assert 0.02 < interval.high - interval.low < 0.2


def test_each_variable_has_its_own_interval():
    counts = noisy(0.4, 1)
    intervals = variable_intervals(counts)
    np.testing.assert_allclose([i.value for i in intervals], counts.scores())
    assert all(i.low < i.value < i.high for i in intervals)
    assert len(intervals) == len(TOY.variables)
    assert (
        per_variable(TOY, TRUTH, TRUTH)
        .eq([i.value for i in variable_intervals(count(TOY, TRUTH, TRUTH))])
        .all()
    )


def test_other_cases_cannot_be_paired():
    some = count(TOY, TRUTH[:50], TRUTH[:50])
    with pytest.raises(ValueError, match="same cases"):
        paired_gain(some, noisy(0.4, 1))
    assert unpaired_gap(some, noisy(0.4, 1)).value > 0


def test_an_interval_takes_three_columns():
    assert in_columns("gain", Interval(0.1, 0.0, 0.2)) == {"gain": 0.1, "gain_low": 0.0, "gain_high": 0.2}
    assert set(in_columns("gain", None).values()) == {None}
