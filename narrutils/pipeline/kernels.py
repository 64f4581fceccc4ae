"""The kernels that notebooks run in: how one starts, what it finds, and how it is interrupted."""

import os
import signal
from contextlib import AbstractContextManager
from typing import ClassVar

from jupyter_client import AsyncKernelManager

from narrutils.models.hub import hub_ids
from narrutils.paths import PROJECT, UNATTENDED, environment
from narrutils.pipeline.forks import Nursery

#: Arguments of a kernel that says nothing of itself, when it is ended with work in hand least of all.
QUIET = [
    "--IPKernelApp.log_level=50",
    "--IPKernelApp.exec_lines=__import__('logging').getLogger('asyncio').setLevel(50)",
]


class Kernel(AsyncKernelManager):
    """A kernel whose children hear nothing of an interrupt.

    Jupyter sends it to all of the kernel's processes, and each of them prints where it was. Our own end
    what they started, and what is left is ended by the runner.
    """

    nursery: ClassVar[Nursery] = Nursery()  # that of the run

    async def _async_launch_kernel(self, kernel_cmd: list[str], **how) -> None:
        place, cwd = self.provisioner, how.get("cwd") or os.getcwd()
        self.nursery.begin(how["env"])
        place.process = self.nursery.fork(kernel_cmd, cwd, how["env"])
        if place.process is None:
            await super()._async_launch_kernel(kernel_cmd, **how)
        else:
            place.pid = place.pgid = place.process.pid
            place.cwd = cwd

    async def _async_signal_kernel(self, signum: int) -> None:
        if signum == signal.SIGINT and os.name == "posix" and self.has_kernel:
            os.kill(self.provisioner.pid, signum)
        else:
            await super()._async_signal_kernel(signum)


def kernel_environment(parameters: dict) -> AbstractContextManager[None]:
    """What kernels find in their environment: this package, this Python, no telemetry.

    And no network, unless the stage's parameters name a model of a hub.
    """
    offline = "0" if hub_ids(parameters) else "1"
    wanted = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", offline),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        UNATTENDED: "1",
    }
    return environment(wanted)
