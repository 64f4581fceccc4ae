"""Values by hand, and what cases contribute: their squares are the variance."""

import numpy as np
import pytest
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from narrutils.findings.estimates.estimands import logistic, mean


def test_a_weighted_mean_by_hand():
    """Weights 1, 1, 2: (1 + 0 + 2) / 4; a case of weight 0 has no say, whatever its value."""
    value, parts = mean(np.array([1, 0, 1, np.nan]), np.array([1.0, 1, 2, 0]))
    assert value == 0.75
    np.testing.assert_allclose(parts, [0.0625, -0.1875, 0.125, 0])


def test_the_variance_of_a_share_is_the_textbooks():
    y = np.array([1.0] * 30 + [0] * 70)
    _, parts = mean(y, np.ones(100))
    assert parts @ parts == pytest.approx(0.3 * 0.7 / 100)


def test_coefficients_and_their_variance_are_those_of_statsmodels_sandwich():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(300), rng.integers(0, 2, (300, 2))]).astype(float)
    y = (rng.random(300) < 0.2 + 0.4 * design[:, 1]).astype(float)
    found, parts = logistic(y, np.ones(300), design)
    theirs = GLM(y, design, Binomial()).fit(cov_type="HC0")
    np.testing.assert_allclose(found, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(parts.T @ parts, theirs.cov_params(), rtol=1e-5)


def test_a_case_of_weight_two_is_the_case_twice():
    y, x = np.array([1, 0, 1, 0, 1, 0.3]), np.array([0, 0, 1, 1, 1, 0.0])
    design, weights = np.column_stack([np.ones(6), x]), np.array([1, 2, 1, 1, 1, 1.0])
    again = [0, 1, 1, 2, 3, 4, 5]
    found, _ = logistic(y, weights, design)
    np.testing.assert_allclose(found, logistic(y[again], np.ones(7), design[again])[0], rtol=1e-6)


def test_levels_that_tell_the_answer_have_no_finite_estimate():
    x = np.repeat([0.0, 1.0], 20)
    with pytest.raises(ValueError, match="no finite estimate"):
        logistic(x, np.ones(40), np.column_stack([np.ones(40), x]))


def test_columns_that_tell_the_same_have_no_estimate():
    x = np.tile([0.0, 1.0], 20)
    with pytest.raises(ValueError, match="no finite estimate"):
        logistic(np.repeat([0.0, 1.0], 20), np.ones(40), np.column_stack([np.ones(40), x, 1 - x]))


def test_a_share_of_all_is_1_whatever_the_weights():
    value, parts = mean(np.ones(7), np.array([0.1, 0.3, 1.7, 3.1, 0.9, 2.3, 0.7]))
    assert value == 1 and not parts.any()
