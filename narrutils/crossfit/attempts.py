"""One model of a fold, trained and read; begun again with another seed where that went wrong.

A training may diverge, or end up saying the same of every case (DeBERTa does on some
seeds). Neither can be mended by going on; another seed often can.
"""

import gc
from dataclasses import dataclass

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.models.learner import Learner, Model, Phase
from narrutils.training.divergence import Diverged


@dataclass(frozen=True)
class Trained:
    """A model, its readings, and the attempts it took.

    `attempts` has an entry a training, the kept one last: `seed`, and `trouble`, why it
    was given up, empty where nothing was wrong. A kept model with trouble reads all cases alike.
    """

    model: Model
    predictions: pd.DataFrame
    attempts: list[dict]


def train_and_read(
    learner: Learner, phases: list[Phase], texts: list[pd.DataFrame], schema: Schema, label: str
) -> Trained:
    """Train a learner and read with it; begin again with another seed where that went wrong.

    A model that reads all cases alike is kept if the last attempt gave no better. One that
    is not finite never is.

    Args:
        texts: what is read, none of it learned from; each table by itself.

    Raises:
        InputError: the last attempt diverged.
    """
    attempts = []
    for candidate in map(learner.reseeded, range(learner.attempts)):
        model = predictions = None  # let go of the former model before the next one is trained
        if learner.attempts > 1:  # neural: its parts hold one another; looking for them takes half a second
            gc.collect()
        try:
            model = candidate.fit(phases, label)
            predictions = _finite(pd.concat([model.predict(part) for part in texts]), schema)
            several = len(pd.concat(texts).drop_duplicates()) > 1
            trouble = constant(predictions, phases[-1].targets) if several else ""
        except Diverged as diverged:
            trouble = str(diverged)
        attempts.append({"seed": candidate.seed, "trouble": trouble})
        if not trouble:
            break
        place = f"attempt {len(attempts)} of {learner.attempts}, seed {candidate.seed}"
        print(f"{label} · {place}: {trouble}", flush=True)
    if predictions is None:
        raise InputError(
            f"{label}: every training diverged, the last of {len(attempts)} because {trouble}; "
            "lower learning_rate or raise warmup"
        )
    return Trained(model, predictions, attempts)


def constant(predictions: pd.DataFrame, targets: pd.DataFrame, least: float = 1e-3) -> str:
    """Why these readings count as constant, or nothing where they do not.

    Args:
        predictions: of cases that the model did not learn from, at least two different ones.
        targets: what the model learned from. Only columns that vary there can be learned.
        least: standard deviation over the cases that some column has to reach. A model
            that has barely left the training rates is still above it.
    """
    learned = targets.columns[targets.nunique() > 1]
    if not len(learned) or len(predictions) < 2:
        return ""
    spread = float(predictions[learned].std(ddof=0).max())
    alike = f"it reads all {len(predictions)} cases alike (largest standard deviation {spread:.1g})"
    return "" if spread >= least else alike


def _finite(predictions: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    if predictions.isna().any(axis=None):
        raise Diverged("a prediction is not a number")
    return schema.check_probabilities(predictions)
