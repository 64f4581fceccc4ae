"""The run folder: whole files or none, text for its owner alone, joins by uid."""

import json
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.data.files import atomic, digest, read_json, read_tensors, write_json, write_tensors
from narrutils.data.run import Run
from narrutils.data.tables import by_uid, read_table, write_table
from narrutils.errors import InputError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Unwritable:
    """Breaks in the middle of being written as JSON."""


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "ladder.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"a": 1, "b": Unwritable()})
    with pytest.raises(KeyboardInterrupt), atomic(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert read_json(path) == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_not_there(tmp_path):
    run = Run(tmp_path, "04_test")

    def half(part):
        (part / "one.txt").write_text("1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run.write_folder("models/m/fold0", "key", half)
    assert not run.has("models/m/fold0")
    assert list((tmp_path / "models/m").iterdir()) == []
    assert run.written_by("04_test") == []
    run.write_folder("models/m/fold0", "key", lambda part: (part / "one.txt").write_text("1"))
    with pytest.raises(RuntimeError):
        run.write_folder("models/m/fold0", "another key", half)
    assert (tmp_path / "models/m/fold0/one.txt").read_text() == "1"
    assert run.take_folder("models/m/fold0", "key")
    assert not run.take_folder("models/m/fold0", "another key")


def test_a_current_folder_is_not_made_again_and_a_stale_one_is_replaced(tmp_path):
    run, made = Run(tmp_path, "04_test"), []

    def make(name):
        return lambda part: (made.append(name), (part / name).write_text(""))

    for name, key in [("a", "1"), ("b", "1"), ("c", "2")]:
        run.write_folder("models/m", key, make(name))
    assert made == ["a", "c"]
    assert sorted(p.name for p in (tmp_path / "models/m").iterdir()) == ["c", "files.json", "key.json"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("damaged")])
def test_a_folder_whose_files_were_damaged_is_made_again(damage, tmp_path):
    """Removing what was damaged, as the error says, makes the runner see it: the key stands for all of it."""
    run, made = Run(tmp_path, "04_test"), []

    def make(part):
        made.append((part / "weights").write_text("whole"))

    folder = run.write_folder("models/m", "1", make)
    damage(folder / "weights")
    assert run.has("models/m/key.json") == (folder / "weights").exists()
    run.write_folder("models/m", "1", make)
    assert len(made) == 2 and (folder / "weights").read_text() == "whole"


def test_narratives_are_readable_by_their_owner_alone(tmp_path):
    run = Run(tmp_path, "01_test")
    table = pd.DataFrame({"uid": ["a"], "text": ["t"]})
    for name in ("cases.parquet", "generated/pool.parquet"):
        assert mode(run.write(name, table)) == 0o600
        assert mode(run.write(name, table)) == 0o600  # and once more over the old file
    assert mode(run.write("folds.parquet", table)) & 0o044
    write_table(tmp_path / "x.csv", table, private=True)
    assert mode(tmp_path / "x.csv") == 0o600


def test_json_holds_plain_numbers_and_nan_is_null(tmp_path):
    value = {
        "nan": float("nan"),
        "inf": np.inf,
        "np": np.float32(0.5),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "array": np.array([1.0, np.nan]),
        "tuple": (1, None),
        "path": Path("a/b"),
        4: "four",
    }
    write_json(tmp_path / "v.json", value)
    text = (tmp_path / "v.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == {
        "nan": None,
        "inf": None,
        "np": 0.5,
        "int": 3,
        "bool": True,
        "array": [1.0, None],
        "tuple": [1, None],
        "path": "a/b",
        "4": "four",
    }


def test_tables_and_tensors_survive_the_disk(tmp_path):
    table = pd.DataFrame({"seen_folds": [[0, 1], []], "kept": [True, False]}, index=uids(2))
    write_table(tmp_path / "t.parquet", table)
    back = read_table(tmp_path / "t.parquet").set_index("uid")
    assert [list(x) for x in back["seen_folds"]] == [[0, 1], []]
    assert back["kept"].tolist() == [True, False]
    tensors = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.ones(2, dtype=np.float32)}
    write_tensors(tmp_path / "w.safetensors", tensors)
    for name, value in read_tensors(tmp_path / "w.safetensors").items():
        np.testing.assert_array_equal(value, tensors[name])


def test_probabilities_are_checked_on_the_way_out_and_in(tmp_path):
    run, table = Run(tmp_path, "04_test"), random_probabilities(TOY, uids(4))
    run.write_probabilities("predictions/m_oof.parquet", table, TOY)
    assert run.read("predictions/m_oof.parquet").columns.tolist() == ["uid", *TOY.columns]
    wanted = ["u003", "u001"]
    pd.testing.assert_frame_equal(
        run.read_probabilities("predictions/m_oof.parquet", TOY, wanted), table.loc[wanted]
    )
    with pytest.raises(ValueError, match="outside"):
        run.write_probabilities("predictions/m_oof.parquet", table * 2, TOY)
    with pytest.raises(ValueError, match="indexed by uid"):
        run.write_probabilities("predictions/m_oof.parquet", table.reset_index(drop=True), TOY)
    pd.testing.assert_frame_equal(run.read_probabilities("predictions/m_oof.parquet", TOY), table)


def test_rows_are_joined_by_uid_or_not_at_all():
    table = random_probabilities(TOY, uids(3))
    assert by_uid(table, ["u002", "u000"], "x").index.tolist() == ["u002", "u000"]
    with pytest.raises(InputError, match=r"^x: no row for uid u007 \(2 missing\)$"):
        by_uid(table, ["u000", "u007", "u008"], "x")
    with pytest.raises(InputError, match="^x: uid u001 stands twice"):
        by_uid(table.loc[["u000", "u001", "u001"]], ["u000"], "x")


def test_a_missing_artefact_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"ladder\.json is missing; run the earlier notebooks"):
        Run(tmp_path).read("ladder.json")


def test_each_stage_keeps_a_list_of_what_it_wrote(tmp_path):
    run = Run(tmp_path, "01_test")
    run.write("a.json", {})
    run.write_folder("models/m", "k", lambda part: None)
    run.write_folder("models/m", "k", lambda part: None)  # reused, and still this stage's
    run.write("a.json", {"again": 1})
    assert run.written_by("01_test") == ["a.json", "models/m/key.json"]
    Run(tmp_path, "02_test").write("b.json", {})
    run.forget("01_test")
    assert run.written_by("01_test") == []
    assert run.written_by("02_test") == ["b.json"]


def test_a_run_without_a_stage_only_reads(tmp_path):
    with pytest.raises(ValueError, match="only reads"):
        Run(tmp_path).write("a.json", {})
    missing = tmp_path / "none"
    Run(missing)
    assert not missing.exists()


def test_a_key_changes_with_every_content(tmp_path):
    table, path = random_probabilities(TOY, uids(4)), tmp_path / "module.py"
    path.write_text("one")
    keys = [digest(table), digest(table.rename(columns={"Sad": "Glad"})), digest(table[::-1])]
    keys += [digest(table.rename(index={"u000": "u009"})), digest(table.assign(Sad=0.5)), digest(path)]
    path.write_text("two")
    keys += [digest(path), digest({"a": 1, "b": 2}), digest({"a": 1, "b": 3}), digest(1, 2), digest(12)]
    assert len(set(keys)) == len(keys)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(table) == digest(table.copy())


def test_cases_folds_and_pools_are_indexed_by_uid(tmp_path):
    run = Run(tmp_path, "01_test")
    assert run.pools(TOY).empty
    assert {"seen_folds", "reason", *TOY.text_columns} <= set(run.pools(TOY))
    run.write("folds.parquet", pd.DataFrame({"uid": ["a", "b"], "fold": [1, 0]}))
    assert run.folds().to_dict() == {"a": 1, "b": 0}
    run.write("cases.parquet", pd.DataFrame({"uid": ["a", "t"], "split": ["train", "test"]}))
    assert run.cases("test").index.tolist() == ["t"]
    assert len(run.cases()) == 2
    for n in range(2):
        pool = pd.DataFrame({"uid": [f"g{n}", f"h{n}"], "kept": [True, False], "seen_folds": [[n], [n]]})
        run.write(f"generated/p{n}.parquet", pool)
    assert run.pools(TOY).index.tolist() == ["g0", "g1"]
    assert len(run.pools(TOY, kept=False)) == 4
    run.drop_pools(but=["p1"])
    assert run.pools(TOY).index.tolist() == ["g1"]


def test_labels_are_integers_or_absent(tmp_path):
    run = Run(tmp_path, "01_test")
    labels = random_labels(TOY, 2)
    cases = pd.concat([labels, pd.DataFrame(index=pd.Index(["t"], name="uid"))])
    cases["split"] = ["train", "train", "test"]
    run.write("cases.parquet", cases)
    pd.testing.assert_frame_equal(run.labels(TOY), labels, check_dtype=False)
    assert all(dtype.kind in "iu" for dtype in run.labels(TOY).dtypes.map(lambda d: np.dtype(str(d).lower())))
    assert run.labels(TOY, "test") is None


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", "02_generation")


def parts(n: int, start: int = 0) -> pd.DataFrame:
    """A table as generation yields it: text, a list that is empty at first, a number."""
    rows = range(start, start + n)
    return pd.DataFrame(
        {
            "uid": [f"p-{i}" for i in rows],
            "text": pd.array(["told" for _ in rows], dtype="string"),
            "example_uids": [["c"] * (i > 1) for i in rows],
            "kept": [i % 2 == 0 for i in rows],
        }
    )


def test_a_stream_of_tables_reads_as_one_private_file(run):
    run.write_stream("generated/p.parquet", (parts(2, n) for n in range(0, 6, 2)))
    table = run.read("generated/p.parquet")
    assert table["uid"].tolist() == [f"p-{i}" for i in range(6)]
    assert [list(uids) for uids in table["example_uids"]] == [[], [], ["c"], ["c"], ["c"], ["c"]]
    assert stat.S_IMODE(run.path("generated/p.parquet").stat().st_mode) == 0o600
    assert run.written_by(run.stage) == ["generated/p.parquet"]


def test_a_stream_that_breaks_leaves_what_was_there(run):
    run.write_stream("generated/p.parquet", [parts(2)])

    def broken():
        yield parts(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.write_stream("generated/p.parquet", broken())
    assert len(run.read("generated/p.parquet")) == 2
    assert [p.name for p in run.path("generated").iterdir()] == ["p.parquet"]
    with pytest.raises(ValueError, match="no table"):
        run.write_stream("generated/q.parquet", [])


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path):
    left, living = tmp_path / ".a.json.999999999.part", tmp_path / ".a.json.1.part"
    left.write_text("half"), living.write_text("another process is writing")
    write_json(tmp_path / "a.json", 1)
    assert not left.exists() and living.exists()


def test_the_pools_of_another_run_are_taken_over_whole(run, tmp_path):
    other = Run(tmp_path / "other", "02_generation")
    other.write_stream("generated/p.parquet", [parts(2), parts(2, 2)])
    assert run.take_pools(other) == ["p"]
    assert run.read("generated/p.parquet").equals(other.read("generated/p.parquet"))
    run.drop_pools(but=["p"])
    assert run.has("generated/p.parquet")


def test_an_older_run_has_no_twins_and_every_training_case_alone(tmp_path):
    run = Run(tmp_path, "01_test")
    splits = ["train", "test", "train"]
    run.write("cases.parquet", pd.DataFrame({"split": splits}, index=uids(3)))
    found = run.clusters()
    assert found["cluster"].dropna().nunique() == 2 and found["cluster"].isna().tolist() == [
        False,
        True,
        False,
    ]
    assert found["twin"].tolist() == [""] * 3
    assert run.groups().index.equals(found.index) and run.groups().shape == (3, 0)


def test_sets_and_groups_of_cases_are_read_as_they_were_written(tmp_path):
    run = Run(tmp_path, "01_test")
    kin = pd.DataFrame({"cluster": pd.array([4, 4, None], "Int64"), "twin": ["", "", "u001"]}, uids(3))
    groups = pd.DataFrame({"Site": ["A", "", "B"]}, uids(3))
    run.write("clusters.parquet", kin)
    assert mode(run.write("groups.parquet", groups)) == 0o600
    pd.testing.assert_frame_equal(run.clusters(), kin, check_dtype=False, check_index_type=False)
    pd.testing.assert_frame_equal(run.groups(), groups, check_dtype=False, check_index_type=False)
    run.write("groups.parquet", pd.DataFrame(index=uids(3)))
    assert run.groups().shape == (3, 0)
