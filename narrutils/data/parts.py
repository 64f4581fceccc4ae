"""Work in parts that may be killed anywhere: each part is a folder, there whole or not at all.

A manifest says what the parts are of. The same work goes on where it stopped; another one is
refused, by the name of what differs. What is done is what stands on disk, whoever did it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from narrutils.data.files import atomic, read_json, write_json
from narrutils.errors import InputError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Parts:
    """The parts of one piece of work, in a private folder beside its result."""

    folder: Path

    @classmethod
    def beside(cls, result: Path) -> "Parts":
        """Those whose work ends in a file or folder."""
        return cls(result.with_name(f".{result.name}.parts"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """While nobody else works on them.

        Raises:
            InputError: somebody does.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout:
            raise InputError(f"{self.folder}: another process is at work there; wait for it to end") from None
        finally:
            if self.folder.is_dir() and not self.begun:
                shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def begun(self) -> bool:
        return (self.folder / MANIFEST).exists()

    @property
    def manifest(self) -> dict:
        """`of`: what decides the parts, by names that people know; `found`: what was found out before.

        Raises:
            InputError: it is damaged.
        """
        return read_json(self.folder / MANIFEST)

    def goes_on(self, of: Mapping[str, object], anew: bool) -> bool:
        """Whether there are parts of this work; those of another are removed if that is asked for.

        Args:
            of: what decides the parts, by names that people know; plain values.
            anew: whether other work may be given up.

        Raises:
            InputError: the parts are of other work; the line names what differs.
        """
        if not self.begun:
            return False
        other = _differing(self.manifest["of"], of)
        if other and not anew:
            raise InputError(
                f"{self.folder}: holds an unfinished prediction that differs in {', '.join(other)}; "
                "finish that one, or add --overwrite to give it up"
            )
        if other:
            (self.folder / MANIFEST).unlink()
        return not other

    def begin(self, of: Mapping[str, object], found: Mapping[str, object]) -> None:
        """Note what parts are to come, in an empty folder."""
        for rest in self.folder.iterdir():
            if rest.name != ".lock":
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
        write_json(self.folder / MANIFEST, {"of": dict(of), "found": dict(found)})

    def path(self, number: int) -> Path:
        return self.folder / f"part{number:06d}"

    def missing(self, count: int) -> list[int]:
        """Numbers of those that are not done, of so many."""
        done = set(os.listdir(self.folder))
        return [n for n in range(count) if self.path(n).name not in done]

    @contextmanager
    def write(self, number: int) -> Iterator[Path]:
        """An empty folder that becomes the part if the block ends without error."""
        with atomic(self.path(number)) as folder:
            folder.mkdir(mode=0o700)
            yield folder

    def files(self, name: str, count: int) -> list[Path]:
        """The file of this name of each part, in order."""
        return [self.path(n) / name for n in range(count)]

    def end(self) -> None:
        """Remove them: what they were for is there."""
        (self.folder / MANIFEST).unlink()  # first: what is left of a folder without one is removed
        shutil.rmtree(self.folder, ignore_errors=True)


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]
