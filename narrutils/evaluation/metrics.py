"""The competition's metric: the mean over variables of F1 or accuracy.

Every score here is computed from two non-negative counts a variable and case,
`hits` and `errors`, with score = 2 Σ hits / (2 Σ hits + Σ errors):

- binary: hits = true positives, errors = false positives + false negatives,
  which gives the F1 of class 1;
- categorical: hits = right codes, errors = 2 × wrong codes, which gives
  accuracy, and micro-F1 with it.

Being sums over cases, the counts are all that the bootstrap needs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema


@dataclass(frozen=True)
class Counts:
    """Hits and errors, each `[n_cases, n_variables]`, in schema order."""

    hits: np.ndarray
    errors: np.ndarray

    def scores(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Score of each variable, in [0, 1]; 0 where it is undefined.

        Args:
            weights: how often each case counts, `[..., n_cases]`; once each if None.

        Returns:
            `[..., n_variables]`.
        """
        if weights is None:
            weights = np.ones(len(self.hits))
        doubled = 2 * (weights @ self.hits)
        total = doubled + weights @ self.errors
        return np.divide(doubled, total, out=np.zeros_like(total), where=total > 0)


def count(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> Counts:
    """Counts of every case and variable; rows are matched by uid.

    Args:
        labels, predicted: integer codes, one column a variable, indexed by uid.

    Raises:
        ValueError: the two tables do not hold the same uids.
    """
    if len(labels) != len(predicted) or not labels.index.isin(predicted.index).all():
        raise ValueError("labels and predictions hold different uids")
    truth = labels[schema.names].to_numpy(dtype=int)
    guess = predicted.loc[labels.index, schema.names].to_numpy(dtype=int)
    is_binary = np.array([v.is_binary for v in schema.variables])
    same = (truth == guess).astype(float)
    hits = np.where(is_binary, same * (truth == 1), same)
    errors = np.where(is_binary, 1 - same, 2 * (1 - same))
    return Counts(hits, errors)


def per_variable(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> pd.Series:
    """Score of each variable, indexed by its name: F1 of class 1, or accuracy."""
    return pd.Series(count(schema, labels, predicted).scores(), index=schema.names)


def average_f1(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> float:
    """The official average F1: the unweighted mean of `per_variable`, in [0, 1]."""
    return float(per_variable(schema, labels, predicted).mean())
