"""How a run came to be: `run.json`, with parameters, versions, data, time and memory.

The file is written whole after every notebook; figures of notebooks that a rerun
skips are kept.
"""

import datetime
import platform
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import psutil

from narrutils.data.files import read_json, write_json
from narrutils.data.run import Run
from narrutils.models.speed import cores, here, measured
from narrutils.paths import PROJECT
from narrutils.pipeline.machine import ON_SOME_MACHINES, installed, pins
from narrutils.pipeline.profiles import Profile

#: How long a process may take to end by itself once it was asked to.
SECONDS = 5


def describe(profile: Profile, data: dict) -> dict:
    """The part of `run.json` that is known before the first notebook.

    Args:
        data: the schema's name and title, the folder as the profile names it, the hashes of its files.
    """
    seeds = {s: {n: v for n, v in p.items() if "seed" in n} for s, p in profile.parameters.items()}
    return {
        "profile": profile.name,
        "run": profile.run,
        "description": profile.description,
        "parameters": profile.parameters,
        "overrides": dict(profile.overrides),
        "command": profile.command,
        "seeds": {stage: found for stage, found in seeds.items() if found},
        "data": data,
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": {"kind": here(), "cores": cores(), **asdict(measured())},
        "git": git_state(),
    }


def update(run: Run, description: dict, stage: str, figures: dict) -> None:
    """Lay a run's description and one stage's figures over `run.json`, atomically.

    What notebooks said of the models they used (`stand_ins/*.json`, lists of
    mappings) is gathered under `stand_ins`.
    """
    record = run.record() | description
    record["stages"] = {**record["stages"], stage: figures}
    said = [entry for path in sorted(run.path("stand_ins").glob("*.json")) for entry in read_json(path)]
    if said:
        record["stand_ins"] = said
    write_json(run.path("run.json"), record)


@cache  # each package's metadata is parsed whole, which took a quarter of a run of small stages
def versions() -> dict[str, str]:
    """Installed versions of the project and of all that it asks for, here or on some machines only."""
    names = sorted({"narrutils", *pins(), *ON_SOME_MACHINES})
    return {name: version for name in names if (version := installed(name))}


def git_state(folder: Path = PROJECT) -> dict | None:
    """Commit and whether the tree differs from it; None outside a git checkout."""
    commit, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return None if commit is None else {"commit": commit.strip(), "dirty": bool((status or "").strip())}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Meter:
    """Seconds, and peak resident memory of this process's children, while the block runs.

    Memory is the largest sum over the process tree, seen twice a second; pages that two children
    share count twice.
    """

    def __init__(self):
        self.bytes, self.children = 0, set()
        self.others = set(psutil.Process().children(recursive=True))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Meter":
        self.began, self.started = time.monotonic(), datetime.datetime.now(datetime.UTC)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self.began

    def end_children(self) -> None:
        """End whatever was started in the block and has outlived it: politely, then for good."""
        left = [child for child in self.children - self.others if child.is_running()]
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for child in left:
                with suppress(psutil.Error):
                    end(child)
            _, left = psutil.wait_procs(left, timeout=SECONDS)

    def figures(self, status: str) -> dict:
        return {
            "status": status,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "peak_gigabytes": round(self.bytes / 1e9, 2),
            "processor": here(),
        }

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.bytes = max(self.bytes, self._memory())

    def _memory(self) -> int:
        total, found = 0, psutil.Process().children(recursive=True)
        self.children |= set(found)
        for child in found:
            with suppress(psutil.Error):  # it ended between the two calls
                total += child.memory_info().rss
        return total
