"""Which cases people should code, with what chance each was drawn, and how many more would do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from narrutils.errors import InputError
from narrutils.findings.estimates.powered import Powered, Z

INCLUSION = "inclusion_probability"  # the column that says with what chance a case was drawn


def draw(groups: pd.DataFrame, size: int, by: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """A random sample without replacement, in random order, so that its first cases are one as well.

    Args:
        groups: the cases to draw from, indexed by uid, with the columns `by` at least.
        by: equally many for each level of these columns, or all where a level has no more; empty:
            every case with the same chance. Estimates take such cases as drawn one by one with their
            chances, which makes intervals of all levels together a little too wide.

    Returns:
        The rows that were drawn, and `INCLUSION`, the chance of each in (0, 1].

    Raises:
        InputError: more cases are asked for than there are, or fewer than there are levels.
    """
    if not 1 <= size <= len(groups):
        raise InputError(
            f"--draw {size}: there are {len(groups)} cases to draw from; ask for 1..{len(groups)}"
        )
    levels = groups.groupby(list(by), sort=True).ngroup() if by else pd.Series(0, groups.index)
    counts = levels.value_counts().sort_index().to_numpy()
    if size < len(counts):
        raise InputError(
            f"--draw {size}: {', '.join(by)} have {len(counts)} levels; ask for one of each at least"
        )
    rng = np.random.default_rng(seed)
    wanted = shares_of(counts, size, rng)
    order = rng.permutation(len(groups))
    rank = pd.Series(order).groupby(levels.to_numpy()).rank(method="first").to_numpy() - 1
    drawn = np.flatnonzero(rank < wanted[levels])
    chances = (wanted / counts)[levels.to_numpy()[drawn]]
    sample = groups.iloc[drawn].assign(**{INCLUSION: chances})
    return sample.iloc[rng.permutation(len(sample))]


def shares_of(counts: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """How many of each level, `[levels]`: as equal as may be, none above its count, `size` in all."""
    wanted = np.zeros(len(counts), dtype=int)
    while (left := size - wanted.sum()) > 0:
        open_ = np.flatnonzero(wanted < counts)
        if left < len(open_):
            wanted[rng.choice(open_, left, replace=False)] += 1
        else:
            wanted[open_] = np.minimum(wanted[open_] + left // len(open_), counts[open_])
    return wanted


def further(part: Powered, omega: float, width: float, coded: int, cases: int) -> float:
    """Human codes beyond those there are for an interval of this total width; infinite if all would not do.

    The variance is that of the coded cases' residuals, which falls with their number, and the rest,
    which does not: V(n) = A / n + B.

    Args:
        part: a share as estimated now, from `coded` of `cases`.
    """
    lasting = part.lasting(omega)
    residual = part.at(omega).variance - lasting
    allowed = (width / (2 * Z)) ** 2 - lasting
    needed = residual * coded / allowed if allowed > 0 else np.inf
    return float(max(np.ceil(needed) - coded, 0)) if needed <= cases else float("inf")
