"""Where a binary probability becomes a 1: in-sample, and cross-fitted, search.

The author searched on the rows that were then scored (`in_sample`, optimistic).
`cross_fitted` takes fold k's thresholds from the other folds alone.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from narrutils.artifacts import by_uid
from narrutils.schema import Schema

#: The author's grid: 0.10 to 0.85 in steps of 0.05.
GRID = tuple(np.round(np.arange(0.10, 0.851, 0.05), 2).tolist())


def search(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, grid=GRID) -> dict[str, float]:
    """The threshold of highest F1 for each binary variable; the lowest wins a tie.

    Args:
        labels: integer codes indexed by uid.
        probabilities: `schema.columns` wide; rows are matched by uid.
        grid: candidate thresholds, each in (0, 1).
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    cuts = np.sort(np.asarray(grid))
    chosen = {}
    for v in schema.binary:
        truth = labels[v.name].to_numpy(dtype=int)
        above = table[v.name].to_numpy()[:, None] > cuts
        hits = (above & (truth == 1)[:, None]).sum(axis=0)
        # F1 = 2TP / (predicted + actual positives); argmax keeps the first, lowest cut.
        f1 = 2 * hits / np.maximum(above.sum(axis=0) + truth.sum(), 1)
        chosen[v.name] = float(cuts[f1.argmax()])
    return chosen


def decide_by_fold(
    schema: Schema,
    probabilities: pd.DataFrame,
    folds: pd.Series,
    thresholds: Mapping[int, Mapping[str, float]],
) -> pd.DataFrame:
    """Codes of every row, each fold cut at its own thresholds, in the order of `probabilities`."""
    folds = folds.loc[probabilities.index]
    parts = [schema.to_labels(probabilities[folds == k], cuts) for k, cuts in thresholds.items()]
    return pd.concat(parts).loc[probabilities.index]


def cross_fitted(
    find: Callable[[pd.DataFrame], dict], labels: pd.DataFrame, folds: pd.Series
) -> dict[int, dict]:
    """Fold k -> thresholds found on all other folds.

    Args:
        find: labels of some rows -> thresholds found on those rows, such as
            `lambda part: search(schema, part, probabilities)`.
        labels: integer codes of all rows, indexed by uid.
    """
    folds = folds.loc[labels.index]
    return {int(k): find(labels[folds != k]) for k in sorted(folds.unique())}


def decide_cross_fitted(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, folds: pd.Series
) -> pd.DataFrame:
    """Codes of every row, fold k cut at the thresholds found on the other folds' probabilities."""
    found = cross_fitted(lambda part: search(schema, part, probabilities), labels, folds)
    return decide_by_fold(schema, by_uid(probabilities, labels.index, "probabilities"), folds, found)
