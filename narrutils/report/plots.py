"""The figures of the notebooks: tables in, matplotlib axes or figures out.

One palette (Okabe and Ito's, told apart by colour-blind readers), thin lines, no
chart junk; every axis says what it shows and in which unit.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from narrutils.evaluation.ladder import select
from narrutils.report.say import WHERE

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A8A8A"
PALETTE = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9", "#000000")

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 110,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # two $ in a title are money
}
#: What pandas shows in a notebook is text: two $ are no formula.
PLAIN = {"display.html.use_mathjax": False, "styler.html.mathjax": False}


def use_style() -> None:
    """Set the project's look for every figure of a notebook, with twice the pixels for print."""
    sns.set_theme(style="ticks", rc=STYLE, palette=PALETTE)
    for option, value in PLAIN.items():
        pd.set_option(option, value)
    shell = get_ipython()
    if hasattr(shell, "kernel"):  # a notebook's, which alone shows figures
        shell.run_line_magic("config", "InlineBackend.figure_format = 'retina'")


def _rows(n: int, least: float = 2.0) -> float:
    """Height in inches of a chart with n labelled rows."""
    return max(least, 0.8 + 0.22 * n)


def lengths(groups: dict[str, pd.DataFrame], titles: dict[str, str]) -> Figure:
    """Word counts of each narrative, one panel a text column, one line a group of cases.

    Args:
        groups: name -> `describe.word_counts`.
        titles: text column -> its title.
    """
    figure, axes = plt.subplots(1, len(titles), figsize=(4.2 * len(titles), 2.8), squeeze=False)
    for axis, (column, title) in zip(axes[0], titles.items()):
        longest = max(words[column].quantile(0.99) for words in groups.values())
        bins = np.linspace(0, max(longest, 1), 40)
        for (name, words), colour in zip(groups.items(), PALETTE):
            axis.hist(
                words[column].clip(upper=bins[-1]),
                bins=bins,
                density=True,
                histtype="step",
                color=colour,
                lw=1.5,
                label=name,
            )
        axis.set(title=title, xlabel="words (99th percentile and above in the last bar)", yticks=[])
    axes[0, 0].set_ylabel("density")
    axes[0, -1].legend()
    figure.tight_layout()
    return figure


def prevalence(table: pd.DataFrame) -> Axes:
    """Share of cases of each binary variable and class, from `describe.prevalence`."""
    names = [f"{v}: {c}" if c else v for v, c in zip(table["variable"], table["class"])]
    _, axis = plt.subplots(figsize=(7, _rows(len(table))))
    colours = [GREY if c else BLUE for c in table["class"]]
    axis.barh(names, table["share"], color=colours, height=0.7)
    axis.invert_yaxis()
    axis.set(
        xlabel="share of cases", title="Prevalence (grey: classes of a categorical variable)", xlim=(0, 1)
    )
    axis.margins(y=0.01)
    return axis


def co_occurrence(table: pd.DataFrame) -> Axes:
    """Phi coefficients of each pair of binary variables, lower triangle; at least two variables."""
    side = _rows(len(table), 3)
    _, axis = plt.subplots(figsize=(side + 1.6, side))
    upper = np.triu(np.ones(table.shape, dtype=bool))
    sns.heatmap(
        table, mask=upper, cmap="vlag", center=0, vmin=-0.8, vmax=0.8, square=True,
        cbar_kws={"label": "phi coefficient", "shrink": 0.6}, ax=axis,
    )  # fmt: skip
    axis.set_title("Which variables occur together")
    return axis


def overlap(values: pd.Series, titles: list[str]) -> Axes:
    """How much of their wording the two narratives of a case share, from `describe.overlap`."""
    _, axis = plt.subplots(figsize=(6, 2.5))
    axis.hist(values, bins=np.linspace(0, 1, 41), color=BLUE)
    axis.set(xlabel="Jaccard similarity of the word sets", ylabel="cases", title=" and ".join(titles))
    return axis


def variable_scores(table: pd.DataFrame, title: str) -> Axes:
    """Each variable's score with its 95 % interval, from `scores.score_table`."""
    table = table.sort_values("score")
    _, axis = plt.subplots(figsize=(6.5, _rows(len(table))))
    for metric, colour in (("F1", BLUE), ("accuracy", ORANGE)):
        rows = table[table["metric"] == metric]
        spread = np.abs(rows[["low", "high"]].to_numpy().T - rows["score"].to_numpy())
        places = [list(table.index).index(name) for name in rows.index]
        axis.errorbar(rows["score"], places, xerr=spread, fmt="o", ms=4, lw=1, color=colour, label=metric)
    axis.set_yticks(range(len(table)), table.index)
    axis.set(xlim=(-0.02, 1.02), xlabel="score with 95 % interval", title=title)
    axis.grid(axis="x", lw=0.4)
    axis.legend(loc="lower right")
    return axis


#: Panels of `by_group`: figure -> what stands under its axis.
PANELS = {
    "average_f1": "average F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_gap": "said − came",
}


def by_group(table: pd.DataFrame) -> Figure:
    """Each level's figures with their 95 % intervals, a panel a figure, from `groups.table`.

    Levels without figures are left out; open circles mark those that are too small.
    """
    rows = table[table["flagged"].notna()].reset_index(drop=True)  # a share that each level has
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, _rows(len(rows))), sharey=True)
    for axis, (name, title) in zip(axes, PANELS.items()):
        spread = np.abs(rows[[f"{name}_low", f"{name}_high"]].to_numpy().T - rows[name].to_numpy())
        axis.errorbar(rows[name], rows.index, xerr=spread, fmt="none", ecolor=BLUE, lw=1.2)
        faces = ["white" if small else BLUE for small in rows["too_small"]]
        axis.scatter(rows[name], rows.index, s=22, c=faces, edgecolors=BLUE, zorder=3)
        axis.set(xlabel=title)
        axis.grid(axis="x", lw=0.4)
    axes[-1].axvline(0, color="0.4", lw=0.8, ls="--")
    ends = np.flatnonzero(rows["column"].ne(rows["column"].shift(-1)))[:-1]
    for axis in axes:
        for end in ends:
            axis.axhline(end + 0.5, color="0.8", lw=0.6)
    axes[0].set_yticks(rows.index, [f"{c}: {level}" for c, level in zip(rows["column"], rows["level"])])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.tight_layout()
    return figure


def counts_by_reason(table: pd.DataFrame) -> Axes:
    """Generated rows by what screening made of them, one bar a pool.

    Args:
        table: a row a pool, a column a reason (`kept` first), counts.
    """
    _, axis = plt.subplots(figsize=(7, _rows(2 * len(table))))
    colours = [BLUE, *sns.color_palette("Oranges_d", table.shape[1] - 1)] if table.shape[1] > 1 else [BLUE]
    table.plot.barh(stacked=True, ax=axis, color=colours, width=0.6)
    axis.set(xlabel="rows", ylabel="", title="What screening kept, and why it refused the rest")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axis


def landscape(table: pd.DataFrame) -> Axes:
    """Kept rows beside official cases, from `describe.landscape`; like texts lie together.

    A pool has a colour and a mark of its own, so that the picture reads without colour.
    """
    _, axis = plt.subplots(figsize=(6.5, 4.5))
    official = table[table["group"] == "official"]
    axis.scatter(official["x"], official["y"], s=9, color="#C4C4C4", lw=0, label="official")
    generated = table[table["group"] != "official"]
    refused = generated[~generated["kept"]]
    if len(refused):
        axis.scatter(refused["x"], refused["y"], s=16, marker="x", color="black", alpha=0.35, lw=0.8,
                     label="refused")  # fmt: skip
    pools = generated[generated["kept"]].groupby("group")
    for (name, rows), colour, mark in zip(pools, PALETTE * 9, "os^DvP*<>" * 9):
        axis.scatter(rows["x"], rows["y"], s=20, marker=mark, facecolors="none", edgecolors=colour, lw=0.9,
                     label=f"{name}, kept")  # fmt: skip
    axis.set(
        xlabel="first component", ylabel="second component", title="Generated rows beside official cases"
    )
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=1.3)
    return axis


def flips(table: pd.DataFrame) -> Axes:
    """Changed labels of each variable; split into right and wrong where the truth is known."""
    table = table[table["changed"] > 0].sort_values("changed")
    _, axis = plt.subplots(figsize=(6.5, _rows(len(table))))
    known = "found" in table.columns
    axis.barh(table.index, table["found"] if known else table["changed"], color=GREEN if known else BLUE,
              label="agrees with the truth" if known else "changed")  # fmt: skip
    if known:
        wrong = table["changed"] - table["found"]
        axis.barh(table.index, wrong, left=table["found"], color=ORANGE, label="does not")
    axis.set(xlabel="labels changed", title="Label correction")
    axis.legend(loc="lower right")
    return axis


def learning_curves(histories: dict[str, list[dict]], title: str) -> Axes:
    """Training loss by epoch, one line a model; open circles are epochs of a phase before the last."""
    _, axis = plt.subplots(figsize=(6, 2.8))
    for (name, history), colour in zip(histories.items(), PALETTE * 9):
        epochs, losses = [h["epoch"] for h in history], [h["loss"] for h in history]
        axis.plot(epochs, losses, color=colour, lw=1.2, label=name)
        faces = [colour if h["phase"] == history[-1]["phase"] else "white" for h in history]
        axis.scatter(epochs, losses, s=22, facecolors=faces, edgecolors=colour, zorder=3)
    axis.set(xlabel="epoch", ylabel="training loss", title=title)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    return axis


def ladder(
    entries: list[dict], split: str = "oof", against: str = "given", thresholds: str = "cross_fitted"
) -> Axes:
    """Average F1 of each step with its 95 % interval, from the content of `ladder.json`."""
    rows = select(entries, split, against, thresholds)
    _, axis = plt.subplots(figsize=(7, _rows(len(rows))))
    scores = np.array([e["average_f1"] for e in rows])
    spread = np.array([[e["average_f1"] - e["ci_low"], e["ci_high"] - e["average_f1"]] for e in rows]).T
    axis.errorbar(scores, range(len(rows)), xerr=spread, fmt="o", color=BLUE, ms=5, lw=1.4)
    axis.set_yticks(range(len(rows)), [e["step"] for e in rows])
    axis.invert_yaxis()
    axis.margins(y=0.15)
    axis.grid(axis="x", lw=0.4)
    axis.set(xlabel="average F1 with 95 % interval")
    return axis


def student(against: pd.DataFrame, speed: pd.DataFrame) -> Axes:
    """A student and its teacher: what they score, and how long they take for it.

    Args:
        against: of `taught.held_against`; `speed`: of `timing.measure`.
    """
    axis, takes = plt.subplots(figsize=(6, 2.8))[1], 1000 / speed.set_index("who")["rows_per_second"]
    marks = ((BLUE, "o", 0.92), (ORANGE, "D", 1.08))  # side by side: the two splits take the same time
    for row, (color, shape, aside) in zip(against.to_dict("records"), marks):
        scores = np.array([[row[f"{who}{end}"] for end in ("", "_low", "_high")] for who in takes.index])
        spread = np.abs(scores[:, 1:].T - scores[:, 0])
        style = {"fmt": shape, "color": color, "ms": 5, "lw": 1.4, "label": WHERE[row["split"]]}
        axis.errorbar(takes * aside, scores[:, 0], yerr=spread, **style)
    for who, value in takes.items():
        axis.annotate(who, (value, axis.get_ylim()[1]), ha="center", fontsize=8, color="0.4")
    axis.set(xscale="log", xlabel="seconds for 1,000 cases", ylabel="average F1 with 95 % interval")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(x=0.2)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return axis


def flag_curve(flagging: dict, axis: Axes | None = None) -> Axes:
    """Accuracy of the codes of the cases that are not flagged, from the content of `flags.json`."""
    axis = axis or plt.subplots(figsize=(6, 2.8))[1]
    points = [p for p in flagging["curve"] if p["accuracy"] is not None]
    axis.plot([p["flagged"] for p in points], [p["accuracy"] for p in points], color=BLUE, marker="o", ms=3)
    axis.scatter([flagging["share"]], [flagging["accuracy"]], color=ORANGE, zorder=3, label="chosen")
    axis.axhline(flagging["accuracy_of_all"], color="0.6", lw=0.8, ls="--", label="flagged at random")
    axis.set(xlabel="share of cases flagged", ylabel="accuracy of the rest", title="Flags, out of fold")
    axis.legend(loc="upper left")
    return axis
