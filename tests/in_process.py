"""The command line and its notebooks in one process, forked from one that had imported the package.

A kernel for each notebook, and a process for each call, import everything anew, which is most of the time
of a run on tiny models. All else is the project's own: preflight, papermill's parameters, stages, record and
report. The smoke run shows that notebooks run in kernels of their own, and the command from a shell.
"""

import atexit
import gc
import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import narrutils
from narrutils.paths import PROJECT
from narrutils.pipeline.forks import do_and_end

#: What the package imports where it is needed; the package itself is added.
LIBRARIES = ["benchmarks.toy_task", "digested", "papermill", "peft"]
LIBRARIES += ["transformers.models.bert", "transformers.models.gemma3"]
#: Seconds after which a process that has not ended is killed, which is told as its exit code.
PATIENCE = 900

_server: Connection | None = None


def begin() -> None:
    """Fork the process that others are forked from, while this one has imported much and computed nothing."""
    global _server
    _server, theirs = multiprocessing.Pipe()
    if not os.fork():
        try:
            _server.close()
            _serve(theirs)
        finally:
            os._exit(0)
    theirs.close()


def called(*words: str) -> subprocess.CompletedProcess:
    """Call the command line so; output and errors in one text."""
    return forked(command, *words)


def module(*words: str) -> subprocess.CompletedProcess:
    """Call `python -m` so; output and errors in one text."""
    return forked(run_module, *words)


def forked(work: Callable[..., None], *words: str) -> subprocess.CompletedProcess:
    """Call a module's function so; output and errors in one text."""
    with tempfile.NamedTemporaryFile() as said:
        _server.send((work, words, said.name))
        process = _server.recv()
        if not _server.poll(PATIENCE):
            os.kill(process, signal.SIGKILL)
        return subprocess.CompletedProcess(words, _server.recv(), Path(said.name).read_text())


def _serve(line: Connection) -> None:
    """In the process that others are forked from: one at a time, until nobody asks any more."""
    atexit._clear()  # of what is to be done at the end of another process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    # pytest's own are no such streams
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
    os.environ |= {"PYTHONPATH": str(PROJECT), "MPLBACKEND": "agg"}
    asked = line.recv()
    modules = [found.name for found in pkgutil.walk_packages(narrutils.__path__, "narrutils.")]
    for name in [name for name in modules if not name.endswith("__main__")] + LIBRARIES:
        import_module(name)
    gc.freeze()
    while True:
        process = os.fork()
        if not process:
            line.close()
            do_and_end(partial(_call, *asked))
        line.send(process)
        line.send(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        asked = line.recv()


def _call(work: Callable[..., None], words: tuple[str, ...], said: str) -> None:
    """In the forked process: some work, as from a shell in the project's folder."""
    with open(said, "ab", buffering=0) as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    os.chdir(PROJECT)
    work(*words)


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
