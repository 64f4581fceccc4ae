"""Narratives that come in to be coded: a table of any kind and length, or a folder of them, in parts.

All is read twice. `check` goes through it, so that a fault in the last line is found before the
first model is loaded; `part` then gives so many cases from their place on. Between the two, eight
bytes a case are remembered and where each part begins, no text.

What no text should hold, and some do, is made harmless in the narratives: NUL
characters are read as spaces, halves of surrogate pairs as U+FFFD. A uid is never changed.
Columns that the schema does not name are passed over.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.intake.formats import ENDINGS
from narrutils.data.intake.sheets import Records, open_records, shown
from narrutils.data.intake.text_files import Place, Reading
from narrutils.data.schema import Schema
from narrutils.errors import InputError

#: Number of a file, line or row, and there the uid and the narratives of a case, or what is wrong with it.
Found = tuple[int, int, list[str] | InputError]


@dataclass
class Incoming:
    """Tables of cases without labels, read as one.

    Attributes:
        part_rows: cases of a part; the last one may have fewer.
        leave_out: whether a faulty row, and one without any text, is left out and listed; else it is an
            error, and a case without text a case.
        rows: how many cases there are.
        mended: how many narratives of them held NUL characters or surrogates.
        places: of each part, the number of the file where it begins, and the place in it.
        repeated: number of the file and line of each row that is left out since its uid stands before it.
        left_out: how many rows are left out.
        faults: name of the file, line and reason of each of them, if this has checked the tables itself.
        how: number of a file -> what opens it again at less cost.
    """

    files: tuple[Path, ...]
    schema: Schema
    part_rows: int
    leave_out: bool = False
    rows: int = 0
    mended: int = 0
    places: list[tuple[int, Place | None]] = field(default_factory=lambda: [(0, None)])
    repeated: set[tuple[int, int]] = field(default_factory=set)
    left_out: int = 0
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    how: dict[int, Mapping] = field(default_factory=dict)
    _told: dict[str, dict[str, None]] = field(default_factory=dict, repr=False)  # remark -> files
    _open: dict[int, Records] = field(default_factory=dict, repr=False)
    _reading: Reading | None = field(default=None, repr=False)
    _going: tuple[int, Iterator[Found]] | None = field(default=None, repr=False)

    @classmethod
    def check(cls, path: str | Path, schema: Schema, part_rows: int, leave_out: bool = False) -> "Incoming":
        """Read everything to its end and hold nothing of it.

        Raises:
            InputError: there is no such file, it is no table or there are no rows, a column is
                missing or repeated, or (unless faulty rows are left out) a row has too many cells, or a
                uid is empty, repeated or broken; the line names file, line and column, and quotes no text.
        """
        files = tables_in(Path(path), schema)
        incoming = cls(files, schema, part_rows, leave_out)
        hashes = np.sort(np.frombuffer(incoming._scan(set()), dtype=np.uint64))
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if suspects:  # only where two hashes are the same are the uids themselves compared
            incoming = cls(files, schema, part_rows, leave_out)
            incoming._scan(suspects)
        if not incoming.rows:
            left = f" ({incoming.left_out} rows are faulty)" if incoming.left_out else ""
            raise InputError(f"{path}: no rows under the header; add the cases{left}")
        return incoming

    def rows_of(self, number: int) -> int:
        """How many cases a part has."""
        return min(self.part_rows, self.rows - number * self.part_rows)

    @property
    def found(self) -> dict:
        """What `check` found out, in plain values."""
        names = ("part_rows", "leave_out", "rows", "mended", "places", "left_out", "how")
        return {name: getattr(self, name) for name in names} | {"repeated": sorted(self.repeated)}

    @classmethod
    def restored(cls, files: tuple[Path, ...], schema: Schema, found: Mapping) -> "Incoming":
        """The same tables once more, by what was `found` in them."""
        how = {int(n): told for n, told in found["how"].items()}
        repeated = {tuple(row) for row in found["repeated"]}
        return cls(files, schema, **(found | {"repeated": repeated, "how": how}))

    def part(self, number: int) -> pd.DataFrame:
        """The cases of a part in file order: the text columns, indexed by uid.

        Raises:
            InputError: the files have changed meanwhile.
        """
        found = self._found_from(number)
        sound = (cells for _, _, cells in found if not isinstance(cells, InputError))
        cells = list(islice(sound, self.part_rows))
        self._going = number + 1, found
        if len(cells) != self.rows_of(number):
            raise InputError(f"{self.files[self.places[number][0]]}: changed while it was read; start again")
        uids, *texts = zip(*cells)
        columns = {t.name: [mend(text) for text in column] for t, column in zip(self.schema.text, texts)}
        return pd.DataFrame(columns, index=pd.Index(uids, name="uid", dtype=str), dtype=str)

    def _found_from(self, number: int) -> Iterator[Found]:
        """The rows from a part on; a file that cannot be entered there is read on from where that stands."""
        (ahead, found), self._going = self._going or (-1, None), None
        file, at = self.places[number]
        slow = self.how.get(file, {}).get("packed", True) and at is not None
        if ahead == number or (slow and found and ahead < number and self.places[ahead][0] == file):
            sound = (None for _, _, cells in found if not isinstance(cells, InputError))
            for _ in islice(sound, (number - ahead) * self.part_rows):
                pass
            return found
        return self._found(file, at)

    def _scan(self, suspects: set[int]) -> array:
        """Find out all that one pass can tell; a hash of every uid.

        Args:
            suspects: hashes whose uids themselves are compared.
        """
        hashes, known = array("Q"), {}  # uid of a suspect -> where it stands
        for n, line, cells in self._found(0, None):
            number = 0 if isinstance(cells, InputError) else _hash(cells[0])
            if number in suspects and (before := known.setdefault(cells[0], (n, line))) != (n, line):
                self.repeated.add((n, line))
                cells = self._repeats(n, line, cells[0], before)
            if isinstance(cells, InputError):
                if not self.leave_out:
                    raise cells
                path = self.files[n]
                self.left_out += 1
                self.faults.append((path.name, line, str(cells).removeprefix(f"{path}: ")))
                continue
            self._count(n, cells)
            hashes.append(number)
        if self.rows % self.part_rows == 0:
            self.places.pop()  # nothing begins at the end
        return hashes

    def _count(self, n: int, cells: list[str]) -> None:
        self.rows += 1
        self.mended += sum(mend(text) != text for text in cells[1:])
        if self.rows % self.part_rows == 0:
            self.places.append((n, self._reading.place()))

    def _found(self, first: int, at: Place | None) -> Iterator[Found]:
        """Every row from a place in a file on, through the files after it."""
        for n in range(first, len(self.files)):
            records = self._opened(n)
            order = [records.header.index(name) for name in _columns(self.schema)]
            self._reading = records.read(at if n == first else None)
            for line, cells in self._reading:
                if not isinstance(cells, InputError):
                    cells = [cells[i] for i in order]
                    cells = self._fault(n, line, cells, records) or cells
                yield n, line, cells

    def _fault(self, n: int, line: int, cells: list[str], records: Records) -> InputError | None:
        """What is wrong with a row, if anything is."""
        uid, *texts = cells
        if not uid.strip():
            said = f"{records.at(line, self.schema.uid)}: the uid is empty; every case needs one"
        elif mend(uid) != uid:
            said = f"{records.at(line, self.schema.uid)}: the uid holds a NUL or a broken character; mend it"
        elif (n, line) in self.repeated:
            said = f"{records.at(line, self.schema.uid)}: the uid stands before"
        elif self.leave_out and not any(map(str.strip, texts)):
            said = f"{records.at(line)}: no narrative has a word; there is nothing to read"
        else:
            return None
        return InputError(said)

    def _repeats(self, n: int, line: int, uid: str, before: tuple[int, int]) -> InputError:
        file, other = before
        records = self._opened(n)
        there = f"{records.unit} {other}" + (f" of {self.files[file].name}" if file != n else "")
        fault = f"{shown(uid)} is in {there} already; remove or rename one"
        return InputError(f"{records.at(line, self.schema.uid)}: {fault}")

    def _opened(self, n: int) -> Records:
        """A file, its headings read; how it is read is noted."""
        if n not in self._open:
            self._open.clear()  # of a folder of many files one is open
            path = self.files[n]
            wanted, how = _columns(self.schema), self.how.get(n)
            records = open_records(path, wanted, further="ignore", lenient=True, how=how)
            self._open[n] = records
            if records.how:
                self.how[n] = records.how
            further = (
                [f"further columns are not read: {', '.join(records.further)}"] if records.further else []
            )
            for remark in (*records.remarks, *further):
                self._told.setdefault(remark, {})[path.name] = None
        return self._open[n]

    @property
    def notes(self) -> list[str]:
        """How the files are read, where that is not the rule; a line each."""
        return [f"{_listed(list(names))}: {remark}" for remark, names in self._told.items()]


def tables_in(path: Path, schema: Schema) -> tuple[Path, ...]:
    """The file, or the tables of a folder in the order of their names.

    Raises:
        InputError: there is no such file, or no table in the folder.
    """
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.lower().endswith(ENDINGS))
        found = [file for file in found if file.is_file() and not file.name.startswith(".")]
        if not found:
            raise InputError(f"{path}: no table in it; its files end in {', '.join(ENDINGS)}")
        return tuple(found)
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a CSV file with {', '.join(_columns(schema))}")
    return (path,)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def mend(text: str) -> str:
    """The text with NUL characters as spaces and halves of surrogate pairs as U+FFFD; else as it is."""
    text = text.replace("\0", " ")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves that stand together are one character after all, as UTF-16 joins them.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def blank(texts: pd.DataFrame) -> pd.Series:
    """Whether all narratives of a case are empty or blanks: no model can read such a case."""
    return ~texts.apply(lambda column: column.str.strip().astype(bool)).any(axis=1)


def _columns(schema: Schema) -> list[str]:
    return [schema.uid, *(t.heading for t in schema.text)]


def _hash(uid: str) -> int:
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "little")
