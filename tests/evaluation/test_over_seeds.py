"""Cases and seeds together: the cases' interval where no seed plays a part, Student's beside it else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t
from toys import TOY, random_labels, with_holes

from narrutils.evaluation.intervals import Interval, in_columns, paired_gain, score_interval
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.seeds import (
    is_certain,
    mean_gain,
    mean_score,
    over_seeds,
    seeds_half,
    spread,
    widened,
)

TRUTH = random_labels(TOY, 150)
OOF, TEST = ("oof", "given", "cross_fitted"), ("test", "given", "cross_fitted")


def noisy(share: float, seed: int, truth=TRUTH) -> Counts:
    """Counts of a guess with about this share of the labels drawn anew."""
    other = random_labels(TOY, len(truth), seed + 100).set_axis(truth.index)
    change = np.random.default_rng(seed).random(truth.shape) < share
    return count(TOY, truth, TRUTH.loc[truth.index].where(~change, other))


def test_the_seeds_part_is_students_interval_by_hand():
    values = [0.50, 0.52, 0.54, 0.51, 0.53]
    by_hand = np.sqrt(0.00025) / np.sqrt(5) * 2.7764451051977987  # the quantile of a table, 4 degrees
    assert seeds_half(values) == pytest.approx(by_hand)
    low, high = t.interval(0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / 5**0.5)
    assert (np.mean(values) - low, high - np.mean(values)) == pytest.approx((by_hand, by_hand))


def test_the_halves_add_in_quadrature_on_either_side():
    half = seeds_half([0.4, 0.6])
    found = widened(Interval(0.5, 0.47, 0.54), [0.4, 0.6])
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - np.hypot(0.03, half))
    assert found.high == pytest.approx(0.5 + np.hypot(0.04, half))


def test_an_interval_beside_its_value_stays_where_it_is_and_grows():
    """A bootstrap of F1 may lie off its value: it is never narrowed, nor folded over."""
    beside = Interval(0.5, 0.51, 0.53)
    assert widened(beside, [0.5, 0.5]) == beside
    wider = widened(beside, [0.49, 0.51])
    assert wider.low < beside.low < beside.high < wider.high


def test_runs_that_read_alike_have_exactly_the_cases_interval():
    for runs in (2, 3, 5, 7):
        same, base = ([noisy(share, 1) for _ in range(runs)] for share in (0.3, 0.5))
        assert mean_score(same) == score_interval(same[0])
        assert mean_gain(same, base) == paired_gain(same[0], base[0])
        assert spread([one.average_f1 for one in same]) == 0


def test_the_mean_of_the_runs_is_drawn_on_the_same_cases():
    runs, base = [noisy(0.3, seed) for seed in range(4)], [noisy(0.5, 9)] * 4
    scores = [one.average_f1 for one in runs]
    cases, found = score_interval(runs), mean_score(runs)
    assert found.value == pytest.approx(np.mean(scores))
    assert found == widened(cases, scores)
    assert found.high - found.low > cases.high - cases.low
    gain = mean_gain(runs, base)
    assert gain == widened(paired_gain(runs, base[0]), [s - base[0].average_f1 for s in scores])
    assert gain.value == pytest.approx(np.mean(scores) - base[0].average_f1)


def test_a_gain_is_paired_by_seed():
    """Where both steps swing alike the seeds take nothing from their difference."""
    runs = [noisy(0.2 + 0.1 * seed, seed) for seed in range(4)]
    assert mean_gain(runs, runs) == Interval(0.0, 0.0, 0.0)
    turned = mean_gain(runs, runs[1:] + runs[:1])
    assert turned.value == pytest.approx(0, abs=1e-12)
    assert turned.low < -0.05


def test_more_seeds_tell_more():
    halves = [seeds_half([0.5 + 0.01 * (-1) ** n for n in range(runs)]) for runs in (2, 4, 8, 16)]
    assert halves == sorted(halves, reverse=True)
    assert halves[0] > 10 * halves[-1]


def ladder(models: str, *places) -> list[dict]:
    keys = ("split", "against", "thresholds")
    return [
        {"step": m.upper(), "model": m, **dict(zip(keys, place)), "n": 150, "optimistic": m == "b"}
        for m in models
        for place in places
    ]


@pytest.fixture(scope="module")
def entries():
    """Two runs of three steps: `a` fixed, `b` swings, `c` is far better than both."""
    reads = [
        {
            "a": {OOF: noisy(0.6, 1), TEST: noisy(0.6, 2)},
            "b": {OOF: noisy(0.6 - 0.3 * seed, 3), TEST: noisy(0.6 - 0.3 * seed, 4)},
            "c": {OOF: noisy(0.1, 5 + seed), TEST: noisy(0.1, 5 + seed)},
        }
        for seed in range(2)
    ]
    return over_seeds(ladder("abc", OOF, TEST), reads), reads


def test_entries_are_those_of_a_ladder_in_both_places(entries):
    found, reads = entries
    assert [(e["step"], e["split"]) for e in found] == [
        (s, split) for split in ("oof", "test") for s in ("A", "B", "C")
    ]
    for e in found:
        own = [run[e["model"]][e["split"], "given", "cross_fitted"] for run in reads]
        assert e["scores"] == [counts.average_f1 for counts in own]
        assert (e["lowest"], e["highest"]) == (min(e["scores"]), max(e["scores"]))
        assert e["sd"] == pytest.approx(np.std(e["scores"], ddof=1))
        assert e["ci_low"] < e["average_f1"] < e["ci_high"]
        assert e["optimistic"] == (e["model"] == "b")
    first, second, third = found[:3]
    assert first["sd"] == 0
    assert first["gain"] is first["over_first_low"] is None
    assert third["gain"] == pytest.approx(third["average_f1"] - second["average_f1"])
    assert third["over_first"] == pytest.approx(third["average_f1"] - first["average_f1"])


def test_only_what_cases_and_seeds_could_not_make_is_certain(entries):
    """Over the cases alone the mean of the swinging step gains for certain; two seeds take that back."""
    found, reads = entries
    _, swings, better = found[:3]
    alone = paired_gain([run["b"][OOF] for run in reads], reads[0]["a"][OOF])
    assert alone.low > 0
    assert is_certain(in_columns("gain", alone))
    assert not is_certain(swings)
    assert is_certain(better, "over_first")
    assert not is_certain(found[0])
    assert is_certain({"gain": -0.2, "gain_low": -0.3, "gain_high": -0.1})
    assert not is_certain({"gain": 0.1, "gain_low": 0.0, "gain_high": 0.2})


def test_a_test_without_labels_has_no_entries_and_missing_labels_do_no_harm():
    some = with_holes(TRUTH, 0.2)
    reads = [{m: {OOF: noisy(0.3, seed + n, some)} for n, m in enumerate("ab")} for seed in (1, 5)]
    found = over_seeds(ladder("ab", OOF), reads)
    assert [e["split"] for e in found] == ["oof", "oof"]
    assert found[1]["average_f1"] == pytest.approx(np.mean([run["b"][OOF].average_f1 for run in reads]))
    assert found[1]["gain_low"] < found[1]["gain"] < found[1]["gain_high"]


def test_runs_on_other_cases_are_not_compared():
    one = noisy(0.3, 1)
    other = replace(one, hits=one.hits[:50], errors=one.errors[:50], drawn={})
    with pytest.raises(ValueError):
        mean_gain([one, one], [other, other])
