"""Odds ratios in three ways, one below the other, on an axis of ratios."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE
from narrutils.report.findings.estimated import WAYS
from narrutils.report.plots import GREEN, ORANGE

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
#: Mark, colour and line of each way: told apart in grey and in print.
MARKS = {HUMAN: ("o", "0.45", "-"), BOTH: ("s", "black", "-"), NAIVE: ("x", ORANGE, ":")}


def forest(table: pd.DataFrame, variable: str, truth: pd.Series | None = None) -> Axes | None:
    """Odds ratios of a variable in three ways, each with its interval; None where there is none.

    Args:
        table: as of `findings.estimates.three_ways.estimate_all`.
        truth: the planted value of each row, if it is known.
    """
    rows = table[(table["variable"] == variable) & (table["measure"] == "odds_ratio")]
    rows = rows[rows["value"].notna()]
    if rows.empty:
        return None
    names = list(dict.fromkeys(map(compared, rows.to_dict("records"))))
    _, axis = plt.subplots(figsize=(7, 1.1 + 0.5 * len(names)))
    for step, (way, (mark, colour, line)) in zip((-0.22, 0.0, 0.22), MARKS.items()):
        of = rows[rows["way"] == way]
        places = [names.index(compared(row)) + step for row in of.to_dict("records")]
        axis.hlines(places, of["value_low"], of["value_high"], color=colour, linestyle=line, lw=1.4)
        axis.scatter(of["value"], places, marker=mark, color=colour, s=26, zorder=3, label=WAYS[way])
        if truth is not None and way == BOTH:
            axis.scatter(truth[of.index], places, marker="|", color=GREEN, s=420, lw=2, zorder=2,
                         label="planted truth of all cases")  # fmt: skip
    axis.axvline(1, color="0.6", lw=0.8)
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xticks([x for x in TICKS if low <= x <= high], minor=False)
    axis.set_xticks([], minor=True)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlabel="odds ratio with 95 % interval; 1: no difference", title=variable)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axis


def compared(row: dict) -> str:
    """Who is compared with whom."""
    of = f", class {row['class']}" if row["class"] else ""
    return f"{row['group']}: {row['level']} against {row['reference']}{of}"
