"""How fast this machine's processor multiplies and does ordinary work, measured once and remembered.

Flags do not tell it: environment variables can hold torch to fewer instructions than the
processor has, and a processor without bfloat16 of its own still computes in it, several
times slower than in float32. So a linear layer is timed in both, with one thread. Ordinary work is
timed beside it: plain Python, which no instruction for matrices makes faster.
"""

import math
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from narrutils.data.files import digest, read_json, write_json
from narrutils.errors import InputError
from narrutils.paths import cache_folder

#: Environment variables that hold torch to fewer instructions.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
#: Rows, inputs and outputs of the layers that are timed: of Gemma 270M and of MiniLM, few rows at once.
SHAPES = ((128, 640, 2048), (256, 384, 1536))
#: Seconds that each shape is timed for in each precision, and the least number of goes.
SECONDS, GOES = 0.06, 2
#: The widest instructions that a processor may have, by the flag that tells of them.
WIDEST = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}
#: Best time of `_ordinary_work` on the machine that the profiles' estimates speak of, in seconds.
REFERENCE = 0.0004


@dataclass(frozen=True)
class Speed:
    """GFLOP/s of torch's linear layer in one thread, in each precision that a processor may compute in."""

    float32: float
    bfloat16: float
    ordinary: float = 1.0  # speed of ordinary work in one thread, 1 on the machine of the estimates


def measured() -> Speed:
    """The speed of this processor; kept in the cache, from where it is read without loading torch.

    The first call on a machine takes about half a second and the loading of torch. The kept figure is
    of this processor, its instructions as torch may use them, and this version of torch.

    Raises:
        InputError: torch is not installed.
    """
    kept = cache_folder() / "speed" / f"{digest(kind())}.json"
    with suppress(OSError, InputError, KeyError, TypeError):  # not kept yet, or damaged
        found = read_json(kept)
        return Speed(found["float32"], found["bfloat16"], found["ordinary"])
    speed = measure()
    with suppress(OSError):  # a cache that cannot be written costs half a second each time
        write_json(kept, asdict(speed) | kind())
    return speed


def kind() -> dict[str, str]:
    """What decides the speed: the processor, its instructions, what torch may use of them, torch, Python."""
    limits = {name: os.environ.get(name, "") for name in LIMITS}
    makers = {"torch": _torch(), "python": platform.python_version()}
    return {"processor": processor(), "instructions": _told("flags")} | makers | limits


def here() -> str:
    """The kind of this machine in a few words: times that were taken on the same kind hold for it."""
    return f"{described()}, {cores()} cores"


def described() -> str:
    """The processor's name, its widest instructions, and what holds torch to fewer."""
    flags = _told("flags").split()
    widest = [name for flag, name in WIDEST.items() if flag in flags][:1]
    held = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return ", ".join([processor(), *widest, *held])


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor() -> str:
    """The processor's name as the system tells it."""
    return _told("model name") or platform.processor() or platform.machine()


def measure() -> Speed:
    """The speed as of now, with one thread; beside other work the best of several goes still holds."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        multiplying = [_gflops(dtype) for dtype in (torch.float32, torch.bfloat16)]
        return Speed(*multiplying, round(REFERENCE / _best(_ordinary_work), 3))
    finally:
        torch.set_num_threads(threads)


def _gflops(dtype) -> float:
    """Operations of all shapes over the sum of their best times, in 10⁹ a second."""
    import torch

    seconds = 0.0
    for rows, inputs, outputs in SHAPES:
        given, weight = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
        with torch.inference_mode():
            seconds += _best(partial(torch.nn.functional.linear, given, weight))
    return round(sum(2 * math.prod(shape) for shape in SHAPES) / seconds / 1e9, 2)


def _best(work: Callable[[], object]) -> float:
    """The best time of some work, in seconds; its first go, which chooses how to compute, is not timed."""
    times: list[float] = []
    work()
    while len(times) < GOES or sum(times) < SECONDS:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _ordinary_work() -> int:
    """What preparing texts and tables is made of: strings, mappings, sorting."""
    words = [f"{number * 7919 % 10007:05d}" for number in range(1_000)]
    counts: dict[str, int] = {}
    for word in words:
        counts[word[:3]] = counts.get(word[:3], 0) + len(word)
    return len(sorted(words)) + len(" ".join(words).split()) + len(counts)


def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        raise InputError("torch is not installed, so its speed cannot be measured") from None


def _told(name: str) -> str:
    """What Linux says of the first processor under this name; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name), "")
