"""What needs no neural model starts, and ends, without torch."""

import ast
import subprocess
import sys

import pytest
from deployments import TEST, features

from narrutils.paths import PROJECT
from narrutils.pipeline.parameters import read_cells

pytestmark = pytest.mark.slow

HEAVY = "sorted({'torch', 'transformers', 'peft', 'vllm'} & set(sys.modules))"


def heavy_after(*codes):
    """Which heavy packages are loaded after each of some pieces of code, in a process of their own."""
    run = "\n".join(f"exec({code!r}, {{}}); told.append({HEAVY})" for code in codes)
    words = [sys.executable, "-c", f"import sys\ntold = []\n{run}\nprint(told)"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_commands_and_notebooks_that_train_no_neural_model_open_without_one():
    commands = ["cli", "pipeline.runner", "pipeline.cycle", "pipeline.seeds", "predict", "estimate", "bundle"]
    first = {name: f"import narrutils.{name}" for name in commands}
    for stage in ("03_relabeling", "06_ensemble"):
        cells = read_cells(PROJECT / f"notebooks/{stage}.ipynb")
        first[stage] = next(cell["source"] for cell in cells if cell["cell_type"] == "code")
    assert dict(zip(first, heavy_after(*first.values()))) == dict.fromkeys(first, [])


def test_linear_members_are_read_and_bundled_without_torch(tfidf_run, tmp_path):
    out, archive, run = tmp_path / "o.csv", tmp_path / "b.zip", ["--run", str(tfidf_run.folder)]
    table = features(tmp_path, TEST, "f.csv")
    calls = [["predict", *run, "--features", str(table), "--out", str(out)]]
    calls += [["bundle", *run, "--out", str(archive)]]
    assert heavy_after(f"from narrutils.cli import main\nassert not any(map(main, {calls!r}))") == [[]]
    assert out.stat().st_size and archive.stat().st_size
