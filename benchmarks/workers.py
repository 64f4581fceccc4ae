"""What processes and Ray cost over one process, and what they gain, on parts that take a given time.

    python -m benchmarks.workers [--parts 60] [--seconds 5] [--workers 1 2]

A part is a loop that keeps a core busy for so many seconds, counted on this machine's own clock of
processor time, and writes one file. `seconds` is the whole call, `start` the time to the first part of it,
`overhead` what the parts after the first took over their share of the work, as a part of that: waiting for
a core that something else uses counts as overhead, so run it with nothing beside it. `growth` is the work
done in a second against that of one process, start left out.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from narrutils.workers import Workers, spread

from . import workers as module  # a worker finds the function by this name, not as __main__
from .demo_corpus import show


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a part")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    kinds = {"one process": Workers()}
    for count in given.workers:
        kinds |= {
            f"{count} by processes": Workers(count, threads=1),
            f"{count} by Ray": Workers(count, "local", 1),
        }
    lines = {name: measure(who, given.parts, given.seconds) for name, who in kinds.items()}
    table = pd.DataFrame(lines).T
    table["growth"] = table["parts a second"] / table.loc["one process", "parts a second"]
    show(f"{given.parts} parts of {given.seconds} s", table.round(3))


def measure(who: Workers, parts: int, seconds: float) -> dict[str, float]:
    """Seconds of one call, and the overhead."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = spread(partial(module.busy_parts, folder, seconds), range(parts), who)
        next(done)
        first = time.perf_counter()
        count = sum(1 for _ in done)
        last = time.perf_counter()
        assert count == parts - 1 == len(list(Path(folder).iterdir())) - 1
    rate = count / (last - first)
    share = count * seconds / who.count
    return {
        "seconds": time.perf_counter() - start,
        "start": first - start - seconds,
        "overhead": (last - first) / share - 1,
        "parts a second": rate,
    }


def busy_parts(folder: str, seconds: float):
    """The scorer of a worker."""
    return partial(busy, folder, seconds)


def busy(folder: str, seconds: float, part: int) -> int:
    """Keep a core busy for so many seconds of processor time."""
    end = time.process_time() + seconds
    rounds = 0
    while time.process_time() < end:
        rounds += sum(range(1000))
    Path(folder, f"{part}.txt").write_text(str(part))
    return part


if __name__ == "__main__":
    main()
