"""Plain few-shot prompts against generators that were adapted to the domain, side by side.

    python -m benchmarks.in_domain [--rows 90] [--backbone smollm2-135m gemma3-270m] [--student tfidf]

Each backbone writes four pools: shown two cases of a fold, or adapted by LoRA to the cases
of a fold and shown none; with labels to write for and without. Each pool is screened on
its own. The last line holds the official cases, each screened leaving itself out.

kept: share of rows. refused by: the rule that took the most, and its share of all rows.
distinct-3: different runs of three words as a share of all, in the same number of kept
rows of each pool. similarity: mean cosine of the kept rows with the nearest official cases
of their folds. longest copy: words in a row from an official case, of kept and of all
rows; over p99: share of rows whose longest copy passes the 99th percentile of what official
cases share with one another. F1 is a student's, out of fold against the given labels with
cross-fitted thresholds; the gain, with its 95 % interval, is that over the same student
without generated rows, on the same cases.
"""

import argparse
from dataclasses import astuple

import numpy as np
import pandas as pd

from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.metrics import Counts
from narrutils.generation.screening import summary
from narrutils.report.describe import diversity
from narrutils.report.tables import with_interval

from .demo_corpus import show
from .world import VARIANTS, World, add_options, variant

OFFICIAL = "official"


def main() -> None:
    """Write, screen and learn from every pool, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "outputs/benchmark_in_domain")
    parser.add_argument("--rows", type=int, default=90, help="of each pool")
    parser.add_argument("--backbone", nargs="+", default=["smollm2-135m"])
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seed", type=int, default=11041, help="of prompts and sampling")
    given = parser.parse_args()
    world = World.open(given.folder, given.cases)
    pools = [
        variant(name, backbone, given.rows, given.epochs, given.seed)
        for backbone in given.backbone
        for name in given.variant
    ]
    written = {pool.pool: world.write_pool(pool, given.engine, given.chunk_size) for pool in pools}
    base = world.learn("official", given.student)
    counts = {
        name: world.learn(name, given.student, rows[rows["kept"]], given.soft_epochs)
        for name, rows in written.items()
    }
    screened = pd.concat([*written.values(), official(world)])
    table = texts_table(world, screened).join(scores_table(base, counts))
    table.loc[OFFICIAL, "F1"] = base.scores().mean()
    world.run.write("in_domain.csv", table.rename_axis("pool"))
    show(f"{given.rows} rows a pool, student {given.student}", table.round(3).astype(object).fillna(""))


def official(world: World) -> pd.DataFrame:
    """The official cases with what screening says of them, as a pool of their own."""
    seen = [[k] for k in world.folds.loc[world.texts.index]]
    return world.screener().screen(world.texts.assign(pool=OFFICIAL, seen_folds=seen))


def texts_table(world: World, rows: pd.DataFrame) -> pd.DataFrame:
    """What the rows of each pool are like, a line a pool; `rows` are those of all pools."""
    order = list(dict.fromkeys(rows["pool"]))
    kept, p99 = rows[rows["kept"]], np.percentile(world.screener().reference.official_copied, 99)
    # The share of different runs falls with the number of texts: as many are taken of each pool.
    fewest = int(kept.groupby("pool").size().min())
    various = diversity(rows[rows["pool"] != OFFICIAL], world.schema, world.texts, most=fewest)
    refused = summary(rows).drop(index="kept")[order]
    table = pd.DataFrame({"rows": rows.groupby("pool").size()}).loc[order]
    table["kept"] = rows.groupby("pool")["kept"].mean()
    table["refused by"] = refused.idxmax() + (refused.max() / table["rows"]).map(" {:.0%}".format)
    table[f"distinct-3 of {fewest}"] = various["distinct-3"]
    table["similarity"] = kept.groupby("pool")["domain_similarity"].mean()
    for name, group in (("kept", kept), ("all", rows)):
        table[f"longest copy, {name}"] = group.groupby("pool")["copied_words"].max().astype("Int64")
        over = group["copied_words"] > p99
        table[f"over p99, {name}"] = over.groupby(group["pool"]).mean()
    return table


def scores_table(base: Counts, counts: dict[str, Counts]) -> pd.DataFrame:
    """F1 of each student and its paired gain over `base`."""
    table = {}
    for name, own in counts.items():
        gain = paired_gain(own, base)
        table[name] = {"F1": own.scores().mean(), "gain": with_interval(*astuple(gain), "+")}
    return pd.DataFrame.from_dict(table, orient="index")


if __name__ == "__main__":
    main()
