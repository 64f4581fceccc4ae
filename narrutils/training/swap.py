"""Augmentation: the narratives of a case in another order, in training alone.

Both orders are tokenised once. Which one an epoch shows is drawn with the plan of the
batches, so it follows the seed, however many processes share the batches.
"""

from itertools import permutations

import numpy as np
import pandas as pd

from narrutils.errors import InputError
from narrutils.training.recipe import Recipe


def check_swap(recipe: Recipe, narratives: int) -> None:
    """Refuse a swap where another order of the narratives would change nothing.

    Raises:
        InputError: there is one narrative, or each is read on its own.
    """
    if recipe.swap and (narratives < 2 or recipe.inputs != "joined"):
        raise InputError("swap needs two narratives or more that are read joined; set swap to 0")


def reordered(texts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same cases, the narratives of each in another order than the given one, drawn at random."""
    others = np.array(list(permutations(range(texts.shape[1])))[1:])
    orders = others[np.random.default_rng(seed).integers(len(others), size=len(texts))]
    moved = np.take_along_axis(texts.to_numpy(dtype=object), orders, axis=1)
    return pd.DataFrame(moved, texts.index, texts.columns)


def draw_swaps(epochs: list[list[list[int]]], cases: int, share: float, seed: int) -> list[list[list[int]]]:
    """The plan with each showing of a case swapped with probability `share`: row n becomes n + cases."""
    rng = np.random.default_rng([seed, cases])
    return [[[row + cases * int(rng.random() < share) for row in b] for b in epoch] for epoch in epochs]
