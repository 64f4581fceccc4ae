"""One CSV file as text, its columns and uids checked, with the line of every record.

A line is counted as a text editor does; a record with newlines inside quotes is
named by its first line. A cell's text is never repeated in an error: what stands in
a broken file may be narrative.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from narrutils.errors import InputError, did_you_mean

#: Characters of one cell. An open quote swallows the rest of its file, however large, up to here.
LONGEST = 20_000_000

Record = tuple[int, list[str]]  # the line where it begins, and its cells


@dataclass
class Sheet:
    """One CSV file as text: `rows` as long as `header`, and the line where each begins."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    uids: dict[str, int] = field(default_factory=dict)  # uid -> row

    def column(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def where(self, uid: str) -> str:
        return f"{self.path}: line {self.lines[self.uids[uid]]}"


def read_sheet(path: Path, columns: list[str], uid: str) -> Sheet:
    """A CSV file with exactly `columns`, in any order, and a distinct uid in every row.

    Raises:
        InputError: the file is not UTF-8 CSV, has no rows, lacks a column, has another
            or the same twice, or a uid is empty or repeated.
    """
    header, found = open_records(path, columns)
    records = list(found)
    if not records:
        raise InputError(f"{path}: no rows under the header; add the cases")
    sheet = Sheet(path, header, [record for _, record in records], [line for line, _ in records])
    _note_uids(sheet, uid)
    return sheet


def _note_uids(sheet: Sheet, uid: str) -> None:
    for n, value in enumerate(sheet.column(uid)):
        where = f"{sheet.path}: line {sheet.lines[n]}, column {uid}"
        if not value.strip():
            raise InputError(f"{where}: the uid is empty; every case needs one")
        if value in sheet.uids:
            first = sheet.lines[sheet.uids[value]]
            raise InputError(f"{where}: {shown(value)} is in line {first} already; remove or rename one")
        sheet.uids[value] = n


def open_records(
    path: Path, columns: list[str], lenient: bool = False, optional: Sequence[str] = ()
) -> tuple[list[str], Iterator[Record]]:
    """The checked header of a CSV file, and its records, read as they are asked for.

    Args:
        columns: what the header holds, in any order, and nothing else.
        lenient: NUL characters and surrogates stay in the cells; otherwise they are errors.
        optional: what it may hold besides.

    Raises:
        InputError: at once for the header; for a record when it is reached.
    """
    records = _records(path, lenient)
    first = next(records, None)
    if first is None:
        raise InputError(f"{path}: the file is empty; it needs a header and the cases")
    header = [name.strip() for name in first[1]]
    _check_header(f"{path}: line 1", header, [*columns, *(name for name in optional if name in header)])
    return header, records


def _records(path: Path, lenient: bool) -> Iterator[Record]:
    """Every record, as wide as the first, with the line where it begins; blank lines are passed over."""
    csv.field_size_limit(LONGEST)
    reader, begin, width = csv.reader(_lines(path, lenient), strict=True), 1, 0
    try:
        for record in reader:
            width = width or len(record)
            if record and len(record) != width:
                raise InputError(
                    f"{path}: line {begin} has {len(record)} fields where the header has {width}; "
                    "a text with commas or quotes must be quoted"
                )
            if record:
                yield begin, record
            begin = reader.line_num + 1
    except csv.Error as error:
        fault = f"the record that begins in line {begin} is not valid CSV ({error})"
        raise InputError(f"{path}: {fault}; mend its quotes") from None


def _lines(path: Path, lenient: bool) -> Iterator[str]:
    """The lines of a UTF-8 file, ends included, decoded one by one: no character crosses a line's end."""
    errors = "surrogatepass" if lenient else "strict"
    with path.open("rb") as file:
        for n, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if n == 1 else "utf-8", errors)
            except UnicodeDecodeError:
                raise InputError(f"{path}: line {n} is not UTF-8; save the file as UTF-8") from None
            if "\0" in text and not lenient:
                raise InputError(f"{path}: line {n} holds NUL characters; save the file as UTF-8")
            yield from io.StringIO(text, newline="")  # a lone carriage return ends a line too


def _check_header(where: str, header: list[str], columns: list[str]) -> None:
    if len(header) == 1 and len(columns) > 1 and re.search(r"[;\t|]", header[0]):
        raise InputError(f"{where}: the columns are not separated by commas; save the file with commas")
    missing = [c for c in columns if c not in header]
    for name in header:
        if name not in columns:
            mend = did_you_mean(name, missing or columns, "remove it, or name it in the schema")
            raise InputError(f"{where}: unknown column {shown(name)}; {mend}")
    if missing:
        raise InputError(f"{where}: column {missing[0]} is missing; the columns are {', '.join(columns)}")
    repeated = [c for c in columns if header.count(c) > 1]
    if repeated:
        raise InputError(f"{where}: column {repeated[0]} stands twice; remove one")


def shown(value: str) -> str:
    """A name or uid as it stands, unless it could be a piece of narrative."""
    return value if re.fullmatch(r"[\w.:/-]{1,40}", value) else "(not shown)"
