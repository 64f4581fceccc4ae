"""A linear probe: what a linear model reads out of states that nothing was trained on yet.

A head that starts there and is then trained with the layers below it distorts them less
than one that starts from nothing (Kumar et al. 2022, linear probing then fine-tuning).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from narrutils.companions import by_column
from narrutils.schema import Schema


@dataclass(frozen=True)
class Probe:
    """Logits are `(states - centre) / spread @ weights + bias`.

    Attributes:
        centre, spread: mean and standard deviation of each state, `[states]`.
        weights: `[states, schema.width]`; `bias`: `[schema.width]`.
    """

    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


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
