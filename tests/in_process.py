"""The command line and its notebooks in one process, forked from one that had imported the package.

A kernel for each notebook, and a process for each call, import everything anew, which is most of the time
of a run on tiny models. All else is the project's own: preflight, papermill's parameters, stages, record and
report. The smoke run shows that notebooks run in kernels of their own, and the command from a shell.
"""

import atexit
import multiprocessing
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import narrutils
from narrutils.paths import PROJECT

#: What the package imports where it is needed; the package itself is added.
LIBRARIES = ["benchmarks.toy_task", "digested", "papermill", "peft"]
LIBRARIES += ["transformers.models.bert", "transformers.models.gemma3"]
#: Seconds after which a process that has not ended is killed, which is told as its exit code.
PATIENCE = 900


@cache
def context() -> multiprocessing.context.BaseContext:
    """Processes forked from one that has imported the package, and has computed nothing."""
    modules = [found.name for found in pkgutil.walk_packages(narrutils.__path__, "narrutils.")]
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([name for name in modules if not name.endswith("__main__")] + LIBRARIES)
    with mock.patch.dict(os.environ, PYTHONPATH=str(PROJECT), MPLBACKEND="agg"):
        forkserver.ensure_running()
    return found


def called(*words: str) -> subprocess.CompletedProcess:
    """Call the command line so; output and errors in one text."""
    return _forked(command, words)


def module(*words: str) -> subprocess.CompletedProcess:
    """Call `python -m` so; output and errors in one text."""
    return _forked(run_module, words)


def _forked(work: Callable[..., None], words: tuple[str, ...]) -> subprocess.CompletedProcess:
    with tempfile.NamedTemporaryFile() as said:
        process = context().Process(target=call, args=(work, words, said.name))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
        return subprocess.CompletedProcess(words, process.exitcode, Path(said.name).read_text())


def call(work: Callable[..., None], words: tuple[str, ...], said: str) -> None:
    """In the forked process: some work, as from a shell in the project's folder."""
    with open(said, "ab", buffering=0) as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    os.chdir(PROJECT)
    try:
        work(*words)
    finally:
        atexit._run_exitfuncs()  # as an interpreter that ends; a forked one would leave them out


def run_module(name: str, *words: str) -> None:
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def command(*words: str) -> None:
    from papermill.engines import papermill_engines

    from benchmarks.toy_task import InProcess
    from narrutils.cli import main

    class AtTheEnd(InProcess):
        """Papermill writes a notebook that ended or failed; not, too, before and after each cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **given):
            nb_man.output_path = None
            super().execute_managed_notebook(nb_man, kernel_name, **given)

    papermill_engines.register(None, AtTheEnd)
    raise SystemExit(main(list(words)))
