"""Several seeds: only what depends on one runs again, and the runs' own ladders are what is averaged."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from seeded import NOTEBOOKS, Bench

from narrutils.data.files import digest, read_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.seeds import read_counts
from narrutils.pipeline import runner
from narrutils.pipeline.runner import RunFailed
from narrutils.pipeline.seeds import STEP, dry_run, run_seeds
from narrutils.report import build, facts

pytestmark = pytest.mark.slow


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """A bench whose runs end with a report."""
    made = Bench(tmp_path)
    monkeypatch.setattr(runner, "_execute", made.execute)
    return made


@pytest.fixture
def bench(reported, monkeypatch):
    """One without reports, which take a second each."""
    monkeypatch.setattr(build, "build_report", lambda folder: folder)
    return reported


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A bench that went through three seeds, and what was found; only read."""
    made = Bench(tmp_path_factory.mktemp("done") / "bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_execute", made.execute)
        patch.setattr(build, "build_report", lambda folder: folder)
        found = run_seeds(made.plan())
    return made, found


LATER = ["03_deep", "04_rounds", "05_ladder"]


def test_only_what_a_seed_decides_runs_again(done):
    bench, _ = done
    assert bench.started == [("toy", stage) for stage in NOTEBOOKS] + [
        (f"toy_seed{n}", stage) for n in (1, 2) for stage in LATER
    ]
    seeds = [read_json(bench.outputs / name / "models/deep/fold0/w.json")["seed"] for name in runs(3)]
    assert seeds == [7, 7 + STEP, 7 + 2 * STEP]
    assert {read_json(bench.outputs / name / "pool.json")["seed"] for name in runs(3)} == {7}
    assert len({digest(bench.outputs / name / "cases.parquet") for name in runs(3)}) == 1


def runs(seeds):
    return ["toy", *(f"toy_seed{n}" for n in range(1, seeds))]


def test_named_stages_alone_vary(bench):
    found = run_seeds(bench.plan(2, "04"))
    assert bench.started[5:] == [("toy_seed1", "04_rounds"), ("toy_seed1", "05_ladder")]
    assert [record["seeds"] for record in found["runs"]] == [{"04_rounds": 7}, {"04_rounds": 7 + STEP}]
    assert all(e["sd"] == 0 for e in found["entries"])
    for e in found["entries"]:  # no model was trained anew: the ladder's own intervals, to the last bit
        (own,) = [o for o in bench.run().read("ladder.json") if all(o[k] == e[k] for k in PLACE)]
        assert {k: own[k] for k in INTERVALS} == {k: e[k] for k in INTERVALS}


PLACE = ("model", "split", "against", "thresholds")
INTERVALS = ("average_f1", "ci_low", "ci_high", "gain", "gain_low", "gain_high")


def test_scores_are_those_of_each_run_s_ladder_to_the_last_bit(done):
    bench, found = done
    assert len(found["entries"]) == 2 * 3
    for entry in found["entries"]:
        of_runs = [
            step["average_f1"]
            for name in runs(3)
            for step in bench.run(name).read("ladder.json")
            if all(step[k] == entry[k] for k in PLACE)
        ]
        assert entry["scores"] == of_runs
    told, study = (
        found["entries"][2],
        Study.open(bench.run()),
    )
    (counts, _) = read_counts(replace(study, threshold_search="half"))[told["model"]].values()
    assert counts.average_f1 == told["scores"][0]
    swings = [e["sd"] for e in found["entries"] if e["split"] == "oof"]
    assert swings[0] == 0
    assert min(swings[1:]) > 0


def test_states_are_handed_on_and_gone_at_the_end(bench, monkeypatch):
    """What frozen layers gave of the cases is read once for all seeds, also where a run was stopped."""
    there, execute = [], bench.execute

    def with_states(job, stage):
        if stage == "03_deep":
            there.append((job.profile.run, job.run.states.exists()))
            (job.run.states / "key").mkdir(parents=True, exist_ok=True)
        return execute(job, stage)

    monkeypatch.setattr(runner, "_execute", with_states)
    bench.fail_on = ("toy_seed1", "05_ladder")
    with pytest.raises(RunFailed):
        run_seeds(bench.plan())
    bench.fail_on = ()
    run_seeds(bench.plan())
    assert there == [("toy", False), ("toy_seed1", True), ("toy_seed2", True)]
    assert not any(bench.run(name).states.exists() for name in runs(3))


def test_a_test_without_labels_is_left_out(done, tmp_path):
    run = Run(shutil.copytree(done[0].run().folder, tmp_path / "toy"), "01_cases")
    cases = run.read("cases.parquet")
    cases.loc[cases["split"] == "test", ["Fall", "Place", "Burn"]] = np.nan
    run.write("cases.parquet", cases)
    counts = read_counts(Study.open(Run(run.folder, "05_ladder")))
    assert [list(places) for places in counts.values()] == [[("oof", "given", "cross_fitted")]] * 3


def test_finals_move_with_the_seed_of_their_stage(bench):
    finals = [{"name": "a", "seed": 46}, {"name": "b"}]
    run_seeds(bench.plan(2, pairs=[("finals", str(finals))]))
    told = [read_json(bench.outputs / name / "rounds.json")["teaching"]["finals"] for name in runs(2)]
    assert told == [finals, [{"name": "a", "seed": 46 + STEP}, {"name": "b"}]]


def test_the_first_run_stays_as_it_was_but_for_what_was_found(bench):
    runner.run_profile(bench.plan().first, bench.notebooks, bench.outputs)
    before = bench.contents()
    run_seeds(bench.plan())
    after = bench.contents()
    assert after.pop("toy/seeds.json")
    assert after == before


def test_a_stopped_command_goes_on_and_ends_as_an_undisturbed_one(bench, done):
    for place in [("toy", "02_pool"), ("toy_seed1", "03_deep"), ("toy_seed2", "05_ladder")]:
        bench.fail_on = place
        with pytest.raises(RunFailed):
            run_seeds(bench.plan())
        assert not bench.run().has("seeds.json")
    bench.fail_on, bench.started = (), []
    resumed = run_seeds(bench.plan())
    assert bench.started == [("toy_seed2", "05_ladder")]
    assert done[1] == resumed


def test_a_copy_that_was_stopped_leaves_nothing_half_done(bench, monkeypatch):
    plan = bench.plan(2)
    monkeypatch.setattr("narrutils.pipeline.seeds._mark", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_seeds(plan)
    assert [path.name for path in bench.outputs.iterdir()] == ["toy"]


def test_finished_seeds_are_skipped_and_more_of_them_only_added(bench):
    few = run_seeds(bench.plan(2))
    bench.started = []
    assert run_seeds(bench.plan(2)) == few
    assert bench.started == []
    more = run_seeds(bench.plan(3))
    assert {run for run, _ in bench.started} == {"toy_seed2"}
    assert more["runs"][:2] == few["runs"]


def test_the_report_shows_what_was_found_and_says_what_is_certain(reported, capsys):
    bench = reported
    run_seeds(bench.plan(pairs=[("skill", "9.0")]))
    page = bench.run().path("report/index.html").read_text()
    said = capsys.readouterr().out
    assert "Over 3 seeds, out of fold, against the given labels" in said
    assert "over the step before a gain for Deep" in said
    assert "Over 3 seeds" in page
    assert "over the step before a gain for Deep" in page
    assert "sd over seeds" in page
    assert "Over 3 seeds" not in bench.run("toy_seed1").path("report/index.html").read_text()


def test_what_seeds_could_make_is_called_no_gain(bench, capsys):
    found = run_seeds(bench.plan(2, pairs=[("skill", "1.1")]))
    swings = [e for e in found["entries"] if e["model"] == "deep"]
    assert all(e["gain_low"] < 0 < e["gain_high"] for e in swings)
    assert "a gain for Deep" not in capsys.readouterr().out


def test_a_run_that_changed_since_does_not_show_old_seeds(reported):
    bench = reported
    run_seeds(bench.plan(2))
    assert facts.seeds(bench.run())["fits"]
    other = bench.plan(2, pairs=[("skill", "5.0")])
    runner.run_profile(other.first, bench.notebooks, bench.outputs)
    assert not facts.seeds(bench.run())["fits"]
    page = build.build_report(bench.run().folder).read_text()
    assert "changed since they were compared over 2 seeds" in page
    assert "sd over seeds" not in page
    run_seeds(other)
    assert facts.seeds(bench.run())["fits"]
    runner.run_profile(bench.plan(2, pairs=[("skill", "4.0")]).profile(1), bench.notebooks, bench.outputs)
    assert not facts.seeds(bench.run())["fits"]


def test_what_cannot_be_done_is_told_before_anything_runs(bench):
    def refused(line, *given, pairs=()):
        with pytest.raises(InputError, match=line) as caught:
            bench.plan(*given, pairs=pairs)
        assert "\n" not in str(caught.value)

    refused("--seeds is 1; give 2 or more", 1)
    refused("01_cases has no seed of a training; those that have: 03_deep, 04_rounds", 2, "03", "01")
    refused("02_pool has no seed of a training", 2, "02_pool")
    refused("--vary 09: no such stage", 2, "09")
    assert not bench.outputs.exists()
    (bench.outputs / "toy_seed1").mkdir(parents=True)
    refused("toy_seed1: is not run 1 of toy under other seeds; move it away", 2)
    bench.plan(2, pairs=[("run", "mine")])
    run_seeds(bench.plan(2, pairs=[("run", "mine")]))
    (bench.outputs / "mine_seed1").rename(bench.outputs / "mine_seed2")
    refused("mine_seed2: is not run 2 of mine", 3, pairs=[("run", "mine")])


def test_without_a_trained_notebook_or_a_ladder_there_is_nothing_to_compare(bench):
    for name in LATER:
        (bench.notebooks / f"{name}.ipynb").unlink()
    with pytest.raises(InputError, match="no notebook has a seed of a training"):
        bench.plan(2)


def test_a_run_without_a_ladder_is_told_before_seeds_are_trained(bench):
    (bench.notebooks / "05_ladder.ipynb").unlink()
    with pytest.raises(InputError, match="toy: has no ladder.json"):
        run_seeds(bench.plan(2))
    assert {run for run, _ in bench.started} == {"toy"}


def test_a_dry_run_tells_each_seed_and_touches_nothing(bench, capsys):
    dry_run(bench.plan(2))
    said = capsys.readouterr().out
    assert f"toy_seed1, seeds 03_deep {7 + STEP}, 04_rounds {7 + STEP}:" in said
    assert said.count("another seed") == 2
    assert "in all unknown" in said
    assert not bench.outputs.exists()
    run_seeds(bench.plan(2))
    before = bench.contents("toy_seed1")
    capsys.readouterr()
    dry_run(bench.plan(2))
    assert capsys.readouterr().out.count("skip") == 10
    assert bench.contents("toy_seed1") == before


def test_links_and_copies_are_private_to_each_run(bench):
    """What one run trains anew stays out of the folders that it was linked with."""
    run_seeds(bench.plan(2, "04"))
    first, second = (bench.outputs / name / "models/deep/fold0/w.json" for name in runs(2))
    assert first.stat().st_ino == second.stat().st_ino
    run_seeds(bench.plan(2, "04", pairs=[("03.seed", "3")]))
    assert [read_json(bench.outputs / n / "models/deep/fold0/w.json")["seed"] for n in runs(2)] == [3, 3]
    assert (bench.run("toy_seed1").path("cases.parquet").stat().st_mode & 0o777) == 0o600
