"""Whether intervals over cases and seeds hold what they promise, where the truth is known.

    python -m benchmarks.seeds [--draws 1000] [--cases 200]

Each draw has its own cases, whose scores are normal around 0.5, and S seeds, each of which moves the score of
all cases by a normal amount; a run scores the mean. Three intervals of the mean over the runs:

- `cases alone`: the bootstrap of `evaluation.intervals`, as if one seed were all;
- `bootstrap of both`: cases and seeds drawn with replacement, together, and the middle 95 % taken;
- `cases and seeds`: that of `evaluation.seeds`.

A row for each S and each size of the seeds' effect, as the standard deviation of one seed in that of the mean
over the cases. `covered` is the share of draws whose interval holds 0.5, with its binomial interval
(Clopper-Pearson) for the last way; `width` is the median, in that of the first way without any seed.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from narrutils.evaluation.intervals import DRAWS, Interval, draw, score_interval
from narrutils.evaluation.metrics import Counts, mean_score, share
from narrutils.evaluation.seeds import mean_score as over_seeds

from .demo_corpus import show

TRUTH, SPREAD = 0.5, 0.4
SEEDS, EFFECTS = (2, 3, 5, 10), (0.0, 1.0, 2.0, 4.0)
WAYS = ("cases alone", "bootstrap of both", "cases and seeds")


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=200)
    given = parser.parse_args()
    rows = [
        {"seeds": seeds, "effect": effect} | covered(list(intervals(given, seeds, effect)), given.cases)
        for seeds in SEEDS
        for effect in EFFECTS
    ]
    show("Covered, by the ways to make an interval", pd.DataFrame(rows).set_index(["seeds", "effect"]))


def intervals(given: argparse.Namespace, seeds: int, effect: float) -> Iterator[list[Interval]]:
    """The intervals of each draw, one a way."""
    for number in range(given.draws):
        rng = np.random.default_rng([number, seeds, round(10 * effect)])
        cases = rng.normal(TRUTH, SPREAD, (given.cases, 1))
        moved = rng.normal(0, effect * SPREAD / given.cases**0.5, seeds)
        runs = [share(cases + by, np.ones_like(cases)) for by in moved]
        yield [score_interval(runs), of_both(runs, rng), over_seeds(runs)]


def of_both(runs: list[Counts], rng: np.random.Generator) -> Interval:
    """The percentile bootstrap that draws the runs as it draws the cases."""
    samples = np.stack([mean_score(of_run) for of_run in draw(runs)])
    drawn = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=DRAWS).T / len(runs)
    low, high = np.quantile((samples * drawn).sum(axis=0), [0.025, 0.975])
    return Interval(float(np.mean([counts.average_f1 for counts in runs])), low, high)


def covered(found: list[list[Interval]], cases: int) -> dict[str, str]:
    """What a row says of its draws."""
    row, unit = {}, 2 * 1.96 * SPREAD / cases**0.5
    for way, several in zip(WAYS, zip(*found)):
        held = sum(interval.low <= TRUTH <= interval.high for interval in several)
        width = np.median([interval.high - interval.low for interval in several]) / unit
        row |= {way: f"{held / len(several):.3f}", f"{way}, width": f"{width:.2f}"}
    low, high = binomtest(held, len(several)).proportion_ci()
    return row | {"95 % of the last": f"[{low:.3f}, {high:.3f}]"}


if __name__ == "__main__":
    main()
