"""Stages run in order, are skipped by content, and a failure says how to go on."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest

from narrutils.data import stages
from narrutils.data.files import digest, read_json
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.paths import shown
from narrutils.pipeline import runner, skipping
from narrutils.pipeline.preflight import check_inputs, forecast, preflight
from narrutils.pipeline.profiles import load_profile
from narrutils.pipeline.provenance import versions
from narrutils.pipeline.redaction import NOT_SHOWN
from narrutils.pipeline.runner import RunFailed, run_profile
from narrutils.report.build import build_report

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parents[1] / "notebooks"
PROFILE = "description: toy\nestimate:\n  02_uses: {seconds: 90, gigabytes: 1.5}\nshared: {rows: 4}\n"


class Bench:
    """A notebooks folder, a profile and an outputs folder, with braces in the path on purpose."""

    def __init__(self, folder):
        self.folder = folder
        self.notebooks, self.outputs = folder / "notebooks", folder / "out {x}"
        self.notebooks.mkdir(parents=True)
        self.place("makes", "01_makes")
        self.place("uses", "02_uses")
        self.write(PROFILE)

    @property
    def run_folder(self):
        return self.outputs / "toy"

    def place(self, fixture, stage):
        shutil.copy(FIXTURES / f"{fixture}.ipynb", self.notebooks / f"{stage}.ipynb")

    def write(self, text):
        self.folder.joinpath("toy.yaml").write_text(text)

    def profile(self, *overrides):
        return load_profile(self.folder / "toy.yaml", overrides, self.notebooks)

    def run(self, *overrides, **choice):
        return run_profile(self.profile(*overrides), self.notebooks, self.outputs, **choice)

    def would(self, *overrides, **choice):
        """Stage number -> reason, of the stages that would run."""
        table = forecast(preflight(self.profile(*overrides), self.notebooks, self.outputs, **choice))
        return {row.stage[:2]: row.because for row in table.itertuples() if row.would == "run"}

    def contents(self):
        files = [p for p in sorted(self.outputs.rglob("*")) if p.is_file()]
        return {str(p.relative_to(self.outputs)): digest(p) for p in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """One finished run that every test copies."""
    bench = Bench(tmp_path_factory.mktemp("first"))
    environment = dict(os.environ)
    bench.run()
    assert {k: os.environ.get(k) for k in environment} == environment
    assert "DO_NOT_TRACK" in environment or "DO_NOT_TRACK" not in os.environ
    return bench


@pytest.fixture
def bench(first, tmp_path):
    """A moved copy of the finished run."""
    bench = Bench(tmp_path / "moved")
    shutil.copytree(first.outputs, bench.outputs)
    return bench


def test_a_run_leaves_notebooks_artefacts_report_and_figures(bench):
    written = bench.contents()
    for name in ("01_makes.ipynb", "02_uses.ipynb", "numbers.parquet", "report/index.html", "run.json"):
        assert f"toy/{name}" in written
    record = read_json(bench.run_folder / "run.json")
    assert record["parameters"]["01_makes"]["rows"] == 4
    assert record["versions"] == versions()
    for figures in record["stages"].values():
        assert figures["status"] == "done"
        assert figures["seconds"] > 0
        assert figures["peak_gigabytes"] > 0
    assert read_json(bench.run_folder / "sum.json") == {"sum": 3.0, "offline": "1"}


def test_a_second_run_skips_everything_and_changes_nothing(bench, capsys):
    before = bench.contents()
    report = bench.run()
    said = capsys.readouterr().out
    assert said.count("unchanged, skipped") == 2
    assert "toy & more" in said
    assert said.splitlines()[-1].endswith(shown(report))
    assert bench.contents() == before


def test_states_are_removed_when_a_run_is_finished_though_its_last_notebook_was_skipped(bench):
    states = Run(bench.run_folder).states
    (states / "key").mkdir(parents=True)
    bench.run()
    assert not states.exists()


def test_only_content_makes_a_stage_run_again(bench):
    assert bench.would() == {}
    for path in bench.outputs.rglob("*"):
        os.utime(path)
    bench.write(PROFILE + "# another comment\n")
    assert bench.would() == {}
    assert bench.would(("scale", "2")) == {"02": "changed: scale"}
    assert bench.would(("rate", "2")) == {
        "01": "changed: rate",
        "02": "unless 01_makes writes what it wrote before",
    }
    assert bench.would(only="02", force=True) == {"02": "forced"}
    assert set(bench.would(force=True)) == {"01", "02"}


def test_a_notebook_that_is_left_out_does_not_run(bench, capsys):
    bench.place("raises", "02_raises")  # it sorts before 02_uses
    bench.write(PROFILE + "leave_out: [02_raises]\n")
    assert bench.would() == {}  # a notebook that is there and left out changes nothing
    with pytest.raises(InputError, match="--from 02_raises: no such stage.*01_makes, 02_uses"):
        bench.run(start="02_raises")
    bench.run(("run", "short"))
    told = capsys.readouterr().out
    assert "[1/2] 01_makes" in told and "[2/2] 02_uses" in told
    assert stages.of_profile(Run(bench.outputs / "short")) == ["01_makes", "02_uses"]
    assert not (bench.outputs / "short/02_raises.ipynb").exists()
    assert bench.would(("run", "short")) == {} == bench.would(("run", "short"), only="02")


def test_a_run_folder_keeps_nothing_of_a_notebook_that_is_left_out_now(bench):
    bench.write("leave_out: [02_uses]\n")
    with pytest.raises(InputError, match="02_uses, which leave_out names, has run here.*-p run NAME"):
        bench.run()


def test_a_previous_run_is_held_against_its_own_stages(bench):
    """It may have more notebooks than the run that starts from it, or fewer."""
    cells = [nbformat.v4.new_code_cell(s) for s in ('run_dir: str = "x"\nprevious_run: str = ""  # of', "1")]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), bench.notebooks / "03_new.ipynb")

    def inputs():
        profile = bench.profile(("run", "next"), ("previous_run", "toy"))
        return preflight(profile, bench.notebooks, bench.outputs).inputs.of("03_new")["previous_run"]

    bench.write(PROFILE)  # 03_new never ran there
    before = inputs()
    bench.write(PROFILE.replace("02_uses", "03_new") + "leave_out: [02_uses]\n")
    assert inputs() == before
    record = bench.run_folder / ".stages/02_uses.key.json"
    record.write_text(record.read_text().replace('"parts"', '"lost"'))
    with pytest.raises(InputError, match="02_uses is not finished there"):
        inputs()


def test_an_edited_cell_makes_its_notebook_run_again(bench):
    path = bench.notebooks / "02_uses.ipynb"
    path.write_text(path.read_text().replace("toy & more", "toy & less"))
    assert bench.would() == {"02": "the notebook changed"}


def test_another_package_or_other_artefacts_make_a_stage_run_again(bench, monkeypatch):
    made, record = bench.run_folder / "numbers.parquet", bench.run_folder / ".stages/01_makes.key.json"
    before = digest(made)
    made.write_bytes(b"other numbers")
    record.write_text(record.read_text().replace(before, digest(made)))
    assert bench.would() == {"02": "01_makes wrote other artefacts"}
    digests = lambda modules: {"narrutils.data.schema": "another"}  # noqa: E731
    monkeypatch.setattr(skipping, "source_digests", digests)
    found = bench.would()
    assert list(found) == ["01", "02"] and all(
        said.startswith("changed: narrutils.") for said in found.values()
    )


@pytest.mark.parametrize("name", ["altered", "ladder.json", "02_uses.ipynb"])
def test_a_missing_or_altered_artefact_makes_its_stage_run_again(bench, name):
    if name == "altered":
        bench.run_folder.joinpath("sum.json").write_text("{}")
        assert bench.would() == {"02": "sum.json was changed"}
    else:
        bench.run_folder.joinpath(name).unlink()
        assert bench.would() == {"02": f"{name} is missing"}


def test_an_estimate_is_the_last_time_taken_else_the_profile_s(bench, tmp_path):
    table = forecast(preflight(bench.profile(), bench.notebooks, tmp_path / "fresh")).set_index("stage")
    assert table.loc["02_uses", "seconds"] == 90
    table = forecast(preflight(bench.profile(), bench.notebooks, bench.outputs, force=True)).set_index(
        "stage"
    )
    assert (
        table.loc["02_uses", "seconds"]
        == read_json(bench.run_folder / "run.json")["stages"]["02_uses"]["seconds"]
    )
    assert not tmp_path.joinpath("fresh").exists()


def test_a_dry_run_prints_and_touches_nothing(bench, capsys):
    before = bench.contents()
    runner.dry_run(bench.profile(("scale", "2")), bench.notebooks, bench.outputs)
    assert re.search(r"01_makes\s+skip", said := capsys.readouterr().out)
    assert re.search(r"02_uses\s+run\s+changed: scale", said)
    assert bench.contents() == before


def test_what_a_stage_no_longer_writes_goes_and_trained_folders_stay(bench, capsys):
    kept = read_json(bench.run_folder / "run.json")["stages"]["02_uses"]
    bench.run(("names", "[b]"), only="01")
    assert "trained 0 folds" in capsys.readouterr().out
    assert {p.name for p in bench.run_folder.joinpath("made").iterdir()} == {"b.json"}
    assert read_json(bench.run_folder / "run.json")["stages"]["02_uses"] == kept
    bench.run(("names", "[b]"), only="01", force=True)
    assert "trained 1 folds" in capsys.readouterr().out


def test_a_failure_names_stage_cell_error_notebook_and_resumes(bench, capsys):
    bench.place("raises", "02_uses")
    told = ("show_text", "true")  # so that the message is seen
    environment = dict(os.environ)
    with pytest.raises(RunFailed) as caught:
        bench.run(told)
    assert dict(os.environ) == environment
    said = str(caught.value)
    assert caught.value.code == 1
    assert "02_uses failed in cell In [4]: ZeroDivisionError: division by zero" in said
    assert "out {x}/toy/02_uses.ipynb" in said
    assert "ZeroDivisionError" in bench.run_folder.joinpath("02_uses.ipynb").read_text()
    assert re.search(r"narrutils run .*toy\.yaml.* --from 02 .*--outputs '.*out \{x\}'", said)
    assert read_json(bench.run_folder / "run.json")["stages"]["02_uses"]["status"] == "failed"
    assert bench.would(told) == {"02": "stopped half-way"}
    capsys.readouterr()
    bench.run(told, ("divisor", "1"), start="02")
    assert "01_makes" not in capsys.readouterr().out
    assert bench.would(told, ("divisor", "1")) == {}


def test_where_narratives_are_not_shown_a_failure_names_lines_and_no_value(bench, capsys):
    bench.place("raises", "02_uses")
    with pytest.raises(RunFailed) as caught:
        bench.run()
    said = f"02_uses failed in cell In [4]: ZeroDivisionError: in Cell In[4], line 1; {NOT_SHOWN}"
    assert said in str(caught.value)
    notebook = bench.run_folder.joinpath("02_uses.ipynb").read_text()
    assert "ZeroDivisionError" in notebook and "Cell In[4], line 1" in notebook
    for text in (notebook, str(caught.value), *capsys.readouterr()):
        assert "division by zero" not in text


@pytest.mark.parametrize(
    ("fixture", "line"),
    [
        ("raises_input_error", "cell In [3]: numbers.parquet: line 3, column value: mend it\n"),
        ("kernel_dies", "cell In [3]: the kernel died"),
    ],
)
def test_a_kernel_s_own_line_is_shown(bench, fixture, line):
    bench.place(fixture, "02_uses")
    with pytest.raises(RunFailed) as caught:
        bench.run()
    assert line in str(caught.value)


def test_an_interruption_says_how_to_go_on(bench, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupt)
    with pytest.raises(RunFailed, match="interrupted in 02_uses(.|\n)*-p scale 2 --from 02") as caught:
        bench.run(("scale", "2"))
    assert caught.value.code == 130


HALF = '{"cells": [{"cell_type": "code", "sou'
WHOLE = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.mark.parametrize("written, kept", [(HALF, True), ("", True), (None, True), (WHOLE, False)])
@pytest.mark.parametrize("ended", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_only_a_whole_notebook_takes_the_place_of_the_last_one(bench, monkeypatch, written, kept, ended):
    def execute(source, target, *_, **__):
        if written is not None:
            Path(target.replace("{{", "{").replace("}}", "}")).write_text(written)
        raise ended

    before = bench.run_folder.joinpath("02_uses.ipynb").read_text()
    monkeypatch.setattr(papermill, "execute_notebook", execute)
    with pytest.raises(RunFailed, match="02_uses(.|\n)*--from 02"):
        bench.run(("scale", "2"))
    assert bench.run_folder.joinpath("02_uses.ipynb").read_text() == (before if kept else written)
    assert not bench.run_folder.joinpath(".stages/02_uses.ipynb").exists()


def test_a_failed_notebook_that_could_not_be_redacted_is_not_kept(bench, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runner, "redact_notebook", full)
    bench.place("raises", "02_uses")
    before = bench.run_folder.joinpath("02_uses.ipynb").read_text()
    with pytest.raises(RunFailed, match=re.escape(f"line 1; {NOT_SHOWN}")):
        bench.run()
    assert bench.run_folder.joinpath("02_uses.ipynb").read_text() == before
    assert not bench.run_folder.joinpath(".stages/02_uses.ipynb").exists()


def test_stale_stages_are_told_in_a_line_and_show_nothing_of_before(bench, capsys):
    before = {name: d for name, d in bench.contents().items() if name.startswith("toy/report")}
    assert bench.run(("rate", "2"), only="01").exists()
    said = capsys.readouterr().out
    assert "stale: 02_uses (02_uses ran before 01_makes wrote something else)" in said.splitlines()[-1]
    assert re.search(r"the report is of before; to go on: narrutils run .*-p rate 2 --from 02", said)
    assert "Ladder" not in said and "toy & more" not in said
    assert before.items() <= bench.contents().items()
    with pytest.raises(InputError, match="02_uses ran before .* -p rate 2 --from 02 --outputs"):
        build_report(bench.run_folder)
    bench.run(("rate", "2"), start="02")
    assert "toy & more" in capsys.readouterr().out
    build_report(bench.run_folder)


def test_a_part_of_a_fresh_run_has_its_report(bench, capsys):
    report = bench.run(("run", "fresh"), only="01")
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {shown(report)}"
    assert report.exists()


def test_an_interrupted_notebook_keeps_no_values(bench, monkeypatch):
    """What a library said on the way to the interrupt may quote a narrative."""

    def interrupt(_, place, *__, **___):
        error = nbformat.v4.new_output("error", ename="KeyError", evalue="a bicycle", traceback=["a bicycle"])
        cell = nbformat.v4.new_code_cell("read()", outputs=[error])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), place.replace("{{", "{").replace("}}", "}"))
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupt)
    with pytest.raises(RunFailed, match="interrupted in 02_uses"):
        bench.run(("scale", "2"))
    written = bench.run_folder.joinpath("02_uses.ipynb").read_text()
    assert "KeyError" in written and "bicycle" not in written


def test_what_the_system_refuses_a_notebook_is_told_though_messages_are_not(bench):
    bench.place("raises", "02_uses")
    path = bench.notebooks / "02_uses.ipynb"
    failing = "import errno, os; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/there/a.json')"
    path.write_text(path.read_text().replace("1 / divisor", failing))
    with pytest.raises(RunFailed) as caught:
        bench.run()
    assert "failed in cell In [4]: /there/a.json: no space is left on its disk; free" in str(caught.value)
    assert caught.value.code == 1


def test_what_the_system_refuses_the_runner_says_how_to_go_on(bench, monkeypatch):
    """Even where `run.json` cannot be written either."""

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/file")

    monkeypatch.setattr(papermill, "execute_notebook", refuse)
    monkeypatch.setattr(runner.provenance, "update", refuse)
    with pytest.raises(
        RunFailed, match="02_uses: /there/file: no space(.|\n)*-p scale 2 --from 02"
    ) as caught:
        bench.run(("scale", "2"))
    assert caught.value.code == 2


def heeding_signals() -> None:
    """As a shell starts a command; where tests run in the background some are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


CALL = """
import sys
from functools import partial
from narrutils import cli
from narrutils.pipeline import profiles, runner
profiles.load_profile = partial(profiles.load_profile, notebooks=sys.argv[1])
runner.run_profile = partial(runner.run_profile, notebooks=sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("kind", "number"), [("workers", signal.SIGINT), ("pool", signal.SIGTERM)])
def test_a_stopped_run_leaves_its_state_two_lines_and_no_process(tmp_path, kind, number):
    """Whatever a notebook started: workers, a pool's process, one of a session of its own."""
    notebooks, begun = tmp_path / "notebooks", tmp_path / "out/toy/begun"
    notebooks.mkdir()
    shutil.copy(FIXTURES / "waits.ipynb", notebooks / "01_waits.ipynb")
    tmp_path.joinpath("toy.yaml").write_text(PROFILE.split("estimate")[0])
    words = ["run", str(tmp_path / "toy.yaml"), "-p", "kind", kind, "--outputs", str(tmp_path / "out")]
    told, said = tmp_path / "told", tmp_path / "said"
    with told.open("w") as out, said.open("w") as errors:
        call = [sys.executable, "-c", CALL, str(notebooks), *words]
        called = subprocess.Popen(
            call, stdout=out, stderr=errors, start_new_session=True, preexec_fn=heeding_signals
        )
    wanted = {"apart", "one"} | ({"two"} if kind == "workers" else set())
    while not (begun.is_dir() and {path.name for path in begun.iterdir()} == wanted):
        assert called.poll() is None, said.read_text()
        time.sleep(0.1)
    time.sleep(1)  # the runner looks for processes twice a second
    children = psutil.Process(called.pid).children(recursive=True)
    os.killpg(called.pid, number)  # as a terminal does
    called.wait(timeout=120)
    alive = [child for child in children if child.is_running()]
    for child in alive:
        child.kill()
    assert called.returncode == 128 + number
    assert said.read_text().count("\n") == 2, said.read_text()
    first, second = said.read_text().splitlines()
    assert first == "narrutils: interrupted in 01_waits; to go on:"
    assert second.startswith(f"  narrutils run {tmp_path / 'toy.yaml'} -p kind {kind} --from 01")
    assert "noise" not in told.read_text()
    assert len(children) >= 4 and not alive
    figures = read_json(tmp_path / "out/toy/run.json")["stages"]["01_waits"]
    assert figures["status"] == "interrupted" and figures["seconds"] > 0


def test_two_runs_in_one_folder_are_refused(bench):
    with runner.locked(bench.run_folder), pytest.raises(InputError, match="another run"):
        bench.run()
    bench.run()


def test_a_later_start_needs_the_earlier_stages(bench):
    bench.run_folder.joinpath("numbers.parquet").unlink()
    before = bench.contents()
    with pytest.raises(InputError, match="01_makes has not run"):
        bench.run(start="02", force=True)
    with pytest.raises(InputError, match="exclude"):
        bench.run(start="02", only="02")
    assert bench.contents() == before


LABELS = "uid,Sad\nA,1\n"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split, uid in (("train", "A"), ("test", "B")):
        folder.joinpath(f"{split}_features.csv").write_text(f"uid,Text\n{uid},words\n")
    folder.joinpath("train_labels.csv").write_text(LABELS)
    tmp_path.joinpath("schema.yaml").write_text("text: [{name: Text}]\nvariables: [{name: Sad}]\n")
    return folder


def test_faulty_data_stops_the_run_before_anything_is_touched(bench, data):
    bench.place("reads_data", "01_makes")
    data.joinpath("train_labels.csv").write_text(LABELS.replace("1", "9"))
    before = bench.contents()
    given = [("data_dir", str(data)), ("schema", str(data.parent / "schema.yaml")), ("rows", "4")]
    with pytest.raises(InputError, match="train_labels.csv: line 2, column Sad: 9 is out of range"):
        bench.run(*given, force=True)
    assert bench.contents() == before


def test_data_and_schema_count_by_content_wherever_they_lie(bench, data):
    bench.place("reads_data", "01_makes")

    def inputs(folder):
        given = [("data_dir", str(folder)), ("schema", str(folder.parent / "schema.yaml"))]
        job = preflight(bench.profile(*given), bench.notebooks, bench.outputs)
        assert job.inputs.of("01_makes") == check_inputs(bench.profile(*given))[0].of("01_makes")
        return job.parts("01_makes")

    before = inputs(data)
    moved = shutil.copytree(
        data.parent, data.parent.parent / "elsewhere" / "deep", ignore=shutil.ignore_patterns("moved")
    )
    assert inputs(moved / "data") == before
    data.joinpath("train_labels.csv").write_text(LABELS.replace("1", "0"))
    assert inputs(data) != before


def test_a_stage_without_an_end_counts_for_nothing(tmp_path):
    run = Run(tmp_path, stage="01_makes")
    run.write("a.json", {})
    assert not stages.has_ended(run, "01_makes")
    skipping.begin(run, "01_makes", remake=False)
    assert stages.recorded(run, "01_makes")["files"] == {"a.json": ""}


def test_packaged_models_are_ready_before_the_first_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path / "cache"))
    bench = Bench(tmp_path)
    notebook = bench.notebooks / "01_makes.ipynb"
    text = notebook.read_text().replace(
        '"rows: int', '"backbone: str = \\"minilm\\"  # a model\\n",\n    "rows: int'
    )
    ready = "from narrutils.models.packaged import is_ready\\nassert is_ready(backbone)\\n"
    notebook.write_text(text.replace("import pandas as pd\\n", f"import pandas as pd\\n{ready}"))
    bench.run(only="01")
    with pytest.raises(InputError, match="make models"):
        bench.run(("backbone", "mpnet"), ("run", "other"), only="01")
    assert not (bench.outputs / "other").exists()
