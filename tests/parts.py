"""Work for processes of every kind, most of which writes a file and says who did it.

Light, since they load it: what a test module imports would take each of them seconds.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

from narrutils.errors import InputError
from narrutils.workers import THREADS, sharers


def square(
    folder: Path, kill: int, always: bool, fail: int, seconds: float, look: str, kind: type, part: int
) -> dict:
    """Write the square of a part's number.

    Args:
        kill: a part whose worker dies, the first time or `always`; `fail`: one that raises an error.
        look: whether it says which threads it has; see `squares`.
    """
    time.sleep(seconds)
    mark = folder / "killed"
    if part == kill and (always or not mark.exists()):
        with mark.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    if part == fail:
        raise kind(f"part {part}: the mend")
    (folder / f"{part}.part").write_text(str(part * part))
    os.replace(folder / f"{part}.part", folder / f"{part}.txt")
    told = {"pid": os.getpid(), "sharers": sharers(), "priority": os.nice(0)}
    return told | {"threads": _threads() if look else None}


def squares(
    folder: Path,
    kill: int = -1,
    always: bool = False,
    fail: int = -1,
    seconds: float = 0.0,
    look: str = "",
    kind: type = InputError,
):
    """The scorer of a worker.

    Args:
        look: it has first set torch's threads as it likes, and says which it has; where it is begun `late`,
            after one was killed, since loading torch takes seconds, or those of a `stub` of torch.
    """
    if look == "stub":
        sys.modules["torch"] = Threads("torch")
    if look == "late" and (folder / "killed").exists():
        import torch

        torch.set_num_threads(3)
    return partial(square, folder, kill, always, fail, seconds, look, kind)


class Threads(ModuleType):
    """As much of torch as is told threads."""

    number = 3

    def set_num_threads(self, number: int) -> None:
        self.number = number

    def get_num_threads(self) -> int:
        return self.number


class Unpicklable(Exception):
    """An error that holds what cannot be pickled."""

    def __init__(self, told: str):
        super().__init__(told)
        self.held = lambda: None


class Unreadable(Exception):
    """An error that is pickled, but cannot be made of that again."""

    def __init__(self, told: str, *, _of: object = None):
        super().__init__(told)

    def __reduce__(self):
        return Unreadable, ()


def failing(kind: type):
    """No scorer, but an error of a kind."""
    raise kind("at once")


def stillborn(folder: Path):
    """No scorer: the worker dies at its start."""
    os.kill(os.getpid(), signal.SIGKILL)


def end(how: str) -> None:
    """End as a training may."""
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "input":
        raise InputError("seed: the mend")


_held = []


def endless(*_) -> None:
    time.sleep(600)


def tell_threads(file: Path) -> None:
    """Write who this is, and which threads torch, a stub that stays, and the environment were told."""
    told = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0
    sys.modules["torch"] = Threads("torch")
    file.write_text(" ".join(map(str, [os.getpid(), told, *(os.environ[name] for name in THREADS)])))


def hold(file: Path, size: int) -> None:
    """Keep so many bytes, as a training keeps its base, and say which process did."""
    _held.append(b"x" * size)
    file.write_text(str(os.getpid()))
    time.sleep(1.2)  # loky looks at its processes every second


def _threads() -> dict:
    """What the libraries of a worker use, torch if it is loaded."""
    given = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    torch = sys.modules.get("torch")
    return given | ({"torch": torch.get_num_threads()} if torch else {})


if __name__ == "__main__":  # what a test interrupts or kills
    import parts  # workers find it by this name

    from narrutils.workers import Workers, spread

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    folder, count, ray = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for done in spread(partial(parts.squares, folder, seconds=0.5), range(1000), Workers(count, ray, 1)):
        print(done, flush=True)
