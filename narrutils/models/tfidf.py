"""Linear models on TF-IDF terms: the classical baseline, and cheap companions that err in other ways.

- `tfidf`, the baseline: logistic regression on words and pairs of words, the first step of the
  ladder and cheap enough to serve as a teacher.
- `nb`: every term is scaled by how much oftener it stands in positive cases than in
  negative ones (Wang & Manning 2012), so that few cases suffice for a telling term.
- `lasso`: an absolute penalty keeps the few terms that carry a variable.
- `chars`: terms of 3 to 5 letters, scaled likewise, which see through inflections, typing
  errors and missing spaces.

All are stored and read alike: scales and selections end up in the weights.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary, ref

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, diags
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from narrutils.data.files import read_json, read_tensors, write_json, write_tensors
from narrutils.data.schema import Schema
from narrutils.models.learner import Learner, Model, Phase
from narrutils.models.linear import NEVER, by_column
from narrutils.models.terms.heads import Heads, join


@dataclass(frozen=True)
class TfidfLearner(Learner):
    """Sublinear TF-IDF and logistic regression; the defaults are the baseline's.

    No class weights: they inflate the probabilities of rare variables, which as a
    teacher's soft labels and in label correction must mean what they say.
    """

    schema: Schema
    inverse_regularisation: float = 4.0  # scikit-learn's C
    min_df: int = 2  # cases that a term must occur in
    max_terms: int = 50_000
    analyzer: str = "word"  # scikit-learn's: word, or char_wb for letters within words
    ngrams: tuple[int, int] = (1, 2)  # shortest and longest term, in words or letters
    scaled: bool = False  # terms scaled by their naive Bayes ratio
    sparse: bool = False  # absolute penalty in place of the quadratic one
    multinomial: bool = True  # the classes of a variable in one model; else each against all others

    def config(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "schema"}

    def fit(self, phases: list[Phase], label: str = "") -> "TfidfModel":
        """Learn from the last phase, the official rows; `by_column` makes its targets 0 or 1.

        Where no term occurs in `min_df` cases, as in empty texts, all are read at the labels' shares.
        """
        features, vocabulary, idf = self.terms(phases[-1].texts)
        classify = self._classify if self.multinomial else None
        weights, bias = by_column(self.schema, features, phases[-1].targets, self._regress, classify)
        return TfidfModel(self.schema, vocabulary, idf, weights, bias, self.analyzer, self.ngrams)

    def terms(self, texts: pd.DataFrame) -> tuple[csr_matrix, dict[str, int], np.ndarray]:
        """The texts as rows of terms `[cases, terms]`; number of each term, and its document frequency."""
        vectorizer = TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=self.ngrams,
            sublinear_tf=True,
            min_df=self.min_df,
            max_features=self.max_terms,
        )
        told = join(texts)
        try:
            features = vectorizer.fit_transform(told)
            return features, {term: int(n) for term, n in vectorizer.vocabulary_.items()}, vectorizer.idf_
        except ValueError:  # no term stands in `min_df` cases
            return csr_matrix((len(told), 0)), {}, np.zeros(0)

    def _regress(self, features: csr_matrix, answers: np.ndarray) -> tuple[np.ndarray, float]:
        if not self.scaled:
            model = self._logistic(features, answers)
            return model.coef_[0], model.intercept_[0]
        scale = ratios(features, answers)
        model = self._logistic(features @ diags(scale), answers)
        return model.coef_[0] * scale, model.intercept_[0]

    def _classify(self, features: csr_matrix, codes: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights `[terms, width]` and biases `[width]` of two classes or more; the others never occur."""
        seen, weights, bias = np.unique(codes), np.zeros((features.shape[1], width)), np.full(width, NEVER)
        model = self._logistic(features, codes)
        # scikit-learn keeps one row for two classes: its logit is their difference.
        signs = np.array([-0.5, 0.5]) if len(seen) == 2 else 1.0
        weights[:, seen], bias[seen] = model.coef_.T * signs, model.intercept_ * signs
        return weights, bias

    def _logistic(self, features: csr_matrix, answers: np.ndarray) -> LogisticRegression:
        model = LogisticRegression(
            C=self.inverse_regularisation,
            l1_ratio=1.0 if self.sparse else 0.0,
            solver="liblinear" if self.sparse else "lbfgs",
            max_iter=300,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what is left does not change a decision
            return model.fit(features, answers)


def ratios(features: csr_matrix, answers: np.ndarray, counts: np.ndarray | float = 1.0) -> np.ndarray:
    """How strongly each term tells positive cases from negative ones, `[terms]`, 0 or more.

    The absolute logarithm of the ratio of the shares of cases with the term, each share
    smoothed by one case with it and one without.

    Args:
        answers: one a case, 0 or 1, or how far it is positive; `counts`: what each case counts.
    """
    present = (features > 0).astype(float)
    yes, no = (
        (present.T @ side + 1) / (side.sum() + 2) for side in (answers * counts, (1 - answers) * counts)
    )
    return np.abs(np.log(yes / no))


@dataclass(frozen=True, eq=False)  # each is itself alone: `_KEPT` knows them by that
class TfidfModel(Model):
    """A fitted model: vocabulary, inverse document frequencies, one linear head."""

    schema: Schema
    vocabulary: dict[str, int]
    idf: np.ndarray  # [terms]
    weights: np.ndarray  # [terms, schema.width]
    bias: np.ndarray  # [schema.width]
    analyzer: str = "word"  # scikit-learn's: word, or char_wb for letters within words
    ngrams: tuple[int, int] = (1, 2)  # shortest and longest term, in words or letters

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        return self.predict_together([self], texts)[0]

    @classmethod
    def predict_together(cls, models: Sequence["TfidfModel"], texts: pd.DataFrame) -> list[pd.DataFrame]:
        """What each model reads, in their order: each text is analysed once, whatever their number.

        The probabilities are, bit for bit, those of scikit-learn's TfidfVectorizer and a product.
        """
        logits = _together(models).logits(texts)
        return [m.schema.from_logits(own, texts.index) for m, own in zip(models, logits, strict=True)]

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
        vocabulary, terms = read_json(folder / "vocabulary.json"), read_json(folder / "terms.json")
        tensors = read_tensors(folder / "weights.safetensors")
        return cls(schema, vocabulary, **tensors, analyzer=terms["analyzer"], ngrams=tuple(terms["ngrams"]))


#: First of some models -> all of them, weakly, and what reads with them; it goes when the first goes.
_KEPT: WeakKeyDictionary[TfidfModel, tuple[list[ref], Heads]] = WeakKeyDictionary()


def _together(models: Sequence[TfidfModel]) -> Heads:
    """What reads with these models, made on first use and kept while the first model is there."""
    refs = [ref(model) for model in models]
    if models[0] not in _KEPT or _KEPT[models[0]][0] != refs:
        _KEPT[models[0]] = refs, Heads(models)
    return _KEPT[models[0]][1]


#: Of the companions of the baseline, what all share.
_COMPANION = {"multinomial": False, "max_terms": 60_000}
#: Name -> step of the ladder, and what its learner differs in from the baseline's.
LINEAR = {
    "tfidf": ("TF-IDF + logistic regression", {}),
    "nb": ("naive-Bayes-scaled logistic regression", _COMPANION | {"scaled": True}),
    "lasso": ("sparse logistic regression", _COMPANION | {"sparse": True}),
    "chars": (
        "terms of letters",
        _COMPANION | {"scaled": True, "analyzer": "char_wb", "ngrams": (3, 5), "min_df": 3},
    ),
}
