"""What trials gave, drawn: tables in, axes out."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from narrutils.report.plots import BLUE, GREY, ORANGE


def history(table: pd.DataFrame, axis: Axes | None = None) -> Axes:
    """Score of each trial of one study, in order, and the best so far; crosses at the foot were given up.

    Args:
        table: as of `tuning.trials.table`, whose first rows are the known settings.
    """
    axis = axis or plt.subplots(figsize=(6.5, 3))[1]
    numbers, scores = table["trial"] + 1, table["average_f1"]
    axis.step(numbers, scores.cummax().ffill(), where="post", color=GREY, lw=1.2, label="best so far")
    axis.scatter(numbers, scores, s=26, color=BLUE, zorder=3, label="over all folds")
    early = numbers[table["given_up"]]
    if len(early):  # their scores so far have thresholds of their own rows: no height here would be fair
        foot = axis.get_xaxis_transform()
        axis.scatter(
            early, [0.04] * len(early), s=26, marker="x", color=ORANGE, transform=foot, label="given up"
        )
    axis.set(xlabel="trial", ylabel="average F1, inner folds", title="Trials")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axis


def importance(shares: Mapping[str, float], axis: Axes | None = None) -> Axes:
    """What share of the variance of the score each setting explains, the largest on top."""
    axis = axis or plt.subplots(figsize=(6.5, 0.8 + 0.3 * len(shares)))[1]
    shares = pd.Series(shares).sort_values()
    axis.barh(shares.index, shares, color=BLUE, height=0.6)
    axis.set(xlabel="share of the variance of the score", xlim=(0, 1), title="Importance")
    return axis


def carried(candidates: pd.DataFrame, axis: Axes | None = None) -> Axes:
    """Scores by a proxy against those at full size, the first trial's setting as an open circle."""
    axis = axis or plt.subplots(figsize=(4.2, 3.4))[1]
    faces = np.where(candidates["first"], "white", BLUE)
    axis.scatter(candidates["proxy"], candidates["full"], s=32, c=faces, edgecolors=BLUE)
    axis.set(xlabel="average F1 by the proxy", ylabel="at full size", title="Does the proxy carry over?")
    return axis
