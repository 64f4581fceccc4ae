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
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from narrutils.evaluation.intervals import columns_of, draw, in_columns, in_table, paired_gain, score_interval
from narrutils.evaluation.metrics import Counts
from narrutils.findings.coded import FIGURES, LEAST, NOT_KNOWN, OF_REVIEW, TESTED, Coded
from narrutils.findings.permutation import ALPHA, holm, p_values

SINGLE = "(levels of one case)"
NAMED = ["column", "level", "cases", "sets", "variables", "too_small"]
TABLE = [*NAMED, *columns_of(*FIGURES)]
#: Of this table, what is shown of the coding, and of flags, review and given labels.
OF_CODING, OF_CHECKING = (NAMED + columns_of(*some) for some in (TESTED, OF_REVIEW))
TESTS = ["column", "level", "measure", "cases", "value", "rest", *columns_of("difference"), "p", "p_holm"]
BY_VARIABLE = ["column", "level", "variable", "measure", "cases", "positives", "value", "rest", "p", "p_holm"]


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
    known = sizes[sizes.index != NOT_KNOWN]
    for level in known.index[known > 1]:
        yield {"column": column, "level": level} | _figures(coded, (cells == level).to_numpy())
    for level, those in ((SINGLE, cells.isin(known.index[known == 1])), (NOT_KNOWN, cells == NOT_KNOWN)):
        if those.any():
            yield {"column": column, "level": level} | _counted(coded, those.to_numpy())


def _counted(coded: Coded, rows: np.ndarray) -> dict:
    """What is said of cases that have no figures."""
    return {"cases": int(rows.sum()), "sets": coded.sets[rows].nunique(), "variables": 0, "too_small": True}


def _figures(coded: Coded, rows: np.ndarray) -> dict:
    row = _counted(coded, rows)
    if row["cases"] < LEAST:
        return row
    row |= {"variables": int(coded.enough(rows).sum()), "too_small": coded.too_small(rows)}
    counts = {name: coded.drawn(rows, name, kept) for name, kept in coded.chosen(rows).items()}
    draw(list(counts.values()))
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
        (`sensitivity`, `specificity`, `calibration_gap`; of a categorical variable `accuracy`) with enough
        labels on both sides: `cases` and `positives` of the level (of a categorical variable null), `value`,
        `rest`, `p`, `p_holm`; p is NaN where the level was not tested.
    """
    rows: tuple[list[dict], list[dict]] = [], []
    for column in coded.groups:
        for found, of_column in zip(rows, _differences(coded, column, seed)):
            found += of_column
    tables = [in_table(found, names) for found, names in zip(rows, (TESTS, BY_VARIABLE))]
    floats = {"value": float, "rest": float, "p": float}
    means, each = (t.astype(floats).assign(p_holm=holm(t["p"].astype(float))) for t in tables)
    return means, each.astype({"positives": "Int64"})


def differing(tests: pd.DataFrame) -> pd.DataFrame:
    """The rows of such a table that differ after correction, the least p first."""
    return tests[tests["p_holm"] < ALPHA].sort_values("p").reset_index(drop=True)


def _differences(coded: Coded, column: str, seed: int) -> tuple[list[dict], list[dict]]:
    cells = coded.groups[column].to_numpy()
    known = cells != NOT_KNOWN
    numbers, levels = pd.factorize(cells[known], sort=True)
    own = {n: cells == level for n, level in enumerate(levels) if (cells == level).sum() >= LEAST}
    pairs = {n: Pair(coded, rows, known & ~rows) for n, rows in own.items() if (known & ~rows).sum() >= LEAST}
    tested = [n for n, pair in pairs.items() if not (coded.too_small(pair.own) or coded.too_small(pair.rest))]
    if len(levels) == 2:
        tested = sorted(tested, key=lambda n: own[n].sum())[:1]
    whole = [coded.counts[name] for name in TESTED]
    hits, errors, given = (
        np.hstack([getattr(c, x)[known] for c in whole]) for x in ("hits", "errors", "given")
    )
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
        kept = {name: variables for name, variables in self.kept.items() if variables.any()}
        sides = {n: [self.coded.drawn(rows, n, v) for rows in (self.own, self.rest)] for n, v in kept.items()}
        draw([counts for both in sides.values() for counts in both])
        for name, (own, rest) in sides.items():
            row = {"measure": name, "cases": int(self.own.sum()), "p": p[TESTED.index(name)]}
            row |= {"value": own.average_f1, "rest": rest.average_f1}
            yield row | in_columns("difference", paired_gain(own, rest))

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
