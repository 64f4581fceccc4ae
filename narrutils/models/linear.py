"""Linear models over the columns of a task, and the probe: what one reads out of untrained states.

A head that starts at a probe and is then trained with the layers below it distorts them less
than one that starts from nothing (Kumar et al. 2022, linear probing then fine-tuning).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from narrutils.data.schema import Schema


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
    """Logistic regression on standardised states, one a variable or class.

    Args:
        states: `[cases, states]`, in the order of `targets`, which `by_column` makes 0 or 1.
        inverse_regularisation: scikit-learn's C, for features of summed variance 1.
    """
    centre, spread = states.mean(axis=0), states.std(axis=0) + 1e-6
    scale = np.sqrt(states.shape[1])
    features = (states - centre) / spread / scale

    def regress(answers: np.ndarray) -> tuple[np.ndarray, float]:
        model = LogisticRegression(C=inverse_regularisation, max_iter=300).fit(features, answers)
        return model.coef_[0], model.intercept_[0]

    weights, bias = by_column(schema, targets, regress)
    return Probe(centre, spread, weights / scale, bias)


NEVER = -20.0  # the logit of what no case showed


def by_column(
    schema: Schema,
    targets: pd.DataFrame,
    regress: Callable[[np.ndarray], tuple[np.ndarray, float]],
    classify: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A linear model a probability column: weights and biases.

    Args:
        targets: `schema.columns` wide; above one half, or the largest of a categorical
            variable, counts as 1.
        regress: answers of 0 and 1 -> weights `[features]` and bias; both answers occur.
        classify: codes of a categorical variable and the number of its classes -> weights
            `[features, classes]` and biases, in one model; None: each class against all others.

    Returns:
        `[features, width]` as float32, `[width]`. A column of one answer has no weights.
    """
    found = []
    for v in schema.variables:
        values = targets[list(v.columns)].to_numpy()
        codes = values.argmax(axis=1)
        if classify and not v.is_binary and len(np.unique(codes)) > 1:
            weights, biases = classify(codes, values.shape[1])
            found += list(zip(weights.T, biases))
            continue
        largest = codes[:, None] == np.arange(values.shape[1])
        answers = (values > 0.5) if v.is_binary else largest
        for column in answers.T:
            mixed = 0 < column.sum() < len(column)
            found.append(regress(column.astype(int)) if mixed else (0.0, -NEVER if column[0] else NEVER))
    size = max(np.size(weights) for weights, _ in found)
    weights = np.stack([np.broadcast_to(weights, size) for weights, _ in found], axis=1)
    return weights.astype(np.float32), np.array([bias for _, bias in found], dtype=float)
