"""Learn then test: exact binomial tests along a path, and what a promise looks at.

Angelopoulos et al. 2021, arXiv 2110.01052. MAPIE has the method, with the p value that is used here but for
its rounding. Its fixed sequence goes through a given grid from one end, in a direction that it takes from the
cases that test; precision wants a start between the ends, and out of fold each fold wants a path of its own.
"""

from dataclasses import dataclass
from math import ceil, log

import numpy as np
import pandas as pd
from scipy.special import betainc

from narrutils.data.schema import Variable
from narrutils.data.tables import by_uid
from narrutils.evaluation.bands import may_be_reviewed

#: Candidates of a path.
STEPS = 400


@dataclass(frozen=True)
class Coded:
    """Labelled cases as an ensemble codes them, all tables indexed by the same uids in one order.

    Attributes:
        labels: given codes, null where there is none.
        codes: one column a variable; `calibrated`: calibrated probabilities, `schema.columns` wide.
        sets: number of the set of each case: cases of one set belong together.
    """

    labels: pd.DataFrame
    codes: pd.DataFrame
    calibrated: pd.DataFrame
    sets: pd.Series

    def only(self, which: pd.Series) -> "Coded":
        """Those cases of which this says True, by uid."""
        kept = self.labels.index[by_uid(which, self.labels.index, "cases")]
        return Coded(*(by_uid(part, kept, "cases") for part in vars(self).values()))

    def labelled(self, variable: str) -> int:
        """How many of them have a label of a variable."""
        return int(self.labels[variable].notna().sum())


@dataclass(frozen=True)
class Judged:
    """One variable of some cases, each array `[cases]`.

    Attributes:
        open: whether its code may be reviewed.
        sure: calibrated probability of its code.
        counts: whether the promise speaks of it; one case of a set at most.
        right: whether its code is the label.
    """

    open: np.ndarray
    sure: np.ndarray
    counts: np.ndarray
    right: np.ndarray

    def reviewed(self, cuts: np.ndarray | float) -> np.ndarray:
        """Which cases go to a person at a cut, or each at its own."""
        return self.open & (self.sure <= cuts)

    def tally(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many cases that count go out unreviewed at each cut, and how many of them are right.

        Args:
            cuts: `[steps]`, or a row a case, `[cases, steps]`.
        """
        rows = self.counts
        cuts = cuts[rows] if cuts.ndim == 2 else cuts
        out = ~(self.open[rows, None] & (self.sure[rows, None] <= cuts))
        return out.sum(axis=0), (out & self.right[rows, None]).sum(axis=0)


def needed(promised: float, confidence: float) -> int:
    """Cases without which no promise can be made: fewer, all of them right, are no evidence."""
    return ceil(log(1 - confidence) / log(promised))


def tail(right: np.ndarray, cases: np.ndarray, promised: float) -> np.ndarray:
    """P(X ≥ right), X binomial of so many cases: the p value of "less than promised"; 1 without a case.

    By the incomplete beta function, which also takes what is no whole number.
    """
    right, cases = np.asarray(right, dtype=float), np.asarray(cases, dtype=float)
    some = np.maximum(right, 1e-9)  # P(X ≥ 0) is 1
    return np.where(right > 0, betainc(some, cases - right + 1, promised), 1.0)


def fixed_sequence(p: np.ndarray, level: float) -> int:
    """Number of the last of the leading tests that are significant; −1 if the first is not."""
    return int(np.argmax(np.append(p > level, True))) - 1


def path(judged: Judged, scale: float, promised: float) -> np.ndarray:
    """Cuts from cautious to none, `[STEPS]`, in even steps of the share that is reviewed.

    It begins where these cases let the strongest evidence be expected, at the most cautious of equals.

    Args:
        scale: how many cases will test it, for each of these.
    """
    sure = np.sort(judged.sure[judged.open])
    cuts = _cuts(sure, 1.0)
    cases, right = judged.tally(cuts)
    start = int(np.argmin(tail(right * scale, cases * scale, promised)))
    return _cuts(sure, 1 - start / (STEPS - 1))


def judge(v: Variable, kind: str, coded: Coded) -> Judged:
    """What a promise of this kind looks at."""
    truth = coded.labels[v.name].to_numpy(dtype=float, na_value=np.nan)
    codes, labelled = coded.codes[v.name].to_numpy(), ~np.isnan(truth)
    sure = v.of_codes(coded.calibrated, codes)
    counts = {"recall": truth == 1, "precision": labelled & (codes == 1), "accuracy": labelled}[kind]
    one = _one_of_each(counts, coded.sets.to_numpy())
    return Judged(may_be_reviewed(kind, codes), sure, one, codes == truth)


def _cuts(sure: np.ndarray, most: float) -> np.ndarray:
    """Cuts that let shares from `most` down to none of these sorted probabilities go to a person."""
    shares = np.linspace(most, 0, STEPS)
    numbers = np.floor(shares * len(sure)).astype(int)
    cuts = np.append(0.0, sure)[numbers]
    return np.where(shares == 1, 1.0, cuts)


def _one_of_each(counts: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """One of the cases that count in each set, drawn at random."""
    order = np.random.default_rng(0).permutation(len(counts))
    order = order[counts[order]]
    found = np.zeros(len(counts), dtype=bool)
    found[order[~pd.Series(sets[order]).duplicated().to_numpy()]] = True
    return found
