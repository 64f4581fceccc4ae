"""The worker with accelerate told that it stands on GPUs: on CPUs it would run DDP where FSDP is asked for.

torch divides models between processes on the CPU as well, over gloo; only accelerate's choice
of the strategy is overruled here. Nothing of the package is. Several folders are done in a row.

Called as `accelerate launch` is, with its words. Its processes are forked from this one, which has
imported what they import and has computed nothing; torch starts those of the test of DDP.
"""

import os
from argparse import Namespace
from functools import partial
from pathlib import Path

import torch.distributed.run
from accelerate import DistributedType, PartialState
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.tensor import DTensor

from narrutils.pipeline.forks import do_and_end
from narrutils.training import worker

_init = PartialState.__init__


def _as_on_gpus(self, *args, **kwargs) -> None:
    _init(self, *args, **kwargs)
    if self.distributed_type is DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


def _learned(classifier, learned=worker.learned):
    """What was learned, once it is certain that the weights were divided."""
    divided = [w for w in classifier.parameters() if isinstance(w, DTensor)]
    assert divided and sum(w.to_local().numel() for w in divided) < sum(w.numel() for w in divided)
    return learned(classifier)


def _forked(told: Namespace) -> None:
    """In place of torch's launcher: a process of each rank, ended with this one if it fails."""
    count, children = int(told.nproc_per_node), []
    place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": told.master_port}
    for rank in range(count):
        child = os.fork()
        if not child:
            os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
            do_and_end(partial(_learn, told.training_script_args))
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        raise SystemExit(1)


def _learn(folders: list[str]) -> None:
    PartialState.__init__ = _as_on_gpus
    PartialState.destroy_process_group = lambda state: None  # the processes go on to the next folder
    worker.learned = _learned
    for folder in folders:
        worker.main(Path(folder))


if __name__ == "__main__":
    torch.distributed.run.run = _forked
    launch_command(launch_command_parser().parse_args())
