"""Bootstrap intervals over cases: of a score, of a paired gain, of an unpaired gap.

Percentile bootstrap (Efron 1979): cases are drawn with replacement and the whole
metric is computed anew on each draw. The intervals speak of the sampling of
cases, not of training seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from narrutils.evaluation.metrics import Counts

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def columns_of(*names: str) -> list[str]:
    """The columns that intervals of these names take in a table: `x`, `x_low`, `x_high`."""
    return [name + end for name in names for end in ("", "_low", "_high")]


def in_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """An interval as tables and records keep it; null where there is none."""
    return dict(zip(columns_of(name), (None,) * 3 if interval is None else astuple(interval)))


def in_table(rows: Sequence[Mapping], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a table of these columns, intervals as floats: NaN where there is none."""
    floats = [c for c in columns if c.endswith(("_low", "_high")) or f"{c}_low" in columns]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(floats, float))


@lru_cache(maxsize=4)  # a ladder asks for the same draws again and again: of two splits, each with two seeds
def resample(n_cases: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each case is drawn, `[draws, n_cases]`, not to be written to; rows sum to `n_cases`."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=draws).astype(float)
    drawn.setflags(write=False)
    return drawn


def score_interval(counts: Counts) -> Interval:
    """Average F1 with its interval."""
    samples = counts.scores(resample(len(counts.hits))).mean(axis=1)
    return _interval(counts.scores().mean(), samples)


def variable_intervals(counts: Counts) -> list[Interval]:
    """Each variable's score with its interval, in schema order."""
    samples = counts.scores(resample(len(counts.hits)))
    return [_interval(value, column) for value, column in zip(counts.scores(), samples.T)]


def paired_gain(better: Counts | Sequence[Counts], base: Counts | Sequence[Counts]) -> Interval:
    """`better` − `base` on the same cases, both scored on the same draws.

    Args:
        better, base: counts of one reading of the cases, or of several whose scores are averaged.

    Raises:
        ValueError: the two do not count the same number of cases.
    """
    better, base = _several(better), _several(base)
    if len({len(counts.hits) for counts in better + base}) > 1:
        raise ValueError("a paired gain needs both models on the same cases")
    weights = resample(len(base[0].hits))
    return _interval(_mean(better) - _mean(base), _mean(better, weights) - _mean(base, weights))


def unpaired_gap(one: Counts | Sequence[Counts], other: Counts | Sequence[Counts]) -> Interval:
    """`one` − `other` on different cases (such as test − out-of-fold), drawn independently.

    Args:
        one, other: counts of one reading of the cases, or of several whose scores are averaged.
    """
    one, other = _several(one), _several(other)
    first = _mean(one, resample(len(one[0].hits)))
    second = _mean(other, resample(len(other[0].hits), seed=1))
    return _interval(_mean(one) - _mean(other), first - second)


def _several(counts: Counts | Sequence[Counts]) -> list[Counts]:
    return [counts] if isinstance(counts, Counts) else list(counts)


def _mean(several: list[Counts], weights: np.ndarray | None = None) -> np.ndarray:
    """Average F1 of each draw, the mean over the readings."""
    return np.mean([counts.scores(weights).mean(axis=-1) for counts in several], axis=0)


def _interval(value: float, samples: np.ndarray) -> Interval:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))
