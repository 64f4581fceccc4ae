"""The speed of the processor is measured once for each kind of machine, and then read without torch."""

import json
import subprocess
import sys

import pytest

from narrutils.models import speed
from narrutils.models.speed import Speed, kind, measured


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))
    return tmp_path


def test_it_is_measured_once(monkeypatch):
    first = measured()
    monkeypatch.setattr(speed, "measure", lambda: Speed(-1.0, -1.0))
    assert measured() == first
    assert first.float32 > 0 and first.bfloat16 > 0


@pytest.mark.parametrize("limit", speed.LIMITS)
def test_torch_held_to_fewer_instructions_is_another_machine(monkeypatch, limit):
    answers = iter([Speed(1.0, 2.0), Speed(3.0, 4.0)])
    monkeypatch.setattr(speed, "measure", lambda: next(answers))
    assert measured() == Speed(1.0, 2.0)
    monkeypatch.setenv(limit, "AVX2")
    assert measured() == Speed(3.0, 4.0)
    monkeypatch.delenv(limit)
    assert measured() == Speed(1.0, 2.0)


def test_a_kept_figure_is_read_without_loading_torch(empty_cache, monkeypatch):
    monkeypatch.setattr(speed, "measure", lambda: Speed(5.0, 6.0))
    measured()
    code = "import sys; from narrutils.models.speed import measured; print(measured())"
    code += "; assert 'torch' not in sys.modules"
    read = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert read.stdout.strip() == str(Speed(5.0, 6.0))


def test_what_is_kept_says_which_machine_it_is_of(empty_cache):
    measured()
    (kept,) = empty_cache.rglob("*.json")
    assert kind().items() <= json.loads(kept.read_text()).items()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path / "file"))
    assert measured().float32 > 0


def test_measuring_leaves_the_number_of_threads(monkeypatch):
    import torch

    before = torch.get_num_threads()
    speed.measure()
    assert torch.get_num_threads() == before
