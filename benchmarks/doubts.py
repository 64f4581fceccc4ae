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

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import embedded_data, load_data
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation.ensemble import ENSEMBLE
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
    """`compare_orders` of a whole queue, with what it claims; cleanlab ranks by the first readings."""
    doubts = find_doubts(schema, labels, readings, weights, folds)
    table = compare_orders(schema, labels, next(iter(readings.values())), doubts, truth)
    table.insert(1, "expected", [doubts["probability"].head(n).mean() for n in RANKS])
    return table


def compare_orders(
    schema: Schema,
    labels: pd.DataFrame,
    probabilities: pd.DataFrame,
    doubts: pd.DataFrame,
    truth: pd.DataFrame,
    ranks: tuple[int, ...] = RANKS,
) -> pd.DataFrame:
    """The share of wrong labels among the first n, in three orders of the same labels.

    Args:
        labels: given codes, indexed by uid; `truth`: true codes of at least these cases.
        probabilities: what cleanlab ranks by, out of fold.
        doubts: the review queue.

    Returns:
        One row for each of `ranks`; missing where an order is shorter. `its proposals` is the share
        of the queue's proposed codes that are the true ones.
    """
    true = by_uid(truth, labels.index, "truth")[schema.names]
    theirs = cleanlab_order(schema, labels, probabilities)
    orders = {
        "review queue": at(labels, doubts) != at(true, doubts),
        "its proposals": at(true, doubts) == doubts["label_after"].to_numpy(),
        "cleanlab": at(labels, theirs) != at(true, theirs),
    }
    rows = {n: {name: first(values, n) for name, values in orders.items()} for n in ranks}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("first")
    return table.assign(**{"random order": (labels[schema.names] != true).to_numpy().mean()})


def cleanlab_order(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """All labels, `uid` and `variable`, those of the lowest quality score (self-confidence) first."""
    table, scores = by_uid(probabilities, labels.index, "probabilities"), {}
    for v in schema.variables:
        p = table[list(v.columns)].to_numpy(dtype=float)
        places = pd.Index(v.codes).get_indexer(labels[v.name])
        scores[v.name] = get_label_quality_scores(places, np.hstack([1 - p, p]) if v.is_binary else p)
    ranked = pd.DataFrame(scores, index=labels.index.rename("uid")).stack().sort_values(kind="stable")
    return ranked.index.to_frame(index=False, name=["uid", "variable"])


def at(codes: pd.DataFrame, order: pd.DataFrame) -> np.ndarray:
    """The code of each label of an order, `[n]`."""
    rows, columns = codes.index.get_indexer(order["uid"]), codes.columns.get_indexer(order["variable"])
    return codes.to_numpy()[rows, columns]


def first(values: np.ndarray, n: int) -> float:
    """The mean of the first n; missing where there are fewer."""
    return float(values[:n].mean()) if len(values) >= n else np.nan


def over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean of the seeds' tables, and each seed's precision."""
    mean = sum(tables) / len(tables)
    by_seed = [" ".join(f"{value:.2f}" for value in row) for row in zip(*(t["review queue"] for t in tables))]
    return mean.assign(**{"review queue by seed": by_seed})


if __name__ == "__main__":
    main()
