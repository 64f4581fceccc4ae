"""What a training shows: the rows of all its phases, and the order in which it walks them.

All epochs of all phases are laid end to end as batches.
"""

from itertools import accumulate

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from narrutils.errors import InputError
from narrutils.models.learner import Phase
from narrutils.models.lower import LowerStates
from narrutils.models.reading import Inputs
from narrutils.training.distributed import share
from narrutils.training.recipe import Recipe


class Examples(Dataset):
    """The rows of all phases, tokenised once."""

    def __init__(self, phases: list[Phase], tokenizer, recipe: Recipe, lower: LowerStates | None = None):
        self.inputs = Inputs(pd.concat([p.texts for p in phases]), tokenizer, recipe, lower)
        self.targets = np.concatenate([p.targets.to_numpy(dtype=np.float32) for p in phases])
        self.soft = np.concatenate([np.full(len(p.texts), p.soft) for p in phases])
        self.phase = np.concatenate([np.full(len(p.texts), n) for n, p in enumerate(phases)])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, n: int) -> int:
        return n

    def collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """A padded batch with its targets and the number of its phase, which is one for all its rows.

        Of several processes each gets its `share` of the rows, and the targets of all.
        """
        return self.inputs.batch(share(rows)) | {
            "targets": torch.from_numpy(self.targets[rows]),
            "soft": torch.from_numpy(self.soft[rows]),
            "phase": torch.from_numpy(self.phase[rows]),
        }


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
    steps = accumulate(len(epoch) // accumulation for epoch in epochs)
    return {
        step: {"phase": phase, "epoch": number, "rows": len(phases[phase].texts)}
        for number, (step, phase) in enumerate(zip(steps, which), 1)
    }
