"""Where results go: which may be written, and how a finished one is given its place."""

import filecmp
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from narrutils.data.files import atomic
from narrutils.errors import InputError

#: A file in a folder of results.
PART = re.compile(r"part\d{6}\.parquet")


@dataclass(frozen=True)
class Outputs:
    """Where results go; None is not wanted. One without an ending is a folder of Parquet files.

    Attributes:
        codes: CSV in the competition's format.
        probabilities: Parquet or CSV: `uid`, `flag` (1 where a person should decide), `doubt`
            (expected number of wrong codes), of a run with promises `review` (the variables that a person
            should decide so that they hold, as `Sad; Note`), and calibrated probabilities.
        evidence: CSV: the sentences that moved each positive code most.
        show_text: whether the evidence quotes its sentences.
        overwrite: whether files that are there may be replaced: a result looks like labels of a person.
        faults: CSV: file, line and reason of each row that could not be read and was left out, or that
            has no text; without it such a row is an error.
    """

    codes: Path
    probabilities: Path | None = None
    evidence: Path | None = None
    show_text: bool = False
    overwrite: bool = False
    faults: Path | None = None

    def check(self, features: Path) -> "Outputs":
        """These outputs, if each can be written.

        Raises:
            InputError: one is a folder that others filled, the features themselves or among them, holds
                another, is given twice, or is of an unknown kind.
        """
        for name, file in self.files.items():
            kinds = {"probabilities": [".csv", ".parquet"]}.get(name, [".csv"])
            if file.suffix not in [*kinds, *([] if name == "faults" else [""])]:
                folder = "" if name == "faults" else ", or as a folder without an ending"
                raise InputError(f"{file}: unknown kind of file; name it {' or '.join(kinds)}{folder}")
            if file.exists() and file.is_dir() != (not file.suffix):
                raise InputError(f"{file}: is {'a folder' if file.suffix else 'a file'}; name another")
            if file.is_dir() and not _only_parts(file):
                raise InputError(f"{file}: is a folder of other files; name another")
            if file.resolve() == features.resolve():
                raise InputError(f"{file}: is the features file; name another for the result")
            self._check_apart(file, features)
        if len({file.resolve() for file in self.files.values()}) < len(self.files):
            raise InputError("two results would go to one file; name different files")
        return self

    def _check_apart(self, file: Path, features: Path) -> None:
        """That neither holds the other, nor a folder of results another result."""
        if features.is_dir() and features.resolve() in file.resolve().parents:
            raise InputError(f"{file}: lies among the features and would be read as such; name another")
        for other in (features, *self.files.values()):
            if file.resolve() in other.resolve().parents:
                raise InputError(
                    f"{file}: {other} lies in it; name another, which will hold nothing but parts"
                )

    def check_free(self) -> None:
        """That nothing is replaced unless that is asked for.

        Raises:
            InputError: something is there.
        """
        for file in self.files.values():
            if file.exists() and not is_empty(file) and not self.overwrite:
                raise InputError(f"{file}: is there already; name another file, or add --overwrite")

    @property
    def files(self) -> dict[str, Path]:
        """What is wanted, by its name."""
        names = ("codes", "probabilities", "evidence", "faults")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def tables(self) -> dict[str, Path]:
        """What is made of every part."""
        return {name: file for name, file in self.files.items() if name != "faults"}


def _only_parts(folder: Path) -> bool:
    return all(PART.fullmatch(file.name) for file in folder.iterdir())


def put(made: Path, place: Path, replace: bool) -> None:
    """Give a finished file, or folder of files, its place; what is there must be the same or may be replaced.

    Raises:
        InputError: something else is there.
    """
    if not replace and place.exists() and not is_empty(place):
        if not _same(made, place):
            raise InputError(f"{place}: is there already; name another file, or add --overwrite")
        return
    with atomic(place) as part:
        if made.is_dir():
            part.mkdir()
            shutil.copymode(made, part)
            for file in sorted(made.iterdir()):
                link(file, part / file.name)
        else:
            link(made, part)


def is_empty(path: Path) -> bool:
    """Whether a file has no bytes, or a folder no entries."""
    return not any(path.iterdir()) if path.is_dir() else not path.stat().st_size


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() != other.is_dir():
        return False
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(os.listdir(one))
    return (
        names == sorted(os.listdir(other)) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names
    )


def link(source: Path, target: Path) -> None:
    """The same file under another name, or where the file system has no such thing a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
