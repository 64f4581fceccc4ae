"""The competition's metric: the mean over variables of F1 or accuracy.

Every score here is computed from two non-negative counts a variable and case,
`hits` and `errors`, with score = 2 Σ hits / (2 Σ hits + Σ errors):

- binary: hits = true positives, errors = false positives + false negatives,
  which gives the F1 of class 1;
- categorical: hits = right codes, errors = 2 × wrong codes, which gives
  accuracy, and micro-F1 with it.

Being sums over cases, the counts are all that the bootstrap needs.

A cell without a given label has neither hits nor errors, so a variable is scored on its
labelled cases. A variable without any has no score, NaN, and is left out of the mean;
one with labels and no positive keeps the 0 of the official formula.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from narrutils.data.schema import Schema


@dataclass(frozen=True)
class Counts:
    """Hits and errors of the cases that have a label, each `[n_cases, n_variables]`, in schema order.

    Attributes:
        given: which cells have a label, of the same shape, or how many labels they hold, where a row stands
            for several cases; None where all of them have.
        drawn: what `intervals` keeps of them, by seed.
    """

    hits: np.ndarray
    errors: np.ndarray
    given: np.ndarray | None = None
    drawn: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def scores(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Score of each variable, in [0, 1]; 0 where it is undefined, NaN where no label counts.

        Args:
            weights: how often each case counts, `[..., n_cases]`; once each if None.

        Returns:
            `[..., n_variables]`.
        """
        if weights is None:
            weights = np.ones(len(self.hits))
        doubled = 2 * (weights @ self.hits.astype(float))
        total = doubled + weights @ self.errors.astype(float)
        scores = np.divide(doubled, total, out=np.zeros_like(total), where=total > 0)
        if self.given is not None:
            scores[weights @ self.given.astype(float) == 0] = np.nan
        return scores

    def where(self, rows: np.ndarray) -> "Counts":
        """The same rows, all but these `[n_cases]` empty: drawn along with the others, they count no case.

        Raises:
            ValueError: `given` is None, so that an empty row could not be told from one of errors.
        """
        if self.given is None:
            raise ValueError("rows can be left out where `given` says which cells have a label")
        kept = np.asarray(rows)[:, None]
        return Counts(self.hits * kept, self.errors * kept, self.given * kept)

    def of(self, variables: np.ndarray) -> "Counts":
        """The counts of some variables, by mask or number, in this order."""
        given = None if self.given is None else self.given[:, variables]
        return Counts(self.hits[:, variables], self.errors[:, variables], given)

    def by_set(self, sets: np.ndarray) -> "Counts":
        """Each set of cases as one row, so that whole sets are drawn; every case alone: as they were.

        Args:
            sets: number of the set of each case `[n_cases]`, any whole numbers.
        """
        numbers = pd.factorize(sets)[0]  # in the order of the first case of each
        one = csr_matrix((np.ones(len(numbers), int), (numbers, np.arange(len(numbers)))))
        given = None if self.given is None else one @ self.given.astype(int)
        return Counts(one @ _wide(self.hits), one @ _wide(self.errors), given)

    @property
    def average_f1(self) -> float:
        """The mean of the scores that there are, in [0, 1]; NaN where no case has a label."""
        return float(mean_score(self.scores()))


def share(hits: np.ndarray, of: np.ndarray) -> Counts:
    """Counts whose score is Σ `hits` / Σ `of`: a share of cases, or the mean of what `hits` holds.

    Args:
        hits: `[n_cases, n_variables]`, 0 wherever `of` is.
        of: how much each cell counts, of the same shape, 0 or more.
    """
    hits, of = _wide(hits), _wide(of)
    return Counts(hits, 2 * (of - hits), of)


def _wide(counts: np.ndarray) -> np.ndarray:
    """With room for sums."""
    return counts if counts.dtype.kind == "f" else counts.astype(int)


def mean_score(scores: np.ndarray) -> np.ndarray:
    """The mean `[...]` of those scores `[..., n_variables]` that are known; NaN where none is."""
    known = ~np.isnan(scores)
    total, number = np.where(known, scores, 0.0).sum(axis=-1), known.sum(axis=-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def count(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> Counts:
    """Counts of every case that has a label, of each variable; rows are matched by uid.

    Args:
        labels, predicted: integer codes, one column a variable, indexed by uid; labels are null
            where none is given.

    Raises:
        ValueError: the two tables do not hold the same uids.
    """
    if len(labels) != len(predicted) or not labels.index.isin(predicted.index).all():
        raise ValueError("labels and predictions hold different uids")
    labels = labels[schema.names].dropna(how="all")
    guess = predicted.loc[labels.index, schema.names].to_numpy(dtype=int)
    truth = labels.to_numpy(dtype=float, na_value=np.nan)
    given = ~np.isnan(truth)
    is_binary = np.array([v.is_binary for v in schema.variables])
    hits = (truth == guess) & (~is_binary | (truth == 1))
    errors = np.where(is_binary, 1, 2) * (given & (truth != guess))
    # Whole numbers, small ones: a ladder of many steps holds them of each.
    return Counts(hits.astype(np.int8), errors.astype(np.int8), None if given.all() and len(given) else given)


def per_variable(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> pd.Series:
    """Score of each variable, indexed by its name: F1 of class 1, or accuracy; NaN without any label."""
    return pd.Series(count(schema, labels, predicted).scores(), index=schema.names)


def average_f1(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> float:
    """The official average F1: the unweighted mean of `per_variable`, in [0, 1].

    A variable without any label is left out: it cannot be scored, and is no 0.
    """
    return count(schema, labels, predicted).average_f1
