"""Where a text repeats other texts: long runs of the same words, and near-duplicates."""

from collections.abc import Iterable, Sequence

import numpy as np
from datasketch import LeanMinHash, MinHashLSH

from narrutils.data.clusters import PERMUTATIONS, mark, triples

#: What stands in an array of word numbers where there is no known word. The three differ,
#: so that a comparison of two arrays ends there.
END, UNKNOWN, QUERY_END = -1, -2, -3


class Copies:
    """Finds the longest run of consecutive words that a text shares with known ones.

    Exact from `shortest` words on. All known texts stand one after the other in an array of
    word numbers, and runs of `shortest` words are looked up by a hash of 64 bits, which two
    that differ do not share in practice. Runs that many texts share, such as masked or
    formulaic phrases, are compared all at once.

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
        self.text, self.owner = np.array(numbers + [END] * shortest), np.array([*owners, -1], dtype=np.int32)
        self.factors = np.random.default_rng(0).integers(2**62, size=shortest)
        hashes = self._hashes(self.text)
        self.places = np.argsort(hashes, kind="stable")  # those of one hash in the order of the texts
        self.hashes = hashes[self.places]

    def _hashes(self, numbers: np.ndarray) -> np.ndarray:
        """A number for the run of `shortest` words that begins at each place."""
        return np.convolve(numbers, self.factors, "valid")

    def longest(self, words: Sequence[str], other_than: str | None = None) -> tuple[int, str] | None:
        """The longest shared run, in words, and the uid of its first source; None below `shortest`."""
        known = [self.vocabulary.get(w, UNKNOWN) for w in words]
        query = np.array(known + [QUERY_END] * self.shortest)
        start, place = self._meetings(self._hashes(query))
        foreign = self.owner[place] != self.owners.get(other_than, -1)
        start, place, length = start[foreign], place[foreign], self.shortest
        while len(place):
            # Only runs that reach beyond the best so far are looked at again.
            longer = self.text[place + length] == query[start + length]
            if not longer.any():
                return length, self.uids[self.owner[place[0]]]
            start, place, length = start[longer], place[longer], length + 1
        return None

    def _meetings(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every pair of a start in the query and a place of a run with the same hash in the known texts."""
        low, high = (np.searchsorted(self.hashes, hashes, side) for side in ("left", "right"))
        counts = high - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(np.arange(len(hashes)), counts), self.places[np.repeat(low, counts) + within]


class NearDuplicates:
    """Finds texts whose word triples overlap, by MinHash and locality-sensitive hashing.

    `similarity` is the Jaccard similarity in 0..1, estimated to about 0.06 with 128
    permutations; a candidate of the index counts only if its estimate reaches it. Of
    a text only its hash values stay: a few kilobytes, however long it is.
    """

    def __init__(self, similarity: float):
        self.similarity = similarity
        self.index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS)
        self.known: dict[str, tuple[int, LeanMinHash]] = {}  # uid -> its number, and hash values

    def mark(self, words: Sequence[str]) -> LeanMinHash:
        """The hash values by which a text is compared; the same in every process."""
        return mark(triples(words))

    def add(self, uid: str, mark: LeanMinHash) -> None:
        """Remember a text; a uid that is known already keeps its first text."""
        if uid not in self.known:
            self.index.insert(uid, mark)
            self.known[uid] = (len(self.known), mark)

    def find(self, mark: LeanMinHash, other_than: str | None = None) -> str | None:
        """The uid of the most similar known text, the first of equals, if it is similar enough."""
        near = {uid: self.known[uid] for uid in self.index.query(mark) if uid != other_than}
        alike = [(mark.jaccard(other), -number, uid) for uid, (number, other) in near.items()]
        similarity, _, best = max(alike, default=(0.0, 0, None))
        return best if similarity >= self.similarity else None
