"""What decides the parts of new cases that a run codes."""

import shutil

import pytest

from narrutils.crossfit.coding import content
from narrutils.crossfit.deployed import Deployed
from narrutils.data.run import Run


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("calibration.json", True),
        ("flags.json", True),
        ("ensemble.json", True),
        ("findings/promises.json", True),
        ("findings/reference.json", True),
        ("models/tfidf/fold1/weights.safetensors", True),
        ("models/tfidf/fold1/vocabulary.json", True),
        ("models/tfidf/fold1/predictions.parquet", False),
        ("cases.parquet", False),
    ],
)
def test_the_content_of_a_run_is_what_its_codes_depend_on(promising_run, tmp_path, name, decides):
    run = Run(shutil.copytree(promising_run.folder, tmp_path / "run"))
    before = content(Deployed.open(run.folder))
    assert before == content(Deployed.open(promising_run.folder))
    with run.path(name).open("ab") as file:
        file.write(b"\n")
    assert (content(Deployed.open(run.folder)) != before) == decides
