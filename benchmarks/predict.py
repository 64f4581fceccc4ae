"""Peak memory of `narrutils predict`, by the number of rows.

    python -m benchmarks.predict [--rows 1000 100000] [--piece 1024]

The run folder holds TF-IDF models alone, so that reading is fast and what is measured is
everything around it: checking the file, its pieces, codes, flags, and the written files. Each
measurement has a process of its own, whose resident memory is sampled every 10 ms. `ratio` is
the peak over that of the smallest number of rows; `ready` is what the process held before the
first row, libraries and all.
"""

import argparse
import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import psutil

from narrutils import predict as predicting
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.data.tables import table_writer
from narrutils.evaluation import flags
from narrutils.evaluation.calibration import cross_fitted_calibration, fit_calibration
from narrutils.evaluation.thresholds import decide_cross_fitted, search
from narrutils.models.tfidf import TfidfLearner

from .demo_corpus import show
from .world import World


def main() -> None:
    """Measure every number of rows in a process of its own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--piece", type=int, default=predicting.PIECE, help="rows in memory at a time")
    parser.add_argument("--cases", type=int, default=2000, help="cases of the made corpus")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        world = World.open(folder, given.cases)
        deploy(world)
        lines = []
        for rows in sorted(given.rows):
            write_features(world, Path(folder) / "new.csv", rows)
            lines.append({"rows": rows, **alone(folder, given.piece)})
    table = pd.DataFrame(lines).set_index("rows")
    table["ratio"] = table["peak MB"] / table["peak MB"].iloc[0]
    show(f"pieces of {given.piece} rows, TF-IDF models", table.round(2))


def deploy(world: World) -> None:
    """Make the world's run folder one that `predict` can read."""
    run, schema = Run(world.run.folder, "benchmark"), world.schema
    model = CrossFit(
        Study(run, schema, world.texts, world.folds, world.texts[:0]), "tfidf", TfidfLearner(schema)
    )
    model.fit(given_labels(model.study, labels=world.labels)).publish("TF-IDF")
    found = model.out_of_fold()
    thresholds = search(schema, world.labels, found)
    run.write("schema.json", schema.to_dict())
    run.write("ensemble.json", {"members": ["tfidf"], "weights": {"tfidf": 1.0}, "thresholds": thresholds})
    run.write("calibration.json", fit_calibration(schema, world.labels, found).to_dict())
    codes = decide_cross_fitted(schema, world.labels, found, world.folds)
    calibrated = cross_fitted_calibration(schema, world.labels, found, world.folds)
    run.write("flags.json", flags.summarise(schema, world.labels, codes, calibrated, world.folds, share=0.25))


def write_features(world: World, path: Path, rows: int) -> None:
    """So many cases, the world's own over and over, each under a uid of its own."""
    with table_writer(path) as write:
        for start in range(0, rows, len(world.texts)):
            part = world.texts[world.schema.text_columns].head(rows - start)
            uids = [f"case{n:07d}" for n in range(start, start + len(part))]
            write(part.set_axis(pd.Index(uids, name=world.schema.uid)).reset_index())


def alone(folder: str, piece: int) -> dict:
    """What `measure` finds in a fresh process, which knows no earlier peak."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(measure, folder, piece).result()


def measure(folder: str, piece: int) -> dict:
    """Code `new.csv` with the run folder; seconds and peak resident memory in MB."""
    predicting.PIECE = piece
    folder = Path(folder)
    outputs = predicting.Outputs(folder / "codes.csv", folder / "probabilities.parquet")
    with Sampled() as memory:
        counts = predicting.predict(folder, folder / "new.csv", outputs)
    with (folder / "codes.csv").open() as lines:
        assert sum(1 for _ in islice(lines, 1, None)) == counts["rows"]
    return {
        "file MB": (folder / "new.csv").stat().st_size / 1e6,
        "seconds": memory.seconds,
        "rows a second": counts["rows"] / memory.seconds,
        "ready MB": memory.ready / 1e6,
        "peak MB": memory.peak / 1e6,
    }


class Sampled:
    """Seconds, and this process's resident bytes at first and at most, while the block runs.

    The system's own record of the peak is no use here: a process inherits that of its parent.
    """

    def __enter__(self) -> "Sampled":
        self.process, self.stop = psutil.Process(), threading.Event()
        self.ready = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.start = time.perf_counter()
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.seconds = time.perf_counter() - self.start
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.01):
            self.peak = max(self.peak, self.process.memory_info().rss)


if __name__ == "__main__":
    main()
