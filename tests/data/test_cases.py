"""Good folders load exactly; every broken one is one line that names the place, never the text."""

from dataclasses import replace

import pandas as pd
import pytest

from narrutils.data import cases, demo
from narrutils.data.cases import Dataset, load_data, stack_splits
from narrutils.data.intake.folder import NEEDED
from narrutils.data.intake.schema_file import parse_schema
from narrutils.errors import InputError

SCHEMA = parse_schema(
    {
        "text": [{"name": "First"}, {"name": "Second"}],
        "variables": [
            {"name": "Sad"},
            {"name": "Note"},
            {"name": "Place", "classes": {1: "in", 2: "out", 3: "?"}},
        ],
    },
    "toy.yaml",
)
SECRET = "V was found"
FILES = {
    "train_features.csv": f'uid,First,Second\nNULL,"{SECRET}, alone",NA\n'
    '0012,"two\nlines ""quoted""",\nCCCC,x,y\n',
    "train_labels.csv": "uid,Sad,Note,Place\n0012,0,1,3\nNULL,1,0,1\nCCCC,0,0,2\n",
    "test_features.csv": "uid,First,Second\nDDDD,a,b\nEEEE,c,d\n",
    "test_labels.csv": "uid,Sad,Note,Place\nDDDD,1,1,1\nEEEE,0,0,2\n",
    "submission_format.csv": "uid,Sad,Note,Place\nEEEE,0,0,1\nDDDD,0,0,1\n",
    "truth.csv": "uid,Sad,Note,Place\n"
    + "".join(f"{u},1,0,2\n" for u in ("DDDD", "EEEE", "CCCC", "NULL", "0012")),
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        tmp_path.joinpath(name).write_bytes(text.encode())
    return tmp_path


def test_values_arrive_as_they_were_written(folder):
    found = load_data(folder, SCHEMA)
    assert list(found.train.index) == ["NULL", "0012", "CCCC"]
    assert found.train.loc["0012", "First"] == 'two\nlines "quoted"'
    assert found.train.loc["NULL", "Second"] == "NA"
    assert found.train.loc["0012", "Second"] == ""
    assert found.train.loc["NULL", ["Sad", "Note", "Place"]].tolist() == [1, 0, 1]
    assert found.submission_uids == ["EEEE", "DDDD"]
    assert list(found.truth.index) == [*found.train.index, *found.test.index]
    assert set(found.hashes) == set(FILES)
    assert found.train.index.name == "uid"
    assert (found.test.dtypes[SCHEMA.names] == "Int64").all()


def test_a_variable_may_be_called_as_python_calls_things(tmp_path):
    schema = parse_schema({"text": [{"name": "index"}], "variables": [{"name": "self"}]}, "odd.yaml")
    for split in ("train", "test"):
        tmp_path.joinpath(f"{split}_features.csv").write_text(f"uid,index\n{split},fell\n")
    tmp_path.joinpath("train_labels.csv").write_text("uid,self\ntrain,1\n")
    test = load_data(tmp_path, schema).test
    assert test["self"].isna().all() and test.dtypes["self"] == "Int64"
    assert list(test.columns) == ["index", "self"]


def test_optional_files_may_be_absent(folder):
    for name in ("test_labels.csv", "submission_format.csv", "truth.csv"):
        folder.joinpath(name).unlink()
    found = load_data(folder, SCHEMA)
    assert found.truth is None
    assert found.submission_uids == ["DDDD", "EEEE"]
    assert found.test[SCHEMA.names].isna().all(axis=None)


def test_hash_changes_with_the_file_alone(folder):
    before = load_data(folder, SCHEMA).hashes
    path = folder / "train_features.csv"
    path.write_text(path.read_text().replace("x,y", "x,z"))
    after = load_data(folder, SCHEMA).hashes
    assert {name for name in after if after[name] != before[name]} == {"train_features.csv"}


BROKEN = {
    "missing column": (
        "train_features.csv",
        "uid,First,Second",
        "uid,First",
        ["line 1", "Second is missing"],
    ),
    "extra column": ("truth.csv", "uid,Sad", "uid,Weight,Sad", ["line 1", "Weight", "remove it"]),
    "misnamed column": ("train_labels.csv", "uid,Sad", "uid,Sadd", ["line 1", "Sadd", "did you mean Sad?"]),
    "twice the same column": ("train_labels.csv", "Note,Place", "Note,Note", ["line 1", "Place"]),
    "label out of range": (
        "train_labels.csv",
        "NULL,1,0,1",
        "NULL,1,0,7",
        ["line 3", "Place", "7", "1, 2, 3"],
    ),
    "label not an integer": (
        "train_labels.csv",
        "NULL,1,0,1",
        "NULL,0.5,0,1",
        ["line 3", "Sad", "0.5", "integer"],
    ),
    "label is text": ("train_labels.csv", "NULL,1,0,1", f"NULL,{SECRET},0,1", ["line 3", "Sad", "integer"]),
    "truth without a label": ("truth.csv", "DDDD,1,0", "DDDD,1,", ["line 2", "Note", "must be whole"]),
    "no label at all": (
        "train_labels.csv",
        "0012,0,1,3\nNULL,1,0,1\nCCCC,0,0,2\n",
        "0012,,,\nNULL,,,NA\nCCCC,,,.\n",
        ["no training case has a label"],
    ),
    "a number with a point": ("train_labels.csv", "0012", "12.0", ["line 2", "uid 12.0", "such as .0"]),
    "a lost zero": ("train_labels.csv", "0012", "12", ["line 2", "uid 12", "other zeros"]),
    "uid twice": ("train_features.csv", "CCCC", "NULL", ["line 5", "NULL", "line 2"]),
    "uid empty": ("train_features.csv", "CCCC", "", ["line 5", "uid", "empty"]),
    "unlabelled case": (
        "train_labels.csv",
        "CCCC,0,0,2\n",
        "",
        ["train_features.csv: line 5", "CCCC", "empty cells"],
    ),
    "label without a case": ("test_features.csv", "EEEE,c,d\n", "", ["test_labels.csv: line 3", "EEEE"]),
    "submission lacks a case": ("submission_format.csv", "DDDD,0,0,1\n", "", ["DDDD", "test_features.csv"]),
    "submission in another order": (
        "submission_format.csv",
        "Sad,Note",
        "Note,Sad",
        ["column 2", "Note", "Sad"],
    ),
    "truth of an unknown case": ("truth.csv", "DDDD", "ZZZZ", ["line 2", "ZZZZ"]),
    "too many fields": ("train_features.csv", "x,y", "x,y,z", ["line 5", "4 fields", "3"]),
    "open quote": ("train_features.csv", "x,y", 'x,"y', ["line 5", "CSV"]),
    "semicolons": ("test_features.csv", "uid,First,Second", "uid;First;Second", ["line 2", "semicolons"]),
    "no rows": ("test_features.csv", "DDDD,a,b\nEEEE,c,d\n", "", ["no rows"]),
    "nothing": ("test_features.csv", FILES["test_features.csv"], "", ["empty"]),
    "no header": (
        "test_features.csv",
        "uid,First,Second\n",
        f'"{SECRET} on the first","b","c"\n',
        ["line 1"],
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_one_line_that_names_its_place(folder, fault):
    name, old, new, said = BROKEN[fault]
    text = FILES[name]
    assert old in text
    folder.joinpath(name).write_bytes(text.replace(old, new, 1).encode())
    task = replace(SCHEMA, extra_columns="refuse") if fault == "extra column" else SCHEMA
    with pytest.raises(InputError) as caught:
        load_data(folder, task)
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    assert ".csv" in line
    for part in said:
        assert part in line


def test_a_case_in_both_splits_is_refused(folder):
    for name in ("train_features.csv", "train_labels.csv"):
        folder.joinpath(name).write_bytes(FILES[name].replace("CCCC", "DDDD").encode())
    with pytest.raises(
        InputError, match=r"test_features.csv: line 2: uid DDDD is in train_features.csv too \(line 5\)"
    ):
        load_data(folder, SCHEMA)


def test_another_encoding_is_read_and_said_and_two_are_named_with_their_lines(folder):
    path = folder / "train_features.csv"
    path.write_bytes(path.read_bytes().replace(b"x,y", b"caf\xe9,y"))
    found = load_data(folder, SCHEMA)
    assert found.train.loc["CCCC", "First"] == "café"
    assert found.notes == ["train_features.csv: read as cp1252 (Western European)"]
    path.write_bytes(path.read_bytes().replace(b"NA\n", "é\n".encode()))
    with pytest.raises(InputError, match="line 5 is not UTF-8, line 2 not cp1252"):
        load_data(folder, SCHEMA)


def test_byte_order_mark_and_windows_lines_are_fine(folder):
    text = FILES["test_features.csv"].replace("\n", "\r\n")
    folder.joinpath("test_features.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_data(folder, SCHEMA).test.loc["EEEE", "Second"] == "d"


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(folder, name):
    folder.joinpath(name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_data(folder, SCHEMA)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_data(tmp_path / "none", SCHEMA)


def write(folder, name, text):
    folder.joinpath(name).write_text(text, encoding="utf-8")


def test_labels_however_they_are_written_are_the_same_and_each_form_is_said(folder):
    right = load_data(folder, SCHEMA)
    write(folder, "train_labels.csv", "uid,Sad,Note,Place\n0012,0.0,Yes,?\nNULL,1.0,No,IN\nCCCC,0.0,n,out\n")
    found = load_data(folder, SCHEMA)
    pd.testing.assert_frame_equal(found.train, right.train)
    assert right.notes == []
    assert found.notes == [
        "train_labels.csv: labels given by the names of classes are read as codes: Place 3",
        "train_labels.csv: labels written like 1.0 are read as codes: Sad 3",
        "train_labels.csv: labels written like Yes are read as codes: Note 3",
    ]


def test_missing_labels_are_null_and_counted(folder):
    write(folder, "train_labels.csv", "uid,Sad,Note,Place\n0012,,1,3\nNULL,1,0,NA\nCCCC,0,0,.\n")
    write(folder, "test_labels.csv", "uid,Sad,Note,Place\nEEEE,0,,2\n")  # and a row is missing
    found = load_data(folder, SCHEMA)
    assert found.train.isna().to_numpy().tolist() == [
        [False, False, False, False, True],
        [False, False, True, False, False],
        [False, False, False, False, True],
    ]
    assert found.test.loc["DDDD", SCHEMA.names].isna().all()
    assert (found.train.dtypes[SCHEMA.names] == "Int64").all()
    assert found.notes == [
        "train_labels.csv: labels are missing: Sad 1, Place 2 (of 3 cases)",
        "test_labels.csv: labels are missing: Sad 1, Note 2, Place 1 (of 2 cases, 1 of them without any)",
        "train_labels.csv: all cases have the same label of Place 3",
    ]


def test_a_code_of_the_schema_for_unknown_is_no_label_and_may_be_refused(folder):
    unknown = [replace(v, missing=("9",)) for v in SCHEMA.variables]
    write(folder, "test_labels.csv", "uid,Sad,Note,Place\nDDDD,9,1,9.0\nEEEE,0,0,2\n")
    found = load_data(folder, replace(SCHEMA, variables=tuple(unknown)))
    assert found.test.loc["DDDD"].isna().tolist() == [False, False, True, False, True]
    strict = [replace(v, missing=()) for v in SCHEMA.variables]
    write(folder, "test_labels.csv", "uid,Sad,Note,Place\nDDDD,1,,1\nEEEE,0,0,2\n")
    with pytest.raises(InputError, match="line 2, column Note: the label is empty; .* every case has one"):
        load_data(folder, replace(SCHEMA, variables=tuple(strict)))


def test_a_variable_without_any_label_is_said(folder):
    write(folder, "train_labels.csv", "uid,Sad,Note,Place\n0012,,1,3\nNULL,,0,1\nCCCC,,0,2\n")
    assert "train_labels.csv: no case has a label of Sad" in load_data(folder, SCHEMA).notes


@pytest.fixture
def auxiliary():
    """The task with Note, which stands between the others, auxiliary."""
    return replace(SCHEMA, variables=tuple(replace(v, auxiliary=v.name == "Note") for v in SCHEMA.variables))


def without_note(folder, name):
    table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
    table.drop(columns="Note").to_csv(folder / name, index=False)


def test_an_auxiliary_variable_may_have_no_column_in_any_file(folder, auxiliary):
    whole = load_data(folder, auxiliary)
    assert whole.train["Note"].tolist() == [0, 1, 0]
    assert whole.notes == ["submission_format.csv: auxiliary, so in no submission: Note"]
    for name in FILES:
        if not name.endswith("features.csv"):
            without_note(folder, name)
    found = load_data(folder, auxiliary)
    for table in (found.train, found.test, found.truth):
        assert table["Note"].isna().all() and table["Note"].dtype == "Int64"
    pd.testing.assert_frame_equal(found.train.drop(columns="Note"), whole.train.drop(columns="Note"))
    assert found.submission_uids == ["EEEE", "DDDD"]
    assert found.notes == [
        "train_labels.csv, test_labels.csv, truth.csv: no column of the auxiliary Note",
        "train_labels.csv: no case has a label of Note",
    ]
    with pytest.raises(InputError, match="train_labels.csv: line 1: column Note is missing"):
        load_data(folder, SCHEMA)


def test_cells_of_an_auxiliary_variable_may_be_empty_and_are_counted(folder, auxiliary):
    path = folder / "train_labels.csv"
    path.write_text(FILES["train_labels.csv"].replace("CCCC,0,0,2", "CCCC,0,,2"))
    found = load_data(folder, auxiliary)
    assert found.train["Note"].isna().tolist() == [False, False, True]
    assert "train_labels.csv: labels are missing: Note 1 (of 3 cases)" in found.notes


def test_labels_of_auxiliary_variables_alone_teach_nothing_that_is_scored(folder, auxiliary):
    path = folder / "train_labels.csv"
    path.write_text("uid,Sad,Note,Place\n0012,,1,\nNULL,,0,\nCCCC,,0,\n")
    with pytest.raises(InputError, match="train_labels.csv: no training case has a label"):
        load_data(folder, auxiliary)


def test_beside_the_features_a_scored_column_is_needed_and_an_auxiliary_one_is_not(folder, auxiliary):
    right = load_data(folder, auxiliary)
    for split, table in (("train", right.train), ("test", right.test)):
        (folder / f"{split}_labels.csv").unlink()
        table.drop(columns="Note").reset_index().to_csv(folder / f"{split}_features.csv", index=False)
    found = load_data(folder, auxiliary)
    assert found.train["Sad"].tolist() == right.train["Sad"].tolist() and found.train["Note"].isna().all()
    right.test.drop(columns="Sad").reset_index().to_csv(folder / "test_features.csv", index=False)
    with pytest.raises(InputError, match="test_features.csv has no column Sad"):
        load_data(folder, auxiliary)
    right.test[["First", "Second", "Note"]].reset_index().to_csv(folder / "test_features.csv", index=False)
    assert load_data(folder, auxiliary).test[SCHEMA.names].isna().all(axis=None)


def test_a_file_that_another_one_stands_before_is_told(folder):
    folder.joinpath("train.csv").write_text("uid,Old\n")
    assert "train.csv: not read, as train_features.csv is there" in load_data(folder, SCHEMA).notes


@pytest.mark.parametrize("names", [("train_features.csv", "test_features.csv"), ("train.csv", "test.csv")])
def test_features_and_labels_may_stand_in_one_file(folder, names):
    right = load_data(folder, SCHEMA)
    for name, table in zip(names, (right.train, right.test)):
        for part in ("features", "labels"):
            folder.joinpath(f"{name.split('_')[0].removesuffix('.csv')}_{part}.csv").unlink()
        table.reset_index().to_csv(folder / name, index=False)
    found = load_data(folder, SCHEMA)
    pd.testing.assert_frame_equal(found.train, right.train)
    pd.testing.assert_frame_equal(found.test, right.test)
    right.test.drop(columns="Note").reset_index().to_csv(folder / names[1], index=False)
    with pytest.raises(InputError, match=f"test_labels.csv: no such file, and {names[1]} has no column Note"):
        load_data(folder, SCHEMA)
    right.test[["First", "Second"]].reset_index().to_csv(folder / names[1], index=False)
    assert load_data(folder, SCHEMA).test[SCHEMA.names].isna().all(axis=None)


def test_labels_in_both_files_are_read_from_their_own(folder):
    right = load_data(folder, SCHEMA)
    right.train.assign(Sad=0).reset_index().to_csv(folder / "train_features.csv", index=False)
    found = load_data(folder, replace(SCHEMA, extra_columns="refuse"))
    pd.testing.assert_frame_equal(found.train, right.train)
    said = "train_features.csv: train_labels.csv holds the labels; not read: Sad, Note, Place"
    assert found.notes == [said]


def test_every_file_may_be_of_another_kind(folder):
    right = load_data(folder, SCHEMA)
    read = lambda name: pd.read_csv(folder / name, dtype=str, keep_default_na=False)  # noqa: E731
    read("train_features.csv").to_parquet(folder / "train_features.parquet")
    read("train_labels.csv").to_excel(folder / "Train_Labels.XLSX", index=False, engine="openpyxl")
    read("test_features.csv").to_csv(folder / "test_features.csv.gz", index=False)
    read("truth.csv").to_csv(folder / "truth.txt", index=False, sep="|")
    for name in ("train_features.csv", "train_labels.csv", "test_features.csv", "truth.csv"):
        folder.joinpath(name).unlink()
    found = load_data(folder, SCHEMA)
    for part in ("train", "test", "truth"):
        pd.testing.assert_frame_equal(getattr(found, part), getattr(right, part))
    assert sorted(found.hashes) == sorted(p.name for p in folder.iterdir())
    assert found.notes == ["truth.txt: columns are separated by bars"]


def test_two_files_of_one_kind_are_refused(folder):
    folder.joinpath("test_features.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"test_features.csv and test_features.parquet are one; remove one"):
        load_data(folder, SCHEMA)


def test_groups_are_text_of_all_cases(folder):
    for name in ("train_features.csv", "test_features.csv"):
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        table["Site"], table["Year"] = "01", [""] + ["2019"] * (len(table) - 1)
        table.to_csv(folder / name, index=False)
    plain = load_data(folder, SCHEMA)
    assert plain.groups.shape == (5, 0)
    both = "train_features.csv, test_features.csv: further columns are"
    assert plain.notes == [f"{both} not read: Site, Year"]
    named = load_data(folder, replace(SCHEMA, groups=("Site",), keep_together=("Year",)))
    assert named.notes == []
    kept = load_data(folder, replace(SCHEMA, extra_columns="keep"))
    assert kept.notes == [f"{both} kept as groups: Site, Year"]
    for found in (named, kept):
        assert list(found.groups.index) == ["NULL", "0012", "CCCC", "DDDD", "EEEE"]
        assert found.groups.index.name == "uid"
        assert found.groups["Site"].tolist() == ["01"] * 5
        assert found.groups["Year"].tolist() == ["", "2019", "2019", "", "2019"]
        pd.testing.assert_frame_equal(found.train, plain.train)
    pd.read_csv(folder / "test_features.csv").drop(columns="Year").to_csv(
        folder / "test_features.csv", index=False
    )
    kept = load_data(folder, replace(SCHEMA, extra_columns="keep"))
    assert kept.groups["Year"].tolist() == ["", "2019", "2019", "", ""]
    with pytest.raises(InputError, match="train_features.csv: line 1: column Town is missing"):
        load_data(folder, replace(SCHEMA, groups=("Town",)))
    some = load_data(folder, replace(SCHEMA, groups=("Site",), optional_groups=("Site", "Year", "Town")))
    assert sorted(some.groups) == ["Site", "Year"]


def test_columns_may_be_called_otherwise_in_files(folder):
    right = load_data(folder, SCHEMA)
    for name, text in FILES.items():
        write(
            folder,
            name,
            text.replace("uid,", "Case no,", 1).replace("First", "Police: 1").replace("Sad", "sad?"),
        )
    text = (replace(SCHEMA.text[0], column="Police: 1"), SCHEMA.text[1])
    variables = (replace(SCHEMA.variables[0], column="sad?"), *SCHEMA.variables[1:])
    found = load_data(folder, replace(SCHEMA, uid="Case no", text=text, variables=variables))
    for part in ("train", "test", "truth"):
        pd.testing.assert_frame_equal(getattr(found, part), getattr(right, part))


def test_embedded_corpus_is_made_once_and_whole(tmp_path, monkeypatch):
    calls = []

    def write(folder, cases, seed):
        calls.append((cases, seed))
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"uid": ["A"]}).to_csv(folder / "train_features.csv")
        if len(calls) == 1:
            raise OSError("disk full")

    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "write_demo_data", write, raising=False)
    with pytest.raises(OSError, match="disk full"):
        cases.embedded_data(50, 3)
    first, second = cases.embedded_data(50, 3), cases.embedded_data(50, 3)
    assert first == second
    assert first.joinpath("train_features.csv").exists()
    assert first.is_relative_to(tmp_path)
    assert calls == [(50, 3), (50, 3)]
    assert cases.embedded_data(50, 4) != first


def dataset(n: int = 40) -> Dataset:
    train, test = (pd.DataFrame({"First": ""}, index=[f"{s}{i}" for i in range(n)]) for s in "ab")
    return Dataset(train, test, None, list(test.index))


def drawn(*choice) -> list[str]:
    cases = stack_splits(dataset(), *choice)
    assert (cases["split"] == "test").sum() == 40
    return list(cases.index[cases["split"] == "train"])


def test_a_draw_of_training_cases_is_a_sample_in_the_order_of_the_file():
    sample = set(dataset().train.sample(n=12, random_state=3).index)
    assert drawn(12, 3) == [uid for uid in dataset().train.index if uid in sample]
    alone = pd.Series(range(40), dataset().train.index)
    assert drawn(12, 3, alone) == drawn(12, 3)
    assert drawn(0, 3, alone) == list(dataset().train.index)
    with pytest.raises(InputError, match="train_cases is 41, but there are 40"):
        drawn(41)


def test_whole_sets_are_drawn():
    numbers = pd.Series([n // 3 for n in range(36)] + [20, 21, 22, 23], dataset().train.index)
    for most in (1, 5, 12, 40):
        found = drawn(most, 3, numbers)
        sizes = numbers[found].value_counts()
        assert len(found) == most  # single cases fill it up
        assert (sizes == numbers.value_counts()[sizes.index]).all()
    threes = pd.Series([min(n // 3, 12) for n in range(40)], dataset().train.index)  # and a set of four
    assert sorted(threes[drawn(7, 3, threes)].value_counts()) in ([3, 3], [3, 4])
    assert len(drawn(38, 3, threes)) in (36, 37)
    with pytest.raises(InputError, match="train_cases is 2; the smallest set"):
        drawn(2, 3, threes)
