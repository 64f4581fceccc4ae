"""Linear heads on TF-IDF terms that read texts together.

All heads whose terms are found alike share one count over the union of their vocabularies, and
those whose terms are the same one product. Sums run over the terms in alphabetical order, as in
scikit-learn, and what a head lacks is left out, so its logits are bit for bit those that
scikit-learn's TfidfVectorizer gives it alone.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize

from narrutils.models.terms.counts import Letters, Terms, Words

#: Texts whose counts are in memory together.
BLOCK = 256


class Head(Protocol):
    """What a linear model on terms has."""

    vocabulary: dict[str, int]
    idf: np.ndarray  # [terms]
    weights: np.ndarray  # [terms, width]
    bias: np.ndarray  # [width]
    analyzer: str
    ngrams: tuple[int, int]


class Heads:
    """Some heads, ready to read; it holds their weights in 64 bits, and no head."""

    def __init__(self, heads: Sequence[Head]):
        self.biases, vocabularies, self.groups = [head.bias for head in heads], [], []
        for how in dict.fromkeys((head.analyzer, head.ngrams) for head in heads):
            alike = {n: head for n, head in enumerate(heads) if (head.analyzer, head.ngrams) == how}
            terms = sorted(set().union(*(head.vocabulary for head in alike.values())))
            vocabularies.append({"word": Words, "char_wb": Letters}[how[0]](terms, how[1]))
            self.groups.append(_grouped(alike, terms))
        self.terms = Terms(vocabularies)

    def logits(self, texts: pd.DataFrame) -> list[np.ndarray]:
        """Of each head, `[texts, width]`."""
        logits = [np.empty((len(texts), len(bias))) for bias in self.biases]
        for start in range(0, len(texts), BLOCK):
            part = slice(start, start + BLOCK)
            for n, product in self._products(join(texts.iloc[part])):
                logits[n][part] = product + self.biases[n]
        return logits

    def _products(self, texts: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        for counts, groups in zip(self.terms.count(texts), self.groups, strict=True):
            terms = counts.indices.astype(np.intp)  # what NumPy looks up by, twice as fast as by 32 bits
            frequencies = np.log(counts.data.astype(np.float64)) + 1
            for group in groups:
                yield from group.products(terms, counts.indptr, frequencies)


class _Group:
    """Heads of the same terms, as columns of one matrix.

    Attributes:
        idf: of each term of the union, 0 where it is none of these heads'.
        place: of each term of the union its row in `weights`, 0 where it has none.
        weights: `[1 + own terms, all widths]`: nothing, and the own terms in alphabetical order.
        columns: number of each head -> its columns in `weights`.
    """

    def __init__(self, own: np.ndarray, idf: np.ndarray):
        self.idf, self.place = idf, np.zeros(len(idf), dtype=np.int32)
        self.place[own] = np.arange(1, len(own) + 1)
        self.weights, self.columns = np.empty((len(own) + 1, 0)), {}

    def add(self, number: int, weights: np.ndarray) -> None:
        """Take in a head; its weights in alphabetical order of its terms."""
        start = self.weights.shape[1]
        self.weights = np.hstack([self.weights, np.vstack([np.zeros((1, weights.shape[1])), weights])])
        self.columns[number] = slice(start, self.weights.shape[1])

    def products(
        self, terms: np.ndarray, ends: np.ndarray, frequencies: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Number of each head, and the product of the texts' TF-IDF rows of length 1 and its weights.

        Args:
            terms, frequencies: text n has the terms `terms[ends[n]:ends[n + 1]]`, ascending, so often.
        """
        values, places = frequencies * self.idf[terms], self.place[terms]
        rows = csr_matrix((values, places, ends), (len(ends) - 1, len(self.weights)))
        product = normalize(rows, copy=False) @ self.weights
        for number, columns in self.columns.items():
            yield number, product[:, columns]


def _grouped(heads: dict[int, Head], terms: list[str]) -> list[_Group]:
    """The heads, those of the same terms and document frequencies in one group."""
    groups = {}
    for n, head in heads.items():
        rows = np.array([head.vocabulary.get(term, -1) for term in terms], dtype=int)
        own, idf = np.flatnonzero(rows >= 0), np.zeros(len(terms))
        idf[own] = head.idf[rows[own]]
        group = groups.setdefault(idf.tobytes(), _Group(own, idf))  # a term's own is 1 or more
        group.add(n, head.weights[rows[own]])
    return list(groups.values())


def join(texts: pd.DataFrame) -> list[str]:
    """All narratives of a case in one string."""
    return ["\n".join(parts) for parts in texts.itertuples(index=False)]
