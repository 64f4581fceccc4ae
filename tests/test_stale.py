"""A run whose labels changed after its weights were found is refused by all that reads it."""

import shutil

import pytest
from deployments import TEST, features, record
from toys import TOY

from narrutils.bundle import bundle
from narrutils.crossfit.rounds import gain_since
from narrutils.crossfit.teachers import Teachers
from narrutils.data.outputs import Outputs
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.predict import predict
from narrutils.report.build import build_report
from narrutils.report.explore import explore

FIRST = ("schema.json", "cases.parquet", "folds.parquet", "models/tfidf/fold0/key.json")
READERS = {
    "predict": lambda run, room: predict(run.folder, features(room, TEST), Outputs(room / "out.csv"), False),
    "bundle": lambda run, room: bundle(run.folder, room / "a.zip"),
    "report": lambda run, room: build_report(run.folder),
    "explorer": lambda run, room: explore(run.folder, show_text=False),
    "study": lambda run, room: Study.open(run),
    "teachers": lambda run, room: Teachers(run, "tfidf", TOY).check(run.cases("train"), run.folds()),
    "gain": lambda run, room: gain_since(Study.open(Run(run.folder, "06_test")), run.folder),
}


@pytest.fixture
def run(tfidf_run, tmp_path):
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "runs/toy"))
    record(run, "01_eda", *FIRST)
    record(run, "06_test", "ensemble.json", "calibration.json", "flags.json", before=("01_eda",))
    return run


@pytest.mark.parametrize("reader", READERS)
def test_it_is_refused_and_nothing_is_written(run, tmp_path, reader):
    cases = run.read("cases.parquet")
    Run(run.folder, "01_eda").write("cases.parquet", cases.assign(Sad=1 - cases["Sad"]))
    record(run, "01_eda", *FIRST)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="06_test ran before 01_eda wrote something else.* --from 06"):
        READERS[reader](run, tmp_path)
    assert [p for p in sorted(tmp_path.rglob("*")) if p not in before] in ([], [tmp_path / "new.csv"])


@pytest.mark.parametrize(
    "name", ["ensemble.json", "calibration.json", "flags.json", "models/tfidf/fold0/key.json"]
)
def test_an_artefact_that_is_not_the_notebook_s_is_refused(run, tmp_path, name):
    run.path(name).write_text(run.path(name).read_text().replace("0", "1", 1) + " ")
    with pytest.raises(InputError, match=f"{name} is not as 0._.* wrote it"):
        READERS["predict"](run, tmp_path)


def test_a_whole_one_is_read(run, tmp_path):
    READERS["predict"](run, tmp_path)
    READERS["bundle"](run, tmp_path)
    READERS["teachers"](run, tmp_path)


def test_a_first_run_that_has_come_to_its_second_notebook_can_be_studied_and_not_deployed(run, tmp_path):
    shutil.copy(run.path("schema.json"), tmp_path)
    run.path(".stages/06_test.key.json").write_text('{"parts": {}, "files": {}}')
    Study.open(run)
    with pytest.raises(InputError, match="06_test did not run to its end"):
        READERS["predict"](run, tmp_path)
