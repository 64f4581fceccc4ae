"""A linear model on TF-IDF terms that learns from probabilities, as a teacher gives them.

The loss is the cross-entropy against whatever the targets of all phases say, where plain logistic
regression knows 0 and 1 alone. It is stored and read as any `TfidfModel`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags
from scipy.special import expit, logit, logsumexp

from narrutils.models.learner import Phase
from narrutils.models.linear import NEVER, one_thread
from narrutils.models.tfidf import TfidfLearner, TfidfModel, ratios


@dataclass(frozen=True)
class SoftLearner(TfidfLearner):
    """Sublinear TF-IDF, and logistic regression of probabilities.

    Terms are words and pairs of words, each scaled for each class by its naive Bayes ratio, which is worth
    much where few narratives teach (`python -m benchmarks.students`).

    An epoch of a phase is a weight: a row counts by the share that the phases which hold it have in all
    epochs. So an official row with soft labels for two epochs and hard ones for one counts once, its
    target being two parts soft and one part hard, and a row of the soft phase alone counts two thirds.
    """

    scaled: bool = True
    multinomial: bool = False

    def fit(self, phases: list[Phase], label: str = "") -> TfidfModel:
        """Learn from all phases."""
        rows = pd.concat([phase.texts for phase in phases])
        rows = rows[~rows.index.duplicated()]
        features, vocabulary, idf = self.terms(rows)
        weights, bias = np.zeros((len(vocabulary), self.schema.width)), np.zeros(self.schema.width)
        for v in self.schema.variables:
            columns = self.schema.slices[v.name]
            targets, counts = mixed([phase for phase in phases if phase.epochs], rows.index, list(v.columns))
            known = np.flatnonzero(counts)
            if len(known):
                told = features[known], targets[known], counts[known]
                weights[:, columns], bias[columns] = self._column_by_column(*told)
        return TfidfModel(
            self.schema, vocabulary, idf, weights.astype(np.float32), bias, self.analyzer, self.ngrams
        )

    def _column_by_column(
        self, features: csr_matrix, targets: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.multinomial or not features.shape[1]:  # without a term all are read at the shares
            return regress(features, targets, counts, self.inverse_regularisation)
        same = np.ones(features.shape[1])
        scales = [ratios(features, answers, counts) if self.scaled else same for answers in targets.T]
        found = [
            regress(features @ diags(scale), answers[:, None], counts, self.inverse_regularisation)
            for scale, answers in zip(scales, targets.T)
        ]
        weights = np.hstack([own * scale[:, None] for (own, _), scale in zip(found, scales)])
        return weights, np.concatenate([bias for _, bias in found])


def mixed(phases: list[Phase], uids: pd.Index, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Targets `[uids, columns]` of a variable over all phases, and what each row counts `[uids]`, 0 to 1."""
    total, counts = np.zeros((len(uids), len(columns))), np.zeros(len(uids))
    for phase in phases:
        share = phase.epochs / sum(p.epochs for p in phases)
        values, at = phase.targets[columns].to_numpy(dtype=float), uids.get_indexer(phase.texts.index)
        given = ~np.isnan(values).any(axis=1)
        total[at[given]] += share * values[given]
        counts[at[given]] += share
    return total / np.maximum(counts, 1e-12)[:, None], counts


@one_thread
def regress(
    features: csr_matrix, targets: np.ndarray, counts: np.ndarray, inverse_regularisation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression against probabilities: C Σ counts · cross-entropy + ½ ‖weights‖² is least.

    Args:
        features: `[cases, terms]`.
        targets: `[cases, columns]`: one column in [0, 1], or several that sum to 1 in each row.
        counts: what each row counts, `[cases]`, positive.

    Returns:
        Weights `[terms, columns]` and biases `[columns]`.
    """
    size, width = features.shape[1], targets.shape[1]
    by_term = features.T.tocsr()

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[: size * width].reshape(size, width), flat[size * width :]
        z = features @ weights + bias
        norm = np.logaddexp(0, z) if width == 1 else logsumexp(z, axis=1, keepdims=True)
        read = expit(z) if width == 1 else np.exp(z - norm)
        off = counts[:, None] * (read - targets) * inverse_regularisation
        value = counts @ (norm[:, 0] - (targets * z).sum(axis=1)) * inverse_regularisation
        slope = np.concatenate([(by_term @ off + weights).ravel(), off.sum(axis=0)])
        return value + 0.5 * (weights**2).sum(), slope

    shares = counts @ targets / counts.sum()
    with np.errstate(divide="ignore"):
        bias = logit(shares) if width == 1 else np.log(shares)
    start = np.concatenate([np.zeros(size * width), bias.clip(NEVER, -NEVER)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-9}).x
    return found[: size * width].reshape(size, width), found[size * width :]
