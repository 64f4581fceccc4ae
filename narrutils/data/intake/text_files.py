"""Text files of cells, packed or not: encoding and separator found, the line of every record kept.

The encoding is told by all bytes, the separator by the headings that are wanted. A cell's
text is never repeated in an error: what stands in a broken file may be narrative.
"""

import codecs
import csv
import gzip
import io
import re
import string
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from narrutils.errors import InputError

#: Characters of one cell. An open quote swallows the rest of its file, however large, up to here.
LONGEST = 20_000_000
BLOCK = 2**16  # bytes of a file that are looked at together

GZIP = b"\x1f\x8b"
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BLANK = "".join(SEPARATORS) + string.whitespace
#: The line by which Excel tells itself the separator.
EXCEL_SEPARATOR = re.compile(r'"?sep=."?\s*')
#: What no text in cp1252 holds.
NOT_WESTERN = re.compile(
    rb"[\x81\x8d\x8f\x90\x9d]"  # bytes that are no character
    rb"|[\xc0-\xff]{4}"  # words of another script
    rb"|[a-z\xc0-\xff][\x82\x84\x86-\x8b\x8e\x98\x9b\x9f\xa1-\xa3\xa5\xa8-\xaa\xae\xaf\xb1-\xb3\xb9\xba\xbc-\xbf"
    rb"\xec\xf9][a-z\xc0-\xff]"  # amid a word, letters of other code pages
    rb"|[\xc2\xc3][\x80-\xbf]|\xe2[\x80-\xbf]{2}|\xed[\xa0-\xbf][\x80-\xbf]|\xf0\x9f"  # UTF-8 among it
    rb"|([\xc2-\xdf][\x80-\xbf]){2}|([\xe0-\xef][\x80-\xbf]{2}){2}"
)

Record = tuple[int, list[str]]  # the line or row where it begins, and its cells


@dataclass(frozen=True)
class Text:
    """The records of a text file, the headings among them.

    Attributes:
        separators: what stands between cells, in words.
        remarks: what was found and is not the rule.
    """

    records: Iterator[Record]
    separators: str
    remarks: list[str]


def open_text(path: Path, wanted: list[str], lenient: bool = False) -> Text:
    """The records of a text file; see `formats.open_table`.

    Raises:
        InputError: at once for its bytes; for a record when it is reached.
    """
    encoding = encoding_of(path, lenient)
    lines, begin, first = _lines(path, encoding, lenient), 1, ""
    for begin, first in enumerate(lines, 1):  # noqa: B007
        if first.strip(BLANK) and not EXCEL_SEPARATOR.fullmatch(first):
            break
    separator = _separator(first, wanted)
    usual = "\t" if ".tsv" in path.suffixes else ","
    read_as = {"utf-8": "", "cp1252": "cp1252 (Western European)"}.get(encoding, "UTF-16")
    remarks = [f"read as {read_as}"] if read_as else []
    remarks += [f"columns are separated by {SEPARATORS[separator]}"] if separator != usual else []
    return Text(_records(path, chain([first], lines), separator, begin), SEPARATORS[separator], remarks)


def _separator(line: str, wanted: list[str]) -> str:
    """The separator by which a line of headings has most of those that are wanted; of equals the first."""
    csv.field_size_limit(LONGEST)
    sought = {name.casefold() for name in wanted}

    def found(separator: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            return 0, 0
        return sum(cell.strip().casefold() in sought for cell in cells), len(cells)

    return max(SEPARATORS, key=found)


def _records(path: Path, lines: Iterable[str], separator: str, begin: int) -> Iterator[Record]:
    """Every record with the line where it begins, the first of them in line `begin`."""
    before, reader = begin - 1, csv.reader(lines, delimiter=separator, strict=True)
    try:
        for record in reader:
            yield begin, record
            begin = before + reader.line_num + 1
    except csv.Error as error:
        fault = f"the record that begins in line {begin} is not valid CSV ({error})"
        raise InputError(f"{path}: {fault}; mend its quotes") from None


def _lines(path: Path, encoding: str, lenient: bool) -> Iterator[str]:
    """The lines of a text, ends included; a lone carriage return ends a line too."""
    errors = "surrogatepass" if lenient and encoding != "cp1252" else "strict"
    with io.TextIOWrapper(_opened(path), encoding, errors, newline="") as file:
        for n, line in enumerate(file, 1):
            if "\0" in line and not lenient:
                raise InputError(f"{path}: line {n} holds NUL characters; save the file as UTF-8")
            yield line.removeprefix("\ufeff") if n == 1 else line


def encoding_of(path: Path, lenient: bool = False) -> str:
    """`utf-8`, `utf-16-le`, `utf-16-be` or `cp1252`: what all bytes of a text are.

    Raises:
        InputError: they are none of these, or of several.
    """
    with _opened(path) as file:
        begin = _block(path, file)[:4]
    marked = next((name for mark, name in MARKS.items() if begin.startswith(mark)), None)
    if not marked and 0 in begin[:2] and len(begin) > 1:
        marked = "utf-16-be" if begin[0] == 0 else "utf-16-le"
    line = _misfit(path, marked or "utf-8", "surrogatepass" if lenient else "strict")
    if not line:
        return marked or "utf-8"
    if marked:
        raise InputError(f"{path}: line {line} is not {marked[:6].upper()}; save the file as UTF-8")
    with _opened(path) as file:
        for n, raw in enumerate(file, 1):
            if not raw.isascii() and (found := NOT_WESTERN.search(raw)):
                other = n + raw.count(b"\r", 0, found.start())
                fault = f"line {line} is not UTF-8, line {other} not cp1252"
                raise InputError(f"{path}: {fault}; save the file as UTF-8")
    return "cp1252"


def _misfit(path: Path, encoding: str, errors: str) -> int:
    """The first line whose bytes are not of an encoding; 0 if there is none."""
    inner = codecs.getincrementaldecoder(encoding)(errors)
    decoder, line = io.IncrementalNewlineDecoder(inner, translate=True), 1
    with _opened(path) as file:
        while True:
            block = _block(path, file)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                sound = error.object[: error.start].decode(encoding, errors)
                return line + sound.replace("\r\n", "\n").replace("\r", "\n").count("\n")
            if not block:
                return 0


def _block(path: Path, file) -> bytes:
    """The next piece of a file that may be packed; all of them are read before any is trusted."""
    try:
        return file.read(BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path}: the packed file is damaged; pack it again") from None


def _opened(path: Path):
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path) if packed else path.open("rb")
