"""Killed at every place where something is written, and gone on with: the end is the undisturbed one.

    python -m benchmarks.kills --moments 20

The run of a toy task, and a prediction with it, are killed (SIGKILL) each time before they first open
a file to write it, rename it or remove it, and at random moments; then they are called again. A line of
the table is one of the two: how many places and moments there were, how often it was killed before its
end, and how many times it ended otherwise than undisturbed: with other bytes in any artefact (of what
holds times, notebooks and `run.json`, that it is there), or with a rest of a half-written file.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pandas as pd

from narrutils.crossfit import coding
from narrutils.data.files import digest
from narrutils.data.outputs import Outputs
from narrutils.predict import predict

from .toy_task import Task

#: Python's own names of what changes the disk; a file is opened to write by `open` with such a mode.
CHANGES = ("os.rename", "os.remove", "os.link", "os.truncate", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR
#: Files that hold times, or digests of such, of which only the name is compared.
TIMED = (".ipynb", ".html", "run.json", "report/files.json", "report/.key.json", ".lock")
#: Cases of a part: several parts of the task's cases.
PART_ROWS = 8
#: What the works import when they need it, imported once for all of them.
AHEAD = ("crossfit.fit", "models.tfidf", "evaluation.stacking", "evaluation.flags", "report.sections")


def in_a_fork(work: Callable[[], object], kill_at: int = 0, after: float = 0.0) -> tuple[int, int]:
    """Do some work in a process of its own, with all that is imported here.

    Args:
        kill_at: kill it before the change of this number, of all that differ; 0 does not.
        after: kill it after so many seconds; 0 does not.

    Returns:
        Its exit code, −9 if it was killed; how many changes it came to.
    """
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        _count_changes(tell, kill_at)
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(tell)
    if after:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with open(told, "rb") as said:
        changes = len(said.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), changes


def _count_changes(tell: int, kill_at: int) -> None:
    """Tell every change of the disk that is the first of its kind by a byte; kill this process before one."""
    seen, own = set(), str(os.getpid())

    def hook(event: str, arguments: tuple) -> None:
        flags = arguments[2] if event == "open" else 0
        if event in CHANGES or (isinstance(flags, int) and flags & WRITING):
            place = event, str(arguments[0]).replace(own, "")
            if place not in seen and not place[1].startswith(os.devnull):
                seen.add(place)
                if len(seen) == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                os.write(tell, b".")

    sys.addaudithook(hook)


def contents(folder: Path) -> dict[str, str]:
    """Name -> digest of every file; of what holds times, nothing."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    return {name: "" if name.endswith(TIMED) else digest(path) for name, path in zip(names, files)}


def go_through(work: Callable[[Path], object], moments: int, step: int = 1, seed: int = 0) -> dict:
    """Kill some work at every `step`-th change and at so many moments, and let it go on each time.

    Args:
        work: writes into the folder that it is given, and goes on with what is there.

    Returns:
        `places`, `moments`: how many; `killed`: how often it was; `other`: the places and moments
        whose end was another one.
    """
    rng, killed, other = random.Random(seed), 0, []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "out"
        began = time.monotonic()
        code, places = in_a_fork(lambda: work(place))
        seconds, whole = time.monotonic() - began, contents(place)
        if code or not whole:
            raise RuntimeError(f"the undisturbed work ended with {code}")
        ways = [{"kill_at": n} for n in range(1, places + 1, step)]
        ways += [{"after": rng.uniform(0.02, 1) * seconds} for _ in range(moments)]
        for way in ways:
            shutil.rmtree(place, ignore_errors=True)
            killed += in_a_fork(lambda: work(place), **way)[0] == -signal.SIGKILL
            if in_a_fork(lambda: work(place))[0] or contents(place) != whole:
                other.append(way)
    return {"places": len(ways) - moments, "moments": moments, "killed": killed, "other": other}


def works(task: Task) -> dict[str, Callable[[Path], object]]:
    """What is killed: the run of the task, and the coding of its test cases with the finished run."""

    def code(place: Path) -> None:
        files = place / "codes.csv", place / "probabilities", place / "evidence.csv"
        outputs = Outputs(*files, faults=place / "faults.csv", overwrite=True)
        coding.PIECE = coding.LARGE_PART = PART_ROWS
        predict(task.run.folder, task.features, outputs, progress=False)

    return {"run": task.carry_out, "predict": code}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20, help="random moments, of each work")
    parser.add_argument("--step", type=int, default=1, help="every so manieth place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--works", nargs="*", default=["run", "predict"])
    given = parser.parse_args()
    for name in AHEAD:
        import_module(f"narrutils.{name}")
    with tempfile.TemporaryDirectory() as scratch:
        task = Task.make(Path(scratch) / "task")
        in_a_fork(task.carry_out)  # this process computes nothing, so that its forks can
        rows = {
            name: go_through(work, given.moments, given.step, given.seed)
            for name, work in works(task).items()
            if name in given.works
        }
    table = pd.DataFrame(rows).T.rename_axis("work").reset_index()
    print(table.assign(other=table["other"].map(len)).to_string(index=False))
    for name, row in rows.items():
        for way in row["other"]:
            print(f"{name}: another end, killed {way}")


if __name__ == "__main__":
    main()
