"""Coding by group: how the ensemble's codes, doubts and review fare at each site, in each year, for each sex.

Everything is out of fold and speaks of the training cases that have a label. Average F1 moves with how
frequent a variable is; sensitivity and specificity do not. Calibration is the signed gap, said − came: the
mean calibrated probability less the share coded 1, over the binary variables. Above 0 the models say
more than the group's people coded, as where an abstractor misses what is told; below 0 they coded more. Its
sign is what tells a steward what to look for, and it is 0 in the mean where nothing is amiss, while a
calibration error is above 0 by chance alone, the more so the smaller the group.

Intervals come from a bootstrap over sets of cases that belong together (`data.clusters`). A level
with fewer than `LEAST` cases has no figures: people could be recognised. A level of a single case is not even
named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from narrutils.data.schema import UNKNOWN, Schema
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation import flags
from narrutils.evaluation.intervals import columns_of, draw, in_columns, in_table, paired_gain, score_interval
from narrutils.evaluation.metrics import Counts, count, share
from narrutils.findings.permutation import holm, p_values

LEAST = 10  # cases below which a level has no figures
FEW, FEW_SETS = 30, 10  # cases, and sets of them, below which an interval means little
ENOUGH = 5  # positives, and negatives, from which a binary variable counts

TESTED = ("average_f1", "sensitivity", "specificity", "calibration_gap")
OF_REVIEW = ("flagged", "flagged_wrong", "unflagged_wrong", "review_precision", "label_sensitivity")
FIGURES = (*TESTED, *OF_REVIEW)
NOT_KNOWN, SINGLE = "", "(levels of one case)"
TABLE = ["column", "level", "cases", "sets", "variables", "too_small", *columns_of(*FIGURES)]
TESTS = ["column", "level", "measure", "cases", "value", "rest", *columns_of("difference"), "p", "p_holm"]
BY_VARIABLE = ["column", "level", "variable", "measure", "cases", "positives", "value", "rest", "p", "p_holm"]


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
        """Labels in the queue of each case, and how many of them are wrong, `[cases, 1]`; 0 without a truth."""
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
        whole = np.ones(len(binary), dtype=bool)
        whole[binary] = enough
        chosen = {name: np.ones(1, dtype=bool) for name in FIGURES}
        chosen |= {"average_f1": whole, "sensitivity": enough, "specificity": enough}
        of_all = {"calibration_gap": LEAST, "label_sensitivity": ENOUGH}
        given = {name: self.counts[name].given[rows].sum(axis=0) for name in of_all}
        return chosen | {name: given[name] >= least for name, least in of_all.items()}

    def too_small(self, rows: np.ndarray) -> bool:
        """Whether some cases are too few, or have too few positives, for an interval to mean anything."""
        few = rows.sum() < FEW or self.sets[rows].nunique() < FEW_SETS
        return bool(few or (self.schema.binary and not self.enough(rows).any()))

    def drawn(self, rows: np.ndarray, name: str, variables: np.ndarray) -> Counts:
        """The counts of some cases, a row a set of the whole, so that those of other cases are drawn with them."""
        return self.counts[name].of(variables).where(rows).by_set(self.sets.to_numpy())


def group_columns(schema: Schema, groups: pd.DataFrame) -> pd.DataFrame:
    """The columns to report on, as text without blanks around, "" for what is not known.

    They are those that the schema names as groups; where it names none, all but those to keep together. A
    column without a level of `LEAST` cases, such as a number of each case, is none.
    """
    named = [c for c in (*schema.groups, *schema.optional_groups) if c in groups]
    columns = named or [c for c in groups if c not in schema.keep_together]
    cells = groups[columns].astype(str).apply(lambda column: column.str.strip())
    cells = cells.mask(cells.apply(lambda column: column.str.lower().isin(UNKNOWN)), NOT_KNOWN)
    known = {c: cells.loc[cells[c] != NOT_KNOWN, c].value_counts() for c in columns}
    return cells[[c for c in columns if len(known[c]) and known[c].max() >= LEAST]]


def table(coded: Coded) -> pd.DataFrame:
    """The figures of every level, as `findings/groups.parquet` holds them.

    Returns:
        A row a `column` and `level` ("": not known; `SINGLE`: all levels of one case): `cases` with a label;
        `sets` that they belong to; `variables`, how many binary ones have `ENOUGH` positives and negatives
        there; `too_small`, whether the intervals mean little. Then the figures, each with its 95 % interval,
        `x`, `x_low`, `x_high`, NaN where there is none: `average_f1`, `sensitivity` and `specificity`
        against the given labels, means over those variables (F1 also over all categorical ones);
        `calibration_gap`, said − came, in [−1, 1]; `flagged`, share of the cases; `flagged_wrong` and
        `unflagged_wrong`, the share of their codes that are not the given ones; and where the truth is known
        `review_precision`, the share of the labels in the review queue that are wrong, and
        `label_sensitivity`, the share of true facts that the given labels have, a mean over variables.
    """
    return in_table([row for column in coded.groups for row in _rows(coded, column)], TABLE)


def _rows(coded: Coded, column: str) -> Iterator[dict]:
    cells = coded.groups[column]
    sizes = cells.value_counts().sort_index()
    for level, cases in sizes[sizes.index != NOT_KNOWN].items():
        if cases > 1:
            yield {"column": column, "level": level} | _figures(coded, (cells == level).to_numpy())
    single = int((sizes[sizes.index != NOT_KNOWN] == 1).sum())
    for level, cases in ((SINGLE, single), (NOT_KNOWN, sizes.get(NOT_KNOWN, 0))):
        if cases:
            yield {"column": column, "level": level, "cases": int(cases), "too_small": True}


def _figures(coded: Coded, rows: np.ndarray) -> dict:
    row = {"cases": int(rows.sum()), "too_small": coded.too_small(rows)}
    if row["cases"] < LEAST:
        return row
    counts = {name: coded.drawn(rows, name, kept) for name, kept in coded.chosen(rows).items()}
    draw(list(counts.values()))
    row |= {"sets": coded.sets[rows].nunique(), "variables": int(coded.enough(rows).sum())}
    for name, counted in counts.items():
        row |= in_columns(name, score_interval(counted))
    return row


def differences(coded: Coded, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Whether each level differs from all other known levels of its column, and in which variables.

    By `permutation.p_values`; `p_holm` is corrected over all rows of its table, which are two families of
    tests. A level is tested where neither it nor the rest is too small; of two levels the smaller one.

    Returns:
        `findings/group_tests.parquet`: a row a `column`, `level` and `measure` of `TESTED`, a mean over
        the variables that count on both sides: `cases` of the level; `value`, and `rest`, that of the rest;
        `difference` of the two with its 95 % interval; `p`, `p_holm`.
        `findings/by_variable.parquet`: a row a `column`, `level`, `variable` and `measure`
        (`sensitivity`, `specificity`, `calibration_gap`; of a categorical variable `accuracy`) that has enough
        labels on both sides: `cases` and `positives` of the level (of a categorical variable none), `value`,
        `rest`, `p`, `p_holm`; p is NaN where the level was not tested.
    """
    means, each = [], []
    for column in coded.groups:
        of_column = _differences(coded, column, seed)
        means, each = means + of_column[0], each + of_column[1]
    tables = [in_table(means, TESTS), in_table(each, BY_VARIABLE)]
    floats = {"value": float, "rest": float, "p": float}
    return tuple(t.astype(floats).assign(p_holm=holm(t["p"].astype(float))) for t in tables)


def _differences(coded: Coded, column: str, seed: int) -> tuple[list[dict], list[dict]]:
    cells = coded.groups[column].to_numpy()
    known = cells != NOT_KNOWN
    numbers, levels = pd.factorize(cells[known], sort=True)
    own = {n: cells == level for n, level in enumerate(levels) if (cells == level).sum() >= LEAST}
    pairs = {n: Pair(coded, rows, known & ~rows) for n, rows in own.items() if (known & ~rows).any()}
    tested = [n for n, pair in pairs.items() if not (coded.too_small(pair.own) or coded.too_small(pair.rest))]
    if len(levels) == 2:
        tested = sorted(tested, key=lambda n: own[n].sum())[:1]
    whole = [coded.counts[name] for name in TESTED]
    hits, errors, given = (np.hstack([getattr(c, x)[known] for c in whole]) for x in ("hits", "errors", "given"))
    masks = {n: pairs[n].masks for n in tested}
    p = p_values(Counts(hits, errors, given), numbers, coded.sets[known].to_numpy(), masks, seed=seed)
    means, each = [], []
    for n, pair in pairs.items():
        name = {"column": column, "level": levels[n]}
        of_each, of_mean = p.get(n, (np.full(hits.shape[1], np.nan), None))
        means += [name | row for row in pair.means(of_mean)] if n in p else []
        each += [name | row for row in pair.each(of_each)]
    return means, each


@dataclass(frozen=True)
class Pair:
    """The cases of a level and those of the rest, `[cases]` of booleans."""

    coded: Coded
    own: np.ndarray
    rest: np.ndarray

    @cached_property
    def kept(self) -> dict[str, np.ndarray]:
        """The variables of each of `TESTED` that count on both sides."""
        one, other = self.coded.chosen(self.own), self.coded.chosen(self.rest)
        return {name: one[name] & other[name] for name in TESTED}

    @property
    def masks(self) -> np.ndarray:
        """Which columns of all measures, one behind the other, each measure is a mean of."""
        widths = [len(self.kept[name]) for name in TESTED]
        masks = np.zeros((sum(widths), len(TESTED)))
        for n, (end, width) in enumerate(zip(np.cumsum(widths), widths)):
            masks[end - width : end, n] = self.kept[TESTED[n]]
        return masks

    def means(self, p: np.ndarray) -> Iterator[dict]:
        """A row a measure that is a mean of some variable."""
        for name, of_mean in zip(TESTED, p):
            if self.kept[name].any():
                sides = [self.coded.drawn(rows, name, self.kept[name]) for rows in (self.own, self.rest)]
                row = {"measure": name, "cases": int(self.own.sum()), "p": of_mean}
                row |= dict(zip(("value", "rest"), (side.average_f1 for side in sides)))
                yield row | in_columns("difference", paired_gain(*sides))

    def each(self, p: np.ndarray) -> Iterator[dict]:
        """A row a variable and measure."""
        schema, counts = self.coded.schema, self.coded.counts
        binary = [v.name for v in schema.binary]
        positives = dict(zip(binary, counts["sensitivity"].given[self.own].sum(axis=0)))
        at = 0
        for name in TESTED:
            variables = schema.names if name == "average_f1" else binary
            sides = [counts[name].where(rows).scores() for rows in (self.own, self.rest)]
            cases = self.coded.labels.loc[self.own, variables].notna().sum()
            for n, v in enumerate(variables):
                if self.kept[name][n] and not (name == "average_f1" and v in positives):
                    row = {"variable": v, "measure": "accuracy" if name == "average_f1" else name}
                    row |= {"cases": int(cases[v]), "positives": positives.get(v), "p": p[at + n]}
                    yield row | {"value": sides[0][n], "rest": sides[1][n]}
            at += len(variables)


def _codes(table: pd.DataFrame) -> np.ndarray:
    """Codes `[cases, variables]` as floats, NaN where there is none."""
    return table.to_numpy(dtype=float, na_value=np.nan)
