"""Bootstrap intervals: exact where the answer is known, and paired where they should be."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, with_holes

from narrutils.evaluation import intervals
from narrutils.evaluation.intervals import (
    DRAWS,
    Interval,
    blocks,
    draw,
    in_columns,
    paired_gain,
    resample,
    score_interval,
    unpaired_gap,
    variable_intervals,
)
from narrutils.evaluation.metrics import Counts, average_f1, count, mean_score, per_variable

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


@pytest.fixture
def in_small_blocks(monkeypatch):
    """Draws are made seven at a time, and none is kept."""
    monkeypatch.setattr(intervals, "BLOCK", 7 * 200 + 1)
    monkeypatch.setattr(intervals, "KEPT", 0)


def test_blocks_are_the_draws_of_one_stream(in_small_blocks):
    whole = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=50)
    parts = list(blocks(200, 50, seed=1))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(resample(200, 50, seed=1), whole)


def test_many_cases_have_the_bounds_of_draws_made_at_once(request):
    """Whole numbers add up exactly, so nothing depends on where a block ends."""
    whole = [score_interval(noisy(0.4, 1)), paired_gain(noisy(0.4, 1), noisy(0.4, 2))]
    whole += [unpaired_gap(noisy(0.4, 1), noisy(0.4, 2)), *variable_intervals(noisy(0.4, 1))]
    drawn = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=DRAWS).astype(float)
    low, high = np.quantile(noisy(0.4, 1).scores(drawn).mean(axis=1), [0.025, 0.975])
    assert (whole[0].low, whole[0].high) == (low, high)
    request.getfixturevalue("in_small_blocks")
    parts = [score_interval(noisy(0.4, 1)), paired_gain(noisy(0.4, 1), noisy(0.4, 2))]
    parts += [unpaired_gap(noisy(0.4, 1), noisy(0.4, 2)), *variable_intervals(noisy(0.4, 1))]
    assert parts == whole


def test_many_counts_are_drawn_in_one_pass(in_small_blocks, monkeypatch):
    asked = []
    monkeypatch.setattr(
        intervals, "blocks", lambda *given, **more: asked.append(more) or blocks(*given, **more)
    )
    paired_gain(noisy(0.4, 5), [noisy(0.4, 6), noisy(0.4, 7)])
    assert len(asked) == 1
    asked.clear()
    several = [noisy(0.4, seed) for seed in range(4)]
    draw([*several, several[0]])
    paired_gain(several[:2], several[2:]), score_interval(several[3]), variable_intervals(several[0])
    assert asked == [{"seed": 0}]
    unpaired_gap(several[0], several[1])
    assert asked == [{"seed": 0}, {"seed": 1}]


def test_each_draw_is_scored_as_its_cases_would_be():
    """With labels missing, to the point that some draws hold none of a variable."""
    truth, guess = with_holes(TRUTH[:6], 0.7, 5), random_labels(TOY, 6, 1)
    truth = truth[truth.notna().any(axis=1)]
    (samples,) = draw([count(TOY, truth, guess.loc[truth.index])])
    assert 0 < np.isnan(samples).any(axis=1).mean() < 1
    for times, sample in zip(resample(len(truth))[:100], mean_score(samples)):
        rows = truth.index.repeat(times)
        again = [table.loc[rows].set_axis(uids(len(rows))) for table in (truth, guess)]
        np.testing.assert_allclose(sample, average_f1(TOY, *again))


def test_a_gap_is_over_the_variables_that_both_sides_have():
    good = count(TOY, TRUTH, TRUTH)  # 1 in every variable
    poor = TRUTH.assign(Tool=5 - TRUTH["Tool"])  # 0 in one
    whole, part = (
        count(TOY, TRUTH, poor),
        count(TOY, TRUTH.assign(Tool=pd.array([None] * 200, "Int64")), poor),
    )
    assert unpaired_gap(whole, good).value == -0.25
    assert unpaired_gap(part, good) == unpaired_gap(good, part) == Interval(0.0, 0.0, 0.0)
    assert unpaired_gap(whole, part) == Interval(0.0, 0.0, 0.0)


def test_what_has_no_label_has_no_interval():
    tool = count(TOY, TRUTH.assign(Tool=pd.array([None] * 200, "Int64")), random_labels(TOY, 200, 1))
    few = TRUTH.astype("Int64")
    few.loc[few.index[2:], "Tool"] = pd.NA  # of two labels many a draw holds none
    assert 0 <= variable_intervals(count(TOY, few, TRUTH))[-1].low <= 1
    *others, last = variable_intervals(tool)
    assert np.isnan([last.value, last.low, last.high]).all()
    assert all(i.low < i.value < i.high for i in others)
    interval = score_interval(tool)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(np.mean([i.value for i in others]))
    nothing = score_interval(Counts(*np.zeros((3, 0, 4))))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_the_labels_missing_at_random_scores_within_the_interval_of_all(seed):
    labels = random_labels(TOY, 400, seed)
    read = 0.7 * random_probabilities(TOY, labels.index, seed) + 0.3 * TOY.to_targets(labels)
    codes = TOY.to_labels(read)
    whole, part = (score_interval(count(TOY, t, codes)) for t in (labels, with_holes(labels, 0.2, seed)))
    assert whole.low < part.value < whole.high
    assert 0 < part.high - part.low < 1.5 * (whole.high - whole.low)


def test_every_case_as_its_own_set_changes_no_bit():
    counts, holes = noisy(0.4, 1), with_holes(TRUTH, 0.3, 2).dropna(how="all")
    for plain in (counts, count(TOY, holes, random_labels(TOY, 200, 3).loc[holes.index])):
        alone = plain.by_set(np.arange(len(plain.hits)) * 7 % 1000)
        np.testing.assert_array_equal(draw([alone])[0], draw([plain])[0])
        assert score_interval(alone) == score_interval(plain)
        assert paired_gain(alone, alone) == paired_gain(plain, plain)


def test_drawing_sets_is_wider_where_cases_repeat():
    truth = TRUTH.iloc[np.arange(200).repeat(4)].set_axis(uids(800))
    guess = random_labels(TOY, 200, 1).iloc[np.arange(200).repeat(4)].set_axis(uids(800))
    counts, once = count(TOY, truth, guess), count(TOY, TRUTH, random_labels(TOY, 200, 1))
    sets = score_interval(counts.by_set(np.arange(200).repeat(4)))
    assert sets == score_interval(once)  # four copies of a case tell what one does
    alone = score_interval(counts)
    assert 1.7 < (sets.high - sets.low) / (alone.high - alone.low) < 2.3


def test_each_draw_of_sets_is_scored_as_its_cases_would_be():
    truth, guess = with_holes(TRUTH[:9], 0.4, 5), random_labels(TOY, 9, 1)
    truth = truth[truth.notna().any(axis=1)]
    sets = np.array([0, 1, 1, 2, 2, 2, 0, 3, 3])[: len(truth)]
    (samples,) = draw([count(TOY, truth, guess.loc[truth.index]).by_set(sets)])
    for times, sample in zip(resample(4)[:100], mean_score(samples)):
        rows = truth.index.repeat(times[sets])
        again = [table.loc[rows].set_axis(uids(len(rows))) for table in (truth, guess)]
        np.testing.assert_allclose(sample, average_f1(TOY, *again))
