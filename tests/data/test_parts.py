"""Parts of a piece of work: whole or not there, of this work and no other, and gone at its end."""

import os

import pytest

from narrutils.data.files import write_json
from narrutils.data.parts import Parts
from narrutils.errors import InputError

OF = {"the run": "a", "the features new.csv": "b"}


@pytest.fixture
def parts(tmp_path):
    found = Parts.beside(tmp_path / "codes.csv")
    with found.held():
        found.begin(OF, {"rows": 7})
        yield found


def test_a_part_is_there_whole_or_not_at_all(parts):
    with parts.write(1) as folder:
        write_json(folder / "counts.json", 3)
    with pytest.raises(OSError), parts.write(2) as folder:
        write_json(folder / "counts.json", 3)
        raise OSError
    assert parts.missing(4) == [0, 2, 3]
    assert [path.exists() for path in parts.files("counts.json", 3)] == [False, True, False]


def test_the_same_work_goes_on_and_another_is_named(parts):
    assert parts.goes_on(dict(OF), anew=False) and parts.manifest["found"] == {"rows": 7}
    for other, said in (
        (OF | {"the run": "c"}, "differs in the run;"),
        ({"the run": "a", "the features b.csv": "b"}, "in the features new.csv, the features b.csv;"),
    ):
        with pytest.raises(InputError, match=said):
            parts.goes_on(other, anew=False)
    assert parts.begun
    assert not parts.goes_on(other, anew=True) and not parts.begun


def test_what_a_killed_writer_left_is_cleared_away_when_work_begins(parts):
    with parts.write(0):
        pass
    (parts.folder / ".part000001.999999999.part").mkdir()
    parts.begin(OF, {})
    assert sorted(os.listdir(parts.folder)) == [".lock", "manifest.json"]


def test_the_folder_is_its_owners_alone_and_goes_where_nothing_was_begun(tmp_path):
    parts = Parts.beside(tmp_path / "codes.csv")
    with pytest.raises(InputError), parts.held():
        assert parts.folder.stat().st_mode & 0o077 == 0
        raise InputError("a fault in the features")
    assert not os.listdir(tmp_path)
    with parts.held():
        parts.begin(OF, {})
    assert parts.begun
    with parts.held():
        parts.end()
    assert not os.listdir(tmp_path)
