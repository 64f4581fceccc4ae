"""What a training shows: the rows of all its phases, tokenised once, batched on demand."""

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from narrutils.models.learner import Phase
from narrutils.models.lower import LowerStates
from narrutils.models.reading import Inputs
from narrutils.training.distributed import share
from narrutils.training.recipe import Recipe
from narrutils.training.swap import check_swap, reordered


class Examples(Dataset):
    """The rows of all phases, tokenised once.

    Where the recipe swaps narratives, row `n + len(self)` is row n in its other order.
    """

    def __init__(self, phases: list[Phase], tokenizer, recipe: Recipe, lower: LowerStates | None = None):
        texts = pd.concat([p.texts for p in phases])
        check_swap(recipe, texts.shape[1])
        orders = [texts, reordered(texts, recipe.seed)] if recipe.swap else [texts]
        self.inputs = Inputs(pd.concat(orders), tokenizer, recipe, lower)
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
        cases = [row % len(self) for row in rows]
        return self.inputs.batch(share(rows)) | {
            "targets": torch.from_numpy(self.targets[cases]),
            "soft": torch.from_numpy(self.soft[cases]),
            "phase": torch.from_numpy(self.phase[cases]),
        }
