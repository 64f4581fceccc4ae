"""Bootstrap intervals over cases: of a score, of a paired gain, of an unpaired gap.

Percentile bootstrap (Efron 1979): cases are drawn with replacement and the whole
metric is computed anew on each draw. The intervals speak of the sampling of
cases; `seeds` adds what the seeds of trainings do. Only cases with a label are
drawn, and a variable of which a draw holds no label is left out of that draw's mean.

Draws are made a block at a time, so that memory does not grow with the cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from narrutils.evaluation.metrics import Counts, mean_score

DRAWS = 2000
BLOCK = 2**22  # numbers that are drawn at once: 32 MB
KEPT = 2**25  # draws of so many numbers, a byte each, are kept for the next interval; larger ones made anew


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
    # No case is drawn 256 times: of many cases each is drawn about once.
    drawn = np.concatenate([block.astype(np.uint8) for block in _blocks(n_cases, draws, seed)])
    drawn.setflags(write=False)
    return drawn


def blocks(n_cases: int, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """The rows of `resample` as floats, some at a time."""
    if n_cases * draws > KEPT:
        yield from _blocks(n_cases, draws, seed)
        return
    drawn, rows = resample(n_cases, draws, seed), _rows(n_cases)
    yield from (drawn[start : start + rows].astype(float) for start in range(0, draws, rows))


def _blocks(n_cases: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """The rows of `resample` as floats: one stream of numbers, however it is cut."""
    rng, rows = np.random.default_rng(seed), _rows(n_cases)
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        yield rng.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=size).astype(float)


def _rows(n_cases: int) -> int:
    return max(1, BLOCK // n_cases)


def draw(several: Sequence[Counts], seed: int = 0) -> list[np.ndarray]:
    """Scores of each on each draw, `[DRAWS, n_variables]`: one pass over the draws for all of them.

    Counts keep them, so whoever will ask for many intervals lets all be drawn at once before.
    """
    waiting = list({id(counts): counts for counts in several if seed not in counts.drawn}.values())
    for n_cases in {len(counts.hits) for counts in waiting}:
        group = [counts for counts in waiting if len(counts.hits) == n_cases]
        weights = blocks(n_cases, seed=seed) if n_cases else [np.ones((DRAWS, 0))]
        parts = [[counts.scores(block) for counts in group] for block in weights]
        for counts, own in zip(group, zip(*parts)):
            counts.drawn[seed] = np.concatenate(own)
    return [counts.drawn[seed] for counts in several]


def score_interval(counts: Counts | Sequence[Counts]) -> Interval:
    """Average F1 with its interval; of several readings of the same cases, the mean of theirs."""
    several = _several(counts)
    draw(several)
    return _interval(_mean(several), _means(several))


def variable_intervals(counts: Counts) -> list[Interval]:
    """Each variable's score with its interval, in schema order; NaN where it has no label."""
    (samples,) = draw([counts])
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
    draw([*better, *base])
    return _interval(_mean(better) - _mean(base), _means(better) - _means(base))


def unpaired_gap(one: Counts | Sequence[Counts], other: Counts | Sequence[Counts]) -> Interval:
    """`one` − `other` on different cases (such as test − out-of-fold), drawn independently.

    A variable of which either has no label is left out of both.

    Args:
        one, other: counts of one reading of the cases, or of several whose scores are averaged.
    """
    one, other = _several(one), _several(other)
    both = ~np.isnan([counts.scores() for counts in (*one, *other)]).any(axis=0)
    samples = _means(one, of=both) - _means(other, 1, both)
    return _interval(_mean(one, both) - _mean(other, both), samples)


def _several(counts: Counts | Sequence[Counts]) -> list[Counts]:
    return [counts] if isinstance(counts, Counts) else list(counts)


def _mean(several: list[Counts], of: np.ndarray | bool = True) -> np.ndarray:
    """Average F1 over some variables, the mean over the readings."""
    return np.mean([mean_score(np.where(of, counts.scores(), np.nan)) for counts in several], axis=0)


def _means(several: list[Counts], seed: int = 0, of: np.ndarray | bool = True) -> np.ndarray:
    """The same of each draw."""
    return np.mean([mean_score(np.where(of, samples, np.nan)) for samples in draw(several, seed)], axis=0)


def _interval(value: float, samples: np.ndarray) -> Interval:
    """The bounds of the draws that have a score; NaN where none has."""
    samples = samples[~np.isnan(samples)]
    low, high = np.quantile(samples, [0.025, 0.975]) if len(samples) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
