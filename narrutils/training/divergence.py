"""A training that goes wrong, noticed while it runs.

Its loss or gradient is no number any more, or has left its scale for good.
"""

from collections import deque

import numpy as np


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
