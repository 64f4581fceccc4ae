"""Numbers as people read them: a value with its interval, a duration, a whole table.

`evaluation` gives an interval in three columns, `x`, `x_low` and `x_high`; here it becomes one text.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

#: What a column of numbers is called where people read it, if not by its own name without underscores.
TITLES = {
    "average_f1": "average F1",
    "cross_fitted": "cross-fitted",
    "in_sample": "in-sample (optimistic)",
    "grid_in_sample": "grid, in-sample (optimistic)",
    "gap": "test − out-of-fold",
    "single": "single models − out-of-fold",
    "averaging": "gain of averaging",
    "sd": "sd over seeds",
    "over_first": "gain over the first",
    "n": "cases",
    "calibrated_error": "the same, calibrated",
    "counted": "cases it rests on",
    "reviewed": "share to review",
    "observed": "holds for",
    "previous_run": "from",
    "calibration_gap": "said − came",
    "flagged_wrong": "wrong among flagged",
    "unflagged_wrong": "wrong among others",
    "label_sensitivity": "true facts that are given",
    "own": "gain on its own cases",
    "elsewhere": "gain elsewhere",
    "p_holm": "p (Holm)",
    "own_p": "p, own (Holm)",
    "elsewhere_p": "p, elsewhere (Holm)",
    "variable_p": "p, variable (Holm)",
}
#: Differences, which carry a sign even where they are positive.
SIGNED = {
    "gain",
    "gain_on_test",
    "over_first",
    "gap",
    "single",
    "averaging",
    "difference",
    "calibration_gap",
    "own",
    "elsewhere",
}
#: p values: one that is 0.000 in three digits is below 0.001, and never 0.
P_VALUES = {"p", "p_holm", "own_p", "elsewhere_p", "variable_p"}


def figure(value: float | None, sign: str = "") -> str:
    """`0.012`, with sign "+" `+0.012`, or "" where it is not known."""
    return "" if pd.isna(value) else f"{value:{sign}z.3f}".replace("-", "−")


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """`[0.701, 0.744]`, or "" where it is not known."""
    return "" if pd.isna(low) or pd.isna(high) else f"[{figure(low, sign)}, {figure(high, sign)}]"


def with_interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """`0.722 [0.701, 0.744]`, or "" where it is not known."""
    return f"{figure(value, sign)} {interval(low, high, sign)}".strip()


def percent(share: float) -> str:
    """`86.7 %`, on one line, or "" where it is not known."""
    return "" if pd.isna(share) else f"{100 * share:.1f}\xa0%"


def duration(seconds: float) -> str:
    """`8 s`, `2 min 05 s`, `3 h 07 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A table of numbers as text: floats with three digits, an interval in one column with its value.

    What is not known is left out; where a column `optimistic` holds, the first column says so.
    """
    parts = {f"{name}{end}" for name in table for end in ("_low", "_high")} | {"optimistic"}
    names = [name for name in table if name not in parts]
    shown = pd.DataFrame({_title(name, table): _column(name, table) for name in names}, dtype=object)
    if "optimistic" in table:
        shown[shown.columns[0]] += [" (optimistic)" if flag else "" for flag in table["optimistic"]]
    return shown


def show(table: pd.DataFrame) -> "pd.io.formats.style.Styler":
    """`as_text` for a notebook."""
    return styled(as_text(table), index=False)


def styled(
    table: pd.DataFrame, digits: int = 3, formats: Mapping[str, str] | None = None, index: bool = True
) -> "pd.io.formats.style.Styler":
    """A table for a notebook, whose words and names stay text: a Styler alone would run markup in them.

    Args:
        digits: of floats; formats: column -> format of those that differ.
        index: whether the rows' names are shown.
    """
    shown = table.style.format(formats, precision=digits, na_rep="", escape="html")
    shown = shown.format_index(escape="html").format_index(escape="html", axis=1)
    return shown if index else shown.hide()


def _title(name: str, table: pd.DataFrame) -> str:
    title = TITLES.get(name, name.replace("_", " "))
    return f"{title} [95 % interval]" if f"{name}_low" in table else title


def _column(name: str, table: pd.DataFrame) -> Iterable[str]:
    values, sign = table[name], "+" if name in SIGNED else ""
    if f"{name}_low" in table:
        bounds = zip(values, table[f"{name}_low"], table[f"{name}_high"])
        return [with_interval(*of_row, sign) for of_row in bounds]
    return [p_value(value) if name in P_VALUES else _cell(value, sign) for value in values]


def p_value(value: float) -> str:
    """`0.012`, `< 0.001`, or "" where it is not known."""
    return "< 0.001" if value < 0.0005 else figure(value)


def _cell(value: object, sign: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value is pd.NA or isinstance(value, float):
        return figure(value, sign)
    return f"{value}"
