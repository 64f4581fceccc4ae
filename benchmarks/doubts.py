"""How many of the first doubts of the review queue are right, beside cleanlab's and random order.

    python -m benchmarks.doubts [--cases 4000 1500 360] [--seeds 0 1 2] [--run outputs/demo]

The made corpus, whose errors are known: binary and categorical labels, both directions, in
one order. The models of the benchmark are TF-IDF with logistic regression, read out of
fold; those of a finished run are its ensemble, by which cleanlab ranks, and its members.
Precision is the mean over the seeds, and `review queue by seed`
its values. `expected` is what the queue itself claims: the mean of its probabilities.

Models are kept in the folder, so that a stopped benchmark goes on where it was.
"""

import argparse
from pathlib import Path

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import embedded_data, load_data
from narrutils.data.folds import draw_folds
from narrutils.data.run import Run
from narrutils.data.schema import Schema, load_schema
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.labels.rankings import compare_orders
from narrutils.labels.review_queue import find_doubts
from narrutils.models.tfidf import TfidfLearner

from .demo_corpus import show

FOLDS = 4
RANKS = (50, 100, 200, 500, 1000)


def main() -> None:
    """Print a table for each number of cases, and one for the finished run if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="*", default=[4000, 1500, 360], help="for training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the corpus")
    parser.add_argument("--run", type=Path, help="folder of a finished run whose truth is known")
    parser.add_argument("--folder", default="outputs/benchmark_doubts")
    given = parser.parse_args()
    schema, run = load_schema("params/schemas/nvdrs.yaml"), Run(given.folder, "benchmark")
    for cases in given.cases:
        show(f"{cases} cases, TF-IDF", over_seeds([made(run, schema, cases, s) for s in given.seeds]))
    if given.run:
        show(f"run {given.run.name}, its ensemble", finished(Run(given.run), schema))


def made(run: Run, schema: Schema, cases: int, seed: int) -> pd.DataFrame:
    """The orders compared on one made corpus."""
    data = load_data(embedded_data(cases * 5 // 4, seed), schema)
    labels = data.train[schema.names].astype(int)
    folds = draw_folds(schema, labels, FOLDS, seed=0)
    reader = CrossFit(
        Study(run, schema, data.train, folds, data.train[:0]), f"tfidf_{cases}_{seed}", TfidfLearner(schema)
    )
    read = reader.fit(given_labels(reader.study, 1, labels=labels)).out_of_fold()
    return compared(schema, labels, {"tfidf": read}, {"tfidf": 1.0}, folds, data.truth)


def finished(run: Run, schema: Schema) -> pd.DataFrame:
    """The orders compared on a finished run."""
    labels = run.labels(schema)
    members = run.read("ensemble.json")["members"]
    models = [ENSEMBLE, *members]
    readings = {name: run.read_probabilities(f"predictions/{name}_oof.parquet", schema) for name in models}
    return compared(schema, labels, readings, dict.fromkeys(members, 1.0), run.folds(), run.truth())


def compared(schema, labels, readings, weights, folds, truth) -> pd.DataFrame:
    """`compare_orders` of a whole queue; cleanlab ranks by the first readings."""
    doubts, first = find_doubts(schema, labels, readings, weights, folds), next(iter(readings.values()))
    table = compare_orders(schema, labels, first, doubts, truth, RANKS)
    table.insert(1, "expected", [doubts["probability"].head(n).mean() for n in RANKS])
    return table


def over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean of the seeds' tables, and each seed's precision."""
    mean = sum(tables) / len(tables)
    by_seed = [" ".join(f"{value:.2f}" for value in row) for row in zip(*(t["review queue"] for t in tables))]
    return mean.assign(**{"review queue by seed": by_seed})


if __name__ == "__main__":
    main()
