"""What a sentence says of what it is on: learned from how cases were coded, over all variables at once.

A linear model hears that a sentence is on a variable and hardly whether it denies it: "no history of
burns" speaks of burns. The words that assert, deny, or tell it of a relative are the same for every
variable, though. So one logistic regression learns them from all variables together: of a sentence
that moves the probability of a variable, how probable is the label 1, by the words around the term
that the variable is told by? It needs no label of any sentence. That a sentence denies is said by words
besides, after NegEx (Chapman et al. 2001): what a relative did is worded in other ways too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

WINDOW = 8  # words on either side of the term
EFFECT = "effect"  # the one feature that no word is: how far the sentence moves the variable
DOUBT = 3.0  # sentences without an effect that are added to those that hold a term
INVERSE_REGULARISATION = 0.1  # scikit-learn's C


@dataclass(frozen=True)
class Wording:
    """A fitted model; `model` is None where all labels were the same, and then `share` is what it says."""

    terms: CountVectorizer | None
    told_by: np.ndarray  # [terms + 1, variables]: mean effect of the sentences with the term; 0 of no term
    features: CountVectorizer | None
    model: LogisticRegression | None
    share: float

    @classmethod
    def fit(
        cls, words: list[list[str]], effects: np.ndarray, on: np.ndarray, labels: np.ndarray
    ) -> "Wording":
        """What sentences and labels teach.

        Args:
            words: of each sentence.
            effects: `[sentences, variables]`, on the log-odds of each binary variable.
            on: of the same shape: whether the sentence is on the variable.
            labels: of the same shape: the case's label, NaN where there is none.
        """
        rows, columns = np.nonzero(on & ~np.isnan(labels))
        answers = labels[rows, columns]
        share = float((answers.sum() + 0.5) / (len(answers) + 1))
        if len(np.unique(answers)) < 2:
            return cls(None, np.zeros((1, effects.shape[1])), None, None, share)
        terms = CountVectorizer(analyzer=_same, binary=True)
        found = terms.fit_transform(words)
        told_by = (found.T @ effects) / (np.asarray(found.sum(axis=0)).T + DOUBT)
        told_by = np.vstack([told_by, np.zeros((1, effects.shape[1]))])
        features = CountVectorizer(analyzer=_same, binary=True, dtype=float)
        made = cls(terms, told_by, features, None, share)
        table = made._table(features.fit_transform, words, effects, rows, columns)
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300).fit(table, answers)
        return replace(made, model=model)

    def read(self, words: list[list[str]], effects: np.ndarray, on: np.ndarray) -> np.ndarray:
        """Probability that a sentence says so, `[sentences, variables]`; NaN where it is on another."""
        rows, columns = np.nonzero(on)
        p = np.full(on.shape, np.nan)
        if self.model is None:
            p[on] = self.share
        elif len(rows):
            table = self._table(self.features.transform, words, effects, rows, columns)
            p[rows, columns] = expit(self.model.decision_function(table))
        return p

    def _table(self, count, words, effects, rows: np.ndarray, columns: np.ndarray) -> csr_matrix:
        """Features of some sentences, each on a variable, as `count` counts them: `[rows, features]`."""
        table = count(self._described(words, rows, columns))
        table.sort_indices()
        table.data[table.indices == self.features.vocabulary_[EFFECT]] = effects[rows, columns]
        return table

    def _described(self, words, rows: np.ndarray, columns: np.ndarray) -> Iterator[list[str]]:
        known, none = self.terms.vocabulary_, len(self.told_by) - 1
        terms = {n: np.array([known.get(w, none) for w in words[n]], int) for n in np.unique(rows)}
        for n, v in zip(rows, columns):
            told = _described(words[n], int(self.told_by[terms[n], v].argmax())) if words[n] else []
            yield [*told, f"variable {v}", EFFECT]


def _described(words: list[str], at: int) -> list[str]:
    """The words of a sentence by their place beside that one, and those that it opens with."""
    before, after = words[max(at - WINDOW, 0) : at], words[at + 1 : at + 1 + WINDOW]
    found = [f"before {w}" for w in before] + [f"after {w}" for w in after] + [f"in {w}" for w in words]
    found += [f"before {one} {two}" for one, two in zip(before, before[1:])]
    return found + [f"next {w}" for w in before[-1:]] + [f"opens {' '.join(words[:n])}" for n in (1, 2)]


def _same(words: list[str]) -> list[str]:
    return words


def deny(words: list[list[str]], denials: str) -> np.ndarray:
    """Which sentences hold a word that denies, `[sentences]`; all of them where there are no such words.

    Args:
        denials: words, or runs of words, between commas.
    """
    listed = [" ".join(part.split()).lower() for part in denials.split(",") if part.strip()]
    told = [f" {' '.join(of_sentence)} " for of_sentence in words]
    return np.array([not listed or any(f" {d} " in text for d in listed) for text in told], dtype=bool)
