"""`narrutils predict` as a command: rows a second, peak memory, and what a kill costs, by the number of rows.

    python -m benchmarks.predict [outputs/demo] [--rows 10000 1000000] [--kills 2] [--workers 2]
        [--ray local] [--every-member] [--folder DIR]

The cases are made ones of several seeds, no two of them alike, a file a seed, CSV and Parquet by
turns. Of the run's members the linear ones code, unless every member is asked for. `seconds` are
those of the command, start and checking included, over all its starts; `MB` the most that its
processes held together, sampled ten times a second; `kills` how often it was ended by SIGKILL at a
random moment and called again. The results of all ways of one number of rows must be equal, byte for byte.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import psutil

from narrutils.data.demo.corpus import draw_corpus, tell_corpus
from narrutils.data.files import atomic, digest, read_json, write_json
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.parts import MANIFEST
from narrutils.models.tfidf import LINEAR

from .demo_corpus import show
from .world import NVDRS

#: Made cases of a seed, and the first seed: not that of a demo run.
CASES, SEED = 20_000, 1001


def main() -> None:
    """Let the command code every number of rows in every way, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", default="outputs/demo")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--kills", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--ray", nargs="+", default=[""], help="addresses; '' is without Ray")
    parser.add_argument("--every-member", action="store_true")
    parser.add_argument("--folder", type=Path, help="where made cases are kept")
    given = parser.parse_args()
    with TemporaryDirectory() as scratch:
        run = Path(given.run) if given.every_member else linear_only(Path(given.run), Path(scratch) / "run")
        lines = []
        for rows in given.rows:
            features, ends = made_cases(given.folder or Path(scratch), rows), set()
            for workers, ray, kills in ways(given):
                out = Path(scratch) / "codes.csv"
                words = ["--run", run, "--features", features, "--out", out, "--workers", workers]
                words += ["--ray", ray] if ray else []
                told = coded([str(word) for word in words], out, kills)
                lines.append({"rows": rows, "workers": workers, "ray": ray, "kills": kills, **told})
                ends.add(digest(out))
                out.unlink()
            assert len(ends) == 1, "the results of these rows differ"
    show("narrutils predict", pd.DataFrame(lines).set_index("rows"))


def ways(given: argparse.Namespace) -> Iterator[tuple[int, str, int]]:
    return ((w, r, k) for w in given.workers for r in given.ray for k in given.kills)


def linear_only(run: Path, target: Path) -> Path:
    """A copy of a run folder whose ensemble is that of its linear members, as if they were all."""
    shutil.copytree(run, target, ignore=shutil.ignore_patterns(".stages", "*.ipynb", "report", "generated"))
    made = read_json(target / "ensemble.json")
    members = [name for name in made["members"] if name in LINEAR]
    whole = sum(made["weights"][name] for name in members)
    made |= {"members": members, "weights": {name: made["weights"][name] / whole for name in members}}
    made.pop("by_variable", None)
    write_json(target / "ensemble.json", made)
    return target


def made_cases(folder: Path, rows: int) -> Path:
    """A folder of features files of so many made cases, each with a uid of its own."""
    target = folder / f"made-{rows}"
    if not target.is_dir():
        with atomic(target) as part:
            for seed, left in zip(count(SEED), range(rows, 0, -CASES)):
                write_seed(part, seed, min(left, CASES))
    return target


def write_seed(folder: Path, seed: int, rows: int) -> None:
    schema = load_schema(NVDRS)
    texts = tell_corpus(schema, draw_corpus(schema, max(rows, 10), seed), seed)[0].head(rows)
    texts.index = [f"{seed}-{uid}" for uid in texts.index]
    table = texts.rename_axis(schema.uid).reset_index()
    folder.mkdir(exist_ok=True)
    if seed % 2:
        table.to_csv(folder / f"{seed}.csv", index=False)
    else:
        table.to_parquet(folder / f"{seed}.parquet", index=False)


def coded(words: list[str], out: Path, kills: int) -> dict[str, float]:
    """What the command takes, killed so many times before it may end."""
    parts, rng, seconds, peak = out.with_name(f".{out.name}.parts"), random.Random(kills), 0.0, 0.0
    stops = sorted(rng.uniform(0, 0.9) for _ in range(kills))
    while not out.exists():
        begun, command = time.monotonic(), [sys.executable, "-m", "narrutils", "predict", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, held(process.pid))
            if stops and share_done(parts) >= stops[0]:
                time.sleep(rng.random() / 2)
                process.kill()
                stops.pop(0)
            time.sleep(0.1)
        seconds += time.monotonic() - begun
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"narrutils predict ended with {process.returncode}")
    assert not stops, "the command ended before it could be killed so often"
    with out.open() as lines:
        rows = sum(1 for _ in lines) - 1
    return {"seconds": round(seconds, 1), "rows a second": round(rows / seconds), "MB": round(peak / 1e6)}


def share_done(parts: Path) -> float:
    """Share of the parts that are there, 0 before they are begun."""
    if not (parts / MANIFEST).exists():
        return 0.0
    return len(list(parts.glob("part*"))) / len(read_json(parts / MANIFEST)["found"]["places"])


def held(pid: int) -> int:
    """Bytes that a process and those that it started hold."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


if __name__ == "__main__":
    main()
