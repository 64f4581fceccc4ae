"""How close a text is to the official cases of some folds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.extmath import row_norms

#: How many official cases a text is compared with.
NEIGHBOURS = 5


class Domain:
    """The cases of some folds in the space of their words: sublinear TF-IDF, cosine similarity.

    A text's similarity is its mean cosine with the 5 nearest cases, in 0..1. Words that
    no case knows count as the rarest there are: they belong to the text, and no case
    shares them. So a new text is measured as a case that is left out.

    Args:
        cases: uid -> words; at least one case has a word.

    `own` is the similarity `[cases]` of each case, leaving itself out; `vocabulary` are their words.
    """

    def __init__(self, cases: dict[str, Sequence[str]]):
        self.places = {uid: n for n, uid in enumerate(cases)}
        # Not normalised: the length of a vector is needed below, and cosines need no norm.
        self.vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True, norm=None)
        vectors = self.vectorizer.fit_transform(cases.values())
        self.vocabulary = self.vectorizer.vocabulary_
        self.nearest = NearestNeighbors(metric="cosine", algorithm="brute").fit(vectors)
        self.rarest = np.log(1 + len(cases)) + 1  # scikit-learn's weight of a word of no case
        self.own = self.similarity(list(cases), list(cases.values()))

    def similarity(self, uids: Sequence[str], texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Mean cosine `[n]` with the nearest cases other than itself; 0 where there is none.

        Args:
            uids: who each text is; texts: their words.
        """
        vectors = self.vectorizer.transform(texts)
        count = min(NEIGHBOURS + 1, len(self.places))
        distances, found = self.nearest.kneighbors(vectors, count)
        itself = found == np.array([self.places.get(uid, -1) for uid in uids])[:, None]
        cosines = -np.sort(np.where(itself, 1, distances - 1), axis=1)[:, :NEIGHBOURS]
        cosines = np.ma.masked_less(cosines, -0.5).mean(axis=1).filled(0)  # −1 marks the text itself
        return cosines * self._known_part(vectors, texts)

    def _known_part(self, vectors: csr_matrix, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Length `[n]` of each text's vector as a share of its length with the unknown words."""
        known, unknown = row_norms(vectors, squared=True), np.zeros(len(texts))
        for n, words in enumerate(texts):
            counts = Counter(w for w in words if w not in self.vocabulary).values()
            unknown[n] = sum((1 + np.log(c)) ** 2 for c in counts) * self.rarest**2
        return np.sqrt(known / np.maximum(known + unknown, 1e-12))
