"""Which cases a person should decide, and what that buys.

A case's doubt is the number of its codes that are expected to be wrong: the sum over the
variables of 1 − (calibrated probability of the code that it was given). The most doubtful
cases are flagged. What is left should then be coded more accurately than the whole; the
curve of share flagged against accuracy of the rest says by how much. Accuracy is that of
labelled codes; a case without any label has a doubt and may be flagged, and says nothing of it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid
from narrutils.errors import InputError

#: Shares of cases that the curve shows.
SHARES = tuple(np.round(np.arange(0, 0.91, 0.05), 2).tolist())


@dataclass(frozen=True)
class Flagging:
    """A case is flagged if its doubt is above `cut`, in expected wrong codes a case."""

    schema: Schema
    cut: float

    def of(self, codes: pd.DataFrame, calibrated: pd.DataFrame) -> pd.DataFrame:
        """`flag` (0 or 1) and `doubt` of every case, in the order of `codes`."""
        doubts = doubt(self.schema, codes, calibrated)
        return pd.DataFrame({"flag": (doubts > self.cut).astype(int), "doubt": doubts})


def doubt(schema: Schema, codes: pd.DataFrame, calibrated: pd.DataFrame) -> pd.Series:
    """Expected number of wrong codes of each case, from 0 to the number of variables.

    Args:
        codes: one column a variable, indexed by uid.
        calibrated: calibrated probabilities, `schema.columns` wide; matched by uid.
    """
    table = by_uid(calibrated, codes.index, "calibrated probabilities")
    total = np.zeros(len(codes))
    for v in schema.variables:
        total += 1 - v.of_codes(table, codes[v.name])
    return pd.Series(total, index=codes.index, name="doubt")


def accuracy(schema: Schema, codes: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Share of each case's labelled codes that are the labels, in [0, 1]; NaN for a case without any."""
    given = by_uid(labels, codes.index, "labels")[schema.names]
    right = (given == codes[schema.names]).fillna(False).astype(bool)
    return right.sum(axis=1) / given.notna().sum(axis=1)


def cut_at(doubts: pd.Series, share: float) -> float:
    """The doubt above which at most `share` of the cases lie; at share 0 the highest."""
    return float(np.quantile(doubts, 1 - share, method="higher"))


def cut_by(
    flagging: dict, schema: Schema, share: float, codes: pd.DataFrame, calibrated: pd.DataFrame
) -> dict:
    """The same content of `flags.json`, its cut being that above which a share of these cases lies.

    For a refit, which doubts otherwise than the models of the folds. No label takes part.

    Args:
        codes, calibrated: what the refit makes of cases that it did not learn from; without any, the
            cut stays.
    """
    return flagging | ({"cut": cut_at(doubt(schema, codes, calibrated), share)} if len(codes) else {})


def flagged(doubts: pd.Series, folds: pd.Series, share: float) -> np.ndarray:
    """Which cases are flagged, each fold cut at what `share` means on the other folds."""
    folds = by_uid(folds, doubts.index, "folds")
    found = np.zeros(len(doubts), dtype=bool)
    for k in sorted(folds.unique()) if share else ():
        own = (folds == k).to_numpy()
        found[own] = doubts[own] > cut_at(doubts[~own], share)
    return found


def curve(doubts: pd.Series, right: pd.Series, folds: pd.Series, shares=SHARES) -> pd.DataFrame:
    """`share` asked for, `flagged` in fact, and `accuracy` of the codes of the rest.

    Args:
        doubts, right: doubt and share of right codes of each case, out of fold, indexed by uid;
            the share is NaN where a case has no label.
        folds: fold of each case; a fold's cut comes from the other folds.
    """
    rows = []
    for share in shares:
        found = flagged(doubts, folds, share)
        rest = right[~found].mean() if not found.all() else np.nan
        rows.append({"share": share, "flagged": found.mean(), "accuracy": rest})
    return pd.DataFrame(rows)


def choose_share(points: pd.DataFrame, share: float, target: float = 0.0) -> float:
    """`share`, or where a `target` accuracy is set the least share of the curve that reaches it.

    Raises:
        InputError: no share of the curve reaches the target.
    """
    if not target:
        return share
    reached = points.loc[points["accuracy"] >= target, "share"]
    if reached.empty:
        best = points["accuracy"].max()
        said = f"flag_accuracy is {target}; the best that flagging reaches here is {best:.3f}; lower it"
        raise InputError(said)
    return float(reached.iloc[0])


def summarise(
    schema: Schema,
    labels: pd.DataFrame,
    codes: pd.DataFrame,
    calibrated: pd.DataFrame,
    folds: pd.Series,
    share: float,
    target: float = 0.0,
) -> dict:
    """What `flags.json` holds: the curve, the cut for new cases, and what it gave out of fold.

    Args:
        labels: given codes; `codes`, `calibrated`: the cases' codes and calibrated probabilities,
            all out of fold.
        folds: fold of each case.
        share, target: as for `choose_share`.
    """
    doubts, right = doubt(schema, codes, calibrated), accuracy(schema, codes, labels)
    points = curve(doubts, right, folds)
    chosen = choose_share(points, share, target)
    here = curve(doubts, right, folds, [chosen]).iloc[0]
    return {
        "curve": points.to_dict("records"),
        "cut": cut_at(doubts, chosen),
        "share": here["flagged"],
        "accuracy": here["accuracy"],
        "accuracy_of_all": right.mean(),
    }
