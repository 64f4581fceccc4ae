"""Files, whole or not at all: JSON, safetensors, and content keys.

Every file is written beside its place and then moved into it, so a reader never meets
half a file.
"""

import glob
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from safetensors.numpy import load_file, save_file


@contextmanager
def atomic(path: str | Path):
    """Yield a temporary path that becomes `path` if the block ends without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    for rest in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = rest.name.split(".")[-2]
        if rest == temporary or (pid.isdigit() and not psutil.pid_exists(int(pid))):
            _remove(rest)  # of this process, or of one that was killed
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


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
    return load_file(path)


def digest(*values: object) -> str:
    """A content key of tables, arrays, paths' contents and plain values (SHA-256, 16 digits)."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame):
            total.update(repr(list(value.columns)).encode())
            total.update(pd.util.hash_pandas_object(value).to_numpy().tobytes())
        elif isinstance(value, Path):
            with value.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(json.dumps(_plain(value), sort_keys=True, default=str).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]
