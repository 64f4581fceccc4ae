"""The fast profile is started with the cases and folds of the run that teaches, and with nothing else."""

import pytest

from narrutils.cli import main
from narrutils.data.files import read_json, write_json
from narrutils.errors import InputError
from narrutils.pipeline.distill import ALIKE, CASES, fast_profile
from narrutils.pipeline.profiles import load_profile

OTHER = {"demo_cases": 120, "train_cases": 60, "folds": 5, "duplicate_similarity": 0.5, "seed": 7}
OTHER |= {"threshold_search": "grid", "show_text": True, "precision": "float32", "data_dir": "010"}


@pytest.fixture
def folder(tmp_path):
    """The folder of a run whose cases and ways are not those of the notebooks."""
    values = load_profile("params/demo.yaml").parameters
    write_json(
        tmp_path / "big/run.json",
        {
            "run": "big",
            "parameters": {s: v | {n: OTHER[n] for n in OTHER if n in v} for s, v in values.items()},
        },
    )
    return tmp_path / "big"


def test_cases_folds_and_ways_are_those_of_the_run_that_teaches(folder):
    profile, known = fast_profile(folder), read_json(folder / "run.json")["parameters"]["01_eda"]
    first = profile.parameters["01_eda"]
    assert {name: first[name] for name in OTHER} == OTHER
    assert {name: first[name] for name in (*CASES, *ALIKE)} == {
        name: known[name] for name in (*CASES, *ALIKE)
    }
    for stage, values in profile.parameters.items():
        assert {n: values[n] for n in ALIKE if n in values} == {n: OTHER[n] for n in ALIKE if n in values}
        assert values.get("previous_run", str(folder)) == str(folder), stage
    assert profile.run == "big_fast" and profile.left_out == ["05_gemma_lora"]
    assert profile.parameters["04_deberta"]["seed"] == 0  # of the student's training, and not of the draw


#: Parameters of the first notebook that decide neither cases nor folds, and may differ.
OTHERS = {"run_dir", "backbone", "budgets", "companions", "nested", "truncation"}


def test_whoever_adds_a_parameter_says_whether_it_decides_cases_or_folds():
    declared = load_profile("params/demo.yaml").declared["01_eda"]
    assert {*CASES, *ALIKE} | OTHERS == {*declared}
    assert not OTHERS & {*CASES, *ALIKE}


def test_it_is_the_same_as_to_run_the_profile_with_these_pairs(folder):
    profile = fast_profile(folder, [("unlabelled", "more.csv"), ("run", "small")])
    again = load_profile("params/fast.yaml", profile.overrides)
    assert again.parameters == profile.parameters and again.run == profile.run == "small"
    assert profile.parameters["01_eda"]["unlabelled"] == "more.csv"


def test_the_profile_alone_says_what_it_needs():
    with pytest.raises(InputError, match=r"fast.yaml: needs previous_run; give it with `-p previous_run"):
        load_profile("params/fast.yaml")


@pytest.mark.parametrize("key", ["folds", "seed", "01.seed", "01_eda.train_cases"])
def test_other_cases_or_folds_than_the_teachers_are_refused(folder, key):
    with pytest.raises(InputError, match=f"-p {key}: a student has the cases and folds of its teacher"):
        fast_profile(folder, [(key, "4")])


def test_the_seed_of_its_training_is_its_own(folder):
    assert fast_profile(folder, [("04.seed", "4")]).parameters["04_deberta"]["seed"] == 4


def line(capsys, *words) -> str:
    """What the command says; it ends as a mistake of the user does, and makes no folder."""
    assert main(["distill", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err


def test_what_cannot_teach_is_one_line_and_nothing_is_made(folder, tmp_path, capsys):
    known = read_json(folder / "run.json")
    assert "nowhere: no such run folder" in line(capsys, "--run", tmp_path / "nowhere")
    said = line(capsys, "--run", folder, "-p", "data_dir", "", "-p", "show_text", "false")
    assert "previous_run is" in said and "01_eda is not finished there" in said
    del known["parameters"]["01_eda"]["duplicate_similarity"]
    write_json(folder / "run.json", known)
    assert "does not tell duplicate_similarity of 01_eda: unfinished, or of another version" in line(
        capsys, "--run", folder
    )
    assert [path.name for path in tmp_path.iterdir()] == ["big"]
