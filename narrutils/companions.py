"""Cheap companions of the baseline: linear models on TF-IDF terms that err in other ways.

- `nb`: every term is scaled by how much oftener it stands in positive cases than in
  negative ones (Wang & Manning 2012), so that few cases suffice for a telling term.
- `lasso`: an absolute penalty keeps the few terms that carry a variable.
- `chars`: terms of 3 to 5 letters, scaled likewise, which see through inflections, typing
  errors and missing spaces.

Each is stored and read like the baseline: scales and selections end up in its weights.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, diags
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from narrutils.baseline import TfidfModel, join
from narrutils.curriculum import Phase
from narrutils.schema import Schema

NEVER = -20.0  # the logit of what no case showed


@dataclass(frozen=True)
class TermsLearner:
    """Logistic regression on TF-IDF terms, one a variable or class; see the module for the options."""

    schema: Schema
    analyzer: str = "word"  # scikit-learn's: word, or char_wb for letters within words
    ngrams: tuple[int, int] = (1, 2)  # shortest and longest term, in words or letters
    scaled: bool = True  # terms scaled by their naive Bayes ratio
    sparse: bool = False  # absolute penalty in place of the quadratic one
    inverse_regularisation: float = 4.0  # scikit-learn's C
    min_df: int = 2  # cases that a term must occur in
    max_terms: int = 60_000

    sources: ClassVar[tuple[str, ...]] = ("companions", "baseline", "schema", "curriculum")
    base: ClassVar[str] = ""

    def config(self) -> dict:
        """What the key of a training artefact holds of this learner."""
        return {name: value for name, value in vars(self).items() if name != "schema"}

    def fit(self, phases: list[Phase], label: str = "") -> TfidfModel:
        """Learn from the last phase, the official rows; `by_column` makes its targets 0 or 1."""
        texts, targets = phases[-1].texts, phases[-1].targets
        vectorizer = TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=self.ngrams,
            sublinear_tf=True,
            min_df=self.min_df,
            max_features=self.max_terms,
        )
        features = vectorizer.fit_transform(join(texts))
        weights, bias = by_column(self.schema, targets, lambda answers: self._regress(features, answers))
        vocabulary = {term: int(n) for term, n in vectorizer.vocabulary_.items()}
        terms = (vocabulary, vectorizer.idf_, weights, bias)
        return TfidfModel(self.schema, *terms, self.analyzer, self.ngrams)

    def _regress(self, features: csr_matrix, answers: np.ndarray) -> tuple[np.ndarray, float]:
        scale = ratios(features, answers) if self.scaled else np.ones(features.shape[1])
        model = LogisticRegression(
            C=self.inverse_regularisation,
            l1_ratio=1.0 if self.sparse else 0.0,
            solver="liblinear" if self.sparse else "lbfgs",
            max_iter=300,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what is left does not change a decision
            model.fit(features @ diags(scale), answers)
        return model.coef_[0] * scale, model.intercept_[0]


def ratios(features: csr_matrix, answers: np.ndarray) -> np.ndarray:
    """How strongly each term tells positive cases from negative ones, `[terms]`, 0 or more.

    The absolute logarithm of the ratio of the shares of cases with the term, each share
    smoothed by one case with it and one without.

    Args:
        answers: 0 or 1, one a case.
    """
    present = (features > 0).astype(float)
    yes, no = ((present.T @ side + 1) / (side.sum() + 2) for side in (answers, 1 - answers))
    return np.abs(np.log(yes / no))


def by_column(
    schema: Schema,
    targets: pd.DataFrame,
    regress: Callable[[np.ndarray], tuple[np.ndarray, float]],
) -> tuple[np.ndarray, np.ndarray]:
    """One linear model a probability column, a class against all others: weights and biases.

    Args:
        targets: `schema.columns` wide; above one half, or the largest of a categorical
            variable, counts as 1.
        regress: answers of 0 and 1 -> weights `[features]` and bias; both answers occur.

    Returns:
        `[features, width]` as float32, `[width]`. A column of one answer has no weights.
    """
    found = []
    for v in schema.variables:
        values = targets[list(v.columns)].to_numpy()
        largest = values.argmax(axis=1)[:, None] == np.arange(values.shape[1])
        answers = (values > 0.5) if v.is_binary else largest
        for column in answers.T:
            mixed = 0 < column.sum() < len(column)
            found.append(regress(column.astype(int)) if mixed else (0.0, -NEVER if column[0] else NEVER))
    size = max(np.size(weights) for weights, _ in found)
    weights = np.stack([np.broadcast_to(weights, size) for weights, _ in found], axis=1)
    return weights.astype(np.float32), np.array([bias for _, bias in found], dtype=float)


#: Name -> step of the ladder, and what its learner differs in.
COMPANIONS = {
    "nb": ("naive-Bayes-scaled logistic regression", {}),
    "lasso": ("sparse logistic regression", {"scaled": False, "sparse": True}),
    "chars": ("terms of letters", {"analyzer": "char_wb", "ngrams": (3, 5), "min_df": 3}),
}
