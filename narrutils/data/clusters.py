"""Cases that belong together: nearly the same words, or one value of a column such as an incident.

A model that is tested on a case must not have learned from its twin. So training cases that
belong together stay in one fold, and test cases that belong to a training case are told apart.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from datasketch import LeanMinHash, MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet

from narrutils.data.cases import Dataset
from narrutils.data.schema import UNKNOWN, Schema
from narrutils.data.settings import Share
from narrutils.errors import InputError

PERMUTATIONS = 128
BLANK = MinHash(num_perm=PERMUTATIONS, seed=1)

Similarity = Share  # Jaccard's, of word triples, from which cases belong together; 0: texts are not compared

#: What the texts are called among the reasons; the others are columns, which have names.
TEXTS = ""


def words(text: str) -> list[str]:
    """Lower-case words: what is counted and compared."""
    return re.findall(r"[^\W_]+", text.lower())


def triples(words: Sequence[str]) -> set[str]:
    """The runs of three words; fewer words are one run."""
    return {" ".join(words[n : n + 3]) for n in range(max(len(words) - 2, 1))}


def mark(runs: Iterable[str]) -> LeanMinHash:
    """The hash values by which sets of runs are compared; the same in every process."""
    made = BLANK.copy()  # shares the permutations
    made.update_batch(run.encode() for run in runs)
    return LeanMinHash(made)


class Likeness:
    """Cases whose word triples are alike, one set for all that hang together by single links.

    Candidates come from MinHash and locality-sensitive hashing, bands so narrow that one in ten
    thousand is missed where the similarity is the least that counts, fewer above; what counts is
    the exact Jaccard similarity. Equal texts are compared once. Of a text stay its
    hash values and a number of 64 bits for each triple, which two that differ do not share in practice.

    Args:
        told: uid -> the words of all narratives; a case without any is like no other.
        similarity: the least that counts, in (0, 1]; 1 is equal triples.
    """

    def __init__(self, told: Mapping[str, Sequence[str]], similarity: float):
        self.similarity, self.sets = similarity, DisjointSet(told)
        self.index = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(similarity))
        self.first: dict[str, str] = {}  # text -> the first case that tells it
        self.known: dict[str, tuple[int, LeanMinHash, np.ndarray]] = {}  # of each such case
        for uid, of_case in told.items():
            if of_case:
                self._add(uid, of_case)

    def _add(self, uid: str, told: Sequence[str]) -> None:
        first = self.first.setdefault(" ".join(told), uid)
        self.sets.merge(uid, first)
        if first == uid:
            values, numbers = _measured(told)
            for other in self.index.query(values):
                if self.sets.connected(uid, other):
                    continue
                if self._alike(values, numbers, other) >= self.similarity:
                    self.sets.merge(uid, other)
            self.index.insert(uid, values)
            self.known[uid] = len(self.known), values, numbers

    def of(self, told: Sequence[str], among: set[str]) -> str:
        """The case of `among` that is most like a new one, the first of equals; "" if none is alike.

        Args:
            among: whole sets of the cases that are known.
        """
        equal = self.first.get(" ".join(told), "")
        if equal in among or not told:
            return equal
        values, numbers = _measured(told)
        near = [uid for uid in self.index.query(values) if uid in among]
        alike = [(self._alike(values, numbers, uid), -self.known[uid][0], uid) for uid in near]
        best, _, uid = max(alike, default=(0.0, 0, ""))
        return uid if best >= self.similarity else ""

    def _alike(self, values: LeanMinHash, numbers: np.ndarray, other: str) -> float:
        """The exact Jaccard similarity, in [0, 1]; 0 where its estimate is 4 standard errors too low."""
        _, known, others = self.known[other]
        slack = 4 * (self.similarity * (1 - self.similarity) / PERMUTATIONS) ** 0.5
        if values.jaccard(known) < self.similarity - slack:
            return 0.0
        shared = len(np.intersect1d(numbers, others, assume_unique=True))
        return shared / (len(numbers) + len(others) - shared)


def _measured(told: Sequence[str]) -> tuple[LeanMinHash, np.ndarray]:
    """Hash values of a text, and a number for each of its triples."""
    runs = triples(told)
    numbers = pd.util.hash_array(np.array(list(runs), dtype=object), categorize=False)
    return mark(runs), numbers


def _bands(similarity: float) -> tuple[int, int]:
    """Bands and rows a band: the most rows that let one in ten thousand pairs so alike slip through."""
    rows = [r for r in range(1, PERMUTATIONS // 2 + 1) if (1 - similarity**r) ** (PERMUTATIONS // r) <= 1e-4]
    rows = max(rows, default=1)
    return PERMUTATIONS // rows, rows


class Together:
    """Which training cases stay in one fold, and which test cases belong to one of them.

    Args:
        data: all cases; its `groups` hold the columns of `schema.keep_together`, where an empty cell, or
            one of `schema.UNKNOWN`, belongs to no other.
        similarity: as of `Likeness`; 0: texts are not compared.

    Attributes:
        reasons: for each training case and each reason, `TEXTS` or a column, what its set has in common.
        clusters: number of the set of each training case, in the order of the first of each.
    """

    def __init__(self, data: Dataset, schema: Schema, similarity: Similarity):
        self.similarity, train = similarity, data.train.index
        told, self.tested = (_told(table, schema) for table in (data.train, data.test))
        self.likeness = Likeness(told if similarity else {}, similarity or 1)
        self.values = {column: _values(data.groups, column) for column in schema.keep_together}
        alike = pd.Series(
            [self.likeness.sets[uid] if similarity else None for uid in train], train, dtype=object
        )
        shared = {column: values.reindex(train) for column, values in self.values.items()}
        self.reasons = pd.DataFrame({TEXTS: alike} | shared, index=train)
        self.clusters = joined(self.reasons)

    def table(self, cases: pd.DataFrame, folds: int) -> pd.DataFrame:
        """`clusters.parquet` of the cases of a run: `cluster` of the training cases, `twin` of the others.

        Args:
            cases: as of `stack_splits`, of whole sets.

        Raises:
            InputError: a set is larger than one of so many folds.
        """
        train, test = (cases.index[cases["split"] == split] for split in ("train", "test"))
        self._check(train, folds)
        twins = pd.Series("", cases.index, name="twin", dtype=object)
        twins[test] = self._twins(train, test)
        return pd.DataFrame({"cluster": self.clusters.reindex(cases.index).astype("Int64"), "twin": twins})

    def _twins(self, train: pd.Index, test: pd.Index) -> list[str]:
        """For each test case the training case most like it, or the first with a value in common, or ""."""
        among, found = set(train), {}
        for values in reversed(self.values.values()):
            first = values[values.index.isin(train)].drop_duplicates()
            found |= values[values.index.isin(test)].map(dict(zip(first, first.index))).dropna().to_dict()
        alike = {uid: self.likeness.of(self.tested[uid], among) for uid in test}
        return [alike[uid] or found.get(uid, "") for uid in test]

    def _check(self, train: pd.Index, folds: int) -> None:
        sets = self.clusters[train].value_counts()
        if sets.max() == 1 or sets.max() * folds <= len(train):
            return
        reasons = self.reasons.loc[train][self.clusters[train] == sets.index[0]]
        share = reasons.apply(lambda values: values.value_counts().max())  # by each reason alone
        least = len(train) / folds if share.max() * folds > len(train) else 1
        blamed = share.index[share > least]
        why = [f"by {r}" if r != TEXTS else f"by texts alike from {self.similarity:g} on" for r in blamed]
        mends = [f"leave {r} out of keep_together" if r != TEXTS else RAISE for r in blamed]
        raise InputError(
            f"{sets.max()} of {len(train)} training cases belong together {' and '.join(why)}, more than the "
            f"{len(train) // folds} of one of {folds} folds; {', or '.join(mends)}"
        )


def similarity_of(record: Mapping) -> float:
    """The `duplicate_similarity` of a run, by its `run.json`; the notebook's own where that says none."""
    return record.get("parameters", {}).get("01_eda", {}).get("duplicate_similarity", 0.7)


RAISE = "raise duplicate_similarity (1: only equal texts stay together; 0: texts are not compared)"


def _told(table: pd.DataFrame, schema: Schema) -> dict[str, list[str]]:
    """uid -> the words of all narratives."""
    rows = table[schema.text_columns].to_numpy()
    return {uid: words("\n".join(row)) for uid, row in zip(table.index, rows)}


def _values(groups: pd.DataFrame, column: str) -> pd.Series:
    """The cells of a column that say something, without blanks around."""
    cells = groups[column].str.strip()
    return cells[~cells.str.lower().isin(UNKNOWN)]


def joined(reasons: pd.DataFrame) -> pd.Series:
    """A number for all cases that hang together by any reason."""
    sets = DisjointSet(reasons.index)
    for _, values in reasons.items():
        first: dict[str, str] = {}
        for uid, value in values.dropna().items():
            sets.merge(uid, first.setdefault(value, uid))
    numbers, _ = pd.factorize(np.array([sets[uid] for uid in reasons.index], dtype=object))
    return pd.Series(numbers, reasons.index, name="cluster")
