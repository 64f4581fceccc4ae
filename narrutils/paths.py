"""Where things are: the project itself, what a relative path means, the cache; and the environment."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OUTPUTS = PROJECT / "outputs"  # where run folders go unless another place is named
#: Set in the environment of kernels that nobody sits before: no one is there to use a widget.
UNATTENDED = "NARRUTILS_UNATTENDED"


def locate(path: str | Path) -> Path:
    """A path as given, or beside the project where it is not found from here."""
    path = Path(path).expanduser()
    beside = PROJECT / path
    return beside if not path.exists() and beside.exists() else path


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def cache_folder() -> Path:
    """Where things that can be made again are kept: `NARRUTILS_CACHE`, or `~/.cache/narrutils`."""
    return Path(os.environ.get("NARRUTILS_CACHE") or Path.home() / ".cache" / "narrutils").expanduser()


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment for the length of a block: processes that it starts inherit them."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
