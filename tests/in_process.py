"""The command line, its notebooks executed in its own process: `python tests/in_process.py run PROFILE ...`.

A kernel for each notebook imports everything anew, which is most of the time of a run on tiny models.
All else is the project's own: preflight, papermill's parameters, stages, record and report. That the
notebooks run in kernels of their own is shown by the smoke run.
"""

import os
import subprocess
import sys

from papermill.engines import papermill_engines

from benchmarks.toy_task import InProcess
from narrutils.cli import main
from narrutils.paths import PROJECT


def called(*words: str) -> subprocess.CompletedProcess:
    """Call the command line so; output and errors in one text."""
    return subprocess.run(
        [sys.executable, __file__, *words],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    papermill_engines.register(None, InProcess)
    sys.exit(main())
