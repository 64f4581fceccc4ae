"""The score of a student against the number of generated rows that it learns from.

    python -m benchmarks.rows [--variant adapted] [--rows 240] [--student tfidf] [--seeds 0 1 2]

One pool is written and screened. The student learns from the official rows, and before
them from none, an eighth, a quarter, a half or all of the kept rows; each share holds
the smaller ones. A model uses the rows that saw none of its held-out fold, so `a fold` is
what one model learns from on average.

The score is average F1 out of fold, against the given labels, thresholds cross-fitted;
the gain is over the same student without generated rows, on the same cases. Intervals (95 %)
speak of the sampling of cases. With several training seeds, the counts of their models are
added up before they are scored, and `by seed` shows each seed's score.

Prints a table, and writes it and a plot into the folder.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from narrutils.evaluation.intervals import paired_gain, score_interval
from narrutils.evaluation.metrics import Counts
from narrutils.generation.pools import Pool
from narrutils.report.plots import BLUE, GREY, use_style

from .demo_corpus import show
from .world import VARIANTS, World, add_options, variant

SHARES = (0, 1 / 8, 1 / 4, 1 / 2, 1)


def main() -> None:
    """Write the pool, train a student on each share of it, print the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "outputs/benchmark_rows")
    parser.add_argument("--rows", type=int, default=240, help="that are generated")
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--variant", choices=VARIANTS, default="adapted")
    parser.add_argument("--seed", type=int, default=11041, help="of prompts and sampling")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training the student")
    given = parser.parse_args()
    world = World.open(given.folder, given.cases)
    pool = variant(given.variant, given.backbone, given.rows, given.epochs, given.seed)
    rows = world.write_pool(pool, given.engine, given.chunk_size)
    kept = rows[rows["kept"]]
    sizes = list(dict.fromkeys(round(share * len(kept)) for share in SHARES))
    scored = {
        size: [
            world.learn(name_of(pool, size), given.student, kept[:size], given.soft_epochs, seed)
            for seed in given.seeds
        ]
        for size in sizes
    }
    table = by_rows(scored)
    table.insert(0, "a fold", [per_fold(world, kept[:size]) for size in sizes])
    told = f"{pool.pool}, {len(kept)} of {len(rows)} rows kept, student {given.student}"
    world.run.write("score_by_rows.csv", table)
    path = world.run.path("score_by_rows.png")
    draw(table, told, path)
    show(told, table)
    print(f"plot: {path}")


def name_of(pool: Pool, size: int) -> str:
    """A student's; the one that learns from no generated row is the same for every pool."""
    return f"{pool.pool}_{size}" if size else "official"


def per_fold(world: World, rows: pd.DataFrame) -> float:
    """Rows that a model may learn from, the mean over the folds."""
    folds = range(world.folds.nunique())
    return float(np.mean([sum(k not in seen for seen in rows["seen_folds"]) for k in folds]))


def by_rows(scored: dict[int, list[Counts]]) -> pd.DataFrame:
    """Score and paired gain with their intervals, a line a number of rows.

    Args:
        scored: number of rows -> the counts of each seed's student, the least number first.
    """
    added = {size: add(counts) for size, counts in scored.items()}
    base, lines = added[min(added)], []
    for size, counts in added.items():
        score, gain = score_interval(counts), paired_gain(counts, base)
        line = {"generated rows": size, "F1": score.value, "low": score.low, "high": score.high}
        line |= {"gain": gain.value, "gain low": gain.low, "gain high": gain.high}
        lines.append(line | {"by seed": " ".join(f"{c.scores().mean():.3f}" for c in scored[size])})
    return pd.DataFrame(lines).set_index("generated rows")


def add(counts: list[Counts]) -> Counts:
    """The counts of several models on the same cases as one: what they hit and miss together."""
    return Counts(sum(c.hits for c in counts), sum(c.errors for c in counts))


def draw(table: pd.DataFrame, told: str, path: Path) -> None:
    """Score against rows with its interval; the grey line is the score without generated rows."""
    use_style()
    figure, axis = plt.subplots(figsize=(6, 3.2))
    spread = [table["F1"] - table["low"], table["high"] - table["F1"]]
    axis.axhline(table["F1"].iloc[0], color=GREY, lw=0.8, ls="--")
    axis.errorbar(table.index, table["F1"], yerr=spread, fmt="o-", color=BLUE, ms=5, lw=1.4)
    axis.set_xticks(table.index)
    axis.set(xlabel="generated rows", ylabel="average F1 with 95 % interval", title=told)
    axis.grid(axis="y", lw=0.4)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
