"""A forked kernel differs in nothing from one that starts alone, but that it need not import."""

import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from test_runner import CALL, FIXTURES

from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.pipeline import forks
from narrutils.pipeline.parameters import read_cells
from narrutils.pipeline.profiles import load_profile
from narrutils.pipeline.runner import RunFailed, run_profile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or bool(shutil.which("nvidia-smi")), reason="kernels start by themselves here"
    ),
]

PARAMETERS = 'run_dir: str = "../outputs/toy"  # set by the runner\nstage: str = ""  # this one'
TELLS = """\
import os
import sys

before = "narrutils.data.run" in sys.modules

from narrutils.data.run import Run

env = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
about = {"imported": before, "pid": os.getpid(), "session": os.getsid(0), "cwd": os.getcwd(), "env": env}
Run(run_dir, stage=stage).write(f"{stage}.json", about | {"path": sys.path, "name": __name__})"""
DRAWS = "import matplotlib.pyplot as plt\n\nfrom narrutils.report import plots\n\nplt.plot([1, 2]);"


def place(folder, stages: dict[str, list[str]]):
    """Notebooks of these cells, and a profile of them."""
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    for stage, cells in stages.items():
        book = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(f"# {stage}"),
                nbformat.v4.new_code_cell(
                    PARAMETERS.replace('""', f'"{stage}"'), metadata={"tags": ["parameters"]}
                ),
                *map(nbformat.v4.new_code_cell, cells),
            ],
            metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        )
        nbformat.write(book, notebooks / f"{stage}.ipynb")
    folder.joinpath("toy.yaml").write_text("description: toy\n")
    return load_profile(folder / "toy.yaml", notebooks=notebooks), notebooks, folder / "out"


def test_it_differs_in_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "True")  # scikit-learn sets it here, some time
    stages = ["01_first", "02_second"]
    placed = place(tmp_path, {stage: [TELLS, DRAWS] for stage in stages})
    run = Run(tmp_path / "out/toy")
    with monkeypatch.context() as patch:
        patch.setattr(forks.Nursery, "begin", lambda *_: None)
        run_profile(*placed, only="01")
        alone = run.read("01_first.json")
    run_profile(*placed, force=True)
    forked = [run.read(f"{stage}.json") for stage in stages]
    assert [one.pop("imported") for one in (alone, *forked)] == [False, True, True]
    pids = [one.pop("pid") for one in (alone, *forked)]
    assert len(set(pids)) == 3 and [one.pop("session") for one in (alone, *forked)] == pids
    assert forked == [alone, alone]
    for stage in stages:
        *_, drawn = read_cells(run.path(f"{stage}.ipynb"))
        assert any("image/png" in output.get("data", {}) for output in drawn["outputs"]), stage


def test_one_that_dies_is_told(tmp_path):
    dies = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(RunFailed, match="02_second(.|\n)*kernel died"):
        run_profile(*place(tmp_path, {"01_first": [TELLS], "02_second": [TELLS, dies]}))


def test_it_ends_with_a_runner_that_was_killed(tmp_path):
    waits = "import time\ntime.sleep(600)"
    place(tmp_path, {"01_first": [TELLS], "02_second": [TELLS, waits]})
    words = ["run", str(tmp_path / "toy.yaml"), "--outputs", str(tmp_path / "out")]
    runner = subprocess.Popen([sys.executable, "-c", CALL, str(tmp_path / "notebooks"), *words])
    told = tmp_path / "out/toy/02_second.json"
    wait_until(told.exists)
    assert read_json(told)["imported"]
    started = psutil.Process(runner.pid).children(recursive=True)
    runner.kill()
    runner.wait()
    wait_until(lambda: not any(alive(process) for process in started))


def test_where_none_can_be_forked_it_starts_by_itself(tmp_path):
    env = dict(os.environ)
    with forks.Nursery([FIXTURES / "uses.ipynb"]) as nursery:
        assert nursery.fork(*asked(tmp_path, env)) is None  # nothing is begun
        nursery.begin(env)
        assert nursery.fork(*asked(tmp_path, env | {"HF_HUB_OFFLINE": "other"})) is None
        assert nursery.fork(["another", "kernel"], tmp_path, env) is None
        process = nursery._process
        process.send_signal(signal.SIGKILL)
        assert nursery.fork(*asked(tmp_path, env)) is None
    assert process.returncode == -signal.SIGKILL
    with forks.Nursery() as nursery:
        nursery.begin(env)
        assert nursery.fork(*asked(tmp_path, env)) is None


def asked(folder, env) -> tuple:
    return ["python", "-m", "ipykernel_launcher", "-f", str(folder / "none.json")], str(folder), env


def test_the_package_s_own_modules_are_found_in_notebooks(tmp_path):
    cells = [
        "from narrutils.data.run import (\n    Run,\n)\nimport pandas as pd",
        "%time\nimport narrutils.x",
    ]
    cells += ["def later():\n    import narrutils.predict"]
    place(tmp_path, {"01_first": cells})
    found = forks.imported([tmp_path / "notebooks/01_first.ipynb"])
    assert found == ["narrutils.data.run", "narrutils.data.run.Run", "narrutils.predict"]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def wait_until(holds, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
