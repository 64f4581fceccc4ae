"""Trainings side by side, each in a process of its own.

Without a GPU, small models use many cores badly. Two cores they use well: one process a core starts
more processes and holds more memory, and is done no sooner (`python -m benchmarks.side_by_side`).
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from narrutils.errors import InputError
from narrutils.workers import THREADS, settle


def at_once(asked: int, trainings: int, whole_machine: bool) -> int:
    """How many of some trainings run at once.

    Args:
        asked: what the user set; 0 leaves it to the machine: one for every two cores.
        trainings: how many there are, done already or not.
        whole_machine: whether one training takes a GPU, or processes of its own; then 0 is one.
    """
    return max(1, min(asked or (1 if whole_machine else _cores() // 2), trainings))


def shares(cores: int, trainings: int, abreast: int) -> list[int]:
    """Cores for each training; those of the last round share what there is among themselves.

    A training's share is decided by its place, so that a resumed run gives the same numbers.
    """
    last = trainings % abreast
    return [max(1, cores // (abreast if n < trainings - last else last)) for n in range(trainings)]


def for_each(
    train: Callable[..., None], tasks: Iterable[tuple | None], trainings: int, abreast: int = 1
) -> None:
    """Call `train` with the arguments of every task.

    With `abreast` above 1 so many calls run at once, each in a process of its own: all that
    `train` leaves behind is what it writes to disk, and what it prints appears when it has ended.

    Args:
        tasks: arguments of `train`; None is a training that is done already.
        trainings: how many tasks there are.

    Raises:
        InputError: a process was killed, as one is that finds no memory.
        Exception: what `train` raises, of the first task that does.
    """
    if abreast == 1:
        for task in tasks:
            if task is not None:
                train(*task)
        return
    cores = shares(_cores(), trainings, abreast)
    calls = [
        delayed(_heard)(train, task, own, os.getpid())
        for task, own in zip(tasks, cores, strict=True)
        if task is not None
    ]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        told = Parallel(n_jobs=abreast, return_as="generator", batch_size=1)(calls)
        try:
            for lines in told:
                print(lines, end="", flush=True)
        except TerminatedWorkerError:
            raise InputError(
                f"one of {abreast} trainings that ran at once was killed, most likely for want of "
                f"memory; set at_once to {abreast - 1}"
            ) from None


def _cores() -> int:
    """Threads that torch may use; a notebook that trains nothing need not load it to be told."""
    import torch

    return torch.get_num_threads()


def _heard(train: Callable[..., None], task: tuple, cores: int, parent: int) -> str:
    """What a call printed. What needs no torch, or not yet, does not wait until it is loaded."""
    settle(parent)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(cores)
    else:
        os.environ.update(dict.fromkeys(THREADS, str(cores)))  # it reads them while it loads
    with redirect_stdout(StringIO()) as lines:
        train(*task)
    return lines.getvalue()
