"""What needs no neural model starts, and ends, without torch."""

import subprocess
import sys

import pytest
from deployments import TEST, features

from narrutils.paths import PROJECT
from narrutils.pipeline.parameters import read_cells

pytestmark = pytest.mark.slow

HEAVY = "{'torch', 'transformers', 'peft', 'vllm'} & set(sys.modules)"


def heavy_after(code):
    """Which heavy packages are loaded once some code has run in a process of its own."""
    words = [sys.executable, "-c", f"import sys\n{code}\nprint(sorted({HEAVY}))"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "module", ["cli", "pipeline.runner", "pipeline.cycle", "pipeline.seeds", "predict", "estimate", "bundle"]
)
def test_the_commands_load_nothing_heavy(module):
    assert heavy_after(f"import narrutils.{module}") == "[]"


@pytest.mark.parametrize("stage", ["03_relabeling", "06_ensemble"])
def test_a_notebook_that_trains_no_neural_model_opens_without_one(stage):
    cells = [
        c["source"] for c in read_cells(PROJECT / f"notebooks/{stage}.ipynb") if c["cell_type"] == "code"
    ]
    assert heavy_after(cells[0]) == "[]"


def test_linear_members_are_read_and_bundled_without_torch(tfidf_run, tmp_path):
    out, archive, run = tmp_path / "o.csv", tmp_path / "b.zip", ["--run", str(tfidf_run.folder)]
    table = features(tmp_path, TEST, "f.csv")
    calls = [["predict", *run, "--features", str(table), "--out", str(out)]]
    calls += [["bundle", *run, "--out", str(archive)]]
    assert heavy_after(f"from narrutils.cli import main\nassert not any(map(main, {calls!r}))") == "[]"
    assert out.stat().st_size and archive.stat().st_size
