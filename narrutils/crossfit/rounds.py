"""Which rounds of pseudo-labelling are kept: those that gain on rows that nobody learned from.

A round is judged against the last one that was kept, on the official rows out of fold,
paired. Only a kept round teaches the next one and the further models; the predictions of a
refused one stay on the ladder, marked. The test split takes no part.
"""

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.teachers import ENSEMBLE, same_cases
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import thresholds_by_fold
from narrutils.evaluation.intervals import Interval, in_columns, paired_gain
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import (
    Search,
    cross_fitted,
    decide_by_fold,
    decide_cross_fitted,
    search,
    search_shrunk,
)


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
        **in_columns("gain", gain),
        "kept": gain is None or gain.value > 0 or not gaining_only,
    }


def _counts(model: CrossFit, labels: pd.DataFrame, way: Search) -> Counts:
    table = model.out_of_fold()
    return count(model.schema, labels, decide_cross_fitted(model.schema, labels, table, model.folds, way))


def gain_over(run: Run, previous: Run, schema: Schema, model: str = ENSEMBLE) -> Interval:
    """What a model of `run` gained over the same model of `previous`, with its 95 % interval.

    Paired, on the same out-of-fold rows, against the labels given in `run`, each side with
    its own cross-fitted thresholds. Nothing of the test split is used.

    Raises:
        InputError: a run lacks the model, or the two differ in cases or folds.
    """
    same_cases(previous, run.cases("train"), run.folds(), schema)
    labels = run.labels(schema)
    return paired_gain(counts_of(run, schema, model), counts_of(previous, schema, model, labels))


def counts_of(run: Run, schema: Schema, model: str, labels: pd.DataFrame | None = None) -> Counts:
    """Counts of a model on the out-of-fold rows, thresholds cross-fitted.

    Args:
        labels: codes to score against, indexed by uid; those given in `run` if None.

    Raises:
        InputError: the run has no such model.
    """
    labels = run.labels(schema) if labels is None else labels
    table, folds = _out_of_fold(run, schema, model, labels.index), run.folds()
    if model == ENSEMBLE and run.has("ensemble.json"):
        found = thresholds_by_fold(run.read("ensemble.json"))
    else:
        found = cross_fitted(lambda part: search(schema, part, table), labels, folds)
    return count(schema, labels, decide_by_fold(schema, table, folds, found))


def _out_of_fold(run: Run, schema: Schema, model: str, uids: pd.Index) -> pd.DataFrame:
    name = f"predictions/{model}_oof.parquet"
    if not run.has(name):
        known = ", ".join(run.models())
        raise InputError(f"{run.folder.name}: no model {model} to compare; there are {known}")
    return run.read_probabilities(name, schema, uids)
