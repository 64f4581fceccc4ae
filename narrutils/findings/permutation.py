"""Does a group of cases differ from the others: an unpaired test that lets sets of cases change places.

A score of the group is held against that of the rest, the difference divided by its standard error
(z), and both are computed anew after the groups of whole sets were exchanged: where groups have
nothing to do with the scores, one exchange is as likely as the next, and the share of exchanges that give
a z as far from 0 is a valid p value. Sets change places with sets of like size, within a factor of two,
each with what groups its cases have, so that sets whose cases are of several groups need no further rule.
Dividing by the standard error keeps the test near its level where the groups differ in what is not
tested, such as how frequent a variable is (Janssen 1997; Chung and Romano 2013).

So many exchanges cannot give a p value below one by their number. Where fewer than `SEEN` are as
extreme, the tail is that of the Pearson type III distribution with their mean, variance and
skewness (Winkler et al. 2016, "Faster permutation inference"): rare variables are skewed.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.stats import pearson3, skew

from narrutils.evaluation import drift
from narrutils.evaluation.metrics import Counts

DRAWS = 2000
SEEN = 10  # exchanges as extreme as the data from which their share is the p value
BLOCK = 2**22  # numbers of an exchange that are held at once
ALPHA = 0.05


def holm(p: pd.Series) -> pd.Series:
    """p values corrected for all of them together by Holm's method (1979); NaN stays, and is no test."""
    corrected = pd.Series(np.nan, p.index)
    if p.notna().any():
        corrected[p.notna()] = drift.holm(p.dropna().to_numpy())
    return corrected


def exchanged(
    groups: np.ndarray, sets: np.ndarray, within: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """The groups `[rows, n_cases]` after sets of like size changed places, some draws at a time.

    Args:
        groups: number of each case's group, 0 or more.
        sets: number of each case's set. A set without another of like size stays where it is.
        within: number of the part of the cases, such as a fold, in which each set stays; None: one part.
    """
    rng, rows = np.random.default_rng(seed), max(1, BLOCK // max(len(groups), 1))
    alike = _alike(groups, sets, np.zeros(len(groups), int) if within is None else within)
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        drawn = np.empty((size, len(groups)), dtype=groups.dtype)
        for cases, held, own, place in alike:
            order = rng.random((size, len(held))).argsort(axis=1)
            drawn[:, cases] = held[order[:, own], place]
        yield drawn


def _alike(groups: np.ndarray, sets: np.ndarray, within: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Of sets of like size in one part: their cases, each set's groups, and set and place of each case.

    A set's groups are repeated up to the largest size, for larger sets to take over.
    """
    numbers = pd.factorize(sets)[0]
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(order)) - starts[numbers[order]]
    parts = pd.factorize(np.asarray(within))[0][order[starts]]
    kinds, found = parts * 64 + np.floor(np.log2(sizes)), []
    for kind in np.unique(kinds):
        those = np.flatnonzero(kinds == kind)
        here, widest = np.isin(numbers[order], those), sizes[those].max()
        cases = order[here]
        members = starts[those, None] + np.arange(widest) % sizes[those, None]
        own = np.searchsorted(those, numbers[cases])
        found.append((cases, groups[order[members]], own, place[here]))
    return found


def p_values(
    counts: Counts,
    groups: np.ndarray,
    sets: np.ndarray,
    means: Mapping[int, np.ndarray],
    within: np.ndarray | None = None,
    seed: int = 0,
    unseen: float = 1.0,
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Of each group asked for, whether it scores otherwise than all others together; two-sided.

    Args:
        counts: of all cases of the groups, a score in each of K columns; `given` is not None.
        groups, sets, within, seed: as of `exchanged`.
        means: group -> which columns are averaged, `[K, means]` of 0 and 1.
        unseen: so many times the variance that exchanges show is the variance in truth, 1 or more.

    Returns:
        group -> p of each column `[K]`, and p of each mean `[means]`; NaN where the group or the rest
        has no score.
    """
    hits, errors = counts.hits.astype(np.float32), counts.errors.astype(np.float32)
    found = {group: [_z(hits, errors, (groups == group)[None], how)] for group, how in means.items()}
    for drawn in exchanged(groups, sets, within, seed=seed) if means else ():
        for group, how in means.items():
            found[group].append(_z(hits, errors, drawn == group, how))
    z = {group: (parts[0][0] / unseen**0.5, np.concatenate(parts[1:])) for group, parts in found.items()}
    p = {group: two_sided(*of_group) for group, of_group in z.items()}
    return {group: (values[: hits.shape[1]], values[hits.shape[1] :]) for group, values in p.items()}


def _z(hits: np.ndarray, errors: np.ndarray, own: np.ndarray, means: np.ndarray) -> np.ndarray:
    """z of each column and of each mean, `[rows, K + means]`, NaN where a side is empty.

    A score is S = 2H / D with D = 2H + E, sums over cases. Its variance by linearisation is s² / D, where
    s² = Σ ((1 − S) 2h − S e)² / Σ (2h + e) over all cases: the two groups are alike where nothing differs.

    Args:
        own: `[rows, n_cases]`, which cases are of the group.
    """
    doubled, weight = 2 * hits, 2 * hits + errors
    all_hits, all_weight = (table.sum(axis=0, dtype=float) for table in (doubled, weight))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = all_hits / all_weight
        spread = ((doubled - score * weight) ** 2).sum(axis=0) / all_weight
        ours = own.astype(np.float32)
        own_hits, own_weight = (ours @ doubled).astype(float), (ours @ weight).astype(float)
        gap = own_hits / own_weight - (all_hits - own_hits) / (all_weight - own_weight)
        variance = spread * (1 / own_weight + 1 / (all_weight - own_weight))
        known = np.isfinite(gap) & np.isfinite(variance)
        gap, variance = np.where(known, gap, 0), np.where(known, variance, 0)
        mean = np.where(means.any(axis=0), gap @ means / np.sqrt(np.maximum(variance @ means, 1e-18)), np.nan)
        each = np.where(known & (variance > 0), gap / np.sqrt(variance), np.where(known, 0, np.nan))
    return np.hstack([each, mean])


def two_sided(z: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """p values `[K]` of z values `[K]` among those of the exchanges `[draws, K]`; NaN where z is."""
    drawn = np.nan_to_num(drawn)
    seen = (np.abs(drawn) >= np.abs(z) - 1e-4).sum(axis=0)  # sums in 32 bits end a little apart
    counted = (1 + seen) / (1 + len(drawn))
    spread = np.maximum(drawn.std(axis=0), 1e-9)
    lean = np.nan_to_num(skew(drawn, axis=0))
    shape = pearson3(lean, drawn.mean(axis=0), spread)
    tail = 2 * np.minimum(shape.sf(z), shape.cdf(z))
    return np.where(np.isnan(z), np.nan, np.where(seen < SEEN, np.minimum(counted, tail), counted))


def signs(counts: Counts, draws: int = DRAWS, seed: int = 0) -> float:
    """p value, two-sided, of a mean of differences being 0: each row's sign is as likely the other one.

    Args:
        counts: of `share`, a row a set, in which `hits` are sums of differences; the mean over its columns.
    """
    each = (counts.hits / np.maximum(counts.given.sum(axis=0), 1)).sum(axis=1)
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(each))) @ each
    spread = max(np.linalg.norm(each), 1e-12)
    return float(two_sided(each.sum(keepdims=True) / spread, drawn[:, None] / spread)[0])
