"""How fast a student and its teacher read, and how much room they take: both in one process, warm, on the
same narratives.

What was measured is kept in the run folder and measured anew only where a model differs, or the kind of
machine, so that nothing runs again because a clock never says the same twice.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.stored import free
from narrutils.data.files import digest, read_json, write_json
from narrutils.data.sources import source_digest
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import STUDENT, TEACHER
from narrutils.models.speed import cores, described

ROWS, FEW = 300, 16  # narratives that are read at most, and those by which it is told how many
SECONDS = 20.0  # of one reading by the slower of the two, at most
GOES, LEAST = 3, 1.0  # the best of so many readings holds, and of as many as take a second

#: What `measure` would say, where there is nobody to measure.
COLUMNS = ("who", "rows_per_second", "megabytes", "models", "rows", "threads", "processor")
NOTHING = pd.DataFrame(columns=COLUMNS)


def measure(study: Study, previous_run: str) -> pd.DataFrame:
    """The student of a run whose `ensemble.json` is written, and the ensemble that taught it, side by side.

    Returns:
        A row for each of the two: `who`, `rows_per_second`, `megabytes` on disk of all that reading needs,
        `models`, `rows` (that were read), `threads`, `processor`.
    """
    both = {STUDENT: Deployed.of(study.run), TEACHER: Deployed.open(previous_run)}
    texts = pd.concat([study.test, study.train])[:ROWS]
    models = [read_json(path / "key.json") for deployed in both.values() for path in deployed.models]
    key = digest(models, described(), cores(), texts, source_digest(__name__))

    def make(part: Path) -> None:
        rates, rows = race({who: deployed.read for who, deployed in both.items()}, texts)
        shared = {"rows": rows} | machine()
        found = [{"who": who, "rows_per_second": rates[who]} | size(both[who]) | shared for who in both]
        write_json(part / "speed.json", found)

    made = read_json(study.run.write_folder(STUDENT, key, make) / "speed.json")
    both.clear()
    free()
    return pd.DataFrame(made)[[*COLUMNS]]


def machine() -> dict:
    """Threads and processor, and the GPU where there is one, as of now: what has loaded torch uses them."""
    torch = sys.modules.get("torch")
    gpu = f", {torch.cuda.get_device_name()}" if torch and torch.cuda.is_available() else ""
    return {"threads": torch.get_num_threads() if torch else cores(), "processor": described() + gpu}


def size(deployed: Deployed) -> dict:
    """How many models read, and the megabytes of the files that they are read from."""
    megabytes = sum(path.stat().st_size for path in deployed.files) / 1e6
    return {"megabytes": round(megabytes, 2), "models": len(deployed.models)}


def race(
    readers: Mapping[str, Callable[[pd.DataFrame], object]], texts: pd.DataFrame
) -> tuple[dict[str, float], int]:
    """Rows a second of each reader, the best of several goes, and how many rows were read.

    A few rows are read first, so that models are loaded and all is warm.
    """
    few = texts[:FEW]
    for read in readers.values():
        read(few)
    slowest = max(_seconds(read, few) for read in readers.values()) / len(few)
    texts = texts[: max(len(few), int(SECONDS / slowest))]
    return {who: len(texts) / _best(read, texts) for who, read in readers.items()}, len(texts)


def _best(read: Callable, texts: pd.DataFrame) -> float:
    spent: list[float] = []
    while len(spent) < GOES or sum(spent) < LEAST:
        spent.append(_seconds(read, texts))
    return min(spent)


def _seconds(read: Callable, texts: pd.DataFrame) -> float:
    began = time.perf_counter()
    read(texts)
    return time.perf_counter() - began
