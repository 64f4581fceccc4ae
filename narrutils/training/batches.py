"""The order in which a curriculum is walked: all epochs of all phases, laid end to end as batches."""

import numpy as np

from narrutils.errors import InputError
from narrutils.models.learner import Phase


def plan_batches(
    phases: list[Phase], lengths: list[int], batch_size: int, seed: int, accumulation: int = 1
) -> list[list[list[int]]]:
    """For each epoch of each phase, its batches of row numbers, a multiple of `accumulation`.

    Neither a batch nor an optimizer step of `accumulation` batches mixes epochs or
    phases. Rows of like length share a step (sorted within random stretches of 16
    steps), which saves padding; steps come in random order.

    Raises:
        InputError: a phase has fewer rows than a step has batches.
    """
    rng, epochs, start = np.random.default_rng(seed), [], 0
    for phase in phases:
        rows = np.arange(start, start + len(phase.texts))
        start += len(phase.texts)
        if len(rows) < accumulation:
            raise InputError(f"accumulation is {accumulation}, but a phase has only {len(rows)} rows")
        for _ in range(phase.epochs):
            steps = _steps(rng.permutation(rows), lengths, batch_size * accumulation, accumulation)
            order = rng.permutation(len(steps))
            epochs.append([batch.tolist() for n in order for batch in np.array_split(steps[n], accumulation)])
    return epochs


def _steps(order: np.ndarray, lengths: list[int], size: int, least: int) -> list[np.ndarray]:
    """The rows of each optimizer step; a last step of fewer than `least` rows joins the one before."""
    stretches = [order[n : n + size * 16] for n in range(0, len(order), size * 16)]
    by_length = np.concatenate([sorted(part, key=lengths.__getitem__) for part in stretches])
    steps = [by_length[n : n + size] for n in range(0, len(by_length), size)]
    if len(steps) > 1 and len(steps[-1]) < least:
        steps[-2:] = [np.concatenate(steps[-2:])]
    return steps


class FixedBatches(list):
    """Batches in the order planned, with the size that accelerate asks of a batch sampler."""

    def __init__(self, batches: list[list[int]], batch_size: int):
        super().__init__(batches)
        self.batch_size, self.drop_last = batch_size, False


def epoch_ends(phases: list[Phase], epochs: list[list[list[int]]], accumulation: int) -> dict[int, dict]:
    """Optimizer step at which each epoch ends -> its number, phase and rows."""
    which = [n for n, phase in enumerate(phases) for _ in range(phase.epochs)]
    ends, batches = {}, 0
    for number, (phase, epoch) in enumerate(zip(which, epochs), 1):
        batches += len(epoch)
        rows = len(phases[phase].texts)
        ends[batches // accumulation] = {"phase": phase, "epoch": number, "rows": rows}
    return ends
