"""Which tables of human codes are taken, and what is said of the others."""

import pandas as pd
import pytest
from toys import TOY, uids

from narrutils.errors import InputError
from narrutils.findings.estimates.human_codes import read_human_codes
from narrutils.findings.estimates.sampling import INCLUSION

ALL = uids(6)


def read(tmp_path, text, name="human.csv", **more):
    path = tmp_path / name
    path.write_text(text)
    return read_human_codes(path, TOY, ALL, "all.csv", **more)


def test_codes_are_joined_by_uid_and_empty_cells_are_no_codes(tmp_path):
    codes, chances = read(tmp_path, f"uid,Sad,Place,{INCLUSION},remark\nu003,1,,0.5,x\nu001,,2,0.25,y\n")
    assert codes["Sad"].fillna(-1).tolist() == [-1, -1, -1, 1, -1, -1]
    assert codes["Place"].fillna(-1).tolist() == [-1, 2, -1, -1, -1, -1]
    assert codes["Note"].isna().all()
    assert chances.tolist() == [1, 0.25, 1, 0.5, 1, 1]


def test_another_column_may_hold_the_chances_and_none_need(tmp_path):
    text = f"uid,Sad,{INCLUSION},pi\nu003,1,0.5,0.2\n"
    assert read(tmp_path, text, weight="pi")[1]["u003"] == 0.2
    assert read(tmp_path, "uid,Sad\nu003,1\n")[1].eq(1).all()
    with pytest.raises(InputError, match="column p is missing"):
        read(tmp_path, text, weight="p")


def test_any_kind_of_table_is_read(tmp_path):
    path = tmp_path / "human.parquet"
    pd.DataFrame({"uid": ["u002"], "Sad": [1]}).to_parquet(path)
    assert read_human_codes(path, TOY, ALL, "all.csv")[0].at["u002", "Sad"] == 1


@pytest.mark.parametrize("cell", ["0", "1.5", "-1", "x", ""])
def test_a_chance_lies_above_0_and_is_1_at_most(tmp_path, cell):
    with pytest.raises(
        InputError, match=f"line 3, column {INCLUSION}: an inclusion probability lies above 0"
    ):
        read(tmp_path, f"uid,Sad,{INCLUSION}\nu001,1,0.5\nu002,0,{cell}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uid,variable,decision,label_before,label_after\nu001,Sad,accept,0,1\n", "review queue.* --draw"),
        ("uid,Sad\nu001,1\nzz,0\n", "line 3: uid zz is not in all.csv; remove the row"),
        ("uid,Sad\nu001,7\n", "line 2, column Sad: 7 is out of range; its codes are 0, 1"),
        ("uid,Other\nu001,1\n", "no column of a variable; they are Sad, Place, Note"),
        ("Sad\n1\n", "column uid is missing"),
        ("uid,Sad\nu004,1\n", "line 2: uid u004 is a training case .*leave --human out"),
    ],
)
def test_what_is_no_random_sample_of_codes_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as fault:
        read(tmp_path, text, trained=["u004"])
    assert "\n" not in str(fault.value)


def test_codes_that_are_asked_for_must_be_there(tmp_path):
    with pytest.raises(InputError, match="no column Sad; did you mean Sda"):
        read(tmp_path, "uid,Sda,Note\nu001,1,1\n", wanted=["Sad"])
    with pytest.raises(InputError, match="no code is filled in"):
        read(tmp_path, "uid,Sad,Note\nu001,,\nu002,,\n")
    with pytest.raises(InputError, match="no code is filled in"):
        read(tmp_path, "uid,Sad,Note\nu001,,1\nu002,,\n", wanted=["Sad"])


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file; --draw makes one"):
        read_human_codes(tmp_path / "none.csv", TOY, ALL, "all.csv")
