"""Regression under label noise: planted rates are found again, odds are Bayes, the gradient right."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from narrutils.labels.noisy_logistic import PRIOR, NoisyLogistic, Rates, _loss, fit_noisy_logistic

N = 6000


def world(missed=0.25, added=0.05, seed=0):
    """Features, the truth that they decide, and labels with planted errors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 3))
    truth = (rng.random(N) < 1 / (1 + np.exp(-(x @ [4.0, -3.0, 0.0] - 1)))).astype(int)
    given = np.where(truth == 1, rng.random(N) >= missed, rng.random(N) < added).astype(int)
    return x, truth, given


def test_planted_rates_and_weights_are_found_again():
    x, truth, given = world()
    found = fit_noisy_logistic(x, given)
    assert found.rates.missed == pytest.approx(0.25, abs=0.03)
    assert found.rates.added == pytest.approx(0.05, abs=0.02)
    assert found.weights == pytest.approx([4, -3, 0], abs=0.7)
    assert found.truth(x).mean() == pytest.approx(truth.mean(), abs=0.02)


def test_the_probability_of_an_error_is_what_it_says():
    x, truth, given = world()
    wrong = fit_noisy_logistic(x, given).wrong(x, given)
    for low, high in [(0, 0.1), (0.1, 0.5), (0.5, 1)]:
        rows = (wrong > low) & (wrong <= high)
        assert wrong[rows].mean() == pytest.approx((truth != given)[rows].mean(), abs=0.08)


def test_bayes_by_hand():
    """Truth at even odds; of ten positives one is missed, of ten negatives two are invented."""
    even = NoisyLogistic(np.zeros(1), 0.0, Rates(0.1, 0.2))
    zero, one = even.wrong(np.zeros((2, 1)), np.array([0, 1]))
    assert zero == pytest.approx(0.1 / (0.1 + 0.8)) and one == pytest.approx(0.2 / (0.2 + 0.9))


def test_without_data_the_prior_stands():
    for cases in (4, 0):
        found = fit_noisy_logistic(np.zeros((cases, 2)), np.zeros(cases))
        assert found.rates.missed == pytest.approx(PRIOR.missed, abs=0.02)
        assert found.rates.added == pytest.approx(PRIOR.added, abs=0.005)


def test_the_gradient_is_that_of_the_loss():
    x, _, given = world()
    rows, at = slice(0, 50), np.array([0.3, -0.2, 0.1, 0.4, -1.0, -2.0])
    arguments = (x[rows], given[rows] == 1, PRIOR)
    error = check_grad(lambda p: _loss(p, *arguments)[0], lambda p: _loss(p, *arguments)[1], at)
    assert error < 1e-3
