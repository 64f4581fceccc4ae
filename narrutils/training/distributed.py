"""One training in several processes: each reads its share of a batch, all see the whole of it.

A loss is not always a mean over cases (the soft F1 counts over a batch), so the mean of
each process's own loss could be another loss. Instead the logits of all shares are put
together and every process computes the loss of the whole batch. The gradient flows back
through its own share alone; the processes' gradients are averaged, as DDP and FSDP do, and
since each was multiplied by their number, the average is the gradient of one process that
reads the whole batch. The logged loss is the same everywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def place() -> tuple[int, int]:
    """This process's number, from 0, and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def share(rows: Sequence[int]) -> list[int]:
    """The rows of a batch that this process reads: neighbours, as many as every other process has.

    Where they do not divide evenly, the batch's first row fills up the last shares; what
    is read of it there is left out by `gathered`.
    """
    rank, processes = place()
    size = -(-len(rows) // processes)
    mine = list(rows[rank * size : (rank + 1) * size])
    return mine + list(rows[:1]) * (size - len(mine))


def gathered(logits: Tensor, rows: int) -> Tensor:
    """The logits `[rows, width]` of a whole batch, from those of this process's share.

    Args:
        rows: of the whole batch, in the order that `share` divided.
    """
    rank, processes = place()
    if processes == 1:
        return logits
    parts = [torch.empty_like(logits) for _ in range(processes)]
    distributed.all_gather(parts, logits.detach().contiguous())
    parts[rank] = logits
    if logits.requires_grad:
        logits.register_hook(lambda gradient: gradient * processes)
    return torch.cat(parts)[:rows]
