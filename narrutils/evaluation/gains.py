"""What each choice of the last notebook is worth, measured on out-of-fold rows alone.

Members of an ensemble one by one, ways to make one of them, and ways to search
thresholds. Every comparison is paired, and everything that is found for a fold is
found on the other folds.
"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.evaluation.ensemble import blend
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.ladder import Step, decisions
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.stacking import Ensemble
from narrutils.evaluation.thresholds import SEARCHES


def member_gains(ensemble: Ensemble) -> pd.DataFrame:
    """What each member adds: the ensemble's gain over the same ensemble found without it.

    Returns:
        A row a member, with its `share`; empty where there is one member alone.
    """
    rows, whole = [], _counts(ensemble, ensemble.step())
    shares = ensemble.found_on(ensemble.labels).weights
    for member in ensemble.members if len(ensemble.members) > 1 else []:
        rest = ensemble.without(member)
        gain = paired_gain(whole, _counts(rest, rest.step()))
        rows.append({"member": member, "share": shares[member], "gain of having it": str(gain)})
    return pd.DataFrame(rows, columns=["member", "share", "gain of having it"])


def ways_to_combine(ensemble: Ensemble) -> pd.DataFrame:
    """The same members made one in different ways, each against their plain weighted mean.

    Returns:
        A row a way: its average F1, thresholds cross-fitted, and its paired gain.
    """
    plain = replace(ensemble, fitted=False, calibrate=False)
    ways = {
        "mean, weights given": plain,
        "mean of calibrated probabilities, weights given": replace(plain, calibrate=True),
        "mean, weights fitted": replace(plain, fitted=True),
        "mean of calibrated probabilities, weights fitted": replace(plain, fitted=True, calibrate=True),
    }
    counts = {name: _counts(way, way.step()) for name, way in ways.items()}
    counts["majority of votes, weights given"] = count(ensemble.schema, ensemble.labels, votes(plain))
    return _against_first(counts)


def votes(ensemble: Ensemble) -> pd.DataFrame:
    """Codes by weighted majority of the members' own, each cut at its cross-fitted thresholds.

    A tie is no for a binary variable, and the first class for a categorical one.
    """
    schema, cast = ensemble.schema, {}
    for name, step in ensemble.members.items():
        codes = decisions(schema, step, ensemble.labels, ensemble.folds)["oof", "cross_fitted"]
        cast[name] = schema.to_targets(codes)
    return schema.to_labels(blend(schema, cast, ensemble.weights))


def ways_to_cut(
    schema: Schema, steps: list[Step], labels: pd.DataFrame, folds: pd.Series
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each search of thresholds is worth on the folds that it did not see.

    Returns:
        Average F1, a row a step, a column a way (`half`, `grid`, `shrunk`, and the grid in-sample,
        which is optimistic), the mean over steps last; and of the last step, each way's average F1
        with its paired gain over one half.
    """
    rows, last = {}, {}
    for step in steps:
        for name in ("half", "grid", "shrunk"):
            decided = decisions(schema, replace(step, way=SEARCHES[name]), labels, folds)
            last[name] = count(schema, labels, decided["oof", "cross_fitted"])
            rows.setdefault(step.name, {})[name] = last[name].scores().mean()
            if name == "grid":
                flattered = count(schema, labels, decided["oof", "in_sample"])
        rows[step.name]["grid, in-sample (optimistic)"] = flattered.scores().mean()
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["mean over the steps"] = table.mean()
    return table.round(3), _against_first(last)


def _counts(ensemble: Ensemble, step: Step) -> Counts:
    codes = decisions(ensemble.schema, step, ensemble.labels, ensemble.folds)["oof", "cross_fitted"]
    return count(ensemble.schema, ensemble.labels, codes)


def _against_first(counts: Mapping[str, Counts]) -> pd.DataFrame:
    """A row each: average F1, and the paired gain over the first with its 95 % interval."""
    first, *others = counts
    rows = [{"way": first, "average F1": counts[first].scores().mean(), "gain over the first": ""}]
    for name in others:
        gain = str(paired_gain(counts[name], counts[first]))
        rows.append({"way": name, "average F1": counts[name].scores().mean(), "gain over the first": gain})
    return pd.DataFrame(rows).round(3)
