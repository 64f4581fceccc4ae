"""Tables as people have them, each as headings and rows of text: CSV and its kin, Parquet, Excel.

The kind is told by the content. Rows are read as they are asked for.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq

from narrutils.data.intake.text_files import BLOCK, Place, Reading, Record, open_text
from narrutils.errors import InputError

#: How names of files of cases may end.
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".xlsx")
BATCH = 256  # rows of a Parquet file that are read at once

OLD_EXCEL = b"\xd0\xcf\x11\xe0"
#: A formula of a sheet that nobody has calculated: to read it as empty would be wrong.
NO_RESULT = re.compile(
    rb'<c\b(?![^>]*t="str")[^>]*>\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)
#: What Excel writes for a character that XML does not hold, such as a carriage return.
ESCAPED = re.compile(r"_x(00(?:0[1-9A-Fa-f]|1[0-9A-Fa-f]|5[Ff]))_")
#: What numbers the rows, in a first column without a heading.
INDEX = re.compile(r"\s*\d+(\.0)?\s*")


@dataclass(frozen=True)
class Table:
    """An opened table.

    Attributes:
        header: the headings, without blanks around them; "" where a column has none.
        rows: given the places of columns, and of the first record that is wanted (None: of all), their
            cells, record by record; in place of the cells of a faulty record, its fault.
        unit: what a record is counted in: `line` of a text, `row` of another table.
        start: the line or row of the headings; 0 where they are in none.
        remarks: what was found and is not the rule.
        how: what opens it again at less cost.
    """

    header: list[str]
    rows: Callable[[list[int], Place | None], Reading]
    unit: str
    start: int
    remarks: list[str]
    how: Mapping = field(default_factory=dict)


def open_table(path: Path, wanted: list[str], lenient: bool = False, how: Mapping | None = None) -> Table:
    """A table of any kind, its headings read.

    Args:
        wanted: headings that are sought; the separator is the one by which most of them are found.
        lenient: NUL characters and surrogates stay in the cells; otherwise they are errors.
        how: that of the table, when it was opened before.

    Raises:
        InputError: at once for what is no table, or holds nothing; for a record when it is reached.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    if begin.startswith(OLD_EXCEL):
        raise InputError(f"{path}: an old or a protected Excel file; save it as .xlsx, without a password")
    if begin.startswith(b"PAR1") or path.suffix == ".parquet":
        return _parquet(path, lenient)
    if begin.startswith(b"PK\3\4") or path.suffix == ".xlsx":
        return _workbook(path)
    text = open_text(path, wanted, lenient, how)
    table = _table(path, text.read, "line", text.remarks, text.separators)
    return replace(table, how=how or text.how)


def _workbook(path: Path) -> Table:
    """The first sheet of an Excel file, as its values are shown."""
    remarks = next(_sheet(path))
    return _table(path, lambda at: _numbered(islice(_sheet(path), 1, None), at), "row", remarks)


def _sheet(path: Path) -> Iterator:
    return _sound(path, "an Excel file", _sheet_rows(path))


def _numbered(records: Iterator[Record], at: int | None) -> Reading:
    """Records that are counted one by one, from the one after number `at` on."""
    last = at or 0

    def counted() -> Iterator[Record]:
        nonlocal last
        for last, cells in records:  # noqa: B020
            if last > (at or 0):
                yield last, cells

    return Reading(counted(), lambda: last)


def _sheet_rows(path: Path) -> Iterator:
    """Remarks on the file, then each row."""
    import openpyxl

    with path.open("rb") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it leaves out of a file is nothing that is read here
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        _check_calculated(file, sheet._worksheet_path)
        yield [f"the first of {len(book.sheetnames)} sheets is read"] if len(book.sheetnames) > 1 else []
        sheet.reset_dimensions()  # which other programs write wrongly
        for n, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            yield n, [ESCAPED.sub(lambda m: chr(int(m[1], 16)), as_text(cell)) for cell in cells]


def _check_calculated(file: BinaryIO, name: str) -> None:
    with zipfile.ZipFile(file) as parts, parts.open(name) as sheet:
        rest = b""
        while block := sheet.read(BLOCK):
            if NO_RESULT.search(rest + block):
                raise InputError(f"{file.name}: formulas without a result; open and save the file in Excel")
            rest = (rest + block)[-4096:]


def _parquet(path: Path, lenient: bool) -> Table:
    def headings() -> Iterator[list[str]]:
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow.names

    def batches(columns: list[str], at: int) -> Iterator[Record]:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BLOCK) as file:  # not whole row groups
            n, groups = _groups_from(file, at)
            for batch in file.iter_batches(BATCH, row_groups=groups, columns=columns):
                if n + len(batch) > at:
                    texts = [_texts(path, name, batch.column(name).to_pylist()) for name in columns]
                    for row, cells in enumerate(zip(*texts), n + 1):
                        if not lenient and any("\0" in cell for cell in cells):
                            raise InputError(f"{path}: row {row} holds NUL characters; take them out")
                        if any(map(str.strip, cells)) or len(columns) < len(names):  # others may be filled
                            yield row, list(cells)
                n += len(batch)

    (names,) = _sound(path, "a Parquet file", headings())
    header = ["" if name.startswith("__index_level_") else name.strip() for name in names]

    def rows(places: list[int], at: int | None) -> Reading:
        return _numbered(_sound(path, "a Parquet file", batches([names[i] for i in places], at or 0)), at)

    return Table(header, rows, "row", 0, [])


def _groups_from(file: pq.ParquetFile, at: int) -> tuple[int, list[int]]:
    """The row groups that hold the rows after number `at`, and how many rows stand before them."""
    before, groups = 0, list(range(file.num_row_groups))
    while groups and before + (rows := file.metadata.row_group(groups[0]).num_rows) <= at:
        before, groups = before + rows, groups[1:]
    return before, groups


def _texts(path: Path, name: str, values: list) -> list[str]:
    try:
        return [as_text(value) for value in values]
    except TypeError:
        raise InputError(f"{path}: column {name} holds neither text nor numbers; write it as text") from None


def as_text(value: object) -> str:
    """A value as it would stand in a CSV file: nothing as "", 7.0 as 7, a date as in ISO 8601.

    Raises:
        TypeError: it is no single value.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | list | dict | tuple):
        raise TypeError(type(value).__name__)
    return str(value)


def _sound(path: Path, what: str, rows: Iterator) -> Iterator:
    """What a library reads of a file, and one line for whatever it says of a damaged one."""
    try:
        yield from rows
    except (InputError, PermissionError, MemoryError):
        raise
    except Exception as error:
        mend = "save it again, or as CSV"
        raise InputError(f"{path}: not {what}, or damaged ({type(error).__name__}); {mend}") from None


def _table(
    path: Path,
    read: Callable[[Place | None], Reading],
    unit: str,
    remarks: list[str],
    separators: str = "",
) -> Table:
    """A table of records, the first of which are the headings.

    Empty records are left out. So are columns without a heading: an index, and what is empty.

    Args:
        read: the records from a place on.
        separators: what a text's cells are separated by, in words; none of other tables, which may
            write nothing for empty cells at the end.
    """
    reading = read(None)
    start, header = next(filter(_filled, reading), (0, []))
    if isinstance(header, InputError):
        raise header
    body = reading.place()
    header, full = [name.strip() for name in header], len(header)
    while header and not header[-1]:
        header.pop()
    if header[:1] in ([""], ["Unnamed: 0"]):
        header[0] = ""
        remarks = [*remarks, "column 1, an index without a name, is passed over"]
    width, nameless = len(header), [i for i, name in enumerate(header) if not name]

    def checked(n: int, cells: list[str]) -> list[str]:
        if len(cells) != width:
            cells = _fitted(f"{path}: {unit} {n}", cells, width, full, separators)
        for i in nameless:
            if cells[i].strip() and not (i == 0 and INDEX.fullmatch(cells[i])):
                where = f"{path}: {unit} {n}, column {i + 1}"
                raise InputError(f"{where}: the column has no name in {unit} {start}; name or remove it")
        return cells

    def rows(places: list[int], at: Place | None) -> Reading:
        found, whole = read(at or body), places == list(range(width))

        def chosen() -> Iterator[Record]:
            for n, cells in filter(_filled, found):
                try:
                    cells = cells if isinstance(cells, InputError) else checked(n, cells)
                except InputError as fault:
                    last = found.place()[1] - 1 if unit == "line" else n
                    cells = InputError(f"{fault} (it ends in line {last})") if last > n else fault
                yield n, cells if whole or isinstance(cells, InputError) else [cells[i] for i in places]

        return Reading(chosen(), found.place)

    return Table(header, rows, unit, start, remarks)


def _filled(record: Record) -> bool:
    """Whether anything stands in a record, be it a fault."""
    return isinstance(record[1], InputError) or any(map(str.strip, record[1]))


def _fitted(where: str, cells: list[str], width: int, full: int, separators: str) -> list[str]:
    """The cells that have a heading, where nothing stands beside them.

    Args:
        width, full: columns with a heading, and with those at the end that have none.
    """
    over = next((n for n, cell in enumerate(cells[width:], width + 1) if cell.strip()), 0)
    mend = f"a text with {separators}, quotes or line breaks must be quoted"
    if len(cells) == full or not separators:
        if over:
            mend = f"name or remove it{separators and '; ' + mend}"
            raise InputError(f"{where}, column {over}: the column has no name; {mend}")
        return cells[:width] + [""] * (width - len(cells))
    if width < len(cells) and not over:
        mend = f"all lines must end with the same number of {separators}, the header too"
    raise InputError(f"{where} has {len(cells)} fields where the header has {full}; {mend}")
