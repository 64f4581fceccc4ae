"""Estimates as people read them: the three ways side by side."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE, RATIOS
from narrutils.report.tables import p_value

WAYS = {
    HUMAN: "human codes alone",
    BOTH: "machine corrected by human",
    NAIVE: "machine alone: NOT VALID",
}
MEASURES = {
    "prevalence": "prevalence",
    "difference": "difference",
    "risk_ratio": "risk ratio",
    "odds_ratio": "odds ratio",
    "adjusted_odds_ratio": "odds ratio, adjusted",
}
READ_IT = (
    "Intervals are of 95 %. Human codes alone, and machine codes corrected by them, are both valid; the",
    "second is the more precise where the machine is any good. Machine codes alone are as wrong as the",
    "machine is, and their intervals do not say so: they stand here for comparison.",
)
KEYS = ["variable", "class", "group", "level", "reference", "measure"]


def side_by_side(table: pd.DataFrame, measures: Collection[str] = tuple(MEASURES)) -> pd.DataFrame:
    """A row a number, the three ways beside each other as text, with p where something is compared.

    Args:
        table: as of `findings.estimates.three_ways.estimate_all`.
    """
    rows, table = [], table[table["measure"].isin(measures)]
    for key, ways in table.groupby(KEYS, sort=False):
        told = dict(zip(KEYS, key))
        of = ways.set_index("way")
        counts = [_whole(of[name].iloc[0]) for name in ("human_codes", "cases")]
        row = {
            "variable": of_class(told),
            "what": _what(told),
            "human codes": " of ".join(filter(None, counts)),
        }
        rows.append(row | {title: _cell(of.loc[way], told["measure"]) for way, title in WAYS.items()})
    return pd.DataFrame(rows)


def lines(table: pd.DataFrame) -> Iterator[str]:
    """`side_by_side` as lines for a terminal, a block a variable."""
    shown = side_by_side(table)
    for name, rows in shown.groupby("variable", sort=False):
        rows = rows.drop(columns="variable").rename(columns={"what": name})
        widths = [max(map(len, [column, *rows[column]])) for column in rows]
        for cells in (rows.columns, *rows.itertuples(index=False)):
            yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
        yield ""
    yield from READ_IT


def of_class(told: Mapping) -> str:
    """A variable, with the class that is asked about where it has several: `Place = 2`."""
    return f"{told['variable']} = {told['class']}" if told["class"] else told["variable"]


def _what(told: dict) -> str:
    measure = MEASURES[told["measure"]]
    if not told["group"]:
        return f"{measure}, all cases"
    level = f"{told['group']} {told['level']}"
    return f"{measure}, {level}" + (f" against {told['reference']}" if told["reference"] else "")


def _whole(count: float) -> str:
    return "" if pd.isna(count) else f"{int(count)}"


def _cell(row: pd.Series, measure: str) -> str:
    """`11.6 % [8.2, 16.2]`, `2.31 [1.20, 4.45] p 0.012`, or why there is nothing."""
    if pd.isna(row["value"]):
        return f"({row['reason']})"
    numbers = [row["value"], row["value_low"], row["value_high"]]
    if measure in RATIOS:
        value, low, high = (f"{x:.2f}" for x in numbers)
    else:
        value, low, high = (f"{100 * x:z.1f}".replace("-", "−") for x in numbers)
        value += " %" if measure == "prevalence" else " points"
    p, name = (row["p"], "p") if pd.isna(row["p_adjusted"]) else (row["p_adjusted"], "corrected p")
    said = "" if pd.isna(p) else f" {name} {p_value(p)}"
    further = row["further_codes"]
    more = "" if pd.isna(further) else f", {further:.0f} further codes"
    more = ", not even all cases would do" if further == np.inf else more
    return f"{value} [{low}, {high}]{said}{more}"


def times_as_wide(row: pd.Series, other: pd.Series) -> float:
    """How many times as wide the interval of the other ratio is, by the logarithms of the bounds."""
    wide = [np.log(r["value_high"] / r["value_low"]) for r in (other, row)]
    return float(wide[0] / wide[1])
