"""Work in parts that may be killed anywhere: each part is a folder, there whole or not at all.

A manifest says what the parts are of. The same work goes on where it stopped; another one is
refused, by the name of what differs. What is done is what stands on disk, whoever did it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from narrutils.data.files import atomic, digest, read_json, write_json
from narrutils.errors import InputError

MANIFEST, LOCK = "manifest.json", ".lock"


@dataclass(frozen=True)
class Parts:
    """The parts of one piece of work, in a private folder beside its result.

    Attributes:
        key: stands in the names of the parts, so that nobody who is still at other work adds to them.
    """

    folder: Path
    key: str = ""

    @classmethod
    def beside(cls, result: Path) -> "Parts":
        """Those whose work ends in a file or folder."""
        return cls(result.with_name(f".{result.name}.parts"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """While nobody else works on them. What is left without a manifest is rubbish, before and after.

        Raises:
            InputError: somebody does.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        lock = FileLock(self.folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.folder}: another process is at work there; wait for it to end") from None
        try:
            self._sweep()
            yield
        finally:
            self._sweep()
            if not self.begun:
                with suppress(OSError):  # some systems keep a file that is open
                    (self.folder / LOCK).unlink()
            lock.release()
            if not self.begun:
                with suppress(OSError):  # the next one may be there already
                    self.folder.rmdir()

    def _sweep(self) -> None:
        if not self.begun:
            for rest in self.folder.iterdir():
                if rest.name != LOCK:
                    shutil.rmtree(rest, ignore_errors=True) if rest.is_dir() else rest.unlink()

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

    def differ(self, of: Mapping[str, object]) -> list[str]:
        """The names of what differs from the work whose parts are there.

        Args:
            of: what decides the parts, by names that people know; None is as it was, whatever that is.
        """
        old = self.manifest["of"]
        given = {name for name in {**old, **of} if None not in (old.get(name, 0), of.get(name, 0))}
        return [name for name in {**old, **of} if name in given and old.get(name) != of.get(name)]

    def give_up(self) -> None:
        """Remove the parts of other work."""
        (self.folder / MANIFEST).unlink()
        self._sweep()

    def begin(self, of: Mapping[str, object], found: Mapping[str, object]) -> "Parts":
        """Note what parts are to come; those of this work from now on."""
        told = {"of": dict(of), "found": dict(found), "key": digest(dict(of))[:8]}
        write_json(self.folder / MANIFEST, told)
        return self.known()

    def settle(self, name: str, value: object) -> None:
        """Note what was None when the work began."""
        manifest = self.manifest
        write_json(self.folder / MANIFEST, manifest | {"of": manifest["of"] | {name: value}})

    def known(self) -> "Parts":
        """Those of the work whose parts are there."""
        return replace(self, key=self.manifest["key"])

    def path(self, number: int) -> Path:
        return self.folder / f"part{number:06d}-{self.key}"

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

    def end(self) -> None:
        """Remove them: what they were for is there."""
        (self.folder / MANIFEST).unlink()  # first: what is left of a folder without one is rubbish
        self._sweep()
