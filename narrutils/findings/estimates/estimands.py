"""What is asked of coded cases, each answer with what every case contributes to its error.

An estimate minus what it stands for is nearly the sum of its cases' contributions, so that the sum of
their squares, added up within a cluster first, is its variance: linearisation, which in a regression is
the sandwich (Binder 1983; Huber 1967). Weights are inverse inclusion probabilities (Hájek 1971).
"""

import warnings

import numpy as np

#: Beyond this a coefficient has no finite estimate: some levels tell the answer without exception.
DIVERGED = 12.0


def mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The weighted mean, and the contribution `[n]` of each case to its error.

    Args:
        values: `[n]`; of no account where the weight is 0. `weights`: `[n]`, 0 or more, one positive.
    """
    shares = weights / weights.sum()
    used = values[weights > 0]
    values = np.where(weights > 0, values, 0.0)
    found = float(np.clip(shares @ values, used.min(), used.max()))  # no share is 1 but for a rounding error
    return found, shares * (values - found)


def logistic(values: np.ndarray, weights: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients `[k]` of a weighted logistic regression, and each case's contributions `[n, k]`.

    Args:
        values: `[n]` in [0, 1], fractions too (Papke & Wooldridge 1996); of no account at weight 0.
        design: `[n, k]`, the constant among its columns.

    Raises:
        ValueError: there is no finite estimate.
    """
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    rows = weights > 0
    if np.linalg.matrix_rank(design[rows]) < design.shape[1]:
        raise ValueError("no finite estimate")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is looked at below
        model = GLM(values[rows], design[rows], Binomial(), var_weights=weights[rows])
        try:
            fit = model.fit()
        except (PerfectSeparationError, np.linalg.LinAlgError):
            raise ValueError("no finite estimate") from None
    if not fit.converged or not np.isfinite(fit.params).all() or np.abs(fit.params).max() > DIVERGED:
        raise ValueError("no finite estimate")
    expected = fit.fittedvalues
    information = (design[rows] * (weights[rows] * expected * (1 - expected))[:, None]).T @ design[rows]
    contributions = np.zeros(design.shape)
    scores = design[rows] * (weights[rows] * (values[rows] - expected))[:, None]
    contributions[rows] = np.linalg.solve(information, scores.T).T
    return fit.params, contributions
