"""Files, whole or not at all: JSON, safetensors, and content keys.

Every file is written beside its place and then moved into it, so a reader never meets
half a file. One that was damaged since is told in a line that names it.
"""

import glob
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from safetensors.numpy import load_file, save_file

from narrutils.errors import REFUSED, InputError

#: In a folder that was made whole: name -> digest of each file in it.
CONTENTS = "files.json"
HOST = re.sub(r"\W", "-", platform.node())[:32]
AGAIN = "it is damaged: remove it and run its notebook again, or restore it"

# Tables are small here and looked into often, by names and uids above all. As Python's own strings these
# take half the time that they take as Arrow's.
pd.options.mode.string_storage = "python"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block ends without error.

    Raises:
        OSError: it cannot be written; the error names `path`, whatever library met it.
    """
    path = Path(path)
    try:
        with _beside(path) as temporary:
            yield temporary
    except Exception as error:
        number = _number(error)
        own = getattr(error, "filename", None)
        if number not in REFUSED or (own is not None and _temporary(path).name not in str(own)):
            raise
        raise OSError(number, os.strerror(number), str(path)) from None


def _number(error: Exception) -> int | None:
    """The system's number of a fault; libraries in Rust only quote it."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return getattr(error, "errno", None) or (int(found[1]) if found else None)


def _temporary(path: Path) -> Path:
    """What becomes a file; several machines may write into one folder."""
    return path.with_name(f".{path.name}.{os.getpid()}@{HOST}.part")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    for rest in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid, _, host = rest.name.split(".")[-2].partition("@")
        ended = host in ("", HOST) and pid.isdigit() and not psutil.pid_exists(int(pid))
        if rest == temporary or ended:
            _remove(rest)  # of this process, or of one that was killed
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


@contextmanager
def intact(path: str | Path, mend: str = AGAIN) -> Iterator[None]:
    """Around the reading of a file or folder: whatever a library finds wrong in it is told with its name.

    Raises:
        InputError: it is damaged, or gone; OSError: the system does not give it.
    """
    try:
        yield
    except Exception as error:
        scarce = type(error) is MemoryError or "memory" in str(error)
        if isinstance(error, FileNotFoundError) and not Path(path).exists():
            raise InputError(f"{path}: is missing; run its notebook again, or restore it") from None
        if isinstance(error, InputError) or getattr(error, "errno", None) is not None or scarce:
            raise
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); {mend}") from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write JSON, indented, NumPy numbers as numbers and NaN as null."""
    with atomic(path) as part:
        part.write_text(json.dumps(_plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> object:
    """What `write_json` wrote.

    Raises:
        InputError: the file is damaged.
    """
    with intact(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Write arrays as safetensors."""
    with atomic(path) as part:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, part)


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """What `write_tensors` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    with intact(path):
        return load_file(path)


def note_contents(folder: Path) -> None:
    """Note the digest of every file of a folder, so that damage is seen where parsing cannot see it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CONTENTS)
    write_json(folder / CONTENTS, {path.relative_to(folder).as_posix(): digest(path) for path in files})


def altered(folder: Path) -> list[Path]:
    """Files of a folder that are not as `note_contents` noted them, or gone; none if nothing was noted.

    Weights are read whole for it, a gigabyte in about a second, once a process.
    """
    return [folder / name for name, known in _noted(folder).items() if digest_now(folder / name) != known]


def gone(folder: Path) -> list[Path]:
    """Files of a folder that were noted and are not there any more."""
    return [folder / name for name in _noted(folder) if not (folder / name).exists()]


def check_contents(folder: Path) -> None:
    """That nothing in a folder was damaged; what reading needs and is not there, the reader names.

    Raises:
        InputError: a file is not as it was written; the line names it.
    """
    for path in altered(folder):
        if path.exists():
            raise InputError(f"{path}: is not as it was written; {AGAIN}")


def _noted(folder: Path) -> dict[str, str]:
    return read_json(folder / CONTENTS) if (folder / CONTENTS).exists() else {}


def digest_now(path: Path) -> str:
    """Digest of a file as it is now, read once a process; "" where there is none."""
    return _digest_at(path, path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else ""


@cache
def _digest_at(path: Path, size: int, changed: int) -> str:
    return digest(path)


def digest(*values: object) -> str:
    """A content key of tables, arrays, paths' contents and plain values (SHA-256, 16 digits)."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame):
            total.update(repr(list(value.columns)).encode())
            total.update(pd.util.hash_pandas_object(value).to_numpy().tobytes())
        elif isinstance(value, Path):
            total.update(_sha256(value))
        else:
            total.update(json.dumps(_plain(value), sort_keys=True, default=str).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def _sha256(path: Path) -> bytes:
    """As `hashlib.file_digest`, which Python 3.10 of a bundle has not."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.digest()
