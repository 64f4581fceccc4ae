"""The page of findings: what the run's tables under `findings/` say, with charts beside the figures.

Each part is None or empty where the run has not written it, and the page leaves it out.
"""

from collections.abc import Mapping

import pandas as pd

from narrutils.data.run import Run
from narrutils.report.charts import Axis, Mark, strip
from narrutils.report.tables import figure, interval, percent

FOLDER = "findings"
UNIT = Axis(0.0, 1.0, (0.0, 0.5, 1.0))
AROUND = Axis(-0.25, 0.25, (-0.25, 0.0, 0.25))
ALPHA = 0.05  # p values below it, after correction, are shown as differences

#: What each measure of a group is called where people read it.
MEASURES = {
    "average_f1": "average F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_gap": "said − came",
    "accuracy": "accuracy",
}


def read(run: Run, name: str) -> pd.DataFrame | None:
    """A table of findings, or None where the run has none of it."""
    path = f"{FOLDER}/{name}.parquet"
    return run.read(path) if run.has(path) else None


def groups(run: Run) -> list[dict]:
    """A block for each group column: its levels, a row each."""
    table = read(run, "groups")
    if table is None or table.empty:
        return []
    known = table["label_sensitivity"].notna().any()
    return [
        {"column": column, "known": known, "levels": [_level(row) for row in part.to_dict("records")]}
        for column, part in table.groupby("column", sort=False)
    ]


def _level(row: Mapping) -> dict:
    axes = {"average_f1": UNIT, "sensitivity": UNIT, "specificity": UNIT, "calibration_gap": AROUND}
    cells = {name: _cell(row, name, axis) for name, axis in axes.items()}
    shares = {name: percent(row[name]) for name in ("flagged", "flag_precision", "label_sensitivity")}
    few = pd.isna(row["sensitivity"]) and pd.isna(row["average_f1"])
    return {
        "level": row["level"] or "not known",
        "cases": f"{row['cases']:,}",
        "few": few,
        "too_small": bool(row["too_small"]) and not few,
        "cells": cells,
    } | shares


def _cell(row: Mapping, name: str, axis: Axis) -> dict:
    """A figure with its interval and its place on an axis; empty where it is not known."""
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return {"value": "", "interval": "", "strip": ""}
    sign = "+" if axis.low < 0 else ""
    ends = (None, None) if pd.isna(low) else (low, high)
    shape = "diamond" if sign else "dot"
    return {
        "value": figure(value, sign),
        "interval": interval(low, high, sign),
        "strip": strip(axis, [Mark(value, shape, *ends)]),
    }


def differing(run: Run) -> tuple[list[str], int]:
    """Groups and variables that differ for certain, a line each; and how many comparisons were made."""
    lines, tests = [], 0
    for name in ("group_tests", "by_variable"):
        table = read(run, name)
        if table is not None:
            tests += int(table["p"].notna().sum())
            lines += [_difference(row) for row in table[table["p_holm"] < ALPHA].to_dict("records")]
    return lines, tests


def _difference(row: Mapping) -> str:
    sign = "+" if row["measure"] == "calibration_gap" else ""
    of = f" of {row['variable']}" if "variable" in row else ""
    values = f"{figure(row['value'], sign)}, elsewhere {figure(row['rest'], sign)}"
    return f"{row['column']} {row['level']}: {MEASURES[row['measure']]}{of} {values} (p = {p_value(row['p_holm'])})"


def p_value(p: float) -> str:
    """`0.012`, or `below 0.001`."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def sites(run: Run) -> list[dict]:
    """A row a site: what its own labels are worth on its own cases, and elsewhere."""
    table = read(run, "sites")
    if table is None or table.empty:
        return []
    return [
        {
            "site": row["level"],
            "cases": f"{row['cases']:,}",
            "own": _gain(row, "own"),
            "elsewhere": _gain(row, "elsewhere"),
            "difference": _gain(row, "difference"),
            "p": p_value(row["p_holm"]),
            "differs": row["p_holm"] < ALPHA,
        }
        for row in table.to_dict("records")
    ]


def _gain(row: Mapping, name: str) -> tuple[str, str]:
    """In thousandths of the Brier score, and the interval."""
    value, low, high = (1000 * row[name + end] for end in ("", "_low", "_high"))
    return f"{value:+.1f}".replace("-", "−"), f"[{low:+.1f}, {high:+.1f}]".replace("-", "−")
