"""What each choice of the last notebook is worth, measured on out-of-fold rows alone.

Members of an ensemble one by one, ways to make one of them, and ways to search
thresholds. Every comparison is paired, and everything that is found for a fold is
found on the other folds.
"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from narrutils.evaluation.intervals import columns_of, draw, in_columns, in_table, paired_gain
from narrutils.evaluation.ladder import OOF, Ladder, decisions
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.stacking import Ensemble
from narrutils.evaluation.thresholds import SEARCHES


def member_gains(ensemble: Ensemble) -> pd.DataFrame:
    """What each member adds: the ensemble's gain over the same ensemble found without it.

    Returns:
        A row a member: `member`, `share`, `gain` with its 95 % interval; empty where there is one alone.
    """
    whole, shares = _counts(ensemble), ensemble.found_on(ensemble.labels).weights
    members = ensemble.members if len(ensemble.members) > 1 else []
    without = {member: _counts(ensemble.without(member)) for member in members}
    draw([whole, *without.values()])
    rows = [
        {"member": member, "share": shares[member]} | in_columns("gain", paired_gain(whole, rest))
        for member, rest in without.items()
    ]
    return in_table(rows, ["member", "share", *columns_of("gain")])


def ways_to_combine(ensemble: Ensemble) -> pd.DataFrame:
    """The same members made one in different ways, each against their plain weighted mean.

    Returns:
        A row a way: `way`, `average_f1`, thresholds cross-fitted, and `gain` with its 95 % interval.
    """
    plain = replace(ensemble, fitted=False, calibrate=False)
    ways = {
        "mean, weights given": plain,
        "mean of calibrated probabilities, weights given": replace(plain, calibrate=True),
        "mean, weights fitted": replace(plain, fitted=True),
        "mean of calibrated probabilities, weights fitted": replace(plain, fitted=True, calibrate=True),
    }
    return _against_first({name: _counts(way) for name, way in ways.items()})


def ways_to_cut(ladder: Ladder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each search of thresholds is worth on the folds that it did not see.

    Returns:
        Average F1, a row a `step`, a column a way (`half`, `grid`, `shrunk`, and `grid_in_sample`,
        which is optimistic), the mean over steps last; and of the last step, each `way` as in
        `ways_to_combine`, held against one half.
    """
    counts, ladder = {}, replace(ladder, answers={OOF[:2]: ladder.labels})
    for name in ("half", "grid", "shrunk"):
        counts[name] = replace(ladder, steps=[replace(s, way=SEARCHES[name]) for s in ladder.steps]).counts
    places = {name: (name, OOF) for name in counts} | {"grid_in_sample": ("grid", (*OOF[:2], "in_sample"))}
    table = pd.DataFrame({"step": [step.name for step in ladder.steps]})
    for column, (name, place) in places.items():
        table[column] = [of_step[place].average_f1 for of_step in counts[name]]
    table.loc[len(table)] = ["mean over the steps", *table[list(places)].mean()]
    return table, _against_first({name: of_steps[-1][OOF] for name, of_steps in counts.items()})


def _counts(ensemble: Ensemble) -> Counts:
    codes = decisions(ensemble.schema, ensemble.step(), ensemble.labels, ensemble.folds)[
        "oof", "cross_fitted"
    ]
    return count(ensemble.schema, ensemble.labels, codes)


def _against_first(counts: Mapping[str, Counts]) -> pd.DataFrame:
    """A row each: `way`, `average_f1`, and the paired `gain` over the first with its 95 % interval."""
    first, rows = next(iter(counts)), []
    draw(list(counts.values()))
    for name, counted in counts.items():
        gain = None if name == first else paired_gain(counted, counts[first])
        rows.append({"way": name, "average_f1": counted.average_f1} | in_columns("gain", gain))
    return in_table(rows, ["way", "average_f1", *columns_of("gain")])
