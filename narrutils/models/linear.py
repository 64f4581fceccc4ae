"""Linear models over the columns of a task, and the probe: what one reads out of untrained states.

A head that starts at a probe and is then trained with the layers below it distorts them less
than one that starts from nothing (Kumar et al. 2022, linear probing then fine-tuning).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import logit
from sklearn._loss import HalfBinomialLoss

from narrutils.data.schema import Schema, Variable


@dataclass(frozen=True)
class Probe:
    """Logits are `(states - centre) / spread @ weights + bias`."""

    centre: np.ndarray  # [states], their means
    spread: np.ndarray  # [states], their standard deviations
    weights: np.ndarray  # [states, schema.width]
    bias: np.ndarray  # [schema.width]


def fit_probe(
    schema: Schema, states: np.ndarray, targets: pd.DataFrame, inverse_regularisation: float
) -> Probe:
    """Logistic regression on standardised states, one a variable or class; all rows standardise.

    Args:
        states: `[cases, states]`, in the order of `targets`, which `by_column` makes 0 or 1.
        inverse_regularisation: scikit-learn's C, for features of summed variance 1.
    """
    centre, spread = states.mean(axis=0), states.std(axis=0) + 1e-6
    scale = np.sqrt(states.shape[1])
    features = np.ascontiguousarray((states - centre) / spread / scale)

    def regress(rows: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, float]:
        return logistic(rows, answers, inverse_regularisation)

    weights, bias = by_column(schema, features, targets, regress)
    return Probe(centre, spread, weights / scale, bias)


Features = np.ndarray | csr_matrix
NEVER = -20.0  # the logit of what no case showed


def logistic(
    features: Features, answers: np.ndarray, inverse_regularisation: float
) -> tuple[np.ndarray, float]:
    """Weights `[features]` and bias of a logistic regression of answers of 0 and 1, both of which occur.

    They are to the last digit those of scikit-learn's LogisticRegression, of whose time its checks at every
    step take half where cases are few.
    """
    cases, loss, by_feature = features.shape[0], HalfBinomialLoss(), features.T
    pull, answers = 1.0 / (inverse_regularisation * cases), answers.astype(float)

    def with_slopes(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, slopes = x[:-1], np.empty_like(x)
        losses, off = loss.loss_gradient(answers, features @ weights + x[-1])
        off /= cases
        slopes[:-1], slopes[-1] = by_feature @ off + pull * weights, off.sum()
        return losses.sum() / cases + 0.5 * pull * (weights @ weights), slopes

    options = {"maxiter": 300, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    start = np.zeros(features.shape[1] + 1)
    found = minimize(with_slopes, start, jac=True, method="L-BFGS-B", options=options).x
    return found[:-1], found[-1]


def by_column(
    schema: Schema,
    features: Features,
    targets: pd.DataFrame,
    regress: Callable[[Features, np.ndarray], tuple[np.ndarray, float]],
    classify: Callable[[Features, np.ndarray, int], tuple[np.ndarray, np.ndarray]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A linear model a probability column, each fitted on the rows that have its label.

    Args:
        features: `[cases, features]`.
        targets: `schema.columns` wide; above one half, or the largest of a categorical
            variable, counts as 1; NaN where there is no label.
        regress: features of some rows, their answers of 0 and 1 -> weights `[features]` and bias;
            both answers occur.
        classify: features of some rows, their codes of a categorical variable, and the number of its
            classes -> weights `[features, classes]` and biases, in one model; None: each class
            against all others.

    Returns:
        `[features, width]` as float32, `[width]`. A column of one answer has no weights. Without any
        feature, all cases are read at the shares of the labels. A variable without any label is
        read at one half, or every class alike: nothing is known of it.
    """
    size = features.shape[1]
    weights, bias = np.zeros((size, schema.width)), np.zeros(schema.width)
    for v in schema.variables:
        columns, values = schema.slices[v.name], targets[list(v.columns)].to_numpy()
        given = ~np.isnan(values).any(axis=1)
        values, rows = (values, features) if given.all() else (values[given], features[given])
        codes = values.argmax(axis=1)
        answers = (values > 0.5) if v.is_binary else codes[:, None] == np.arange(values.shape[1])
        if not (len(values) and size):
            bias[columns] = _at_shares(v, answers)
        elif classify and not v.is_binary and len(np.unique(codes)) > 1:
            weights[:, columns], bias[columns] = classify(rows, codes, values.shape[1])
        else:
            for n, column in enumerate(answers.T, columns.start):
                if 0 < column.sum() < len(column):
                    weights[:, n], bias[n] = regress(rows, column.astype(int))
                else:
                    bias[n] = -NEVER if column[0] else NEVER
    return weights.astype(np.float32), bias


def _at_shares(v: Variable, answers: np.ndarray) -> np.ndarray:
    """Logits `[columns]` of the shares of answers `[cases, columns]`; 0 where there are none."""
    if not len(answers):
        return np.zeros(answers.shape[1])
    shares = answers.mean(axis=0)
    logits = logit(shares) if v.is_binary else np.log(np.maximum(shares, np.exp(NEVER)))
    return logits.clip(NEVER, -NEVER)
