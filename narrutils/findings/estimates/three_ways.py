"""Prevalences, differences, risk ratios and odds ratios, each in three ways, as one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from narrutils.data.schema import Variable
from narrutils.errors import InputError, did_you_mean
from narrutils.evaluation.intervals import Interval, columns_of, in_columns, in_table
from narrutils.findings.coded import LEAST
from narrutils.findings.estimates import powered
from narrutils.findings.estimates.population import Population
from narrutils.findings.estimates.powered import Material, Powered, coefficients, held, p_value, share
from narrutils.findings.estimates.sampling import further

HUMAN, BOTH, NAIVE = (
    "human codes alone",
    "machine codes corrected by human codes",
    "machine codes alone: biased, for comparison",
)
WAYS = (HUMAN, BOTH, NAIVE)
#: Of the group columns that are compared unless some are named: how many, and of how many levels each.
MOST_COLUMNS, MOST_LEVELS = 4, 12
CONTRASTS = {
    "difference": powered.difference,
    "risk_ratio": powered.risk_ratio,
    "odds_ratio": powered.odds_ratio,
}
RATIOS = ("risk_ratio", "odds_ratio", "adjusted_odds_ratio")
COLUMNS = [
    *("variable", "class", "group", "level", "reference", "measure", "way"),
    *columns_of("value"),
    *("p", "p_adjusted", "human_codes", "cases", "machine_weight", "further_codes", "reason"),
]
#: Ways of correcting several comparisons, as statsmodels' multipletests knows them.
ADJUST = ("holm", "bonferroni", "sidak", "holm-sidak", "simes-hochberg", "hommel", "fdr_bh", "fdr_by")


def estimate_all(
    population: Population,
    variables: Sequence[str] = (),
    by: Mapping[str, str] | None = None,
    adjust: str = "",
    width: float = 0.0,
) -> pd.DataFrame:
    """The table of all that is asked of a population.

    Args:
        variables: names; empty: all. A categorical one is asked about class by class.
        by: group column -> its level of reference; "" takes the first by alphabet that has codes enough.
            More than one also give odds ratios adjusted for each other.
        adjust: one of `ADJUST`, over all comparisons of a measure in one way; empty: not corrected.
        width: of the interval of a prevalence, for which further human codes are counted; 0: not.

    Returns:
        `COLUMNS`, one row a number in one of three ways (`HUMAN`, `BOTH`, `NAIVE`); `value` with its 95 %
        interval, missing where `reason` says why.
    """
    schema, rows, levels = population.schema, [], _Levels(population.groups)
    for name in variables or schema.names:
        variable = schema[name]
        for code in (1,) if variable.is_binary else variable.codes:
            rows += _Question(population, levels, variable, code, by or {}, width).rows()
    table = in_table(rows, COLUMNS).astype(dict.fromkeys(["p", "p_adjusted", "machine_weight"], float))
    table["further_codes"] = table["further_codes"].astype(float)
    return _corrected(table, adjust)


class _Levels:
    """Who is of which level of a group column; found once, as every question asks it many times."""

    def __init__(self, groups: pd.DataFrame):
        self.groups = groups
        self.of, self.rows = cache(self._of), cache(self._rows)

    def _of(self, column: str) -> list[str]:
        """Levels of more than one case: whoever stands alone is not named."""
        cases = self.groups[column].value_counts()
        return sorted(cases.index[cases > 1])

    def _rows(self, column: str, level: str) -> np.ndarray:
        return self.groups[column].eq(level).to_numpy()


class _Question:
    """One code of a variable: its rows of the table."""

    def __init__(
        self,
        population: Population,
        levels: _Levels,
        variable: Variable,
        code: int,
        by: Mapping,
        width: float,
    ):
        self.told = {"variable": variable.name, "class": "" if variable.is_binary else str(code)}
        self.groups, self.by, self.width = population.groups, by, width
        self._levels, self._rows = levels.of, levels.rows
        self.material = population.material(variable, code)
        self.naive = self.material.naive
        self.everyone = np.ones(len(self.material.human), dtype=bool)
        self.references = {column: self._reference(column) for column in by}

    def rows(self) -> list[dict]:
        rows = self._prevalence(self.everyone)
        for column in self.by:
            rows += self._by(column)
        return rows + (self._together() if len(self.by) > 1 else [])

    def _by(self, column: str) -> list[dict]:
        """Prevalence of each level, and each compared with the reference."""
        rows = []
        for level in self._levels(column):
            rows += self._prevalence(self._rows(column, level), group=column, level=level or "(not known)")
        reference = self.references[column]
        for level in self._levels(column):
            if level not in ("", reference) and not self._few(self._rows(column, level)):
                rows += self._contrasts(column, level, reference)
        return rows

    def _reference(self, column: str) -> str:
        if self.by[column]:
            return self.by[column]
        known = [level for level in self._levels(column) if level]
        return next((x for x in known if not self._few(self._rows(column, x))), known[0] if known else "")

    def _few(self, rows: np.ndarray) -> str:
        """Why nothing is said of some rows; "" if they are enough."""
        coded = np.unique(self.material.clusters[rows & self.material.coded])
        if rows.sum() < LEAST:
            return f"fewer than {LEAST} cases"
        return f"fewer than {LEAST} human codes" if len(coded) < LEAST else ""

    def _prevalence(self, rows: np.ndarray, **where: str) -> list[dict]:
        told = {**where, "measure": "prevalence", **self._counts(rows)}
        few = "not known" if where.get("level") == "(not known)" else self._few(rows)
        if few:
            return [self._row(told, way, reason=few) for way in WAYS]
        made = []
        for way, (part,) in self._ways(share, rows).items():
            found, weight = held([part], powered.prevalence, omega=way == BOTH)
            row = self._row(told, way, found, weight)
            if self.width and way != NAIVE:
                row["further_codes"] = further(part, weight, self.width, told["human_codes"], told["cases"])
            made.append(row)
        return made

    def _ways(self, make: Callable[..., Powered], *rows: np.ndarray) -> dict[str, list[Powered]]:
        """What is made of some rows, for each way; the first two differ in ω alone."""
        both, naive = ([make(material, x) for x in rows] for material in (self.material, self.naive))
        return {HUMAN: both, BOTH: both, NAIVE: naive}

    def _contrasts(self, column: str, level: str, reference: str) -> list[dict]:
        pair = [self._rows(column, x) for x in (level, reference)]
        told = {"group": column, "level": level, "reference": reference}
        if few := self._few(pair[1]):
            measures = [told | {"measure": measure} for measure in CONTRASTS]
            return [self._row(t, way, reason=f"{reference}: {few}") for t in measures for way in WAYS]
        told |= self._counts(pair[0] | pair[1])
        ways = self._ways(share, *pair).items()
        return [
            self._contrast(told | {"measure": measure}, way, parts, make)
            for measure, make in CONTRASTS.items()
            for way, parts in ways
        ]

    def _contrast(self, told: dict, way: str, parts: list[Powered], make: Callable) -> dict:
        ratio = told["measure"] in RATIOS
        found, weight = held(parts, make, ratio, omega=way == BOTH)
        if found is None:
            return self._row(told, way, reason="a level has no case with it, or no case without it")
        return self._row(told, way, found, weight) | {"p": p_value(found, 1.0 if ratio else 0.0)}

    def _together(self) -> list[dict]:
        """Odds ratios of all columns in one regression, of the cases whose levels all have codes enough."""
        levels = {c: [x for x in self._levels(c) if x and not self._few(self._rows(c, x))] for c in self.by}
        rows = np.all([self.groups[c].isin(levels[c]) for c in self.by], axis=0)
        places = [(c, x) for c in self.by for x in levels[c] if x != self.references[c]]
        lacking = any(self.references[c] not in known for c, known in levels.items())
        few = lacking or not places or self._few(rows)
        design = np.column_stack([self.everyone, *(self._rows(*place) for place in places)]).astype(float)
        tried = {id(m): _tried(m, design, rows) for m in (self.material, self.naive) if not few}
        made = []
        for way, material in {HUMAN: self.material, BOTH: self.material, NAIVE: self.naive}.items():
            for n, (column, level) in enumerate(places, 1):
                told = {"group": column, "level": level, "reference": self.references[column]}
                told |= {"measure": "adjusted_odds_ratio", **self._counts(rows)}
                if (parts := tried.get(id(material))) is None:
                    made.append(self._row(told, way, reason="too few human codes for so many levels"))
                else:
                    made.append(self._contrast(told, way, [parts[n]], powered.adjusted_odds_ratio))
        return made

    def _counts(self, rows: np.ndarray) -> dict[str, int | None]:
        """How many cases there are, and with a human code; not told of a handful."""
        if rows.sum() < LEAST:
            return {"human_codes": None, "cases": None}
        return {"human_codes": int((rows & self.material.coded).sum()), "cases": int(rows.sum())}

    def _row(
        self,
        told: dict,
        way: str,
        found: Interval | None = None,
        weight: float | None = None,
        reason: str = "",
    ) -> dict:
        blank = dict.fromkeys(("group", "level", "reference"), "")
        more = {"machine_weight": weight if way == BOTH else None, "reason": reason}
        return {**self.told, **blank, **told, "way": way, **in_columns("value", found), **more}


def _tried(material: Material, design: np.ndarray, rows: np.ndarray) -> list[Powered] | None:
    try:
        return coefficients(material, design, rows)
    except ValueError:
        return None


def _corrected(table: pd.DataFrame, way: str) -> pd.DataFrame:
    """The table with `p_adjusted`, over all comparisons of a measure in one way."""
    if not way:
        return table
    from statsmodels.stats.multitest import multipletests

    for _, rows in table[table["p"].notna()].groupby(["measure", "way"]):
        table.loc[rows.index, "p_adjusted"] = multipletests(rows["p"], method=way)[1]
    return table


def planted(population: Population, truth: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """What each number of a table would be if people coded all cases and made no error, in its order.

    Args:
        truth: true codes of all cases, indexed by uid.
    """
    known = replace(population, human=truth.loc[population.human.index].astype("Int64"))
    by = {c: next(iter(r[r != ""]), "") for c, r in table[table["group"] != ""].groupby("group")["reference"]}
    keys = ["variable", "class", "group", "level", "measure"]
    found = estimate_all(known, list(table["variable"].unique()), by)
    values = found[found["way"] == HUMAN].set_index(keys)["value"]
    return pd.Series(values.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy(), table.index)


def choose(population: Population, odds_of: str = "", by: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """The variable whose odds ratios are shown, and group columns with "" for their reference.

    Args:
        odds_of: a variable; empty: the binary one with most positives, or the first of all.
        by: group columns; empty: the first `MOST_COLUMNS` that have two levels or more, and few, with
            human codes enough.

    Raises:
        InputError: there is no such variable or column.
    """
    schema, positives = population.schema, population.human.eq(1).sum()
    if odds_of and odds_of not in schema.names:
        near = did_you_mean(odds_of, schema.names, f"there are {', '.join(schema.names)}")
        raise InputError(f"findings: odds_of is {odds_of}, no variable of schema {schema.name}; {near}")
    names = [v.name for v in schema.binary] or schema.names
    check_reference(population.groups, dict.fromkeys(by, ""), "findings: by")
    coded = population.groups[population.human.notna().any(axis=1)]
    columns = [column for column in coded if column not in schema.keep_together]
    counts = {column: coded[column][coded[column] != ""].value_counts() for column in columns}
    usable = [c for c, n in counts.items() if len(n) <= MOST_LEVELS and (n >= LEAST).sum() > 1]
    chosen = odds_of or max(names, key=lambda name: positives[name])
    return chosen, dict.fromkeys(by or usable[:MOST_COLUMNS], "")


def check_reference(groups: pd.DataFrame, by: Mapping[str, str], asked: str = "--by") -> None:
    """That the columns and levels that are named are there.

    Args:
        asked: how people call what names them.

    Raises:
        InputError: one is not.
    """
    for column, reference in by.items():
        if column not in groups:
            there = f"there are {', '.join(groups)}" if len(groups.columns) else "add it to their table"
            near = did_you_mean(column, groups, there)
            raise InputError(f"{asked} {column}: the cases have no such column; {near}")
        levels = sorted(set(groups[column]) - {""})
        if reference and reference not in levels:
            near = did_you_mean(reference, levels, f"there are {', '.join(levels)}")
            raise InputError(f"{asked} {column}={reference}: no such level; {near}")
