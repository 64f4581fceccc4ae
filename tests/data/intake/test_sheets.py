"""Tables of every kind hold the same cells; columns that nobody named are passed over, or told."""

import gzip
import zipfile
from datetime import date, datetime

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrutils.data.intake.sheets import open_records, read_sheet
from narrutils.errors import InputError

COLUMNS = ["uid", "First", "Second"]
ROWS = [["007", "fell, “twice”", "two\nlines"], ["8", "", "NA"], ["c", "1e5", ""]]
SECRET = "the dog at dawn"


def written(folder, text: str, name="new.csv"):
    folder.joinpath(name).write_text(text, encoding="utf-8", newline="")
    return folder / name


def workbook(folder, rows, name="new.xlsx", sheets=1):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for n in range(1, sheets):
        book.create_sheet(f"more {n}")
    book.save(folder / name)
    return folder / name


def rewritten(folder, change, name="new.xlsx"):
    """A workbook of `ROWS` whose sheet is what `change` makes of its bytes."""
    with (
        zipfile.ZipFile(workbook(folder, [COLUMNS, *ROWS], "sound.xlsx")) as sound,
        zipfile.ZipFile(folder / name, "w") as new,
    ):
        for part in sound.namelist():
            content = sound.read(part)
            new.writestr(part, change(content) if "sheet1" in part else content)
    return folder / name


def parquet(folder, columns, name="new.parquet", **more):
    pq.write_table(pa.table(columns), folder / name, **more)
    return folder / name


def frame():
    return pd.DataFrame(ROWS, columns=COLUMNS)


def cells(path, **more):
    return [row for _, row in open_records(path, COLUMNS, **more).rows]


def test_every_kind_holds_the_same_cells(tmp_path):
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame().to_csv(tmp_path / "a.csv.gz", index=False)
    frame().to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame().to_parquet(tmp_path / "a.parquet", row_group_size=2)
    frame().to_excel(tmp_path / "a.xlsx", index=False)
    for path in tmp_path.iterdir():
        assert cells(path) == ROWS, path.name
        assert open_records(path, COLUMNS).remarks == []


def test_the_content_tells_the_kind_whatever_the_name(tmp_path):
    frame().to_excel(tmp_path / "a.xlsx", index=False)
    frame().to_parquet(tmp_path / "a.parquet")
    for name in ("a.xlsx", "a.parquet"):
        assert cells(tmp_path.joinpath(name).rename(tmp_path / "a.csv")) == ROWS


def test_values_of_a_sheet_are_written_as_a_csv_file_would_have_them(tmp_path):
    values = [7, 7.0, 0.5, True, date(2020, 1, 2), datetime(2020, 1, 2, 3, 4), "0007", "a_x000D_\nb", None]
    path = workbook(tmp_path, [COLUMNS, *([f"u{n}", value, "x"] for n, value in enumerate(values))])
    right = ["7", "7", "0.5", "TRUE", "2020-01-02", "2020-01-02T03:04:00", "0007", "a\r\nb", ""]
    assert [row[1] for row in cells(path)] == right


def test_values_of_parquet_too(tmp_path):
    values = {
        "uid": pa.array([7, 8]),
        "First": pa.array([7.0, None]),
        "Second": pa.array(["a", "b"]).dictionary_encode(),
        "vector": pa.array([[1.0], [2.0]]),
        "__index_level_0__": pa.array([4, 5]),
    }
    records = open_records(parquet(tmp_path, values), COLUMNS, further="ignore")
    assert records.further == ["vector"]
    assert list(records.rows) == [(1, ["7", "7", "a"]), (2, ["8", "", "b"])]
    assert (
        cells(parquet(tmp_path, values | {"First": pa.array([True, False])}), further="ignore")[0][1]
        == "TRUE"
    )
    with pytest.raises(InputError, match="column Second holds neither text nor numbers"):
        cells(parquet(tmp_path, values | {"Second": values["vector"]}), further="ignore")


def test_the_first_of_several_sheets_is_read_and_that_is_said(tmp_path):
    records = open_records(workbook(tmp_path, [COLUMNS, *ROWS], sheets=3), COLUMNS)
    assert records.remarks == ["the first of 3 sheets is read"]
    assert len(list(records.rows)) == 3


def test_formulas_without_a_result_are_refused(tmp_path):
    path = workbook(tmp_path, [COLUMNS, ["a", "=1+1", "x"]])
    with pytest.raises(InputError, match="formulas without a result"):
        cells(path)


def test_rows_are_named_as_a_spreadsheet_numbers_them(tmp_path):
    path = workbook(tmp_path, [[], COLUMNS, ["a", "x", "y"], [None] * 3, ["a", "z", "z"]])
    with pytest.raises(InputError, match=r"new.xlsx: row 5, column uid: a is in row 3 already"):
        read_sheet(path, COLUMNS, "uid")


DAMAGED = {"new.xlsx": "not an Excel file, or damaged", "new.parquet": "not a Parquet file, or damaged"}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("keep", [0, 3, 40, 0.5, -1])
def test_a_damaged_file_is_one_line(tmp_path, name, keep):
    path = tmp_path / name
    long = pd.concat([frame()] * 50)
    long.to_excel(path, index=False) if name.endswith("xlsx") else long.to_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)] if isinstance(keep, float) else whole[:keep])
    with pytest.raises(InputError) as caught:
        cells(path)
    assert f"{name}: {DAMAGED[name]}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sheet_that_says_too_little_of_its_size_is_read_whole(tmp_path):
    path = rewritten(tmp_path, lambda part: part.replace(b'ref="A1:C4"', b'ref="A1:A2"'))
    assert cells(path) == ROWS


def test_a_broken_part_of_a_sheet_is_one_line(tmp_path):
    path = rewritten(tmp_path, lambda part: part[: len(part) // 2])
    with pytest.raises(InputError, match="not an Excel file, or damaged"):
        cells(path)


def test_an_old_excel_file_is_told_how_to_be_saved(tmp_path):
    tmp_path.joinpath("new.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500)
    with pytest.raises(InputError, match=r"save it as .xlsx, without a password"):
        cells(tmp_path / "new.xls")


TRAILING = [
    "uid,First,Second,,\na,x,y,,\n,,,,\nb,z,,,\n,,,,\n\n",
    "uid,First,Second,,\na,x,y\nb,z,,,\n",
    "\n,,\nuid,First,Second\na,x,y\n , ,\nb,z,\n",
]


@pytest.mark.parametrize("text", TRAILING)
def test_empty_columns_and_rows_are_passed_over(tmp_path, text):
    records = open_records(written(tmp_path, text), COLUMNS)
    assert [row for _, row in records.rows] == [["a", "x", "y"], ["b", "z", ""]]
    assert records.remarks == records.further == []


@pytest.mark.parametrize("first", ["", "Unnamed: 0", " "])
def test_an_index_is_passed_over_and_that_is_said(tmp_path, first):
    path = written(tmp_path, f"{first},uid,First,Second\n0,a,x,y\n1.0,b,z,\n")
    records = open_records(path, COLUMNS)
    assert [row for _, row in records.rows] == [["a", "x", "y"], ["b", "z", ""]]
    assert records.remarks == ["column 1, an index without a name, is passed over"]


def test_further_columns_are_refused_ignored_or_kept(tmp_path):
    path = written(tmp_path, "Site,uid,x y,First,Second\nA,a,1,x,y\n")
    ignored = open_records(path, COLUMNS, further="ignore")
    assert ignored.further == ["Site", "3"]  # a heading with a blank by its number
    assert ignored.header == COLUMNS
    assert list(ignored.rows) == [(2, ["a", "x", "y"])]
    kept = open_records(path, COLUMNS, further="keep")
    assert kept.header == ["Site", "uid", "x y", "First", "Second"]
    assert list(kept.rows) == [(2, ["A", "a", "1", "x", "y"])]
    optional = open_records(path, COLUMNS, optional=["Site", "Town"], further="ignore")
    assert (optional.header, optional.further) == (["Site", *COLUMNS], ["3"])
    with pytest.raises(InputError, match="line 1: unknown column Site; remove it"):
        open_records(path, COLUMNS)


FAULTS = {
    "capitals": ("UID,First,Second\na,x,y\n", ["line 1", "unknown column UID", "did you mean uid?"]),
    "a blank in a name": (f"uid,First,{SECRET},Second\na,x,y,z\n", ["line 1: unknown column 3;"]),
    "an index that is none": (
        f",uid,First,Second\n{SECRET},a,x,y\n",
        ["line 2, column 1", "no name in line 1", "name or remove it"],
    ),
    "uids without a name": (",First,Second\na,x,y\n", ["column uid is missing; column 1 has no name"]),
    "a nameless column": (f"uid,First,,Second\na,x,{SECRET},y\n", ["line 2, column 3", "no name in line 1"]),
    "text beside the columns": (
        f"uid,First,Second,\na,x,y,{SECRET}\n",
        ["line 2, column 4: the column has no name; name or remove it", "commas", "must be quoted"],
    ),
    "a comma in a text": (f"uid,First,Second\na,{SECRET}, alone,y\n", ["4 fields", "3", "must be quoted"]),
    "a comma before an empty text": (
        f"uid,First,Second\na,{SECRET}, alone,\n",
        ["4 fields where the header has 3", "end with the same number of commas, the header too"],
    ),
    "semicolons above commas": (
        "uid;First;Second\na,x,y\n",
        ["1 fields where the header has 3", "semicolons"],
    ),
    "a row cut short": (f"uid,First,Second\na,{SECRET}\n", ["line 2 has 2 fields where the header has 3"]),
    "a column twice": ("uid,First,First,Second\na,x,y,z\n", ["column First stands twice"]),
    "nothing but separators": (",,\n,,\n", ["the file is empty"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_its_place_and_quotes_nothing(tmp_path, fault):
    text, said = FAULTS[fault]
    with pytest.raises(InputError) as caught:
        read_sheet(written(tmp_path, text), COLUMNS, "uid")
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    for part in ["new.csv", *said]:
        assert part in message


def test_text_beside_the_columns_of_a_sheet_is_told_by_its_column(tmp_path):
    path = workbook(tmp_path, [COLUMNS, ["a", "x", "y", None, SECRET]])
    with pytest.raises(InputError, match="row 2, column 5: the column has no name; name or remove it$"):
        cells(path)


def test_nul_is_refused_in_every_kind_and_kept_where_it_is_mended(tmp_path):
    paths = [
        written(tmp_path, "uid,First,Second\na,x\0,y\n"),
        parquet(tmp_path, {"uid": ["a"], "First": ["x\0"], "Second": ["y"]}),
    ]
    tmp_path.joinpath("new.csv.gz").write_bytes(gzip.compress(paths[0].read_bytes()))
    for path in [*paths, tmp_path / "new.csv.gz"]:
        with pytest.raises(InputError, match="holds NUL characters"):
            cells(path)
        assert cells(path, lenient=True) == [["a", "x\0", "y"]]
