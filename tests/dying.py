"""Coding by a worker that is killed once."""

import os
import signal
from dataclasses import dataclass

from narrutils.crossfit.coding import Coding


@dataclass(frozen=True)
class Dying(Coding):
    """Codes as ever, but that the worker of the second part is killed in the midst of it, once."""

    def _write(self, deployed, texts, folder, watch):
        mark = self.parts.folder.parent / "killed"
        if folder.name.startswith(".part000001-") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._write(deployed, texts, folder, watch)
