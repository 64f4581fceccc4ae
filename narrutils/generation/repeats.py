"""Where a text repeats other texts: long runs of the same words, and near-duplicates."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from datasketch import MinHashLSH

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


@cache  # datasketch finds them by a thousand integrals
def _bands(similarity: float) -> tuple[int, int]:
    """How many bands of how many values find what is so similar."""
    index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS)
    return index.b, index.r


class NearDuplicates:
    """Finds texts whose word triples overlap, by MinHash and locality-sensitive hashing.

    `similarity` is the Jaccard similarity in 0..1, estimated to about 0.06 with 128
    permutations. A text is looked at if it shares a band, some hash values in a row, with
    the one that is asked for, and counts if its estimate reaches `similarity`. Of a text
    stay its hash values, half a kilobyte however long it is, and a number of 64 bits a
    band, which two that differ do not share in practice. The numbers lie in sorted runs,
    which are merged as they grow.
    """

    def __init__(self, similarity: float):
        self.similarity = similarity
        self.bands = _bands(similarity)
        self.factors = np.random.default_rng(0).integers(2**64, size=self.bands, dtype=np.uint64) | 1
        self.uids: list[str] = []
        self.known: set[str] = set()
        self.values = [_block()]  # hash values of the texts, `BLOCK` of them in each
        self.latest = np.empty((BLOCK, self.bands[0]), dtype=np.uint64)  # band numbers of the last block
        self.runs: list[tuple[np.ndarray, np.ndarray]] = []  # of the others: sorted, and whose they are

    def mark(self, words: Sequence[str]) -> np.ndarray:
        """The hash values by which a text is compared; the same in every process."""
        return mark(triples(words)).hashvalues.astype(np.uint32)

    def add(self, uid: str, mark: np.ndarray) -> None:
        """Remember a text; a uid that is known already keeps its first text."""
        if uid in self.known:
            return
        place = len(self.uids) % BLOCK
        self.values[-1][place], self.latest[place] = mark, self._numbers(mark)
        self.known.add(uid)
        self.uids.append(uid)
        if place == BLOCK - 1:
            self._merge()

    def merge(self, other: "NearDuplicates") -> None:
        """Remember the texts of another index, of a later part, in their order: as if added here."""
        for n, uid in enumerate(other.uids):
            self.add(uid, other.values[n // BLOCK][n % BLOCK])

    def find(self, mark: np.ndarray, other_than: str | None = None) -> str | None:
        """The uid of the most similar known text, the first of equals, if it is similar enough."""
        near = [n for n in self._sharing(self._numbers(mark)) if self.uids[n] != other_than]
        if not near:
            return None
        alike = [np.count_nonzero(self.values[n // BLOCK][n % BLOCK] == mark) for n in near]
        best = int(np.argmax(alike))
        return self.uids[near[best]] if alike[best] / PERMUTATIONS >= self.similarity else None

    def _numbers(self, mark: np.ndarray) -> np.ndarray:
        """A number for each band."""
        bands, width = self.bands
        return (mark[: bands * width].reshape(self.bands) * self.factors).sum(axis=1, dtype=np.uint64)

    def _sharing(self, numbers: np.ndarray) -> list[int]:
        """The texts that share a band, in the order in which they came."""
        done = len(self.uids) // BLOCK * BLOCK
        found = {
            done + n for n in np.flatnonzero((self.latest[: len(self.uids) - done] == numbers).any(axis=1))
        }
        for run, owners in self.runs:
            low, high = (np.searchsorted(run, numbers, side) for side in ("left", "right"))
            for band in np.flatnonzero(low < high):
                found.update(owners[low[band] : high[band]].tolist())
        return sorted(found)

    def _merge(self) -> None:
        """Make a run of a full block, and one of the last two as long as the later is not the shorter."""
        owners = np.repeat(np.arange(len(self.uids) - BLOCK, len(self.uids), dtype=np.uint32), self.bands[0])
        self.runs.append(_sorted(self.latest.ravel(), owners))
        while len(self.runs) > 1 and len(self.runs[-2][0]) <= len(self.runs[-1][0]):
            later, earlier = self.runs.pop(), self.runs.pop()
            self.runs.append(_sorted(*map(np.concatenate, zip(earlier, later))))
        self.values.append(_block())


#: Texts whose hash values lie together, and whose band numbers are not sorted yet.
BLOCK = 512


def _block() -> np.ndarray:
    return np.empty((BLOCK, PERMUTATIONS), dtype=np.uint32)


def _sorted(numbers: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(numbers, kind="stable")  # quick where two sorted runs follow each other
    return numbers[order], owners[order]
