"""Counts of terms, equal to those of scikit-learn's analyzers and many times as fast.

Texts are lower-cased and split at blanks. What such a piece gives, its words or its terms of
letters, depends on the piece alone, is asked of scikit-learn once, and remembered; a text is
then a row of numbers, and NumPy and SciPy count them. Terms of several words are found word by
word: each beginning of a term has a number, and with the next word makes a key of the longer one.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

#: Letters of the pieces that are remembered, of about 8 each; with more of them all are forgotten.
REMEMBERED = 2_000_000
#: What a piece takes beside its letters, in letters.
PIECE = 8
#: Stands behind the last piece of a text, so that no term reaches into the next; no piece is empty.
END = ""


class Terms:
    """Counts of the terms of one vocabulary or more; each is read by an analyzer of its own.

    Memory is bounded: what is remembered is forgotten when it is much, which changes no count.
    """

    def __init__(self, vocabularies: Sequence["Words | Letters"], remembered: int = REMEMBERED):
        self.vocabularies, self.remembered = vocabularies, remembered
        self.forget()

    def forget(self) -> None:
        """Know no piece any more."""
        self._pieces = _Pieces()
        for vocabulary in self.vocabularies:
            vocabulary.forget()

    def count(self, texts: Iterable[str]) -> list[csr_matrix]:
        """Of each vocabulary, how often each text has each term: `[texts, terms]`, columns ascending."""
        if self._pieces.letters > self.remembered:
            self.forget()
        try:
            split = [[*text.lower().split(), END] for text in texts]
            lengths = np.fromiter(map(len, split), np.int64, len(split))
            said = map(self._pieces.__getitem__, chain.from_iterable(split))
            pieces = np.fromiter(said, np.int32, lengths.sum())
            for vocabulary in self.vocabularies:
                vocabulary.learn(self._pieces.new)
        except BaseException:
            self.forget()  # of a piece that was learned by halves
            raise
        self._pieces.new.clear()
        return [vocabulary.count(pieces, lengths) for vocabulary in self.vocabularies]


class _Pieces(dict):
    """Number of each piece; `new` are those that no vocabulary has learned yet."""

    def __init__(self):
        self.new, self.letters = [], 0

    def __missing__(self, piece: str) -> int:
        self[piece] = number = len(self)
        self.new.append(piece)
        self.letters += len(piece) + PIECE
        return number


class _Vocabulary:
    """What each piece gives, in numbers: piece n gives `values[ends[n]:ends[n + 1]]`."""

    def of(self, piece: str) -> list[int]:
        """What a piece gives."""
        raise NotImplementedError

    def count(self, pieces: np.ndarray, lengths: np.ndarray) -> csr_matrix:
        """Counts of texts of so many pieces each, given one behind the other."""
        raise NotImplementedError

    def forget(self) -> None:
        """Know no piece any more."""
        self.values, self.ends = array("i"), array("i", [0])

    def learn(self, pieces: Iterable[str]) -> None:
        """Take in further pieces, whose numbers go on from the last."""
        for piece in pieces:
            self.values.extend(self.of(piece))
            self.ends.append(len(self.values))


class Words(_Vocabulary):
    """A vocabulary of words and of terms of several words.

    A word is its number, 0 where no term has it. `single[word]` is the term that it is, or -1. Of
    longer beginnings of terms, of 2 words and so on, `longer` has the keys in ascending order, and
    the term that each is, or -1: a key is (place of the beginning without its last word) * `base` +
    (last word), the place of a single word being its number.

    Args:
        terms: in the order of their columns.
        ngrams: words of the shortest and of the longest term.
    """

    def __init__(self, terms: Sequence[str], ngrams: tuple[int, int]):
        self.tokens = CountVectorizer(lowercase=False).build_tokenizer()
        split = [term.split(" ") for term in terms]
        known = dict.fromkeys(chain.from_iterable(split))
        self.numbers = {word: n for n, word in enumerate(known, start=1)}
        self.width, self.base, self.longer = len(terms), len(known) + 1, []
        sizes = np.array([len(words) if ngrams[0] <= len(words) <= ngrams[1] else 0 for words in split], int)
        places = np.array([self.numbers[words[0]] for words in split], np.int64)
        self.single = _terms(self.base, places, np.flatnonzero(sizes == 1))
        for n in range(1, max(sizes, default=0)):
            longer = np.flatnonzero(sizes > n)
            last = np.array([self.numbers[split[term][n]] for term in longer])
            keys, places[longer] = np.unique(places[longer] * self.base + last, return_inverse=True)
            self.longer.append((keys, _terms(len(keys), places, np.flatnonzero(sizes == n + 1))))

    def of(self, piece: str) -> list[int]:
        return [0] if piece == END else [self.numbers.get(word, 0) for word in self.tokens(piece)]

    def count(self, pieces: np.ndarray, lengths: np.ndarray) -> csr_matrix:
        values, ends = np.asarray(self.values), np.asarray(self.ends)
        starts, sizes = ends[pieces], ends[pieces + 1] - ends[pieces]
        words = values[_runs(starts, sizes)]
        at, columns = (np.concatenate(parts) for parts in zip(*self._found(words), strict=True))
        texts = np.repeat(np.repeat(np.arange(len(lengths), dtype=np.int32), lengths), sizes)
        counts = coo_matrix((np.ones(len(at), np.int32), (texts[at], columns)), (len(lengths), self.width))
        return counts.tocsc().tocsr()  # sorts in linear time

    def _found(self, words: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Where terms of 1, 2, … words begin, and which; the texts stand one behind the other, 0 between."""
        at = np.flatnonzero(words)
        places = words[at].astype(np.int64)
        yield _those(at, self.single[places])
        for n, (keys, terms) in enumerate(self.longer, start=1):
            goes_on = np.flatnonzero(words[at + n])
            at = at[goes_on]
            wanted = places[goes_on] * self.base + words[at + n]
            places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            hit = np.flatnonzero(keys[places] == wanted)
            at, places = at[hit], places[hit]
            yield _those(at, terms[places])


def _those(at: np.ndarray, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without what is no term, -1."""
    known = np.flatnonzero(terms >= 0)
    return at[known], terms[known]


def _terms(width: int, places: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Of each of so many beginnings, the one of these terms that stands there, or -1."""
    found = np.full(width, -1, dtype=np.int32)
    found[places[terms]] = terms
    return found


class Letters(_Vocabulary):
    """A vocabulary of terms of letters within words, scikit-learn's `char_wb`.

    Args:
        terms: in the order of their columns.
        ngrams: letters of the shortest and of the longest term.
    """

    def __init__(self, terms: Sequence[str], ngrams: tuple[int, int]):
        self.analyze = CountVectorizer(
            analyzer="char_wb", ngram_range=ngrams, lowercase=False
        ).build_analyzer()
        self.numbers, self.width = {term: n for n, term in enumerate(terms)}, len(terms)

    def of(self, piece: str) -> list[int]:
        return [self.numbers[term] for term in self.analyze(piece) if term in self.numbers]

    def count(self, pieces: np.ndarray, lengths: np.ndarray) -> csr_matrix:
        texts = _matrix(pieces, np.append(0, np.cumsum(lengths)), len(self.ends) - 1)
        terms = _matrix(np.asarray(self.values), np.asarray(self.ends), self.width)
        return (texts @ terms).tocsc().tocsr()  # sorts in linear time


def _matrix(columns: np.ndarray, ends: np.ndarray, width: int) -> csr_matrix:
    """Row n has a one in each of `columns[ends[n]:ends[n + 1]]`."""
    return csr_matrix((np.ones(len(columns), np.int32), columns, ends), (len(ends) - 1, width))


def _runs(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The whole numbers from each start on, so many of each."""
    return np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
