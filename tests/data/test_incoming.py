"""A file of new narratives: checked to its end first, read in pieces, odd characters made harmless."""

import tracemalloc

import pandas as pd
import pytest
from deployments import TEST, features
from toys import TOY

from narrutils.data.incoming import Incoming, mend
from narrutils.errors import InputError

SECRET = "V was found"


def written(folder, text: str | bytes):
    path = folder / "new.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def test_pieces_are_the_file(tmp_path):
    incoming = Incoming.check(features(tmp_path, TEST), TOY)
    assert (incoming.rows, incoming.mended) == (15, 0)
    pieces = list(incoming.chunks(4))
    assert [len(piece) for piece in pieces] == [4, 4, 4, 3]
    pd.testing.assert_frame_equal(pd.concat(pieces), TEST, check_dtype=False, check_index_type=False)


def test_columns_may_stand_in_any_order_and_texts_may_hold_anything(tmp_path):
    path = written(tmp_path, '\ufeffSecond,uid,First\r\n"a ""quoted"",\r\nline",=1+1,\r\nNA,007,null\r\n')
    (piece,) = Incoming.check(path, TOY).chunks(10)
    assert piece.index.tolist() == ["=1+1", "007"]
    assert piece.loc["=1+1"].tolist() == ["", 'a "quoted",\r\nline']
    assert piece.loc["007"].tolist() == ["null", "NA"]


FAULTS = {
    "missing column": ("uid,First\na,x\n", ["line 1", "Second is missing"]),
    "unknown column": ("uid,First,Second,Third\na,x,y,z\n", ["line 1", "Third", "remove it"]),
    "uid twice": (f"uid,First,Second\na,{SECRET},y\nb,x,y\na,x,y\n", ["line 4", "a is in line 2"]),
    "uid empty": (f"uid,First,Second\na,x,y\n ,{SECRET},y\n", ["line 3", "column uid", "empty"]),
    "uid broken": ("uid,First,Second\na\0b,x,y\n", ["line 2", "column uid", "NUL"]),
    "too many fields": (f"uid,First,Second\na,{SECRET}, alone,y\n", ["line 2", "4 fields"]),
    "open quote": (f'uid,First,Second\na,"{SECRET},y\nb,x,y\n', ["line 2", "quotes"]),
    "no rows": ("uid,First,Second\n\n", ["no rows"]),
    "nothing": ("", ["empty"]),
    "not UTF-8": (f"uid,First,Second\na,{SECRET},y\nb,caf".encode() + b"\xe9,y\n", ["line 3", "UTF-8"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_its_place_and_quotes_nothing(tmp_path, fault):
    text, said = FAULTS[fault]
    with pytest.raises(InputError) as caught:
        Incoming.check(written(tmp_path, text), TOY)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    for part in ["new.csv", *said]:
        assert part in message


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file; name a CSV file with uid, First, Second"):
        Incoming.check(tmp_path / "none.csv", TOY)


def test_nul_and_surrogates_are_made_harmless_and_counted(tmp_path):
    half, emoji = "\ud83d", "\U0001f600"
    path = written(tmp_path, f"uid,First,Second\na,one\0two,{half}end\nb,{half}\ude00,\u202eplain {emoji}\n")
    incoming = Incoming.check(path, TOY)
    (piece,) = incoming.chunks(10)
    assert incoming.mended == 3
    assert piece.loc["a"].tolist() == ["one two", "\ufffdend"]
    assert piece.loc["b"].tolist() == [emoji, f"\u202eplain {emoji}"]


def test_mending_leaves_a_sound_text_alone():
    for text in ("", "V's café 😀 \u200f\u202e\u2028 =1+1 <script>"):
        assert mend(text) == text


def test_checking_holds_no_text(tmp_path):
    """Ten times the rows take eight bytes more for each, and no more."""
    peaks = []
    for rows in (1000, 10_000):
        path = written(
            tmp_path, "uid,First,Second\n" + "".join(f"u{n},{'w ' * 200},x\n" for n in range(rows))
        )
        tracemalloc.start()
        incoming = Incoming.check(path, TOY)
        assert sum(map(len, incoming.chunks(100))) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 9000 * 40
