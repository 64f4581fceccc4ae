"""Which rounds of pseudo-labelling are kept: those that gain on rows that nobody learned from.

A round is judged against the last one that was kept, on the official rows out of fold,
paired. Only a kept round teaches the next one and the further models; the predictions of a
refused one stay on the ladder, marked. The test split takes no part.
"""

import pandas as pd

from narrutils.crossfit import CrossFit
from narrutils.intervals import gain_entries, paired_gain
from narrutils.metrics import Counts, count
from narrutils.thresholds import Search, decide_cross_fitted, search_shrunk


def judge(
    student: CrossFit,
    kept: CrossFit | None,
    labels: pd.DataFrame,
    gaining_only: bool = True,
    way: Search = search_shrunk,
) -> dict:
    """The record of a round.

    Args:
        student: the round's fitted model.
        kept: that of the last kept round; None for round 0, which there is nothing to hold against.
        labels: given codes of the official rows.
        gaining_only: false keeps every round, as the author did.
        way: how thresholds are searched; the steadier, the less a round owes to chance.

    Returns:
        `model`, `against`, `average_f1` (out of fold, thresholds cross-fitted), `gain` over
        `against` with the bounds of its 95 % interval `gain_low` and `gain_high`, `kept`.
    """
    counts = _counts(student, labels, way)
    gain = None if kept is None else paired_gain(counts, _counts(kept, labels, way))
    return {
        "model": student.name,
        "against": kept and kept.name,
        "average_f1": float(counts.scores().mean()),
        **gain_entries(gain),
        "kept": gain is None or gain.value > 0 or not gaining_only,
    }


def _counts(model: CrossFit, labels: pd.DataFrame, way: Search) -> Counts:
    table = model.out_of_fold()
    return count(model.schema, labels, decide_cross_fitted(model.schema, labels, table, model.folds, way))
