"""Linear models over the columns of a task, and the probe: what one reads out of untrained states.

A head that starts at a probe and is then trained with the layers below it distorts them less
than one that starts from nothing (Kumar et al. 2022, linear probing then fine-tuning).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from narrutils.data.schema import Schema, Variable

#: On one thread of the OpenBLAS that NumPy and SciPy bring. A fit adds vectors as long as the vocabulary,
#: over which threads wait for each other longer than they compute, and in another order on every machine.
one_thread = ThreadpoolController().select(internal_api="openblas").wrap(limits=1)


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
        model = LogisticRegression(C=inverse_regularisation, max_iter=300).fit(rows, answers)
        return model.coef_[0], model.intercept_[0]

    weights, bias = by_column(schema, features, targets, regress)
    return Probe(centre, spread, weights / scale, bias)


Features = np.ndarray | csr_matrix
NEVER = -20.0  # the logit of what no case showed


@one_thread
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
