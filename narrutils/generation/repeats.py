"""Where a text repeats other texts: long runs of the same words, and near-duplicates."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from datasketch import LeanMinHash, MinHash, MinHashLSH

#: What stands in an array of word numbers where there is no known word. The three differ,
#: so that a comparison of two arrays ends there.
END, UNKNOWN, QUERY_END = -1, -2, -3


class Copies:
    """Finds the longest run of consecutive words that a text shares with known ones.

    Exact from `shortest` words on. All known texts stand one after the other in an
    array of word numbers. Runs of `shortest` words are ranked by doubling (a run of 8
    is two runs of 4), so that looking one up is a binary search, and runs that many
    texts share, such as masked or formulaic phrases, are compared all at once.

    Args:
        texts: pairs of uid and words; a uid may own several texts.
        shortest: the shortest run that is found, at least 1.
    """

    def __init__(self, texts: Iterable[tuple[str, Sequence[str]]], shortest: int):
        self.shortest = shortest
        self.vocabulary: dict[str, int] = {}
        self.owners: dict[str, int] = {}
        numbers, owners = [], []
        for uid, words in texts:
            number = self.owners.setdefault(uid, len(self.owners))
            numbers += [self.vocabulary.setdefault(w, len(self.vocabulary)) for w in words] + [END]
            owners += [number] * (len(words) + 1)
        self.uids = list(self.owners)
        self.text, self.owner = np.array(numbers, dtype=np.int32), np.array(owners, dtype=np.int32)
        self._index()

    def _index(self) -> None:
        """Rank the runs of `shortest` words, and list the places of each rank one after the other."""
        self.levels, ranks = [], self.text
        for step in _steps(self.shortest):
            pairs = _pairs(ranks, step)
            keys = np.append(np.unique(pairs[pairs >= 0]), np.iinfo(np.int64).max)
            self.levels.append((step, keys))
            ranks = _look_up(keys, pairs)
        order = np.argsort(ranks, kind="stable")  # places of a rank in the order of the texts
        known = ranks[order] >= 0
        self.places = order[known].astype(np.int32)
        self.first = np.searchsorted(ranks[self.places], np.arange(ranks.max(initial=-1) + 2))

    def longest(self, words: Sequence[str], other_than: str | None = None) -> tuple[int, str] | None:
        """The longest shared run, in words, and the uid of its first source; None below `shortest`."""
        query = np.array([*(self.vocabulary.get(w, UNKNOWN) for w in words), QUERY_END], dtype=np.int64)
        ranks = query
        for step, keys in self.levels:
            ranks = _look_up(keys, _pairs(ranks, step))
        start, place = self._meetings(ranks)
        foreign = self.owner[place] != self.owners.get(other_than, -1)
        start, place, length = start[foreign], place[foreign], self.shortest
        while len(place):
            # Only runs that reach beyond the best so far are looked at again.
            longer = self.text[place + length] == query[start + length]
            if not longer.any():
                return length, self.uids[self.owner[place[0]]]
            start, place, length = start[longer], place[longer], length + 1
        return None

    def _meetings(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every pair of a start in the query and a place of the same run in the known texts."""
        starts = np.flatnonzero(ranks >= 0)
        low, high = self.first[ranks[starts]], self.first[ranks[starts] + 1]
        counts = high - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(starts, counts), self.places[np.repeat(low, counts) + within]


def _steps(shortest: int) -> Iterator[int]:
    """How far apart the two halves of a run start: 1, 2, 4 … until they span `shortest` words."""
    width = 1
    while width < shortest:
        step = min(width, shortest - width)
        yield step
        width += step


def _pairs(ranks: np.ndarray, step: int) -> np.ndarray:
    """A number for each run, from the ranks of its two halves; −1 where a half is not known."""
    first, second = ranks[:-step].astype(np.int64), ranks[step:]
    return np.where((first < 0) | (second < 0), -1, (first << 32) | second)


def _look_up(keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The place of each pair among the sorted keys, the last of which is never met; −1 where absent."""
    places = np.searchsorted(keys, pairs)
    return np.where(keys[places] == pairs, places, -1)


class NearDuplicates:
    """Finds texts whose word triples overlap, by MinHash and locality-sensitive hashing.

    `similarity` is the Jaccard similarity in 0..1, estimated to about 0.06 with 128
    permutations; a candidate of the index counts only if its estimate reaches it. Of
    a text only its hash values stay: a few kilobytes, however long it is.
    """

    PERMUTATIONS = 128

    def __init__(self, similarity: float):
        self.similarity = similarity
        self.index = MinHashLSH(threshold=similarity, num_perm=self.PERMUTATIONS)
        self.blank = MinHash(num_perm=self.PERMUTATIONS, seed=1)
        self.numbers: dict[str, int] = {}  # uid -> its place in `known`
        self.known: list[tuple[str, LeanMinHash]] = []

    def mark(self, words: Sequence[str]) -> LeanMinHash:
        """The hash values by which a text is compared; the same in every process."""
        mark = self.blank.copy()  # shares the permutations
        mark.update_batch({" ".join(words[n : n + 3]).encode() for n in range(max(len(words) - 2, 1))})
        return LeanMinHash(mark)

    def add(self, uid: str, mark: LeanMinHash) -> None:
        """Remember a text; a uid that is known already keeps its first text."""
        if uid not in self.numbers:
            self.numbers[uid] = len(self.known)
            self.index.insert(len(self.known), mark)
            self.known.append((uid, mark))

    def find(self, mark: LeanMinHash, other_than: str | None = None) -> str | None:
        """The uid of the most similar known text, the first of equals, if it is similar enough."""
        near = [self.known[n] for n in sorted(self.index.query(mark))]
        alike = {uid: mark.jaccard(other) for uid, other in near if uid != other_than}
        best = max(alike, key=alike.get, default=None)
        return best if best is not None and alike[best] >= self.similarity else None
