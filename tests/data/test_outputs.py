"""Places of results: what may be written, and that nothing else is ever replaced."""

import os

import pytest

from narrutils.data import outputs as module
from narrutils.data.outputs import Outputs, put
from narrutils.errors import InputError


def made_folder(folder, content="a"):
    folder.mkdir()
    (folder / "part000000.parquet").write_text(content)
    return folder


def test_a_result_takes_its_place_or_what_is_there_stays(tmp_path):
    made, place = tmp_path / "made", tmp_path / "codes.csv"
    made.write_text("new")
    place.write_text("old")
    with pytest.raises(InputError, match="codes.csv: is there already"):
        put(made, place, replace=False)
    assert place.read_text() == "old"
    put(made, place, replace=True)
    assert place.read_text() == "new"
    put(made, place, replace=False)  # as after a kill between two results
    assert sorted(os.listdir(tmp_path)) == ["codes.csv", "made"]


@pytest.mark.parametrize("links", [True, False])
def test_a_folder_takes_its_place_at_once(tmp_path, links, monkeypatch):
    if not links:  # some file systems have none

        def refuse(*_):
            raise OSError

        monkeypatch.setattr(module.os, "link", refuse)
    made, place = made_folder(tmp_path / "made"), tmp_path / "codes"
    put(made, place, replace=False)
    assert (place / "part000000.parquet").read_text() == "a"
    put(made, place, replace=False)
    other = made_folder(tmp_path / "other", "b")
    with pytest.raises(InputError, match="is there already"):
        put(other, place, replace=False)
    put(other, place, replace=True)
    assert (place / "part000000.parquet").read_text() == "b"


def test_no_result_is_a_folder_that_holds_something_else(tmp_path):
    """A folder of results is replaced whole."""
    spark = made_folder(tmp_path / "data")
    (spark / "part000000.parquet").rename(spark / "part-00000-abc.parquet")
    there = tmp_path / "codes"
    there.write_text("")
    for features, outputs, said in (
        (spark / "new.csv", Outputs(spark, overwrite=True), "of other files"),
        (tmp_path / "out" / "new.csv", Outputs(tmp_path / "out"), "new.csv lies in it"),
        (
            tmp_path / "new.csv",
            Outputs(tmp_path / "out", faults=tmp_path / "out" / "f.csv"),
            "f.csv lies in it",
        ),
        (tmp_path / "new.csv", Outputs(there, overwrite=True), "codes: is a file"),
    ):
        with pytest.raises(InputError, match=said):
            outputs.check(features)


def test_faults_are_a_file_and_every_result_has_a_place_of_its_own(tmp_path):
    features = tmp_path / "new.csv"
    for outputs, said in {
        Outputs(
            tmp_path / "codes", faults=tmp_path / "faults"
        ): "faults: unknown kind of file; name it .csv$",
        Outputs(tmp_path / "codes", tmp_path / "codes"): "one file",
        Outputs(tmp_path / "codes.parquet"): "name it .csv, or as a folder without an ending",
    }.items():
        with pytest.raises(InputError, match=said):
            outputs.check(features)
    Outputs(tmp_path / "codes", tmp_path / "p.parquet", faults=tmp_path / "faults.csv").check(features)
