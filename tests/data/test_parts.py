"""Parts of a piece of work: whole or not there, of this work and no other, and gone at its end."""

import os

import pytest

from narrutils.data.files import write_json
from narrutils.data.parts import Parts
from narrutils.errors import InputError

OF = {"the run": "a", "the features new.csv": "b", "--threads": 2}


@pytest.fixture
def parts(tmp_path):
    found = Parts.beside(tmp_path / "codes.csv")
    with found.held():
        yield found.begin(OF, {"rows": 7})


def test_a_part_is_there_whole_or_not_at_all(parts):
    with parts.write(1) as folder:
        write_json(folder / "counts.json", 3)
    with pytest.raises(OSError), parts.write(2) as folder:
        write_json(folder / "counts.json", 3)
        raise OSError
    assert parts.missing(4) == [0, 2, 3]
    assert [(parts.path(n) / "counts.json").exists() for n in range(3)] == [False, True, False]


def test_other_work_is_known_by_the_names_of_what_differs(parts):
    assert parts.differ(dict(OF)) == [] and parts.manifest["found"] == {"rows": 7}
    assert parts.differ(OF | {"--threads": None}) == []  # as it was
    assert parts.differ(OF | {"the run": "c", "--threads": 1}) == ["the run", "--threads"]
    other = {"the run": "a", "the features b.csv": "b", "--threads": 2}
    assert parts.differ(other) == ["the features new.csv", "the features b.csv"]


def test_what_was_left_open_is_settled_later(parts):
    parts.give_up()
    assert not parts.begun
    parts = parts.begin(OF | {"--threads": None}, {})
    assert parts.differ(OF) == []
    parts.settle("--threads", 4)
    assert parts.differ(OF) == ["--threads"] and parts.differ(OF | {"--threads": 4}) == []


def test_a_part_of_work_that_was_given_up_is_none_of_the_next(parts):
    parts.give_up()
    later = parts.begin(OF | {"the run": "c"}, {})
    with parts.write(0):  # by a worker that nobody told
        pass
    assert later.missing(1) == [0]


def test_whoever_is_refused_leaves_the_work_of_the_other_alone(tmp_path):
    """Also before its manifest is there."""
    one = Parts.beside(tmp_path / "codes.csv")
    with one.held():
        with pytest.raises(InputError, match="another process is at work there"), one.held():
            pass
        assert one.folder.is_dir()
        with one.begin(OF, {}).write(0):
            pass
        assert one.known().missing(1) == []


def test_a_folder_without_a_manifest_is_rubbish(tmp_path):
    """As one that was killed while it was removed."""
    parts = Parts.beside(tmp_path / "codes.csv")
    (parts.folder / "part000000-abc").mkdir(parents=True)
    with parts.held():
        assert os.listdir(parts.folder) == [".lock"]
    assert not os.listdir(tmp_path)


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
