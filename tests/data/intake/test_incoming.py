"""A file of new narratives: checked to its end first, read in pieces, odd characters made harmless."""

import csv
import gzip
import json
import random
import tracemalloc
from dataclasses import replace
from io import StringIO

import pandas as pd
import pyarrow as pa
import pytest
from deployments import TEST, features
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import TOY

from narrutils.data.intake import text_files
from narrutils.data.intake.incoming import Incoming, blank, mend
from narrutils.errors import InputError

SECRET = "V was found"


def written(folder, text: str | bytes):
    path = folder / "new.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def parts(incoming):
    return [incoming.part(n) for n in range(len(incoming.places))]


def test_parts_are_the_file(tmp_path):
    incoming = Incoming.check(features(tmp_path, TEST), TOY, 4)
    assert (incoming.rows, incoming.mended) == (15, 0)
    pieces = parts(incoming)
    assert [len(piece) for piece in pieces] == [4, 4, 4, 3]
    pd.testing.assert_frame_equal(pd.concat(pieces), TEST, check_dtype=False, check_index_type=False)


def test_columns_may_stand_in_any_order_and_texts_may_hold_anything(tmp_path):
    path = written(tmp_path, '\ufeffSecond,uid,First\r\n"a ""quoted"",\r\nline",=1+1,\r\nNA,007,null\r\n')
    (piece,) = parts(Incoming.check(path, TOY, 10))
    assert piece.index.tolist() == ["=1+1", "007"]
    assert piece.loc["=1+1"].tolist() == ["", 'a "quoted",\r\nline']
    assert piece.loc["007"].tolist() == ["null", "NA"]


FAULTS = {
    "missing column": ("uid,First\na,x\n", ["line 1", "Second is missing"]),
    "misnamed column": ("uid,First,second\na,x,y\n", ["line 1", "second", "did you mean Second?"]),
    "uid twice": (f"uid,First,Second\na,{SECRET},y\nb,x,y\na,x,y\n", ["line 4", "a is in line 2"]),
    "uid empty": (f"uid,First,Second\na,x,y\n ,{SECRET},y\n", ["line 3", "column uid", "empty"]),
    "uid broken": ("uid,First,Second\na\0b,x,y\n", ["line 2", "column uid", "NUL"]),
    "too many fields": (f"uid,First,Second\na,{SECRET}, alone,y\n", ["line 2", "4 fields"]),
    "open quote": (f'uid,First,Second\na,"{SECRET},y\nb,x,y\n', ["line 2", "quotes"]),
    "no rows": ("uid,First,Second\n\n", ["no rows"]),
    "nothing": ("", ["empty"]),
    "two encodings": (
        f"uid,First,Second\na,{SECRET} à la carte,y\nb,caf".encode() + b"\xe9,y\n",
        ["line 3", "UTF-8"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_its_place_and_quotes_nothing(tmp_path, fault):
    text, said = FAULTS[fault]
    with pytest.raises(InputError) as caught:
        Incoming.check(written(tmp_path, text), TOY, 4)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    for part in ["new.csv", *said]:
        assert part in message


def test_any_kind_of_file_is_read_in_the_same_parts(tmp_path):
    table = TEST.rename_axis("uid").reset_index()
    table.to_parquet(tmp_path / "new.parquet")
    table.to_excel(tmp_path / "new.xlsx", index=False)
    table.to_csv(tmp_path / "new.csv.gz", index=False)
    table.to_csv(tmp_path / "new.tsv", index=False, sep=";", encoding="utf-16")
    for path in tmp_path.iterdir():
        incoming = Incoming.check(path, TOY, 4)
        pieces = parts(incoming)
        assert [len(piece) for piece in pieces] == [4, 4, 4, 3]
        pd.testing.assert_frame_equal(pd.concat(pieces), TEST, check_dtype=False, check_index_type=False)
        assert len(incoming.notes) == (2 if path.suffix == ".tsv" else 0)


def test_columns_may_be_called_otherwise_and_others_are_passed_over(tmp_path):
    first, second = TOY.text
    task = replace(TOY, uid="Case", text=(replace(first, column="Police report"), second))
    path = written(tmp_path, "Sad,Case,Police report,Second,site name\n1,a,x,y,z\n")
    incoming = Incoming.check(path, task, 10)
    assert incoming.notes == ["new.csv: further columns are not read: Sad, 5"]
    (piece,) = parts(incoming)
    assert piece.to_dict("index") == {"a": {"First": "x", "Second": "y"}}
    assert piece.index.name == "uid"


def test_a_case_is_blank_where_no_narrative_has_a_word():
    texts = pd.DataFrame({"First": ["", " \n\t\u00a0", "x", ""], "Second": ["", "", "", "."]}, list("abcd"))
    assert blank(texts).tolist() == [True, True, False, False]


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file; name a CSV file with uid, First, Second"):
        Incoming.check(tmp_path / "none.csv", TOY, 4)


def test_nul_and_surrogates_are_made_harmless_and_counted(tmp_path):
    half, emoji = "\ud83d", "\U0001f600"
    path = written(tmp_path, f"uid,First,Second\na,one\0two,{half}end\nb,{half}\ude00,\u202eplain {emoji}\n")
    incoming = Incoming.check(path, TOY, 10)
    (piece,) = parts(incoming)
    assert incoming.mended == 3
    assert piece.loc["a"].tolist() == ["one two", "\ufffdend"]
    assert piece.loc["b"].tolist() == [emoji, f"\u202eplain {emoji}"]


def test_mending_leaves_a_sound_text_alone():
    for text in ("", "V's café 😀 \u200f\u202e\u2028 =1+1 <script>"):
        assert mend(text) == text


def test_a_long_row_group_is_read_in_pieces(tmp_path):
    texts = [f"{n} " + "".join(random.Random(n).choices("abcdefgh ", k=1000)) for n in range(20_000)]
    table = pd.DataFrame({"uid": [f"u{n}" for n in range(20_000)], "First": texts, "Second": ""})
    table.to_parquet(tmp_path / "new.parquet", row_group_size=20_000)
    del table
    before = pa.total_allocated_bytes()
    incoming = Incoming.check(tmp_path / "new.parquet", TOY, 100)
    held = max(pa.total_allocated_bytes() for n in range(200) if len(incoming.part(n))) - before
    assert held < tmp_path.joinpath("new.parquet").stat().st_size / 2


def test_checking_holds_no_text(tmp_path):
    """Ten times the rows take eight bytes more for each, and no more."""
    peaks = []
    for rows in (1000, 10_000):
        path = written(
            tmp_path, "uid,First,Second\n" + "".join(f"u{n},{'w ' * 200},x\n" for n in range(rows))
        )
        tracemalloc.start()
        incoming = Incoming.check(path, TOY, 100)
        assert sum(len(incoming.part(n)) for n in range(rows // 100)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 9000 * 40


ODD = st.text(st.sampled_from('a,"\n\r\té\u2028\0 ;'), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.tuples(ODD, ODD), min_size=1, max_size=12),
    form=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gz", "parquet", "xlsx"]),
    end=st.sampled_from(["\n", "\r\n"]),
    part=st.integers(1, 5),
)
def test_every_part_can_be_read_from_its_place_alone(tmp_path, texts, form, end, part):
    """In any order and by anybody who is told what was found, through JSON."""
    table = pd.DataFrame(texts, columns=["First", "Second"])
    if form == "xlsx":  # whose cells hold no control characters
        table = table.map(lambda text: text.replace("\0", "").replace("\r", ""))
    table.insert(0, "uid", [f"u{n}" for n in range(len(table))])
    if form == "parquet":
        path = tmp_path / "new.parquet"
        table.to_parquet(path, row_group_size=3)
    elif form == "xlsx":
        path = tmp_path / "new.xlsx"
        table.to_excel(path, index=False)
    else:
        lines = StringIO()
        writer = csv.writer(lines, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([table.columns, *table.to_numpy()])
        path = tmp_path / ("new.csv.gz" if form == "gz" else "new.csv")
        content = ("\n" + lines.getvalue()).encode("utf-8" if form == "gz" else form)
        path.write_bytes(gzip.compress(content) if form == "gz" else content)
    checked = Incoming.check(path, TOY, part)
    whole = pd.concat(parts(checked))
    assert whole.index.tolist() == table["uid"].tolist()
    found = json.loads(json.dumps(checked.found))
    for n in reversed(range(len(checked.places))):
        alone = Incoming.restored((path,), TOY, found).part(n)
        pd.testing.assert_frame_equal(alone, whole.iloc[n * part : (n + 1) * part])


def test_a_uid_that_stands_in_two_files_is_named_with_both(tmp_path):
    features(tmp_path, TEST[:3], "a.csv")
    features(tmp_path, TEST[2:], "b.csv")
    with pytest.raises(InputError, match=r"b.csv: line 2, column uid: t002 is in line 4 of a.csv already"):
        Incoming.check(tmp_path, TOY, 4)
    left = Incoming.check(tmp_path, TOY, 4, leave_out=True)
    assert pd.concat(parts(left)).index.tolist() == TEST.index.tolist()
    assert [(file, line) for file, line, _ in left.faults] == [("b.csv", 2)]


def test_a_folder_without_a_table_is_refused(tmp_path):
    (tmp_path / ".hidden.csv").write_text("")
    with pytest.raises(InputError, match="no table in it; its files end in .csv"):
        Incoming.check(tmp_path, TOY, 4)


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path):
    path = features(tmp_path, TEST)
    checked = Incoming.check(path, TOY, 4)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:10]))
    with pytest.raises(InputError, match="changed while it was read"):
        parts(Incoming.restored((path,), TOY, checked.found))


@pytest.mark.parametrize("name", ["new.csv.gz", "new.parquet", "new.xlsx"])
def test_what_cannot_be_entered_is_read_on(tmp_path, name, monkeypatch):
    """A worker that has every second part reads such a file once."""
    path, table = tmp_path / name, TEST.rename_axis("uid").reset_index()
    write = {"gz": table.to_csv, "parquet": table.to_parquet, "xlsx": table.to_excel}[name.split(".")[-1]]
    write(path, index=False)
    checked = Incoming.check(path, TOY, 2)
    alone = Incoming.restored((path,), TOY, checked.found)
    begun, found = [], Incoming._found
    monkeypatch.setattr(Incoming, "_found", lambda self, *at: begun.append(at) or found(self, *at))
    for n in (1, 3, 5, 7, 2):
        assert alone.part(n).index.tolist() == TEST.index[2 * n : 2 * n + 2].tolist()
    assert len(begun) == 2


def test_how_a_text_is_written_is_found_out_once(tmp_path, monkeypatch):
    path = written(tmp_path, "uid;First;Second\na;é;y\nb;x;y\n".encode("cp1252"))
    checked = Incoming.check(path, TOY, 1)
    monkeypatch.setattr(text_files, "encoding_of", None)
    alone = Incoming.restored((path,), TOY, json.loads(json.dumps(checked.found)))
    assert alone.part(1).index.tolist() == ["b"] and alone.part(0).loc["a", "First"] == "é"


def test_a_parquet_row_that_holds_nothing_wanted_is_a_faulty_row(tmp_path):
    table = TEST.rename_axis("uid").reset_index().assign(Site="A")
    table.loc[3, ["uid", "First", "Second"]] = None
    table.to_parquet(tmp_path / "new.parquet")
    with pytest.raises(InputError, match="row 4, column uid: the uid is empty"):
        Incoming.check(tmp_path / "new.parquet", TOY, 4)
    left = Incoming.check(tmp_path / "new.parquet", TOY, 4, leave_out=True)
    assert (left.rows, left.left_out) == (14, 1)


def test_a_faulty_record_of_several_lines_tells_where_it_ends(tmp_path):
    path = written(tmp_path, f'uid,First,Second\na,"{SECRET}\nb,x,y\nc,x,"\nd,x,y\n')
    left = Incoming.check(path, TOY, 4, leave_out=True)
    ((_, line, reason),) = left.faults
    assert line == 2 and "it ends in line 4" in reason and SECRET not in reason
