"""Where a binary probability becomes a 1: three ways to search, in-sample and cross-fitted.

The author searched a grid for the highest F1 on the rows that were then scored
(`in_sample`, optimistic). `cross_fitted` takes fold k's thresholds from the other folds
alone, whatever the way of searching. With few positives the F1 of the grid jumps with
every single case, and its peak is mostly luck; `search_shrunk` therefore counts part of
every label as what the calibrated model expects it to be.

Every search looks at labelled cases alone; a variable without any label is cut at one half.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.settings import ThresholdSearch, fitting
from narrutils.data.tables import by_uid
from narrutils.evaluation.calibration import fit_calibration

#: The author's grid: 0.10 to 0.85 in steps of 0.05.
GRID = tuple(np.round(np.arange(0.10, 0.851, 0.05), 2).tolist())
#: A finer and wider one: a rare variable's best threshold is often below 0.10.
FINE = tuple(np.round(np.arange(0.02, 0.961, 0.01), 2).tolist())
#: With so many positives, labels and expectations weigh the same in `search_shrunk`.
STRENGTH = 50.0

Search = Callable[[Schema, pd.DataFrame, pd.DataFrame], dict[str, float]]


def search(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, grid=GRID) -> dict[str, float]:
    """The threshold of highest F1 for each binary variable; the lowest wins a tie.

    Args:
        labels: integer codes indexed by uid, null where none is given.
        probabilities: `schema.columns` wide; rows are matched by uid.
        grid: candidate thresholds, each in (0, 1).
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    return {v.name: _best(_codes(labels[v.name]), table[v.name], grid) for v in schema.binary}


def search_shrunk(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, grid=FINE, strength: float = STRENGTH
) -> dict[str, float]:
    """The threshold of highest F1 where every label counts partly as its expectation.

    A label y read at the calibrated probability q counts as (1 − s) y + s q, with
    s = strength / (strength + positives): all expectation where there are no positives,
    which is the plug-in rule for F1 (Ye et al. 2012), and hardly any where there are
    thousands. Calibration is fitted on the same rows.

    Args:
        labels, probabilities, grid: see `search`.
        strength: number of positives at which both halves weigh the same.
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    expected = fit_calibration(schema, labels, table).apply(table)
    found = {}
    for v in schema.binary:
        truth = _codes(labels[v.name])
        share = strength / (strength + np.nansum(truth))
        found[v.name] = _best((1 - share) * truth + share * expected[v.name].to_numpy(), table[v.name], grid)
    return found


def reproduce(
    schema: Schema, codes: pd.DataFrame, probabilities: pd.DataFrame, own: Mapping[str, float]
) -> dict[str, float]:
    """The threshold of each binary variable under which fewest of the given codes change.

    No label is looked at. Candidates lie halfway between neighbouring probabilities; of those that
    change equally few, the one nearest to the variable's own is taken, or its own itself.

    Args:
        codes: integer codes, indexed by uid, none missing.
        probabilities: other ones of the same rows; rows are matched by uid.
        own: the thresholds under which the codes were made, of other probabilities.
    """
    table = by_uid(probabilities, codes.index, "probabilities")
    return {v.name: _fewest(codes[v.name].to_numpy(), table[v.name], own[v.name]) for v in schema.binary}


def _fewest(codes: np.ndarray, probabilities: pd.Series, own: float) -> float:
    values = np.sort(probabilities.to_numpy())
    cuts = np.concatenate([[own, 0.0], (values[1:] + values[:-1]) / 2, values[-1:]])
    zeros, ones = (np.sort(probabilities.to_numpy()[codes == code]) for code in (0, 1))
    lost, left = (np.searchsorted(of, cuts, side="right") for of in (ones, zeros))  # not above each cut
    changed = lost + len(zeros) - left
    best = cuts[changed == changed.min()]
    return float(best[np.abs(best - own).argmin()])


def search_half(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> dict[str, float]:
    """One half for every binary variable: no search at all."""
    return {v.name: 0.5 for v in schema.binary}


SEARCHES: dict[str, Search] = {"grid": search, "shrunk": search_shrunk, "half": search_half}


def search_named(name: str) -> Search:
    """The search that a parameter names.

    Raises:
        InputError: there is none of this name.
    """
    return SEARCHES[fitting(name, ThresholdSearch, "threshold_search")]


def _codes(labels: pd.Series) -> np.ndarray:
    """Labels `[n]` as floats, NaN where none is given."""
    return labels.to_numpy(dtype=float, na_value=np.nan)


def _best(truth: np.ndarray, probabilities: pd.Series, grid) -> float:
    """The cut of highest F1 for labels in [0, 1], which may be fractions, or NaN: those take no part."""
    cuts, given = np.sort(np.asarray(grid)), ~np.isnan(truth)
    if not given.any():
        return 0.5
    truth, above = truth[given], probabilities.to_numpy()[given, None] > cuts
    # F1 = 2TP / (predicted + actual positives); argmax keeps the first, lowest cut.
    found = above.sum(axis=0) + truth.sum()
    f1 = np.divide(2 * (truth @ above), found, out=np.zeros(len(cuts)), where=found > 0)
    return float(cuts[f1.argmax()])


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
    schema: Schema,
    labels: pd.DataFrame,
    probabilities: pd.DataFrame,
    folds: pd.Series,
    way: Search = search,
) -> pd.DataFrame:
    """Codes of every row, fold k cut at the thresholds found on the other folds' probabilities."""
    found = cross_fitted(lambda part: way(schema, part, probabilities), labels, folds)
    return decide_by_fold(schema, by_uid(probabilities, labels.index, "probabilities"), folds, found)
