"""Corrected estimates: by hand, equal to what they generalise, and right over many draws."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from narrutils.evaluation.intervals import Interval
from narrutils.findings.estimates.powered import (
    WIDEST,
    Estimate,
    Material,
    coefficients,
    difference,
    held,
    odds_ratio,
    p_value,
    prevalence,
    risk_ratio,
    share,
)


def material(human, machine, codes=None, inclusion=1.0, clusters=None) -> Material:
    human, machine = np.asarray(human, dtype=float), np.asarray(machine, dtype=float)
    codes = machine > 0.5 if codes is None else codes
    inclusion = np.broadcast_to(np.asarray(inclusion, dtype=float), human.shape)
    clusters = np.arange(len(human)) if clusters is None else np.asarray(clusters)
    return Material(human, machine, np.asarray(codes, dtype=float), inclusion, clusters)


def made(seed: int, cases: int = 2000, coded: int = 500, noise: float = 1.0) -> Material:
    """A machine that reads well, and is too bold: its mean is off."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.5, cases)
    y = (rng.random(cases) < 1 / (1 + np.exp(-2 * z))).astype(float)
    machine = 1 / (1 + np.exp(-(2 * z + 0.7 + noise * rng.normal(size=cases))))
    y[rng.permutation(cases)[coded:]] = np.nan
    return material(y, machine, inclusion=coded / cases)


def test_by_hand():
    """Coded: 1 and 0, read as 0.8 and 0.4, so 0.1 too high; all are read as 0.5 in the mean."""
    part = share(material([1, 0, np.nan, np.nan], [0.8, 0.4, 0.5, 0.3]))
    assert part.human == 0.5 and part.shift == pytest.approx(-0.1)
    assert part.at(1).value == pytest.approx(0.4) and part.at(0.5).value == pytest.approx(0.45)


def test_without_the_machine_it_is_the_classical_estimate():
    data = made(0)
    found, weight = held([share(data)], prevalence, omega=0)
    y = data.human[data.coded]
    low, high = proportion_confint(y.sum(), len(y), method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high)) and weight == 0


def test_its_weight_is_that_of_the_published_method():
    """λ of PPI++ (arXiv 2311.01453, example 6.1), whose machine mean is over the uncoded cases alone."""
    data, gaps = made(1, 20_000, 5000), []
    y, f = data.human[data.coded], data.machine
    ratio = data.coded.sum() / (~data.coded).sum()
    published = np.cov(y, f[data.coded])[0, 1] / ((1 + ratio) * f.var())
    part = share(data)
    assert part.tuned * (~data.coded).mean() == pytest.approx(published, rel=0.02)
    theirs = y.mean() + published * (f[~data.coded].mean() - f[data.coded].mean())
    assert part.at(part.tuned).value == pytest.approx(theirs, abs=1e-3)
    for omega in (0.0, 0.5, 1.0):  # their variance, of which ours has its cross terms too
        lam = omega * (~data.coded).mean()
        variance = np.var(y - lam * f[data.coded]) / len(y) + lam**2 * f.var() / (~data.coded).sum()
        gaps.append(part.at(omega).variance / variance)
    assert gaps == pytest.approx([1, 1, 1], rel=0.03)


def test_the_tuned_weight_has_the_least_variance():
    part = share(made(2))
    least = part.at(part.tuned).variance
    assert all(part.at(w).variance >= least for w in (0.2, 0.5, 0.9 * part.tuned, 1.0))


def test_a_perfect_machine_is_believed_and_a_random_one_is_not():
    data, rng = made(3), np.random.default_rng(0)
    truth = np.nan_to_num(data.human)
    assert share(replace(data, machine=truth)).tuned > 0.99
    assert share(replace(data, machine=rng.random(len(truth)))).tuned < 0.3


def test_a_constant_inclusion_probability_is_as_good_as_none():
    data = made(4)
    one, other = (share(replace(data, inclusion=np.full(2000, p))) for p in (0.25, 1.0))
    assert one.at(one.tuned).wilson == pytest.approx(other.at(other.tuned).wilson)


def test_weights_undo_a_sample_that_prefers_positives():
    rng = np.random.default_rng(5)
    y = (rng.random(40_000) < 0.2).astype(float)
    chances = np.where(y == 1, 0.5, 0.1)
    human = np.where(rng.random(40_000) < chances, y, np.nan)
    machine = np.clip(0.15 + 0.5 * y + rng.normal(0, 0.1, 40_000), 0, 1)
    plain, weighted = share(material(human, machine)), share(material(human, machine, inclusion=chances))
    assert plain.human > 0.5
    assert weighted.human == pytest.approx(0.2, abs=0.015)
    assert weighted.at(weighted.tuned).value == pytest.approx(0.2, abs=0.01)


def test_cases_that_belong_together_widen_the_interval():
    data = made(6)
    order = np.argsort(np.nan_to_num(data.human, nan=-1))  # alike in each cluster of four
    clusters = np.empty(2000, dtype=int)
    clusters[order] = np.arange(2000) // 4
    alone, sets = share(data), share(replace(data, clusters=clusters))
    for omega in (0, 1):
        assert sets.at(omega).variance > 1.5 * alone.at(omega).variance
        assert sets.at(omega).value == alone.at(omega).value


def test_a_coefficient_is_the_logarithm_of_the_odds_ratio_of_two_levels():
    data, rng = made(7), np.random.default_rng(1)
    group = rng.random(2000) < 0.4
    whole = np.ones(2000, dtype=bool)
    part = coefficients(data, np.column_stack([whole, group]).astype(float), whole)[1]
    one, other = share(data, group), share(data, ~group)
    found, _ = held([one, other], odds_ratio, ratio=True, omega=0)
    assert np.exp(part.human) == pytest.approx(found.value, rel=1e-6)
    assert np.log(found.high / found.low) == pytest.approx(2 * 1.96 * np.sqrt(part.at(0).variance), rel=0.03)


def test_contrasts_by_hand():
    """10 of 50 against 5 of 50: Newcombe's own interval of the difference, and plain ratios."""
    y = np.repeat([1.0, 0, 1, 0], [10, 40, 5, 45])
    data, group = material(y, y), np.repeat([True, False], 50)
    parts = [share(data, group).at(0), share(data, ~group).at(0)]
    bounds = [proportion_confint(k, 50, method="wilson") for k in (10, 5)]
    found = difference(parts)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - np.hypot(0.2 - bounds[0][0], bounds[1][1] - 0.1))
    assert found.high == pytest.approx(0.1 + np.hypot(bounds[0][1] - 0.2, 0.1 - bounds[1][0]))
    assert risk_ratio(parts).value == pytest.approx(2)
    assert odds_ratio(parts).value == pytest.approx((10 / 40) / (5 / 45))


def test_a_share_of_nothing_has_an_interval_and_no_ratio():
    data, group = (
        material(np.repeat([0.0, 1, 0], [30, 5, 25]), np.full(60, 0.1)),
        np.repeat([True, False], 30),
    )
    empty, other = share(data, group), share(data, ~group)
    found, _ = held([empty], prevalence)
    assert (found.value, found.low) == (0, 0) and found.high == pytest.approx(
        1.96**2 / (30 + 1.96**2), rel=1e-3
    )
    assert held([empty, other], odds_ratio, ratio=True) == (None, 0.0)
    assert held([empty, other], risk_ratio, ratio=True) == (None, 0.0)
    assert held([empty, other], difference)[0].value == pytest.approx(-5 / 30)


def test_no_interval_is_much_wider_than_the_classical_one():
    for seed in range(200):
        data = made(seed, cases=80, coded=20, noise=8.0)
        part = share(data)
        found, weight = held([part], prevalence)
        classical, _ = held([part], prevalence, omega=0)
        assert found.high - found.low <= WIDEST * (classical.high - classical.low) + 1e-12
        assert 0 <= weight <= part.tuned and 0 <= found.value <= 1


def test_p_is_that_of_the_interval():
    assert p_value(Interval(0.2, 0.0, 0.5), 0.0) == pytest.approx(0.05, abs=1e-3)
    assert p_value(Interval(0.5, 0.25, 1.0), 1.0) == pytest.approx(0.05, abs=1e-3)
    assert p_value(Interval(2.0, 1.5, 2.7), 1.0) < 0.001 < 0.9 < p_value(Interval(1.0, 0.5, 2.0), 1.0)


def test_wilson_without_variance_stands_on_the_number_of_cases():
    low, high = proportion_confint(40, 40, method="wilson")
    found = Estimate(1.0, np.zeros(40), 40.0, 0.0).wilson
    assert (found.low, found.high) == pytest.approx((low, high))


def test_intervals_hold_over_many_draws_and_are_narrower_and_naive_ones_do_not():
    """1,500 draws of 600 cases, 150 of them coded: a share of about a quarter, the machine too bold."""
    draws, truth = 1500, np.nanmean([made(10_000 + n, 4000, 4000).human for n in range(100)])
    hits, naive, widths = 0, 0, []
    for seed in range(draws):
        data = made(seed, 600, 150)
        part = share(data)
        found, _ = held([part], prevalence)
        classical, _ = held([part], prevalence, omega=0)
        alone, _ = held([share(data.naive)], prevalence, omega=0)
        hits += found.low <= truth <= found.high
        naive += alone.low <= truth <= alone.high
        widths.append((found.high - found.low) / (classical.high - classical.low))
    low, high = binomtest(hits, draws).proportion_ci(0.999)
    assert low <= 0.95 <= high
    assert np.median(widths) < 0.85 and naive / draws < 0.5
