"""Peak memory of generating, of generating and screening, and of intervals, by the number of rows.

    python -m benchmarks.memory [--rows 1000 10000 100000] [--cases 5000 20000]

The engine is a stub that answers at once, so that what is measured is everything around
it: prompts, chunks, screening and the written file, as in notebook 02. It puts together
sentences of cases of another seed. Each measurement has a process of its own.

`over` is the peak less that of the smallest number of rows. Generating takes the same at any
number. Screening remembers some hash values of each kept row, to find near-duplicates. With
`--cases` the intervals of a random reading of so many cases are measured instead.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from narrutils.data.cases import embedded_data, load_data
from narrutils.data.schema import Schema
from narrutils.evaluation.intervals import score_interval
from narrutils.evaluation.metrics import Counts
from narrutils.generation.engines import Answer, Backend
from narrutils.generation.generate import generate_pool
from narrutils.generation.pools import Pool
from narrutils.generation.prompts import Prompt

from .demo_corpus import sentences, show
from .world import World


class Stub(Backend):
    """Answers at once with paragraphs of sentences drawn from `known`."""

    name, version, form, settings, window = "stub", "1", "chat", {}, 10**6

    def __init__(self, known: list[str], parts: int):
        self.known, self.parts = known, parts

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        rng = np.random.default_rng(seed)
        return [Answer("\n\n".join(self._part(rng) for _ in range(self.parts)), 0, True) for _ in prompts]

    def _part(self, rng: np.random.Generator) -> str:
        return ". ".join(self.known[n] for n in rng.integers(len(self.known), size=8)) + "."

    def filled(self, prompt: Prompt) -> float:
        return 0.0

    def sample(self, asked, seeds, stops, adapters):
        raise NotImplementedError("a stub knows no tokens")

    def close(self) -> None:
        """There is nothing to free."""


def main() -> None:
    """Measure every number of rows in a process of its own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--chunk-size", type=int, default=64)
    parser.add_argument("--cases", type=int, nargs="+")
    given = parser.parse_args()
    if given.cases:
        found = {cases: alone(interval, cases) for cases in sorted(given.cases)}
        return show("average F1 of 22 variables, by cases", pd.DataFrame(found).T.round(1))
    lines = []
    for rows in sorted(given.rows):
        line = {"rows": rows}
        for kind, screened in (("generating", False), ("with screening", True)):
            found = alone(measure, rows, given.chunk_size, screened)
            line |= {f"{kind}, {name}": value for name, value in found.items()}
        lines.append(line)
    table = pd.DataFrame(lines).set_index("rows")
    for kind in ("generating", "with screening"):
        peak = table[f"{kind}, peak MB"]
        table.insert(table.columns.get_loc(peak.name) + 1, f"{kind}, over", peak - peak.iloc[0])
    show(f"chunks of {given.chunk_size} rows, stub engine", table.round(1))


def alone(work: Callable[..., dict], *given: object) -> dict:
    """What a measurement finds in a fresh process, which knows no earlier peak."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(work, *given).result()


def interval(cases: int) -> dict:
    """Seconds and further memory in MB of the interval of a random reading."""
    right = np.random.default_rng(0).random((cases, 22)) < 0.8
    counts = Counts(right.astype(np.int8), 2 - 2 * right.astype(np.int8))
    start, before = time.perf_counter(), peak()
    score_interval(counts)
    return {"seconds": time.perf_counter() - start, "further MB": (peak() - before) / 1e6}


def measure(rows: int, chunk_size: int, screened: bool) -> dict:
    """Write a pool as notebook 02 does; seconds, peak resident memory in MB, rows kept by screening."""
    with TemporaryDirectory() as folder:
        world = World.open(folder, 450)
        pool = Pool("stub", "stub", rows, seed=0, max_examples=2, max_words=400)
        stub = Stub(other_sentences(world.schema), len(world.schema.text))
        screener = world.screener()
        start = time.perf_counter()
        made = generate_pool(
            world.run, world.schema, pool, world.texts, world.folds, world.labels, chunk_size, backend=stub
        )
        tables = screener.stream(made) if screened else made
        path = world.run.write_stream("generated/stub.parquet", tables)
        found = {"seconds": time.perf_counter() - start, "peak MB": peak() / 1e6}
        if screened:
            found["kept"] = int(pd.read_parquet(path, columns=["kept"])["kept"].sum())
    return found


def peak() -> int:
    """Most bytes of memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def other_sentences(schema: Schema) -> list[str]:
    """Sentences of made cases that are not among the official ones."""
    texts = load_data(embedded_data(2000, 1), schema).train[schema.text_columns]
    return sorted({s for row in texts.itertuples(index=False) for text in row for s in sentences(text)})


if __name__ == "__main__":
    main()
