"""Logistic regression as scikit-learn finds it, to the last digit."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from narrutils.models.linear import logistic


def told(cases, seed=0):
    """Few features that are not 0, and answers that hang on the first ones."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(cases, 40)) * (rng.random((cases, 40)) < 0.3)
    return features, (features[:, :3].sum(axis=1) + 0.3 * rng.normal(size=cases) > 0.2).astype(int)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
@pytest.mark.parametrize("c", [0.1, 4.0, 300.0])
@pytest.mark.parametrize("cases", [6, 200])
def test_weights_and_bias_are_scikit_learns_to_the_last_digit(kind, c, cases):
    features, answers = told(cases)
    weights, bias = logistic(kind(features), answers, c)
    plain = LogisticRegression(C=c, max_iter=300).fit(kind(features), answers)
    np.testing.assert_array_equal(weights, plain.coef_[0])
    assert bias == plain.intercept_[0]
