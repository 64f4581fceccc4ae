"""The cases as they were coded out of fold, and what every figure of some of them counts.

A figure is a share, so what it counts are `metrics.Counts`: of any of the cases, a row a set of cases that
belong together, drawn along with those of other cases.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from narrutils.data.schema import UNKNOWN, Schema
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation import flags
from narrutils.evaluation.metrics import Counts, count, share

LEAST = 10  # cases below which a level has no figures: people could be recognised
FEW, FEW_SETS = 30, 10  # cases, and sets of them, below which an interval means little
ENOUGH = 5  # positives, and negatives, from which a binary variable counts

TESTED = ("average_f1", "sensitivity", "specificity", "calibration_gap")
OF_REVIEW = ("flagged", "flagged_wrong", "unflagged_wrong", "review_precision", "label_sensitivity")
FIGURES = (*TESTED, *OF_REVIEW)
NOT_KNOWN = ""


@dataclass(frozen=True)
class Coded:
    """The labelled training cases as they were coded out of fold; all tables in the order of `labels`.

    Attributes:
        labels, codes: given codes, null where none is given, and those of the ensemble.
        calibrated: its calibrated probabilities, `schema.columns` wide.
        flagged: whether each case is flagged, by a cut that was found on the other folds.
        queue: the review queue, `uid`, `variable`, `label_before`.
        groups: group columns as text, "" where not known; none where a run has none.
        sets: number of the set of each case.
        truth: true codes; None where they are not known.
    """

    schema: Schema
    labels: pd.DataFrame
    codes: pd.DataFrame
    calibrated: pd.DataFrame
    flagged: pd.Series
    queue: pd.DataFrame
    groups: pd.DataFrame
    sets: pd.Series
    truth: pd.DataFrame | None = None

    @classmethod
    def of(
        cls, study: Study, codes: pd.DataFrame, calibrated: pd.DataFrame, share: float, queue: pd.DataFrame
    ) -> "Coded":
        """What a run knows.

        Args:
            codes, calibrated: of all training cases, out of fold, calibration and thresholds cross-fitted.
            share: of the cases that are flagged, as asked for.
        """
        schema, run = study.schema, study.run
        labels = study.labels[schema.names].dropna(how="all")
        codes, calibrated = (by_uid(t, study.labels.index, "codes") for t in (codes, calibrated))
        doubts = flags.doubt(schema, codes, calibrated)
        flagged = pd.Series(flags.flagged(doubts, study.folds, share), doubts.index)
        truth = run.truth()
        return cls(
            schema, labels, *(t.loc[labels.index] for t in (codes, calibrated, flagged)), queue,
            group_columns(schema, run.groups()).loc[labels.index],
            run.clusters()["cluster"].loc[labels.index].astype(int),
            None if truth is None else by_uid(truth, labels.index, "truth")[schema.names],
        )  # fmt: skip

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """What each figure counts, `[cases, variables]`; binary variables where it is of them alone."""
        schema, binary = self.schema, [v.name for v in self.schema.binary]
        given, codes = _codes(self.labels[schema.names]), _codes(self.codes[schema.names])
        flagged = self.flagged.to_numpy(dtype=bool)[:, None]
        labelled, wrong = (
            x.sum(axis=1, keepdims=True) for x in (~np.isnan(given), ~np.isnan(given) & (given != codes))
        )
        label, code = _codes(self.labels[binary]), _codes(self.codes[binary])
        known, said = ~np.isnan(label), self.calibrated[binary].to_numpy(dtype=float)
        queued, found = self._queued()
        return {
            "average_f1": replace(count(schema, self.labels, self.codes), given=~np.isnan(given)),
            "sensitivity": share((label == 1) & (code == 1), label == 1),
            "specificity": share((label == 0) & (code == 0), label == 0),
            "calibration_gap": share(np.where(known, said - np.nan_to_num(label), 0.0), known),
            "flagged": share(flagged, np.ones_like(flagged)),
            "flagged_wrong": share(flagged * wrong, flagged * labelled),
            "unflagged_wrong": share(~flagged * wrong, ~flagged * labelled),
            "review_precision": share(found, queued),
            "label_sensitivity": self._missed(binary, label),
        }

    def _queued(self) -> tuple[np.ndarray, np.ndarray]:
        """Queued labels of each case, and how many are wrong, `[cases, 1]`; 0 without a truth."""
        queue = self.queue[self.queue["uid"].isin(self.labels.index)]
        if self.truth is None or queue.empty:
            return (np.zeros((len(self.labels), 1), int),) * 2
        true = self.truth.stack().loc[pd.MultiIndex.from_frame(queue[["uid", "variable"]])].to_numpy()
        wrong = pd.Series(true != queue["label_before"].to_numpy(), queue["uid"].to_numpy()).astype(int)
        of_case = wrong.groupby(level=0).agg(["size", "sum"]).reindex(self.labels.index, fill_value=0)
        return of_case[["size"]].to_numpy(), of_case[["sum"]].to_numpy()

    def _missed(self, binary: list[str], label: np.ndarray) -> Counts:
        """How many of the true facts the given labels have."""
        true = np.zeros_like(label) if self.truth is None else _codes(self.truth[binary])
        facts = (true == 1) & ~np.isnan(label)
        return share(facts & (label == 1), facts)

    def enough(self, rows: np.ndarray) -> np.ndarray:
        """Which binary variables have positives and negatives enough among some cases."""
        sides = (self.counts[name].given[rows].sum(axis=0) for name in ("sensitivity", "specificity"))
        return np.minimum(*sides) >= ENOUGH

    def chosen(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Over which variables each figure of some cases is a mean, by mask."""
        binary, enough = np.array([v.is_binary for v in self.schema.variables]), self.enough(rows)
        counted = {name: (c.given[rows] > 0).sum(axis=0) >= LEAST for name, c in self.counts.items()}
        whole = counted["average_f1"]
        whole[binary] = enough
        chosen = {name: counted[name] for name in OF_REVIEW}
        chosen |= {"average_f1": whole, "sensitivity": enough, "specificity": enough}
        facts = self.counts["label_sensitivity"].given[rows].sum(axis=0) >= ENOUGH
        told = counted["calibration_gap"]
        return chosen | {"calibration_gap": told, "label_sensitivity": facts & told}

    def too_small(self, rows: np.ndarray) -> bool:
        """Whether some cases are too few, or have too few positives, for an interval to mean anything."""
        few = rows.sum() < FEW or self.sets[rows].nunique() < FEW_SETS
        return bool(few or (self.schema.binary and not self.enough(rows).any()))

    def drawn(self, rows: np.ndarray, name: str, variables: np.ndarray) -> Counts:
        """The counts of some cases, a row each set of the whole: drawn as those of other cases are."""
        return self.counts[name].of(variables).where(rows).by_set(self.sets.to_numpy())


def group_columns(schema: Schema, groups: pd.DataFrame) -> pd.DataFrame:
    """The columns to report on, as text without blanks around, "" for what is not known.

    They are those that the schema names as groups; where it names none, all but those to keep together. A
    column without a level of `LEAST` cases, such as a number of each case, is none.
    """
    named = [c for c in (*schema.groups, *schema.optional_groups) if c in groups]
    columns = named or [c for c in groups if c not in schema.keep_together]
    cells = cleaned(groups[columns])
    known = {c: cells.loc[cells[c] != NOT_KNOWN, c].value_counts() for c in columns}
    return cells[[c for c in columns if len(known[c]) and known[c].max() >= LEAST]]


def cleaned(groups: pd.DataFrame) -> pd.DataFrame:
    """Group columns as text without blanks around, "" for what is not known."""
    cells = groups.astype(str).apply(lambda column: column.str.strip())
    return cells.mask(cells.apply(lambda column: column.str.lower().isin(UNKNOWN)), NOT_KNOWN)


def _codes(table: pd.DataFrame) -> np.ndarray:
    """Codes `[cases, variables]` as floats, NaN where there is none."""
    return table.to_numpy(dtype=float, na_value=np.nan)
