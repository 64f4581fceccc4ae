"""Narratives that come in to be coded: one CSV file of any length.

The file is read twice. `check` goes through all of it, so that a fault in the last line
is found before the first model is loaded; `chunks` then gives the cases piece by piece.
Between the two, eight bytes a case are remembered, no text.

What no CSV file should hold, and some do, is made harmless in the narratives: NUL
characters are read as spaces, halves of surrogate pairs as U+FFFD. A uid is never changed.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.csv_sheets import Record, open_records, shown
from narrutils.data.schema import Schema
from narrutils.errors import InputError


@dataclass(frozen=True)
class Incoming:
    """A checked file of cases without labels.

    Attributes:
        rows: how many cases it holds.
        mended: how many narratives held NUL characters or surrogates.
    """

    path: Path
    schema: Schema
    rows: int
    mended: int

    @classmethod
    def check(cls, path: str | Path, schema: Schema) -> "Incoming":
        """Read a file to its end and hold nothing of it.

        Raises:
            InputError: there is no such file, it is not UTF-8 CSV or has no rows, a column is
                missing, unknown or repeated, or a uid is empty, repeated or broken; the line
                names file, line and column, and quotes no text.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; name a CSV file with {', '.join(_columns(schema))}")
        header, records = open_records(path, _columns(schema), lenient=True)
        place = header.index(schema.uid)
        hashes, mended = array("Q"), 0
        for line, record in records:
            uid = record.pop(place)
            _check_uid(uid, f"{path}: line {line}, column {schema.uid}")
            hashes.append(_hash(uid))
            mended += sum(mend(text) != text for text in record)
        if not hashes:
            raise InputError(f"{path}: no rows under the header; add the cases")
        cls._check_distinct(path, schema, np.frombuffer(hashes, dtype=np.uint64))
        return cls(path, schema, len(hashes), mended)

    def chunks(self, size: int) -> Iterator[pd.DataFrame]:
        """The cases in file order, at most `size` at a time: the text columns, indexed by uid."""
        header, records = open_records(self.path, _columns(self.schema), lenient=True)
        while part := list(islice(records, size)):
            yield self._table(header, part)

    def _table(self, header: list[str], records: list[Record]) -> pd.DataFrame:
        columns = dict(zip(header, zip(*(record for _, record in records))))
        index = pd.Index(columns[self.schema.uid], name="uid", dtype=str)
        texts = {name: [mend(text) for text in columns[name]] for name in self.schema.text_columns}
        return pd.DataFrame(texts, index=index, dtype=str)

    @staticmethod
    def _check_distinct(path: Path, schema: Schema, hashes: np.ndarray) -> None:
        """Only where two hashes are the same are the uids themselves compared."""
        ordered = np.sort(hashes)
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not suspects:
            return
        header, records = open_records(path, _columns(schema), lenient=True)
        place, first = header.index(schema.uid), {}
        for line, record in records:
            uid = record[place]
            if _hash(uid) in suspects and first.setdefault(uid, line) != line:
                where = f"{path}: line {line}, column {schema.uid}"
                raise InputError(
                    f"{where}: {shown(uid)} is in line {first[uid]} already; remove or rename one"
                )


def mend(text: str) -> str:
    """The text with NUL characters as spaces and halves of surrogate pairs as U+FFFD; else as it is."""
    text = text.replace("\0", " ")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves that stand together are one character after all, as UTF-16 joins them.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _columns(schema: Schema) -> list[str]:
    return [schema.uid, *schema.text_columns]


def _check_uid(uid: str, where: str) -> None:
    if not uid.strip():
        raise InputError(f"{where}: the uid is empty; every case needs one")
    if mend(uid) != uid:
        raise InputError(f"{where}: the uid holds a NUL or a broken character; mend it")


def _hash(uid: str) -> int:
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "little")
