"""Trainings that went wrong: noticed, begun again with another seed, recorded.

A training diverges when its loss or gradient is no number any more, when they leave their
scale for good, or when the model ends up saying the same of every case (DeBERTa does on
some seeds). None of it can be mended by going on; another seed often can.
"""

import gc
from collections import deque
from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError

ATTEMPTS = 3  # trainings of one model at most, each with the next seed


class Diverged(Exception):
    """A training is not worth going on with; the message says why."""


class Watch:
    """Follows the loss and the gradient norm of a training, step by step.

    Both are judged within a phase, because another loss has another scale. Single
    outliers pass, they are clipped away; what stays out of scale does not.
    """

    #: Mean of the last steps against that of the phase's first: so many times it, and so much above it.
    LOSS_STEPS, LOSS_FACTOR, LOSS_RISE = 10, 3.0, 0.5
    #: The last steps against the median of those before.
    NORM_STEPS, NORM_HISTORY, NORM_FACTOR = 5, 50, 100.0

    def __init__(self):
        self.phase: int | None = None

    def see(self, step: int, phase: int, loss: float, norm: float | None) -> None:
        """Take note of a step.

        Raises:
            Diverged: the loss or the norm is not finite, or has left its scale.
        """
        if phase != self.phase:
            self.phase, self.first = phase, []
            self.losses, self.norms = deque(maxlen=self.LOSS_STEPS), deque(maxlen=self.NORM_HISTORY)
            self.high = 0
        self._see_loss(step, loss)
        if norm is not None:
            self._see_norm(step, norm)

    def _see_loss(self, step: int, loss: float) -> None:
        if not np.isfinite(loss):
            raise Diverged(f"the loss is not finite at step {step}")
        self.losses.append(loss)
        if len(self.first) < self.LOSS_STEPS:
            self.first.append(loss)
            return
        first, last = np.mean(self.first), np.mean(self.losses)
        if last > max(self.LOSS_FACTOR * first, first + self.LOSS_RISE):
            raise Diverged(f"the loss rose from {first:.3g} to {last:.3g} by step {step}")

    def _see_norm(self, step: int, norm: float) -> None:
        if not np.isfinite(norm):
            raise Diverged(f"the gradient norm is not finite at step {step}")
        known = len(self.norms) == self.NORM_HISTORY
        scale = float(np.median(self.norms)) if known else np.inf
        if norm <= self.NORM_FACTOR * scale:
            self.norms.append(norm)
            self.high = 0
            return
        self.high += 1
        if self.high == self.NORM_STEPS:
            raise Diverged(
                f"the gradient norm stays at {norm:.3g} by step {step}, where {scale:.3g} was usual"
            )


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
    if spread >= least:
        return ""
    return f"it reads all {len(predictions)} cases alike (largest standard deviation {spread:.1g})"


@dataclass(frozen=True)
class Trained:
    """A model, its readings, and the attempts it took.

    `attempts` has an entry a training, the kept one last: `seed`, and `trouble`, why it
    was given up, empty where nothing was wrong. A kept model with trouble reads all cases alike.
    """

    model: object
    predictions: pd.DataFrame
    attempts: list[dict]


def train_and_read(learner, phases: list, texts: list[pd.DataFrame], schema: Schema, label: str) -> Trained:
    """Train a learner and read with it; begin again with another seed where that went wrong.

    A model that reads all cases alike is kept if the last attempt gave no better. One that
    is not finite never is. A learner without `reseeded` has one attempt.

    Args:
        texts: what is read, none of it learned from; each table by itself.

    Raises:
        InputError: the last attempt diverged.
    """
    attempts, seeds = [], ATTEMPTS if hasattr(learner, "reseeded") else 1
    for number in range(seeds):
        candidate = learner.reseeded(number) if number else learner
        model = predictions = None  # let go of the former model before the next one is trained
        if seeds > 1:  # a neural one, whose parts hold one another; looking for them takes half a second
            gc.collect()
        try:
            model = candidate.fit(phases, label)
            predictions = _finite(pd.concat([model.predict(part) for part in texts]), schema)
            trouble = constant(predictions, phases[-1].targets) if differ(pd.concat(texts)) else ""
        except Diverged as diverged:
            trouble = str(diverged)
        seed = getattr(candidate, "seed", None)
        attempts.append({"seed": seed, "trouble": trouble})
        if not trouble:
            break
        print(f"{label} · attempt {number + 1} of {seeds}, seed {seed}: {trouble}", flush=True)
    if predictions is None:
        raise InputError(
            f"{label}: every training diverged, the last of {len(attempts)} because {trouble}; "
            "lower learning_rate or raise warmup"
        )
    return Trained(model, predictions, attempts)


def differ(texts: pd.DataFrame) -> bool:
    """Whether there are two different cases among these."""
    return len(texts.drop_duplicates()) > 1


def _finite(predictions: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    if predictions.isna().any(axis=None):
        raise Diverged("a prediction is not a number")
    return schema.check_probabilities(predictions)
