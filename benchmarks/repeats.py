"""The index of near-duplicates against datasketch's own, one after the other, each in a process of its own.

    python -m benchmarks.repeats [--rows 50000] [--words 235]

Texts of random words; each is sought and then remembered, as screening does with a row that it keeps.
`bytes a row` is the growth of the process's memory; `hashing`, which both share, is what a text's hash
values take, `index` the rest. Times are of this process alone if nothing runs beside it.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import psutil
from datasketch import LeanMinHash, MinHashLSH

from narrutils.data.clusters import BLANK, PERMUTATIONS, mark, triples
from narrutils.generation.repeats import NearDuplicates

from .demo_corpus import show

SIMILARITY = 0.7


class Datasketch:
    """An entry of the index and a LeanMinHash for each text."""

    def __init__(self, similarity: float):
        self.similarity = similarity
        self.index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS)
        self.known: dict[str, tuple[int, LeanMinHash]] = {}

    def add(self, uid: str, mark: np.ndarray) -> None:
        lean = LeanMinHash(seed=1, hashvalues=mark, scheme=BLANK.scheme)
        self.index.insert(uid, lean)
        self.known[uid] = (len(self.known), lean)

    def find(self, mark: np.ndarray, other_than: str) -> str | None:
        lean = LeanMinHash(seed=1, hashvalues=mark, scheme=BLANK.scheme)
        near = {uid: self.known[uid] for uid in self.index.query(lean) if uid != other_than}
        alike = [(lean.jaccard(other), -number, uid) for uid, (number, other) in near.items()]
        similarity, _, best = max(alike, default=(0.0, 0, None))
        return best if similarity >= self.similarity else None


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--words", type=int, default=235, help="of a text; decides how long hashing takes")
    given = parser.parse_args()
    lines, found = {}, []
    for name, kind in {"datasketch": Datasketch, "ours": NearDuplicates}.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            lines[name], verdicts = process.submit(measure, kind, given.rows, given.words).result()
            found.append(verdicts)
    table = pd.DataFrame(lines).T
    show(f"{given.rows} texts, the same {found[0]} near-duplicates: {found[0] == found[1]}", table.round(1))


def measure(kind: type, rows: int, words: int) -> tuple[dict[str, float], int]:
    """Bytes and microseconds a row, and a number of the verdicts."""
    rng, index = np.random.default_rng(0), kind(SIMILARITY)
    text = rng.integers(5000, size=words).astype(str).tolist()
    start = time.perf_counter()
    for _ in range(50):
        mark(triples(text))
    hashing = (time.perf_counter() - start) / 50
    own = psutil.Process()
    before, start, found, values = own.memory_info().rss, time.perf_counter(), 0, rng.integers(9, size=128)
    for row in range(rows):
        values = rng.integers(2**32, size=PERMUTATIONS, dtype=np.uint32) if row % 10 else values
        if index.find(values, other_than="") is None:
            index.add(f"pool-{row:06d}", values)
        else:
            found += 1
    seconds = time.perf_counter() - start
    kept = rows - found
    line = {"bytes a row": (own.memory_info().rss - before) / kept, "hashing, µs a row": hashing * 1e6}
    return line | {"index, µs a row": seconds / rows * 1e6}, found


if __name__ == "__main__":
    main()
