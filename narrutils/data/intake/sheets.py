"""One table of cases, its columns and uids checked, with the line or row of every record.

A line is counted as a text editor does; a record with newlines inside quotes is named by
its first line. A heading that could be a piece of narrative is told by its number.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from narrutils.data.intake.formats import open_table
from narrutils.data.intake.text_files import Place, Reading
from narrutils.errors import InputError, did_you_mean


@dataclass
class Records:
    """A table whose headings are checked.

    Attributes:
        header: headings of the columns that are read, in the order of the file.
        further: other columns, as they are told to people.
        read: the cells of these columns from a place on (None: of all), read as they are asked for; in
            place of the cells of a faulty record, its fault.
        unit: `line` or `row`.
        remarks: how it is read, one line each.
        how: what opens it again at less cost.
    """

    path: Path
    header: list[str]
    further: list[str]
    read: Callable[[Place | None], Reading]
    unit: str
    remarks: list[str]
    how: Mapping

    @property
    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """All records.

        Raises:
            InputError: for a faulty one when it is reached.
        """
        for n, cells in self.read(None):
            if isinstance(cells, InputError):
                raise cells
            yield n, cells

    def at(self, n: int, column: str = "") -> str:
        return f"{self.path}: {self.unit} {n}{column and f', column {column}'}"


@dataclass
class Sheet:
    """A table as text: `rows` as long as `header`, and the line or row where each begins."""

    records: Records
    rows: list[list[str]]
    lines: list[int]
    uids: dict[str, int] = field(default_factory=dict)  # uid -> row

    @property
    def path(self) -> Path:
        return self.records.path

    @property
    def header(self) -> list[str]:
        return self.records.header

    def column(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def line(self, uid: str) -> str:
        return f"{self.records.unit} {self.lines[self.uids[uid]]}"

    def where(self, uid: str) -> str:
        return f"{self.path}: {self.line(uid)}"


def read_sheet(
    path: Path, columns: list[str], uid: str, optional: Sequence[str] = (), further: str = "refuse"
) -> Sheet:
    """A table with `columns`, in any order, and a distinct uid in every row; see `open_records`.

    Raises:
        InputError: the file is no such table, has no rows, lacks a column, has one twice or one
            that is refused, or a uid is empty or repeated.
    """
    records = open_records(path, columns, optional, further)
    found = list(records.rows)
    if not found:
        raise InputError(f"{path}: no rows under the header; add the cases")
    sheet = Sheet(records, [cells for _, cells in found], [line for line, _ in found])
    _note_uids(sheet, uid)
    return sheet


def _note_uids(sheet: Sheet, uid: str) -> None:
    for n, value in enumerate(sheet.column(uid)):
        where = sheet.records.at(sheet.lines[n], uid)
        if not value.strip():
            raise InputError(f"{where}: the uid is empty; every case needs one")
        if value in sheet.uids:
            fault = f"{shown(value)} is in {sheet.line(value)} already"
            raise InputError(f"{where}: {fault}; remove or rename one")
        sheet.uids[value] = n


def open_records(
    path: Path,
    columns: list[str],
    optional: Sequence[str] = (),
    further: str = "refuse",
    lenient: bool = False,
    how: Mapping | None = None,
) -> Records:
    """A table of any kind, its headings checked, and its records, read as they are asked for.

    Args:
        columns: what the header holds, in any order.
        optional: what it may hold besides.
        further: what becomes of other columns: `refuse` them, `ignore` them, or `keep` those with a name.
        lenient: NUL characters and surrogates stay in the cells; otherwise they are errors.
        how: that of the records, when the table was opened before.

    Raises:
        InputError: at once for the header; for a record when it is reached.
    """
    table = open_table(path, [*columns, *optional], lenient, how)
    if not any(table.header):
        raise InputError(f"{path}: the file is empty; it needs a header and the cases")
    where = f"{path}: {table.unit} {table.start}" if table.start else str(path)
    known = {*columns, *optional}
    others = [n for n, name in enumerate(table.header) if name and name not in known]
    _check_header(where, table.header, columns, others, further)
    places = [n for n, name in enumerate(table.header) if name in known or (further == "keep" and name)]
    header = [table.header[n] for n in places]
    repeated = next((name for name in header if header.count(name) > 1), "")
    if repeated:
        told = repeated if repeated in known else shown(repeated)
        raise InputError(f"{where}: column {told} stands twice; remove one")
    told = [_told(n, table.header[n]) for n in others]
    return Records(path, header, told, partial(table.rows, places), table.unit, table.remarks, table.how)


def _check_header(where: str, header: list[str], columns: list[str], others: list[int], further: str) -> None:
    missing = [c for c in columns if c not in header]
    for n in others if missing or further == "refuse" else []:
        mend = did_you_mean(header[n], missing, "remove it, or name it in the schema")
        if further == "refuse" or mend.startswith("did"):
            raise InputError(f"{where}: unknown column {_told(n, header[n])}; {mend}")
    if missing:
        mend = "column 1 has no name" if not header[0] else f"the columns are {', '.join(columns)}"
        raise InputError(f"{where}: column {missing[0]} is missing; {mend}")


def _told(n: int, name: str) -> str:
    """A column by its heading, or by its number if that could be a piece of narrative."""
    return name if _NAME.fullmatch(name) else str(n + 1)


#: A name or uid that is no piece of narrative.
_NAME = re.compile(r"[\w.:/-]{1,40}")


def shown(value: str) -> str:
    """A name or uid as it stands, unless it could be a piece of narrative."""
    return value if _NAME.fullmatch(value) else "(not shown)"
