"""Text files of cells, packed or not: encoding and separator found, the line of every record kept.

The encoding is told by all bytes, the separator by the headings that are wanted. Reading may
begin at any record whose place is known. A cell's text is never repeated in an error: what
stands in a broken file may be narrative.
"""

import codecs
import csv
import gzip
import io
import re
import string
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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

#: The line or row where it begins, and its cells, or what is wrong with it.
Record = tuple[int, list[str] | InputError]
Place = int | tuple[int, int]  # where a record begins, as its file counts; JSON-able


@dataclass
class Reading:
    """The records of a table, read as they are asked for; `place` tells where the next one begins."""

    records: Iterator[Record]
    place: Callable[[], Place]

    def __iter__(self) -> Iterator[Record]:
        return self.records


@dataclass(frozen=True)
class Text:
    """A text file of cells.

    Attributes:
        start: place of the headings.
        separator: what stands between cells, and `separators` in words.
        lenient: whether NUL characters and surrogates stay in the cells.
        remarks: what was found and is not the rule.
    """

    path: Path
    encoding: str
    start: tuple[int, int]
    separator: str
    lenient: bool
    remarks: list[str]

    @property
    def how(self) -> dict:
        """What was found out, in plain values; a file that is `packed` is read from its beginning."""
        told = {"encoding": self.encoding, "start": self.start, "separator": self.separator}
        return told | {"packed": _is_packed(self.path)}

    @property
    def separators(self) -> str:
        return SEPARATORS[self.separator]

    def read(self, at: Place | None = None) -> Reading:
        """The records from a place on, or from the headings.

        A record that is no valid CSV is its fault in place of its cells, if it ends where its line does:
        where it does not, nobody can tell the next one.

        Raises:
            InputError: for such a record when it is reached.
        """
        file, (begin, first) = _opened_text(self.path, self.encoding, self.lenient), at or self.start
        file.seek(begin)
        reader = csv.reader(_lines(self, file, begin, first), delimiter=self.separator, strict=True)
        return Reading(_records(self.path, reader, first), lambda: (file.tell(), first + reader.line_num))


def open_text(path: Path, wanted: list[str], lenient: bool = False, how: Mapping | None = None) -> Text:
    """A text file of cells; see `formats.open_table`.

    Args:
        how: `Text.how` of the same file, when it was opened before; without it all its bytes are read.

    Raises:
        InputError: its bytes are no text, or of two encodings.
    """
    if how:
        return Text(path, how["encoding"], tuple(how["start"]), how["separator"], lenient, [])
    encoding = encoding_of(path, lenient)
    place, line = 0, 0
    with _opened_text(path, encoding, lenient) as file:
        for words in iter(file.readline, ""):
            line += 1
            words = words.removeprefix("\ufeff") if line == 1 else words
            if words.strip(BLANK) and not EXCEL_SEPARATOR.fullmatch(words):
                break
            place = file.tell()
        else:
            words = ""
    separator = _separator(words, wanted)
    usual = "\t" if ".tsv" in path.suffixes else ","
    read_as = {"utf-8": "", "cp1252": "cp1252 (Western European)"}.get(encoding, "UTF-16")
    remarks = [f"read as {read_as}"] if read_as else []
    remarks += [f"columns are separated by {SEPARATORS[separator]}"] if separator != usual else []
    return Text(path, encoding, (place, max(line, 1)), separator, lenient, remarks)


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


def _records(path: Path, reader: Iterator[list[str]], first: int) -> Iterator[Record]:
    """Every record with the line where it begins, the first of them in line `first`."""
    while True:
        begin = first + reader.line_num
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            said = (
                f"{path}: the record that begins in line {begin} is not valid CSV ({error}); mend its quotes"
            )
            if first + reader.line_num > begin + 1:
                raise InputError(said) from None
            record = InputError(said)
        yield begin, record


def _lines(text: Text, file: io.TextIOWrapper, begin: int, first: int) -> Iterator[str]:
    """The lines of a text, ends included; a lone carriage return ends a line too."""
    for n, line in enumerate(iter(file.readline, ""), first):
        if "\0" in line and not text.lenient:
            raise InputError(f"{text.path}: line {n} holds NUL characters; save the file as UTF-8")
        yield line.removeprefix("\ufeff") if n == first and not begin else line


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


def _opened_text(path: Path, encoding: str, lenient: bool) -> io.TextIOWrapper:
    errors = "surrogatepass" if lenient and encoding != "cp1252" else "strict"
    return io.TextIOWrapper(_opened(path), encoding, errors, newline="")


def _opened(path: Path):
    return gzip.open(path) if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP
