"""Narratives that come in to be coded: one table of any kind and length.

The file is read twice. `check` goes through all of it, so that a fault in the last line
is found before the first model is loaded; `chunks` then gives the cases piece by piece.
Between the two, eight bytes a case are remembered, no text.

What no text should hold, and some do, is made harmless in the narratives: NUL
characters are read as spaces, halves of surrogate pairs as U+FFFD. A uid is never changed.
Columns that the schema does not name are passed over.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.intake.sheets import Records, open_records, shown
from narrutils.data.intake.text_files import Record
from narrutils.data.schema import Schema
from narrutils.errors import InputError


@dataclass(frozen=True)
class Incoming:
    """A checked file of cases without labels.

    Attributes:
        rows: how many cases it holds.
        mended: how many narratives held NUL characters or surrogates.
        notes: how the file is read, where that is not the rule; a line each.
    """

    path: Path
    schema: Schema
    rows: int
    mended: int
    notes: tuple[str, ...] = ()

    @classmethod
    def check(cls, path: str | Path, schema: Schema) -> "Incoming":
        """Read a file to its end and hold nothing of it.

        Raises:
            InputError: there is no such file, it is no table or has no rows, a column is
                missing or repeated, or a uid is empty, repeated or broken; the line
                names file, line and column, and quotes no text.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; name a CSV file with {', '.join(_columns(schema))}")
        records = _open(path, schema)
        place = records.header.index(schema.uid)
        hashes, mended = array("Q"), 0
        for line, record in records.rows:
            uid = record.pop(place)
            _check_uid(uid, records.at(line, schema.uid))
            hashes.append(_hash(uid))
            mended += sum(mend(text) != text for text in record)
        if not hashes:
            raise InputError(f"{path}: no rows under the header; add the cases")
        cls._check_distinct(path, schema, np.frombuffer(hashes, dtype=np.uint64))
        further = ", ".join(records.further)
        told = [*records.remarks, *([f"further columns are not read: {further}"] if further else [])]
        return cls(path, schema, len(hashes), mended, tuple(f"{path.name}: {remark}" for remark in told))

    def chunks(self, size: int) -> Iterator[pd.DataFrame]:
        """The cases in file order, at most `size` at a time: the text columns, indexed by uid."""
        records = _open(self.path, self.schema)
        while part := list(islice(records.rows, size)):
            yield self._table(records.header, part)

    def _table(self, header: list[str], records: list[Record]) -> pd.DataFrame:
        columns = dict(zip(header, zip(*(record for _, record in records))))
        index = pd.Index(columns[self.schema.uid], name="uid", dtype=str)
        texts = {t.name: [mend(text) for text in columns[t.heading]] for t in self.schema.text}
        return pd.DataFrame(texts, index=index, dtype=str)

    @staticmethod
    def _check_distinct(path: Path, schema: Schema, hashes: np.ndarray) -> None:
        """Only where two hashes are the same are the uids themselves compared."""
        ordered = np.sort(hashes)
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not suspects:
            return
        records = _open(path, schema)
        place, first = records.header.index(schema.uid), {}
        for line, record in records.rows:
            uid = record[place]
            if _hash(uid) in suspects and first.setdefault(uid, line) != line:
                fault = f"{shown(uid)} is in {records.unit} {first[uid]} already"
                raise InputError(f"{records.at(line, schema.uid)}: {fault}; remove or rename one")


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


def _open(path: Path, schema: Schema) -> Records:
    return open_records(path, _columns(schema), further="ignore", lenient=True)


def _check_uid(uid: str, where: str) -> None:
    if not uid.strip():
        raise InputError(f"{where}: the uid is empty; every case needs one")
    if mend(uid) != uid:
        raise InputError(f"{where}: the uid holds a NUL or a broken character; mend it")


def _hash(uid: str) -> int:
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "little")
