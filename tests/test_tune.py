"""`narrutils tune` on a finished run: what it needs, what it leaves, and the profile that it writes."""

import shutil

import pytest
import searches
from deployments import record

from narrutils.cli import main
from narrutils.data import sources
from narrutils.data.files import digest, read_json, write_json
from narrutils.data.intake.yaml_files import load_yaml
from narrutils.data.run import Run
from narrutils.data.stages import RECORD
from narrutils.errors import InputError
from narrutils.paths import PROJECT
from narrutils.pipeline.preflight import settled
from narrutils.pipeline.profiles import load_profile
from narrutils.pipeline.runner import locked
from narrutils.tune import Asked, plan, tune

pytestmark = pytest.mark.slow

SPACE = """
space:
  linear_c: {low: 0.1, high: 100, log: true}
  soft_epochs: {low: 0, high: 2}
first: {linear_c: 0.2}
"""
PROFILE = """
run: toy
description: a toy # with a comment
shared:
  schema: params/schemas/nvdrs.yaml
  show_text: false
03_relabeling: {method: noise_model}
04_deberta:
  epochs: 2
  options: {student: linear, linear_c: 3.0}
"""
BEFORE = ("01_eda", "02_generation", "03_relabeling")


@pytest.fixture
def toy(tmp_path):
    """The path of a profile whose run has gone to 03 in `tmp_path / "outputs"`, and of a search space."""
    run = searches.toy_run(tmp_path / "outputs/toy", cases=48, tested=24)
    names = {"01_eda": ("schema.json", "cases.parquet", "folds.parquet"), "02_generation": ()}
    names["03_relabeling"] = ("labels/corrected.parquet", "labels/correction.json")
    for n, stage in enumerate(BEFORE):
        record(run, stage, *names[stage], before=BEFORE[:n])
        (run.folder / f"{stage}.ipynb").write_text('{"cells": []}')
    profile = settled(load_profile(write(tmp_path, "toy.yaml", PROFILE)), run.folder)
    write_json(run.path("run.json"), {"run": "toy", "parameters": profile.parameters, "stages": {}})
    write(tmp_path, "space.yaml", SPACE)
    return tmp_path


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def asked(toy, trials=3, stage="04", profile="toy.yaml", **more):
    given = {"space": toy / "space.yaml", "outputs": toy / "outputs"} | more
    return Asked(load_profile(toy / profile, more.pop("pairs", ())), stage, trials, **given)


def words(toy, *more):
    return ["tune", str(toy / "toy.yaml"), "--outputs", str(toy / "outputs"), "--space",
            str(toy / "space.yaml"), "--stage", "04", *more]  # fmt: skip


@pytest.fixture
def no_report(monkeypatch):
    """Stand-in notebooks make no report."""
    monkeypatch.setattr("narrutils.report.build.build_report", lambda folder: folder / "report/index.html")


def test_it_tells_what_it_found_and_leaves_the_run_as_it_was(toy, no_report, capsys):
    folder = toy / "outputs/toy"
    before = {p.relative_to(folder): digest(p) for p in folder.rglob("*") if p.is_file()}
    assert main(words(toy, "--trials", "3")) == 0
    said = capsys.readouterr().out
    told = ("at most", "trial 3 of 3", "Optimism", "the best trial", "trials over all folds score")
    assert all(word in said for word in told)
    after = {p.relative_to(folder): digest(p) for p in folder.rglob("*") if p.is_file()}
    assert after.items() >= before.items()
    new = {name.as_posix() for name in after.keys() - before.keys()} - {".lock"}
    assert new == {
        f"tuning/04_deberta/{n}" for n in ("study.db", "trials.parquet", "tuning.json", "toy_tuned.yaml")
    }
    texts = [text.encode() for text in Run(folder).cases()["First"]]
    assert not any(text in (folder / name).read_bytes() for name in new for text in texts)


def test_done_once_it_is_only_told_again(toy, no_report, capsys):
    tune(asked(toy))
    first = (toy / "outputs/toy/tuning/04_deberta/tuning.json").read_bytes()
    said = capsys.readouterr().out
    tune(asked(toy))
    again = capsys.readouterr().out
    assert "trial 1" in said and "trial 1" not in again and "Optimism" in again
    assert (toy / "outputs/toy/tuning/04_deberta/tuning.json").read_bytes() == first


def test_the_profile_that_it_writes_is_one_that_run_takes(toy, no_report):
    pairs = [("04.seed", "5"), ("data_dir", "here"), ("r_drop", "0.0")]
    one = Asked(load_profile(toy / "toy.yaml", pairs), "04", 3, toy / "space.yaml", toy / "outputs")
    path = tune(one)
    found, chosen = load_profile(path), one.run.read("tuning/04_deberta/tuning.json")["chosen"]
    options = found.parameters["04_deberta"]["options"]
    assert options["linear_c"] == chosen["linear_c"] and options["student"] == "linear"
    assert found.parameters["04_deberta"]["soft_epochs"] == chosen["soft_epochs"]
    assert (found.run, found.parameters["04_deberta"]["seed"]) == ("toy_tuned", 5)
    assert found.parameters["01_eda"]["data_dir"] == "here"
    others = {stage: values for stage, values in found.parameters.items() if stage != "04_deberta"}
    assert others == {s: v for s, v in one.profile.parameters.items() if s != "04_deberta"}
    head = path.read_text().splitlines()
    assert head[0].startswith("# narrutils run") and "narrutils tune" in head[1]
    assert load_yaml(path)["description"] == "a toy"


def test_a_dry_run_tells_the_cost_and_writes_nothing(toy, capsys):
    assert main(words(toy, "--trials", "20", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "60 for trials" in said and "9 for the honest score" in said and "other seeds" not in said
    assert not (toy / "outputs/toy/tuning").exists() and not (toy / "outputs/toy/.lock").exists()


def test_a_run_that_has_not_come_so_far_is_one_line_with_the_command(toy):
    shutil.rmtree(toy / "outputs/toy")
    with pytest.raises(
        InputError, match=r"01_eda has not run to its end here; first: narrutils run .*toy.yaml"
    ):
        plan(asked(toy))
    assert not (toy / "outputs/toy").exists()


FAULTY = {
    "at least one is needed": ({"trials": 0}, SPACE),
    "no such stage": ({"stage": "09"}, SPACE),
    "cannot be tuned; 04_deberta can be": ({"stage": "05"}, SPACE),
    "--seed and --repeats are 0 or more": ({"seed": -1}, SPACE),
    "no such search space": ({"space": PROJECT / "params/spaces/none.yaml"}, SPACE),
    "unknown name linear_d": ({}, SPACE.replace("linear_c", "linear_d")),
    "linear_c is 'x'": ({}, SPACE.replace("0.2", "x")),
    "give both, or neither": ({}, SPACE + "proxy: {finetune_epochs: 1, student: encoder}\n"),
}


@pytest.mark.parametrize("said", FAULTY)
def test_what_is_wrong_is_one_line(toy, said):
    more, space = FAULTY[said]
    write(toy, "space.yaml", space)
    with pytest.raises(InputError) as caught:
        plan(asked(toy, **more))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_training_code_is_in_the_key_of_trials(toy, tmp_path, monkeypatch):
    before = plan(asked(toy)).key
    copy = shutil.copytree(sources.PACKAGE, tmp_path / "narrutils")
    monkeypatch.setattr(sources, "PACKAGE", copy)
    assert plan(asked(toy)).key == before
    for name in ("training/losses.py", "models/terms/student.py", "crossfit/student.py"):
        path, now = copy / name, plan(asked(toy)).key
        path.write_text(path.read_text() + "\nANOTHER = 1\n")
        assert plan(asked(toy)).key != now


def test_test_cases_and_corrected_labels_do_not_throw_trials_away(toy, no_report, capsys):
    tune(asked(toy))
    run = Run(toy / "outputs/toy")
    path, targets = run.path("labels/corrected.parquet"), run.read("labels/corrected.parquet")
    targets.iloc[0, -1] = 1 - targets.iloc[0, -1]
    capsys.readouterr()
    before = plan(asked(toy))
    targets.to_parquet(path)
    note = run.path(f".stages/03_relabeling{RECORD}")  # as it would stand had 03 run again
    known = read_json(note)
    write_json(note, known | {"files": known["files"] | {"labels/corrected.parquet": digest(path)}})
    assert plan(asked(toy)).key == before.key


def test_a_profile_without_the_stage_that_corrects_is_one_line(toy):
    text = PROFILE.replace("03_relabeling: {method: noise_model}", "leave_out: ['03']")
    write(toy, "toy.yaml", text)
    with pytest.raises(InputError, match="leave_out names 03_relabeling") as caught:
        plan(asked(toy))
    assert "\n" not in str(caught.value)


def test_what_a_killed_search_left_is_removed_once_it_is_found_done(toy, no_report):
    tune(asked(toy))
    work = toy / "outputs/toy/tuning/04_deberta/work"
    assert not work.exists()
    work.mkdir()
    tune(asked(toy))
    assert not work.exists()


def test_trials_of_another_space_or_seed_are_not_gone_on_with(toy, no_report):
    tune(asked(toy, trials=1))
    with pytest.raises(InputError, match="another space, other settings, data or code; remove"):
        tune(asked(toy, trials=1, seed=1))
    write(toy, "space.yaml", SPACE.replace("high: 100", "high: 99"))
    with pytest.raises(InputError, match="another space"):
        tune(asked(toy, trials=1))


def test_nothing_else_may_write_into_the_run_meanwhile(toy):
    with locked(toy / "outputs/toy"), pytest.raises(InputError, match="another run"):
        tune(asked(toy))


def test_without_optuna_one_line_says_what_to_install(toy, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'narrutils\[tuning\]'"):
        plan(asked(toy))


@pytest.mark.parametrize("space, more", [("04_deberta", []), ("04_linear", [("04.student", "linear")])])
def test_the_spaces_of_the_project_fit_its_profiles(toy, space, more):
    given = asked(toy, space=None, profile="toy.yaml")
    for name in ("demo", "full"):
        profile = load_profile(PROJECT / f"params/{name}.yaml", more)
        made = Asked(profile, "04", 1, PROJECT / f"params/spaces/{space}.yaml", given.outputs).search_space()
        assert made.holds(made.first) and not made.has_proxy
