"""What a run is told to cost: scaled to the machine at hand, and fitted from finished runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import estimates as benchmark
from narrutils.data.files import read_json, write_json
from narrutils.models import speed
from narrutils.models.speed import Speed
from narrutils.pipeline import estimates
from narrutils.pipeline.estimates import cost, in_words, parts, seconds, states_gigabytes
from narrutils.pipeline.profiles import load_profile

STAGE = "04_deberta"
REFERENCE, PLAIN = Speed(150.0, 900.0, 1.0), Speed(55.0, 8.0, 0.8)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make this the machine of a given speed, with two cores."""
    monkeypatch.setattr(estimates, "cores", lambda: 2)
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path / "cache"))

    def is_now(made: Speed, kind: str = "this kind") -> None:
        (tmp_path / "cache/speed").exists() and [f.unlink() for f in (tmp_path / "cache/speed").iterdir()]
        monkeypatch.setattr(speed, "measure", lambda: made)
        monkeypatch.setattr(estimates, "here", lambda: kind)

    return is_now


@pytest.fixture
def profile(tmp_path):
    """The demo, its encoder estimated at 10 s of ordinary work and 90 teraflops."""
    path = tmp_path / "made.yaml"
    path.write_text(f"estimate:\n  {STAGE}: {{seconds: 10, teraflops: 90, gigabytes: 2}}\n")
    return load_profile(path)


def test_each_part_scales_with_its_own_speed():
    estimate = {"seconds": 10, "teraflops": 90}
    assert seconds(estimate, REFERENCE, "bfloat16", 2) == 10 + 90_000 / 900 / 2
    assert seconds(estimate, PLAIN, "float32", 2) == pytest.approx(10 / 0.8 + 90_000 / 55 / 2)
    assert seconds(estimate, PLAIN, "float32", 4) < seconds(estimate, PLAIN, "float32", 2)
    assert seconds({"seconds": 10}, PLAIN, "float16", 1) == 10 / 0.8


def test_an_estimate_is_told_in_the_precision_that_the_machine_computes_in(profile, machine, tmp_path):
    machine(REFERENCE)
    assert cost(profile, tmp_path, STAGE) == {"seconds": 60, "gigabytes": 2}
    machine(PLAIN)
    assert cost(profile, tmp_path, STAGE)["seconds"] == round(10 / 0.8 + 90_000 / 55 / 2)
    slow = load_profile(profile.path, [("precision", "bfloat16")])
    assert cost(slow, tmp_path, STAGE)["seconds"] == round(10 / 0.8 + 90_000 / 8 / 2)
    assert cost(profile, tmp_path, "06_ensemble") == {}


@pytest.mark.parametrize(
    ("kind", "precision", "holds"),
    [("this kind", "auto", True), ("another", "auto", False), ("this kind", "float32", False)],
)
def test_a_runs_own_time_holds_on_its_kind_of_machine_and_in_its_precision(
    profile, machine, tmp_path, kind, precision, holds
):
    timed = {"status": "done", "seconds": 77, "peak_gigabytes": 3, "processor": "this kind"}
    kept = {STAGE: {"precision": "bfloat16"}}
    write_json(tmp_path / "run.json", {"stages": {STAGE: timed}, "parameters": kept})
    machine(REFERENCE, kind)
    told = cost(load_profile(profile.path, [("precision", precision)]), tmp_path, STAGE)
    assert (told == {"seconds": 77, "gigabytes": 3}) == holds


def test_a_folder_taken_elsewhere_is_told_in_the_precision_that_it_keeps(profile, machine, tmp_path):
    write_json(tmp_path / "run.json", {"stages": {}, "parameters": {STAGE: {"precision": "bfloat16"}}})
    machine(PLAIN)
    assert cost(profile, tmp_path, STAGE)["seconds"] == round(10 / 0.8 + 90_000 / 8 / 2)


def test_runs_on_two_kinds_of_machine_give_back_what_they_were_made_from():
    costs = np.array([parts(REFERENCE, "bfloat16", 2), parts(PLAIN, "float32", 2)])
    assert benchmark.fitted(costs, costs @ [40.0, 70.0], {}) == pytest.approx((40, 70))


def test_one_run_keeps_the_proportion_of_the_estimate():
    costs = np.array([parts(REFERENCE, "bfloat16", 2)])
    ordinary, teraflops = benchmark.fitted(costs, np.array([120.0]), {"seconds": 10, "teraflops": 90})
    assert (ordinary, teraflops) == pytest.approx((20, 180))
    assert benchmark.fitted(costs, np.array([120.0]), {}) == pytest.approx((120, 0))


def run_of(folder, made: Speed, precision: str, took: float) -> str:
    record = {"profile": "demo", "parameters": {STAGE: {"precision": precision}}}
    record["processor"] = {"kind": precision, "cores": 2, **vars(made)}
    stage = {"status": "done", "seconds": took, "peak_gigabytes": 1.5, "processor": precision}
    write_json(
        folder / "run.json", record | {"stages": {STAGE: stage, "06_ensemble": {**stage, "processor": "?"}}}
    )
    return str(folder)


def test_the_printed_lines_can_stand_in_a_profile_and_foretell_the_runs(tmp_path, capsys, monkeypatch):
    fast = run_of(tmp_path / "fast", REFERENCE, "bfloat16", 100)
    plain = run_of(tmp_path / "plain", PLAIN, "float32", 800)
    benchmark.main([fast, plain])
    said = capsys.readouterr().out
    assert "06_ensemble" not in said  # it was timed on another machine than its record describes
    path = tmp_path / "made.yaml"
    path.write_text("estimate:\n" + said)
    estimate = load_profile(path).estimate[STAGE]
    assert seconds(estimate, REFERENCE, "bfloat16", 2) == pytest.approx(100, rel=0.02)
    assert seconds(estimate, PLAIN, "float32", 2) == pytest.approx(800, rel=0.02)


def test_a_run_says_on_which_machine_it_was_timed(profile, tmp_path):
    from narrutils.data.run import Run
    from narrutils.pipeline import provenance

    with provenance.Meter() as meter:
        pass
    run = Run(tmp_path / "run")
    provenance.update(run, provenance.describe(profile, {}), STAGE, meter.figures("done"))
    record = read_json(run.path("run.json"))
    assert benchmark.was_timed(record, STAGE)
    assert benchmark.speed_of(record, STAGE)[0] == speed.measured()


def test_the_states_of_frozen_layers_are_told_by_rows_tokens_and_width(tiny_bert):
    """Nothing where all layers learn; the generated rows that are asked for count too."""
    encoder = {"backbone": tiny_bert, "max_tokens": 100}
    told = lambda **given: states_gigabytes({"02": {"pools": [{"rows": 5}]}, "04": encoder | given}, 20)  # noqa: E731
    assert told(top_layers=1) == 25 * 100 * 16 * 4 / 1e9
    assert told(top_layers=0) == told() == 0
    wide = read_json(f"{tiny_bert}/config.json")["intermediate_size"]
    last = {"lora_targets": ["down_proj"]}
    assert told(top_layers=1, options=last) == 25 * 100 * (16 + wide) * 4 / 1e9


def test_what_was_never_timed_is_unknown_and_not_nothing():
    def told(*rows):
        names = ["stage", "would", "because", "seconds", "gigabytes"]
        return in_words(pd.DataFrame(rows, columns=names)).splitlines()

    timed, skipped = ("01", "run", "new", 90, 1.5), ("02", "skip", "", None, None)
    unknown = ("03", "run", "new", None, 24)
    assert told(timed, skipped)[-1] == "in all about 1 min 30 s, 1.5 GB"
    lines = told(timed, skipped, unknown)
    assert lines[-1] == "in all at least 1 min 30 s, 24.0 GB; 1 notebooks were never timed"
    assert [line.count("unknown") for line in lines[1:4]] == [0, 0, 1]
    assert told(("04", "run", "new", None, None))[-1] == "in all unknown; 1 notebooks were never timed"
    assert told(skipped)[-1] == "in all about 0 s"
