"""A file stands whole or not at all; a damaged one, or one that the system refuses, is named in one line."""

import errno
import json
import os
import resource
import signal

import numpy as np
import pandas as pd
import pytest

from narrutils.data.files import (
    altered,
    atomic,
    check_contents,
    gone,
    note_contents,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from narrutils.data.tables import read_table, row_groups, table_writer, write_table
from narrutils.errors import InputError, quoted_refusal, refusal

TABLE = pd.DataFrame({"uid": [f"c{n}" for n in range(4000)], "value": np.random.default_rng(0).random(4000)})
TENSORS = {"weights": np.random.default_rng(0).random(4000)}
WRITE = {
    "a.json": lambda path: write_json(path, {"value": list(range(9000))}),
    "a.safetensors": lambda path: write_tensors(path, TENSORS),
    "a.parquet": lambda path: write_table(path, TABLE),
    "a.csv": lambda path: write_table(path, TABLE),
}
READ = {
    "a.json": read_json,
    "a.safetensors": read_tensors,
    "a.parquet": read_table,
    "groups.parquet": lambda path: list(row_groups(path)),
}


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
@pytest.mark.parametrize("name", READ)
def test_a_file_that_was_cut_is_named_with_the_mend(name, share, tmp_path):
    path = tmp_path / name
    WRITE[name.replace("groups", "a")](path)
    READ[name](path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError) as caught:
        READ[name](path)
    said = str(caught.value)
    assert said.startswith(f"{path}: cannot be read (") and "remove it and run its notebook again" in said
    assert "\n" not in said and caught.value.__suppress_context__


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_gone_is_named_as_such(name, tmp_path):
    with pytest.raises(InputError, match=f"{name}: is missing; run its notebook again, or restore it$"):
        READ[name](tmp_path / name)


def test_what_the_system_does_not_give_is_no_damage():
    with pytest.raises(NotADirectoryError):
        read_json(__file__ + "/below.json")


@pytest.fixture
def full_disk():
    """Files above 1000 bytes are refused, as on a full disk: by the system, not by a stand-in."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", WRITE)
def test_a_write_that_the_system_refuses_names_the_file_and_leaves_nothing(name, tmp_path, full_disk):
    with pytest.raises(OSError) as caught:
        WRITE[name](tmp_path / name)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITE)
def test_a_place_below_a_file_is_refused(name, tmp_path):
    below = tmp_path / "file" / name
    below.parent.write_text("")
    with pytest.raises(OSError) as caught:
        WRITE[name](below)
    assert refusal(caught.value) == (
        f"{below.parent}: a file stands where a folder is needed; name another place"
    )


def test_a_fault_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic(tmp_path / "folder"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_table_that_cannot_be_written_on_leaves_nothing(tmp_path, full_disk):
    with pytest.raises(OSError) as caught, table_writer(tmp_path / "a.csv") as write:
        for _ in range(9):
            write(TABLE)
    assert caught.value.filename == str(tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "/a/b: no space is left on its disk; free some and start again"),
        (errno.EACCES, "/a/b: this user may not read or write it; change its permissions"),
        (errno.EROFS, "/a/b: its file system is read-only; name another place"),
        (errno.ENAMETOOLONG, "a file's name is too long"),
        (errno.EBUSY, f"/a/b: {os.strerror(errno.EBUSY)}"),
    ],
)
def test_a_refusal_says_what_and_how_to_mend_it(number, said):
    assert refusal(OSError(number, os.strerror(number), "/a/b")).startswith(said)


def test_a_quoted_refusal_is_known_again_and_nothing_else_is():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b.json")
    assert quoted_refusal(str(full)) == refusal(full)
    for other in (
        OSError(errno.ENOENT, os.strerror(errno.ENOENT), "a narrative that was taken for a file"),
        KeyError("[Errno 28]"),
        ValueError("fell from a ladder: '/a'"),
    ):
        assert quoted_refusal(str(other)) == ""


def test_damage_that_still_parses_is_seen_by_the_digests(tmp_path):
    write_json(tmp_path / "inner" / "a.json", {"value": 1})
    WRITE["a.safetensors"](tmp_path / "a.safetensors")
    note_contents(tmp_path)
    check_contents(tmp_path)
    assert altered(tmp_path) == gone(tmp_path) == []
    path = tmp_path / "a.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    read_tensors(path)
    with pytest.raises(
        InputError, match=r"a\.safetensors: is not as it was written; it is damaged: remove it"
    ):
        check_contents(tmp_path)
    path.unlink()
    assert altered(tmp_path) == gone(tmp_path) == [path]
    check_contents(tmp_path)  # a run may be passed on without its predictions
    assert json.loads((tmp_path / "files.json").read_text()).keys() == {"a.safetensors", "inner/a.json"}
