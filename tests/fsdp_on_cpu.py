"""The worker with accelerate told that it stands on GPUs: on CPUs it would run DDP where FSDP is asked for.

torch divides models between processes on the CPU as well, over gloo; only accelerate's choice
of the strategy is overruled here. Nothing of the package is. Several folders are done in a row.
"""

import sys
from pathlib import Path

from accelerate import DistributedType, PartialState
from torch.distributed.tensor import DTensor

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


if __name__ == "__main__":
    PartialState.__init__ = _as_on_gpus
    PartialState.destroy_process_group = lambda state: None  # the processes go on to the next folder
    worker.learned = _learned
    for folder in sys.argv[1:]:
        worker.main(Path(folder))
