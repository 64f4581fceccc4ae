"""Where a text repeats other texts: long runs of the same words, and near-duplicates."""

from collections import defaultdict
from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH


class Copies:
    """Finds runs of at least `shortest` consecutive words that a text shares with known ones."""

    def __init__(self, shortest: int):
        self.shortest = shortest
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, uid: str, words: Sequence[str]) -> None:
        words = tuple(words)
        self.texts.append((uid, words))
        for start in range(len(words) - self.shortest + 1):
            self.places[hash(words[start : start + self.shortest])].append((len(self.texts) - 1, start))

    def longest(self, words: Sequence[str], other_than: str | None = None) -> tuple[int, str] | None:
        """The longest shared run, in words, and the uid of its source; None below `shortest`."""
        words, best = tuple(words), None
        for start in range(len(words) - self.shortest + 1):
            for text, place in self.places.get(hash(words[start : start + self.shortest]), ()):
                uid, source = self.texts[text]
                run = _common(words[start:], source[place:]) if uid != other_than else 0
                if run >= self.shortest and (best is None or run > best[0]):
                    best = run, uid
        return best


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two sequences open with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


class NearDuplicates:
    """Finds texts whose word triples overlap, by MinHash and locality-sensitive hashing.

    `similarity` is the Jaccard similarity in 0..1, estimated to about 0.06 with 128
    permutations; a candidate of the index counts only if its estimate reaches it.
    """

    PERMUTATIONS = 128

    def __init__(self, similarity: float):
        self.similarity = similarity
        self.index = MinHashLSH(threshold=similarity, num_perm=self.PERMUTATIONS)
        self.known: dict[str, MinHash] = {}

    def add(self, uid: str, words: Sequence[str]) -> None:
        """Remember a text; a uid that is known already keeps its first text."""
        if uid not in self.known:
            self.known[uid] = self._hash(words)
            self.index.insert(uid, self.known[uid])

    def find(self, words: Sequence[str], other_than: str | None = None) -> str | None:
        """The uid of the most similar known text, if it is similar enough."""
        mark = self._hash(words)
        near = {uid: mark.jaccard(self.known[uid]) for uid in self.index.query(mark) if uid != other_than}
        best = max(near, key=near.get, default=None)
        return best if best is not None and near[best] >= self.similarity else None

    def _hash(self, words: Sequence[str]) -> MinHash:
        triples = {" ".join(words[n : n + 3]).encode() for n in range(max(len(words) - 2, 1))}
        mark = MinHash(num_perm=self.PERMUTATIONS, seed=1)
        mark.update_batch(sorted(triples))
        return mark
