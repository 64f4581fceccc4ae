"""Cycles: what gains is kept, the next one starts there, and the test split has no say in it."""

import nbformat
import pytest
from toys import random_probabilities

from narrutils.crossfit.rounds import gain_over, gain_since
from narrutils.data import stages
from narrutils.data.files import digest, read_json
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation import ladder
from narrutils.evaluation.stacking import form
from narrutils.pipeline import cycle, runner
from narrutils.pipeline.cycle import last_kept, plan_cycles, run_cycles
from narrutils.pipeline.preflight import forecast, preflight
from narrutils.pipeline.runner import RunFailed

pytestmark = pytest.mark.slow

PARAMETERS = """\
run_dir: str = "../outputs/toy"  # set by the runner
schema: str = "toy.yaml"  # what is coded
previous_run: str = ""  # the run to start from
cycle: int = 0  # number of this run in a series
skills: list = [0.7, 0.6, 0.9, 0.8, 0.97]  # share of right codes, by cycle
"""

#: What the toy notebook does, and a stand-in for it in this process: a model of a set skill.
SOURCE = """\
import numpy as np
import pandas as pd

from narrutils.data.run import Run
from narrutils.data.intake.schema_file import load_schema
from narrutils.evaluation.stacking import form

run, task = Run(run_dir, stage="01_toy"), load_schema(schema)
rng = np.random.default_rng(0)
uids = pd.Index([f"u{n:03d}" for n in range(160)], name="uid")
codes = lambda: pd.DataFrame({v.name: rng.choice(v.codes, 160) for v in task.variables}, index=uids)
labels, wrong = codes(), codes()
sure = np.random.default_rng(cycle + 1).random(labels.shape)
cases = labels.assign(Text=[f"case {n}" for n in range(160)], split=["train"] * 120 + ["test"] * 40)
run.write("schema.json", task.to_dict())
run.write("cases.parquet", cases)
run.write("folds.parquet", pd.DataFrame({"uid": uids[:120], "fold": [n % 4 for n in range(120)]}))
told = labels.where(sure < skills[cycle], wrong)
table = task.from_logits(4 * task.to_targets(told).to_numpy() - 2, uids)
for model in ("ensemble", "single"):
    run.write_probabilities(f"predictions/{model}_oof.parquet", table[:120], task)
    run.write_probabilities(f"predictions/{model}_test.parquet", table[120:], task)
pool = pd.DataFrame({"uid": [f"g{cycle}{n}" for n in range(5)], "kept": [n < 3 + cycle for n in range(5)]})
pool = pool.assign(model="writer", backend="stub", pool="p", seen_folds=[[0]] * 5, reason="")
run.write("generated/p.parquet", pool.assign(Text="words"))
run.write("from.json", {"previous": previous_run})
"""

SCHEMA = """\
text: [{name: Text}]
variables: [{name: Sad}, {name: Place, classes: {1: in, 2: out, 3: unknown}}, {name: Note}]
"""


class Bench:
    """A toy notebook, its profile and an outputs folder."""

    def __init__(self, folder):
        self.notebooks, self.outputs, self.params = folder / "notebooks", folder / "out", folder / "toy.yaml"
        self.notebooks.mkdir()
        folder.joinpath("schema.yaml").write_text(SCHEMA)
        self.params.write_text(f"shared: {{schema: {folder / 'schema.yaml'}}}\n")
        self.place(PARAMETERS)
        self.schema = load_schema(folder / "schema.yaml")

    def place(self, parameters):
        cells = [nbformat.v4.new_code_cell(source) for source in (parameters, SOURCE)]
        cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.notebooks / "01_toy.ipynb")

    def plan(self, cycles, *overrides):
        return plan_cycles(self.params, cycles, overrides, self.outputs, self.notebooks)

    def run(self, name):
        return Run(self.outputs / name, "01_toy")

    def contents(self):
        files = [p for p in sorted(self.outputs.rglob("*")) if p.is_file()]
        return {str(p.relative_to(self.outputs)): digest(p) for p in files}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def quick(bench, monkeypatch):
    """The toy notebook runs in this process; `started` holds (run, previous run, cycle), in order."""
    bench.started, bench.fail_on = [], ""

    def run_profile(profile, notebooks, outputs):
        values = profile.parameters["01_toy"]
        bench.started.append((profile.run, values["previous_run"], values["cycle"]))
        if profile.run == bench.fail_on:
            raise RunFailed("stopped")
        exec(SOURCE, dict(values) | {"run_dir": outputs / profile.run})

    monkeypatch.setattr(runner, "run_profile", run_profile)
    return bench


def test_only_a_gain_is_kept_and_the_next_cycle_starts_from_the_last_kept(quick, capsys):
    records = run_cycles(quick.plan(4))
    assert quick.started == [
        ("toy", "", 0),
        ("toy_cycle1", "toy", 1),
        ("toy_cycle2", "toy", 2),
        ("toy_cycle3", "toy_cycle2", 3),
        ("toy_cycle4", "toy_cycle2", 4),
    ]
    assert [r["kept"] for r in records] == [True, False, True, False, True]
    assert [r["previous_run"] for r in records] == [None, "toy", "toy", "toy_cycle2", "toy_cycle2"]
    assert [r["generated_rows"] for r in records] == [3, 4, 5, 5, 5]
    assert records[0]["gain"] is None
    for record in records[1:]:
        assert record["gain_low"] < record["gain"] < record["gain_high"]
        assert record["kept"] == (record["gain"] > 0)
        assert read_json(quick.outputs / record["run"] / "cycle.json") == record
    assert read_json(quick.outputs / "toy/cycles.json") == records
    assert str(quick.outputs) not in str(records)
    said = capsys.readouterr().out
    assert "toy_cycle4 is the one to use" in said
    assert "a little optimistic; the test split took no part" in said
    assert all(f"{r['average_f1']:.3f}" in said for r in records)


def test_no_gain_at_all_keeps_the_first_run_and_a_tie_is_no_gain(quick, capsys):
    records = run_cycles(quick.plan(2, ("skills", "[1.0, 1.0, 0.5]")))
    assert records[1]["gain"] == 0
    assert last_kept(records)["run"] == "toy"
    assert quick.started[2] == ("toy_cycle2", "toy", 2)
    assert "toy is the one to use" in capsys.readouterr().out


def test_the_gain_is_the_ladder_s_own(quick):
    """Paired, out of fold, against the given labels, thresholds cross-fitted, as the ladder does."""
    run_cycles(quick.plan(1))
    before, after, task = quick.run("toy"), quick.run("toy_cycle1"), quick.schema
    for run, seed in ((before, 1), (after, 2)):
        probabilities = random_probabilities(task, run.labels(task).index, seed)
        run.write_probabilities("predictions/other_oof.parquet", probabilities, task)

    def step(run, name):
        oof = run.read_probabilities(f"predictions/{name}_oof.parquet", task)
        return ladder.Step(name, name, oof, oof[:0])

    def of_ladder(steps):
        answers = {("oof", "given"): after.labels(task)}
        entries = ladder.Ladder(task, steps, after.labels(task), after.folds(), answers).climb()
        found = ladder.select(entries, "oof", "given", "cross_fitted")[-1]
        return found["gain"], found["gain_low"], found["gain_high"]

    def of_cycle(name):
        gain = gain_over(Study.open(after, "grid"), Study.open(before, "grid"), name)
        return gain.value, gain.low, gain.high

    assert of_cycle("other") == of_ladder([step(before, "other"), step(after, "other")])
    weights, blended = {"single": 0.25, "other": 0.75}, []
    for run in (before, after):
        steps = [step(run, "single"), step(run, "other")]
        given = (weights, run.labels(task), run.folds())
        blended.append(form(task, steps, *given, thresholds_from="members").step())
        run.write_probabilities("predictions/ensemble_oof.parquet", blended[-1].out_of_fold, task)
        run.write("ensemble.json", form(task, steps, *given, thresholds_from="members").to_dict())
    by_members = of_ladder(blended)
    assert of_cycle("ensemble") == by_members
    for run in (before, after):
        steps = [step(run, "single"), step(run, "other")]
        run.write("ensemble.json", form(task, steps, weights, run.labels(task), run.folds()).to_dict())
    assert of_cycle("ensemble") != by_members


def test_the_test_split_is_never_read(quick):
    records = run_cycles(quick.plan(1))
    for name in ("toy", "toy_cycle1"):
        run = quick.run(name)
        for path in run.path("predictions").glob("*_test.parquet"):
            path.unlink()
        cases = run.read("cases.parquet")
        hidden = cases["split"] == "test"
        cases.loc[hidden, quick.schema.names] = 1
        cases.loc[hidden, "Text"] = "other words"
        run.write("cases.parquet", cases)
    gain = gain_over(Study.open(quick.run("toy_cycle1")), Study.open(quick.run("toy")))
    assert (gain.value, gain.low, gain.high) == tuple(
        records[1][k] for k in ("gain", "gain_low", "gain_high")
    )


def test_runs_with_other_cases_or_folds_are_not_compared(quick):
    run_cycles(quick.plan(1))
    after = quick.run("toy_cycle1")
    folds = after.read("folds.parquet")
    after.write("folds.parquet", folds.assign(fold=(folds["fold"] + 1) % 4))
    with pytest.raises(InputError, match="toy: its folds differ"):
        gain_over(Study.open(after), Study.open(quick.run("toy")))


def test_a_stopped_command_goes_on_and_ends_as_an_undisturbed_one(quick):
    quick.fail_on = "toy_cycle3"
    with pytest.raises(RunFailed):
        run_cycles(quick.plan(4))
    assert [r["cycle"] for r in read_json(quick.outputs / "toy/cycles.json")] == [0, 1, 2]
    quick.fail_on = ""
    resumed = run_cycles(quick.plan(4))
    assert quick.started[-1] == ("toy_cycle4", "toy_cycle2", 4)
    quick.outputs = quick.outputs / "fresh"
    assert run_cycles(quick.plan(4)) == resumed


def test_a_flattering_score_is_marked(quick, capsys):
    run_cycles(quick.plan(1))
    entry = {"model": "ensemble", "split": "oof", "thresholds": "cross_fitted", "optimistic": True}
    quick.run("toy_cycle1").write("ladder.json", [entry])
    assert [r["optimistic"] for r in run_cycles(quick.plan(1))] == [False, True]
    assert "toy_cycle1 (optimistic)" in capsys.readouterr().out


def test_another_name_and_a_previous_run_of_the_first_are_passed_on(quick):
    run_cycles(quick.plan(1, ("run", "mine"), ("previous_run", "older")))
    assert quick.started == [("mine", "older", 0), ("mine_cycle1", "mine", 1)]


@pytest.mark.parametrize(
    ("parameters", "cycles", "line"),
    [
        (PARAMETERS, 0, "--cycles is 0; give 1 or more"),
        (PARAMETERS.replace("cycle: int", "circle: int"), 1, "unknown name cycle; did you mean circle"),
        (PARAMETERS.replace("previous_run", "before"), 1, "unknown name previous_run"),
    ],
)
def test_what_cannot_be_cycled_is_told_before_anything_runs(quick, parameters, cycles, line):
    quick.place(parameters)
    with pytest.raises(InputError, match=line):
        quick.plan(cycles)
    assert not quick.outputs.exists()


def test_an_unknown_model_is_told_after_the_first_run(quick):
    with pytest.raises(InputError, match="toy: .*gemma; there are ensemble, single"):
        run_cycles(quick.plan(2), "gemma")
    assert len(quick.started) == 1


def test_a_dry_run_tells_what_is_on_record_and_touches_nothing(bench, capsys, monkeypatch):
    cycle.dry_run(bench.plan(2))
    said = capsys.readouterr().out
    assert "not run yet" in said.splitlines()[-1]
    assert "toy_cycle2" in said
    assert not bench.outputs.exists()
    monkeypatch.setattr(runner, "dry_run", lambda *_: None)
    bench.run("toy").write("cycles.json", [{"cycle": 1, "gain": 0.0123, "kept": True}])
    cycle.dry_run(bench.plan(1))
    assert "toy_cycle1: on record: gain +0.012, kept" in capsys.readouterr().out


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A first run and one cycle, through the runner and its kernels."""
    bench = Bench(tmp_path_factory.mktemp("real"))
    run_cycles(bench.plan(1))
    return bench


def test_the_notebook_is_given_the_folder_of_the_previous_run(real):
    folder = read_json(real.outputs / "toy_cycle1/from.json")["previous"]
    assert folder == str(real.outputs.resolve() / "toy")
    assert read_json(real.outputs / "toy_cycle1/run.json")["parameters"]["01_toy"]["previous_run"] == "toy"


def test_finished_cycles_are_skipped_and_nothing_changes(real, capsys):
    before = real.contents()
    run_cycles(real.plan(1))
    assert capsys.readouterr().out.count("unchanged, skipped") == 2
    assert real.contents() == before


def reasons(bench, *overrides):
    job = preflight(bench.plan(1, *overrides).profile(1, "toy"), bench.notebooks, bench.outputs)
    return forecast(job)["because"].tolist()


def test_a_changed_previous_run_makes_the_stages_run_again(real):
    """By content: a moved run is the same one, named or as a path."""
    assert reasons(real) == [""]
    plan = real.plan(1)
    by_path = plan.profile(1, str(real.outputs / "toy"))
    assert forecast(preflight(by_path, real.notebooks, real.outputs))["because"].tolist() == [""]
    record, made = real.outputs / "toy/.stages/01_toy.key.json", real.outputs / "toy/from.json"
    kept, wrote, before = record.read_text(), made.read_text(), digest(made)
    made.write_text("{}")
    with pytest.raises(InputError, match="previous_run: .*from.json is not as 01_toy wrote it.* --from 01"):
        reasons(real)
    record.write_text(kept.replace(before, digest(made)))
    assert reasons(real) == ["changed: previous_run"]
    record.write_text(kept)
    made.write_text(wrote)
    assert reasons(real) == [""]


def test_a_previous_run_must_be_there_be_finished_and_be_another(real):
    def refused(name, run="toy_cycle1"):
        profile = plan_cycles(
            real.params, 1, [("run", run), ("previous_run", name)], real.outputs, real.notebooks
        ).first
        with pytest.raises(InputError) as caught:
            preflight(profile, real.notebooks, real.outputs)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    before = real.contents()
    assert "there is no such run" in refused("none")
    assert "this run itself" in refused("toy_cycle1")
    assert "this run itself" in refused(str(real.outputs / "toy_cycle1"))
    (real.outputs / "begun").mkdir()
    assert "01_toy is not finished there" in refused("begun")
    assert real.contents() == before


def test_a_previous_run_whose_stages_do_not_fit_together_is_not_finished(tmp_path):
    run = Run(tmp_path, "01_a")
    run.write("a.json", {"n": 1})
    made = digest(run.path("a.json"))
    earlier = {"01_a": digest({"a.json": made})}
    for stage, parts, files in (("01_a", {}, {"a.json": made}), ("02_b", earlier, {})):
        run.write(f".stages/{stage}.key.json", {"parts": {"earlier": parts}, "files": files})
        run.path(f"{stage}.ipynb").write_text("{}")
    assert stages.unfinished(run, ["01_a", "02_b"]) == ""
    assert stages.unfinished(run, ["01_a", "02_b", "03_c"]) == "03_c"
    run.write(".stages/01_a.key.json", {"parts": {"earlier": {}}, "files": {"a.json": "other"}})
    assert stages.unfinished(run, ["01_a", "02_b"]) == "02_b"


def test_scores_do_not_depend_on_the_order_of_rows(quick):
    run_cycles(quick.plan(1))
    run, task = quick.run("toy_cycle1"), quick.schema
    gain = gain_over(Study.open(run), Study.open(quick.run("toy")))
    shuffled = run.read_probabilities("predictions/ensemble_oof.parquet", task).sample(frac=1, random_state=1)
    run.write_probabilities("predictions/ensemble_oof.parquet", shuffled, task)
    assert gain_over(Study.open(run), Study.open(quick.run("toy"))) == gain


def test_both_sides_are_scored_against_the_labels_given_here(quick):
    """Labels that were mended since the previous run are no gain of the model."""
    run_cycles(quick.plan(1))
    after, before = quick.run("toy_cycle1"), quick.run("toy")
    gain, cases = gain_over(Study.open(after), Study.open(before)), before.read("cases.parquet")
    before.write("cases.parquet", cases.assign(Sad=1 - cases["Sad"]))
    assert gain_over(Study.open(after), Study.open(before)) == gain
    assert gain_since(Study.open(after), str(before.folder)) == gain
    assert gain_since(Study.open(after), "") is None
