"""The doctor: every finding one line with its mend, and an exit code that tells whether it can run."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from narrutils.data.files import write_json
from narrutils.models import packaged, speed
from narrutils.models.precision import has_gpu
from narrutils.pipeline import doctor, machine
from narrutils.pipeline.doctor import GOOD, NOTE, PROBLEM, Finding
from narrutils.pipeline.estimates import cost
from narrutils.pipeline.profiles import load_profile
from narrutils.report.tables import duration

PINNED = {"alpha": "1.0", "beta": "2.0", "gamma": "3.0"}


@pytest.fixture
def roomy(monkeypatch):
    """A disk with room, whatever else lies on that of the machine."""
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: SimpleNamespace(free=100e9))


def test_the_demo_can_run_here_and_every_part_is_told(tmp_path, capsys, roomy):
    assert doctor.examine(load_profile("params/demo.yaml"), tmp_path) == 0
    said = capsys.readouterr().out
    for title in ("Software", "Machine", "Models of demo", "The profile demo"):
        assert f"\n{title}\n" in said
    software, here = ("Python", "packages", "kernel", "vLLM"), ("processor", "GPU", "memory", "cores", "disk")
    for what in (*software, *here, "minilm", "precision", "time"):
        assert any(line.split()[1:2] == [what] for line in said.splitlines())
    assert said.endswith("demo (params/demo.yaml) can run here\n")
    assert PROBLEM not in said


def test_a_profile_whose_data_are_not_there_cannot_run(tmp_path, capsys, roomy):
    profile = load_profile("params/demo.yaml", [("data_dir", str(tmp_path / "none"))])
    assert doctor.examine(profile, tmp_path) == 1
    said = capsys.readouterr().out
    assert "✗ data and schema" in said
    assert "cannot run here yet: mend the 1 marked ✗" in said
    seconds = sum(cost(profile, tmp_path, stage)["seconds"] for stage in profile.stages)
    assert f"about {duration(seconds)}" in said  # what it would take is told all the same


def test_every_problem_names_its_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e9))
    found = [
        machine.python((3, 12, 1)),
        *machine.packages(PINNED, {"alpha": "1.0+cpu", "beta": "2.1"}.get),
        machine.disk(tmp_path / "not" / "there"),
        doctor.model("nobody"),
        doctor.memory(99.0, SimpleNamespace(total=16e9, available=8e9)),
    ]
    assert [f.mark for f in found] == [PROBLEM, GOOD, NOTE, PROBLEM, PROBLEM, PROBLEM, PROBLEM]
    assert all(f.mend for f in found if f.mark != GOOD)
    assert "1 of 3" in found[1].found
    assert found[2].found == "2.1, tested with 2.0"
    assert "missing; pinned 3.0" in found[3].found
    assert "16.0 GB" in found[-1].found


def test_a_gpu_that_torch_does_not_see_is_told(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert (machine.gpu().mark, "make clean-env" in machine.gpu().mend) == (NOTE, True)
    assert doctor.eight_bit().mark == PROBLEM
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.gpu().mark == GOOD


def test_memory_that_is_taken_by_others_is_a_note():
    here = SimpleNamespace(total=16e9, available=4e9)
    assert doctor.memory(6.0, here).mark == NOTE
    assert doctor.memory(2.0, here).mark == GOOD
    assert doctor.memory(None, here).mark == NOTE


def test_where_models_are_looked_for(tmp_path, monkeypatch, tiny_bert):
    assert doctor.model(tiny_bert).mark == GOOD
    (tmp_path / "half").mkdir()
    half = doctor.model(str(tmp_path / "half"))
    assert (half.mark, "lacks config.json and *.safetensors" in half.found) == (PROBLEM, True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    away = doctor.model("someone/never-made")
    assert (away.mark, "a run fetches it" in away.found) == (NOTE, True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert doctor.model("someone/never-made").mark == PROBLEM


def test_a_package_that_is_missing_or_not_yet_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))
    assert "its first use unpacks it" in doctor.model("gemma3-270m").found
    place = packaged.place_of("gemma3-270m")
    place.mkdir(parents=True)
    (place / packaged.WEIGHTS).touch()
    assert "ready in" in doctor.model("gemma3-270m").found
    away = doctor.model("mpnet")
    assert (away.mark, "make models" in away.mend) == (PROBLEM, True)
    monkeypatch.setitem(packaged.PACKAGED, "none", packaged.Package({"no-such-package": ""}, "", "", ""))
    gone = doctor.model("none")
    assert (gone.mark, "pip install" in gone.mend) == (PROBLEM, True)


def test_every_model_that_a_profile_names_is_looked_for(monkeypatch):
    monkeypatch.setattr(doctor, "model", lambda name: Finding(GOOD, name, ""))
    profile = SimpleNamespace(
        parameters={
            "02": {"pools": [{"backbone": "a/b"}, {"backbone": "c"}], "backbone": "e"},
            "05": {"finals": [{"name": "x", "backbone": "f", "quantization": "8bit"}], "backbone": "c"},
        }
    )
    found = list(doctor.models(profile))
    assert [f.what for f in found[:4]] == ["a/b", "c", "e", "f"]
    assert found[4].what == "8-bit base"


def test_time_and_memory_are_the_runs_own_where_it_was_timed(tmp_path):
    profile = load_profile("params/demo.yaml")
    timed = {"status": "done", "seconds": 90_000, "peak_gigabytes": 1e6}
    write_json(tmp_path / "demo/run.json", {"stages": {profile.stages[-1]: timed}})
    found = {f.what: f for f in doctor.demands(profile, tmp_path)}
    assert "25 h" in found["time"].found
    assert found["memory needed"].mark == PROBLEM


def test_the_precision_is_named_and_told_where_it_is_slow_or_not_to_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "measure", lambda: speed.Speed(50.0, 10.0))
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))

    def found(*overrides):
        profile = load_profile("params/demo.yaml", overrides)
        return next(doctor.demands(profile, tmp_path))

    assert (found().mark, found().found) == (GOOD, "float32")
    slow = found(("precision", "bfloat16"))
    assert (slow.mark, "5 times" in slow.found) == (NOTE, True)
    if not has_gpu():
        assert found(("precision", "float16")).mark == PROBLEM


def test_nothing_heavy_is_loaded_to_look(tmp_path):
    speed.measured()  # remembered from here on
    code = "import sys; from narrutils.cli import main; main(['doctor', '--outputs', sys.argv[1]])"
    code += "; main(['run', 'params/demo.yaml', '--dry-run', '--outputs', sys.argv[1]])"
    code += "; print('loaded', *{'torch', 'transformers', 'sklearn', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded"], done.stderr


def test_a_kernel_of_another_python_is_a_problem(tmp_path, monkeypatch):
    assert machine.kernel(tmp_path).mark == GOOD  # none is named: ipykernel brings its own
    named = tmp_path / "share/jupyter/kernels/python3/kernel.json"
    write_json(named, {"argv": ["python", "-m", "ipykernel_launcher"]})
    assert machine.kernel(tmp_path).mark == GOOD
    write_json(named, {"argv": [str(tmp_path / "python"), "-m", "ipykernel_launcher"]})
    assert (machine.kernel(tmp_path).mark, "ipykernel install" in machine.kernel(tmp_path).mend) == (
        PROBLEM,
        True,
    )
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert machine.kernel(tmp_path).mark == PROBLEM


@pytest.mark.parametrize("width", [4, 12])
def test_mends_stand_below_what_was_found(width):
    first, second = doctor.line(Finding(NOTE, "disk", "little", "free some"), width).split("\n")
    assert second.index("→") == first.index("little")
