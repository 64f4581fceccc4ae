"""A text file is read as it was meant, or refused in one line: encodings, ends of lines, separators."""

import gzip
import io

import pytest

from narrutils.data.intake import text_files
from narrutils.data.intake.text_files import encoding_of, open_text
from narrutils.errors import InputError

COLUMNS = ["uid", "First", "Second"]
ROWS = [COLUMNS, ["007", "fell — “café”, 5 €", 'two\nlines "quoted"'], ["b", "", "naïve; a|b"]]
SECRET = "the dog at dawn"


def as_text(rows, separator=",", end="\n"):
    cells = lambda row: separator.join('"' + cell.replace('"', '""') + '"' for cell in row)  # noqa: E731
    return "".join(cells(row) + end for row in rows)


def written(folder, content: bytes, name="new.csv"):
    folder.joinpath(name).write_bytes(content)
    return folder / name


def found(path):
    return list(open_text(path, COLUMNS).read())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", text_files.SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_rows_and_lines_are_the_same_however_they_are_written(tmp_path, encoding, separator, end):
    path = written(tmp_path, as_text(ROWS, separator, end).encode(encoding))
    assert found(path) == list(zip([1, 2, 4], ROWS))


def test_what_is_not_the_rule_is_said(tmp_path):
    said = lambda text, encoding, name="x.csv": (  # noqa: E731
        open_text(written(tmp_path, text.encode(encoding), name), COLUMNS).remarks
    )
    assert said(as_text(ROWS), "utf-8-sig") == []
    assert said(as_text(ROWS, "\t"), "utf-8", "x.tsv") == []
    assert said(as_text(ROWS, ";"), "cp1252") == [
        "read as cp1252 (Western European)",
        "columns are separated by semicolons",
    ]
    assert said(as_text(ROWS), "utf-16", "x.tsv") == ["read as UTF-16", "columns are separated by commas"]


def test_a_packed_file_is_the_file(tmp_path):
    packed = gzip.compress(as_text(ROWS, ";").encode("cp1252"))
    assert found(written(tmp_path, packed, "new.csv.gz")) == list(zip([1, 2, 4], ROWS))
    assert found(written(tmp_path, packed, "misnamed.csv")) == list(zip([1, 2, 4], ROWS))
    for damaged in (packed[:-9], packed[:20] + b"\0\0\0\0" + packed[24:]):
        with pytest.raises(InputError, match="the packed file is damaged"):
            found(written(tmp_path, damaged, "new.csv.gz"))


def test_excel_may_tell_its_separator(tmp_path):
    path = written(tmp_path, b"sep=;\r\nuid;First;Second\r\na;x,y,z;u\r\n")
    assert found(path) == [(2, COLUMNS), (3, ["a", "x,y,z", "u"])]


def test_blank_lines_before_the_header_count(tmp_path):
    assert found(written(tmp_path, b"\n,,\nuid;First;Second\na;b;c\n"))[-1] == (4, ["a", "b", "c"])


RUSSIAN, POLISH, CZECH = (
    "пациент упал дома",
    "chłopiec spadł, bolała go ręka",
    "spadl ze schodů, řekl později",
)
REFUSED = {
    "cp1251": (RUSSIAN.encode("cp1251"), "line 2 is not UTF-8, line 2 not cp1252"),
    "cp1250, Polish": (POLISH.encode("cp1250"), "line 2 not cp1252"),
    "cp1250, letters side by side": ("zażółć".encode("cp1250"), "line 2 not cp1252"),
    "cp1250, Czech": (CZECH.encode("cp1250"), "line 2 not cp1252"),
    "cp850": ("école, blessé très fort".encode("cp850"), "line 2 not cp1252"),
    "mac_roman": ("garçon, l'école, blessé".encode("mac_roman"), "line 2 not cp1252"),
    "shift_jis": ("患者は階段で転んだ".encode("shift_jis"), "not cp1252"),
    "a byte that is no character": (b"caf\xe9\nb,\x81,x", "line 2 is not UTF-8, line 3 not cp1252"),
    "two encodings": (b"caf\xe9\nb," + "café".encode() + b",x", "line 2 is not UTF-8, line 3 not cp1252"),
    "a broken character": ("café, 5 €".encode()[:-1], "line 2 is not UTF-8"),
    "a broken character among Russian": (RUSSIAN.encode()[:-1], "line 2 is not UTF-8"),
    "a broken emoji": ("😀😀".encode()[:-1], "line 2 is not UTF-8"),
    "half a surrogate pair": (b"\xed\xa0\xbd", "line 2 is not UTF-8"),
    "NUL": (b"a\0b", "line 2 holds NUL"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_bytes_are_refused_by_their_line(tmp_path, name):
    content, said = REFUSED[name]
    with pytest.raises(InputError) as caught:
        found(written(tmp_path, f"uid,First,Second\na,{SECRET},".encode() + content + b"\n"))
    message = str(caught.value)
    assert said in message
    assert "new.csv" in message
    assert "save the file as UTF-8" in message
    assert "\n" not in message
    assert SECRET not in message


WESTERN = {
    "German": "„Spaß“ und Größe, Übung",
    "French": "« C’est passé… » à l’école, où l’œil",
    "capitals": "CAFÉ’S, ÎLE, ÉLÈVE",
    "Spanish": "¿dónde? El niño cayó; señaló",
    "Danish": "på gården, rød og blå",
    "Italian": "lunedì più in là",
    "Catalan": "col·lecció",
    "signs": "5 m³ at 20 °C, ½ × £3",
}


@pytest.mark.parametrize("name", WESTERN)
def test_western_texts_are_known_as_such(tmp_path, name):
    path = written(tmp_path, as_text([COLUMNS, ["a", WESTERN[name], "x"]]).encode("cp1252"))
    assert found(path)[1][1][1] == WESTERN[name]


@pytest.mark.parametrize("size", [4, 5, 7])
def test_the_pieces_that_are_looked_at_change_nothing(tmp_path, monkeypatch, size):
    monkeypatch.setattr(text_files, "BLOCK", size)
    for encoding in ("utf-8", "utf-16-le", "cp1252"):
        path = written(tmp_path, as_text(ROWS, end="\r\n").encode(encoding))
        assert encoding_of(path) == encoding
    broken = written(tmp_path, "uid\r\né\r\n".encode() + b"\xff\xff")
    with pytest.raises(InputError, match="line 3 is not UTF-8"):
        encoding_of(broken)


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_cut_character_at_the_end_is_named(tmp_path, cut):
    for encoding, name in (("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16")):
        path = written(tmp_path, f"uid,First,Second\na,{SECRET},😀".encode(encoding)[:-cut])
        with pytest.raises(InputError, match=f"line 2 is not {name}; save the file as UTF-8"):
            found(path)


def test_lenient_reading_keeps_halves_of_surrogate_pairs(tmp_path):
    for encoding in ("utf-8", "utf-16-le"):
        path = written(tmp_path, "uid,First,Second\na,\ud83d,\0\n".encode(encoding, "surrogatepass"))
        assert list(open_text(path, COLUMNS, lenient=True).read())[1][1] == ["a", "\ud83d", "\0"]


def test_a_file_is_read_line_by_line(tmp_path, monkeypatch):
    """What is held of a packed file of any length is little."""
    path = written(tmp_path, gzip.compress(b"uid,First,Second\n" + b"a,b,c\n" * 100_000), "new.csv.gz")
    records = iter(open_text(path, COLUMNS).read())
    read = []
    inner = gzip.GzipFile.read1
    monkeypatch.setattr(gzip.GzipFile, "read1", lambda self, n: read.append(n) or inner(self, n))
    assert [next(records) for _ in range(3)][-1] == (3, ["a", "b", "c"])
    assert sum(read) <= 4 * io.DEFAULT_BUFFER_SIZE
