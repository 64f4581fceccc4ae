"""What a model scores: the one place where probabilities become the average F1 that people are shown.

Out of fold, against the given labels, the thresholds of each fold found on the others: by the
study's `threshold_search`, or as the ensemble of a run stored them.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cached_property

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation.ensemble import ENSEMBLE, thresholds_by_fold
from narrutils.evaluation.intervals import variable_intervals
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import decide_by_fold, decide_cross_fitted, search_named


@dataclass(frozen=True)
class Scored:
    """A model's codes of the official rows, and how they compare with the labels that are given."""

    schema: Schema
    labels: pd.DataFrame
    codes: pd.DataFrame

    @cached_property
    def counts(self) -> Counts:
        return count(self.schema, self.labels, self.codes)

    @property
    def average_f1(self) -> float:
        """The competition's metric, in [0, 1]."""
        return self.counts.average_f1

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a variable, see `score_table`."""
        return score_table(self.schema, self.labels, self.codes)


def score(
    study: Study, probabilities: pd.DataFrame, thresholds: Mapping[int, Mapping[str, float]] | None = None
) -> Scored:
    """How a model codes the official rows out of fold; auxiliary variables are not scored.

    Args:
        probabilities: of every official row by the model that left its fold out.
        thresholds: fold -> thresholds found without it; None: searched on the other folds.
    """
    study = study.scored
    schema, labels, folds = study.schema, study.labels, study.folds
    if thresholds is None:
        way = search_named(study.threshold_search)
        return Scored(schema, labels, decide_cross_fitted(schema, labels, probabilities, folds, way))
    table = by_uid(probabilities, labels.index, "probabilities")
    return Scored(schema, labels, decide_by_fold(schema, table, folds, thresholds))


def score_stored(study: Study, model: str) -> Scored:
    """How a published model codes the official rows; the ensemble at the thresholds that it stored.

    Raises:
        InputError: the run has no such model.
    """
    table = StoredModel(study.run, model).predictions("oof", study.schema.scored, study.train.index)
    stored = model == ENSEMBLE and study.run.has("ensemble.json")
    return score(study, table, thresholds_by_fold(study.run.read("ensemble.json")) if stored else None)


def score_table(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """A row a variable: score with its 95 % interval, precision and recall of class 1.

    `cases`, `positives` and `called` (coded 1) count cases that have a label of the variable.
    """
    intervals, given = variable_intervals(count(schema, labels, predicted)), labels[schema.names].notna()
    table = pd.DataFrame(map(astuple, intervals), schema.names, ["score", "low", "high"])
    table.insert(0, "metric", ["F1" if v.is_binary else "accuracy" for v in schema.variables])
    table.insert(1, "cases", given.sum())
    binary = [v.name for v in schema.binary]
    if binary:
        truth = (labels[binary] == 1).fillna(False).astype(bool)
        guess = (predicted.loc[labels.index, binary] == 1) & given[binary]
        hits, positives, called = (truth & guess).sum(), truth.sum(), guess.sum()
        table["positives"], table["called"] = positives.astype("Int64"), called.astype("Int64")
        table["precision"], table["recall"] = hits / called, hits / positives
    return table.rename_axis("variable")
