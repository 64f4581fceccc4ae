"""The command line, its notebooks executed in its own process: `python tests/in_process.py run PROFILE ...`.

A kernel for each notebook imports everything anew, which is most of the time of a run on tiny models.
All else is the project's own: preflight, papermill's parameters, stages, record and report. That the
notebooks run in kernels of their own is shown by the smoke run.
"""

import gc
import os
import subprocess
import sys

from IPython.core.interactiveshell import InteractiveShell
from papermill.engines import Engine, papermill_engines

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


class InProcess(Engine):
    """A shell for each notebook, as a kernel has one: no notebook sees another's names."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **_):
        shell = InteractiveShell()
        gc.freeze()  # every training collects garbage, and need not look through all that was imported
        for number, cell in enumerate(nb_man.nb.cells):
            nb_man.cell_start(cell, number)
            if cell.cell_type == "code":
                shell.run_cell(cell.source, store_history=True).raise_error()
            nb_man.cell_complete(cell, number)


if __name__ == "__main__":
    papermill_engines.register(None, InProcess)
    sys.exit(main())
