"""The classical baseline: TF-IDF with logistic regression, one a variable.

It is a learner like the neural ones (see `crossfit`): cheap enough to serve as
the teacher of the demo, and the first step of the ladder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from narrutils.curriculum import Phase
from narrutils.files import read_json, read_tensors, write_json, write_tensors
from narrutils.schema import Schema


@dataclass(frozen=True)
class TfidfLearner:
    """Word 1- and 2-grams, sublinear TF-IDF, logistic regression.

    No class weights: they inflate the probabilities of rare variables, which as a
    teacher's soft labels and in label correction must mean what they say.
    """

    schema: Schema
    inverse_regularisation: float = 4.0  # scikit-learn's C
    min_df: int = 2  # cases that a term must occur in
    max_terms: int = 50_000

    sources: ClassVar[tuple[str, ...]] = ("baseline", "schema", "curriculum")
    base: ClassVar[str] = ""

    def config(self) -> dict:
        """What the key of a training artefact holds of this learner."""
        return {name: value for name, value in vars(self).items() if name != "schema"}

    def fit(self, phases: list[Phase], label: str = "") -> "TfidfModel":
        """Learn from the last phase, the official rows; targets above 0.5 are taken as 1."""
        texts, targets = phases[-1].texts, phases[-1].targets
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=self.min_df, max_features=self.max_terms
        )
        features = vectorizer.fit_transform(join(texts))
        weights = np.zeros((len(vectorizer.vocabulary_), self.schema.width))
        bias = np.zeros(self.schema.width)
        for v in self.schema.variables:
            columns = self.schema.slices[v.name]
            values = targets[list(v.columns)].to_numpy()
            codes = values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0.5).astype(int)
            weights[:, columns], bias[columns] = self._regress(features, codes, values.shape[1])
        weights = weights.astype(np.float32)  # as they are stored
        return TfidfModel(self.schema, vectorizer.vocabulary_, vectorizer.idf_, weights, bias)

    def _regress(self, features: csr_matrix, codes: np.ndarray, width: int):
        """Weights `[terms, width]` and biases `[width]`; classes never seen get a bias of −20."""
        seen = np.unique(codes)
        weights, bias = np.zeros((features.shape[1], width)), np.full(width, -20.0)
        if len(seen) == 1:
            bias[min(seen[0], width - 1)] = 20.0 if width > 1 or seen[0] == 1 else -20.0
            return weights, bias
        model = LogisticRegression(C=self.inverse_regularisation, max_iter=300)
        model.fit(features, codes)
        if width > 1 and len(seen) == 2:
            # scikit-learn keeps one row for two classes: its logit is their difference.
            weights[:, seen[0]], weights[:, seen[1]] = -model.coef_[0] / 2, model.coef_[0] / 2
            bias[seen] = np.array([-0.5, 0.5]) * model.intercept_[0]
            return weights, bias
        columns = seen if width > 1 else [0]
        weights[:, columns], bias[columns] = model.coef_.T, model.intercept_
        return weights, bias


@dataclass(frozen=True)
class TfidfModel:
    """A fitted baseline: vocabulary, inverse document frequencies, one linear head."""

    schema: Schema
    vocabulary: dict[str, int]
    idf: np.ndarray  # [terms]
    weights: np.ndarray  # [terms, schema.width]
    bias: np.ndarray  # [schema.width]
    analyzer: str = "word"  # scikit-learn's: word, or char_wb for letters within words
    ngrams: tuple[int, int] = (1, 2)  # shortest and longest term, in words or letters

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        if texts.empty:  # scikit-learn refuses to transform nothing
            return self.schema.from_logits(np.zeros((0, self.schema.width)), texts.index)
        vectorizer = TfidfVectorizer(
            analyzer=self.analyzer, ngram_range=self.ngrams, sublinear_tf=True, vocabulary=self.vocabulary
        )
        vectorizer.idf_ = self.idf
        logits = vectorizer.transform(join(texts)) @ self.weights + self.bias
        return self.schema.from_logits(logits, texts.index)

    def save(self, folder: Path) -> None:
        """Write `vocabulary.json`, `terms.json` and `weights.safetensors`."""
        write_json(folder / "terms.json", {"analyzer": self.analyzer, "ngrams": self.ngrams})
        write_json(folder / "vocabulary.json", {term: int(n) for term, n in self.vocabulary.items()})
        write_tensors(
            folder / "weights.safetensors",
            {"idf": self.idf, "weights": self.weights, "bias": self.bias},
        )

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> "TfidfModel":
        tensors = read_tensors(folder / "weights.safetensors")
        vocabulary = read_json(folder / "vocabulary.json")
        terms = read_json(folder / "terms.json")
        matrices = (tensors["idf"], tensors["weights"], tensors["bias"])
        return cls(schema, vocabulary, *matrices, terms["analyzer"], tuple(terms["ngrams"]))


def join(texts: pd.DataFrame) -> list[str]:
    """All narratives of a case in one string."""
    return ["\n".join(parts) for parts in texts.itertuples(index=False)]
