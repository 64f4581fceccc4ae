"""Trainings side by side give what trainings in a row give, and what goes wrong in one is told."""

import subprocess
import sys
import time

import pandas as pd
import parts
import psutil
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from toys import TOY, random_labels

from narrutils.crossfit import side_by_side
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.side_by_side import at_once, for_each, shares
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.settings import Body
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe
from narrutils.workers import THREADS

RECIPE = Recipe(max_tokens=16, learning_rate=1e-2, head_learning_rate=1e-1, seed=5)


@pytest.fixture(autouse=True)
def two_cores():
    """One thread for each of two trainings, and one in this process too: the numbers can be compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fit(folder, backbone: str, abreast: int) -> CrossFit:
    labels = random_labels(TOY, 18)
    texts = pd.DataFrame({c: [f"w{n} w{n % 3}" for n in range(18)] for c in TOY.text_columns}, labels.index)
    folds = pd.Series([n % 3 for n in range(18)], labels.index)
    learner = NeuralLearner(TOY, Body(backbone, dropout=0.0), recipe=RECIPE)
    model = CrossFit(
        Study(Run(folder, stage="s"), TOY, texts, folds, texts[:2]), "m", learner, at_once=abreast
    )
    return model.fit(given_labels(model.study, 2, labels=labels))


@pytest.mark.slow
def test_the_models_are_those_of_trainings_in_a_row(tiny_bert, tmp_path, capfd):
    alone = fit(tmp_path / "alone", tiny_bert, 1)
    told = capfd.readouterr().out
    abreast = fit(tmp_path / "abreast", tiny_bert, 2)
    pd.testing.assert_frame_equal(abreast.out_of_fold(), alone.out_of_fold())
    pd.testing.assert_frame_equal(abreast.on_test(), alone.on_test())
    lines = capfd.readouterr().out
    assert [line[:19] for line in lines.splitlines()] == [line[:19] for line in told.splitlines()]

    (tmp_path / "abreast/models/m/fold1/key.json").unlink()
    fit(tmp_path / "abreast", tiny_bert, 2)
    again = capfd.readouterr().out
    written = [abreast.study.run.written_by("s"), alone.study.run.written_by("s")]
    assert sorted(written[0]) == sorted(written[1])
    assert again.count("already trained") == 2 and "m fold1 · epoch 2/2" in again
    pd.testing.assert_frame_equal(abreast.out_of_fold(), alone.out_of_fold())


@pytest.mark.parametrize(
    ("cores", "trainings", "abreast", "expected"),
    [
        (2, 3, 2, [1, 1, 2]),
        (8, 5, 3, [2, 2, 2, 4, 4]),
        (8, 4, 4, [2, 2, 2, 2]),
        (2, 3, 3, [1, 1, 1]),
        (4, 3, 1, [4, 4, 4]),
    ],
)
def test_the_cores_are_shared_by_place(cores, trainings, abreast, expected):
    assert shares(cores, trainings, abreast) == expected


def test_how_many_run_at_once():
    assert at_once(0, 5, whole_machine=True) == 1
    for cores, expected in {1: 1, 2: 1, 3: 1, 4: 2, 8: 4, 64: 5}.items():
        torch.set_num_threads(cores)
        assert at_once(0, 5, whole_machine=False) == expected
    assert at_once(4, 3, whole_machine=False) == 3
    assert at_once(2, 3, whole_machine=True) == 2


@pytest.mark.slow
def test_a_training_has_its_share_of_threads_whether_torch_is_loaded_already_or_later(tmp_path, monkeypatch):
    """Loaded later, it takes them from the environment."""
    given, files = [2, 3, 4, 5], [tmp_path / str(n) for n in range(4)]
    monkeypatch.setattr(side_by_side, "shares", lambda *_: given)
    get_reusable_executor().shutdown(kill_workers=True)
    for_each(parts.tell_threads, [(file,) for file in files], 4, abreast=2)
    get_reusable_executor().shutdown(kill_workers=True)
    known = set()
    for file, threads in zip(files, given):
        pid, told, *environment = file.read_text().split()
        if pid in known:
            assert told == str(threads)
        else:
            assert told == "0" and environment == [str(threads)] * len(THREADS)
        known.add(pid)
    assert len(known) <= 2


@pytest.mark.slow
def test_what_goes_wrong_is_one_line():
    with pytest.raises(InputError, match="seed: the mend"):
        for_each(parts.end, [("",), None, ("input",)], 3, abreast=2)


@pytest.mark.slow
def test_a_process_that_was_killed_is_one_line_and_does_not_spoil_the_next_call(capfd):
    with pytest.raises(InputError, match="set at_once to 1"):
        for_each(parts.end, [("",), None, ("killed",)], 3, abreast=2)
    for_each(print, [("once",), ("more",)], 2, abreast=2)
    assert capfd.readouterr().out == "once\nmore\n"


LARGE = 320_000_000


@pytest.mark.slow
def test_what_a_training_leaves_loaded_serves_the_next_one(tmp_path):
    files = [tmp_path / str(n) for n in range(4)]
    for_each(parts.hold, list(zip(files, (0, 0, LARGE, LARGE))), 4, abreast=2)
    for_each(parts.hold, [(file, 0) for file in files[2:]], 2, abreast=2)
    assert len({file.read_text() for file in files}) <= 2


SLEEPERS = """
import os, time
from narrutils.crossfit.side_by_side import for_each
def sleep(file):
    open(file, "w").write(str(os.getpid()))
    time.sleep(600)
for_each(sleep, [(f"{FOLDER}/one",), (f"{FOLDER}/two",)], 2, abreast=2)
"""


@pytest.mark.slow
def test_trainings_end_with_a_parent_that_was_killed(tmp_path):
    code = SLEEPERS.replace("{FOLDER}", str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", code])
    files = [tmp_path / "one", tmp_path / "two"]
    wait_until(lambda: all(f.exists() and f.read_text() for f in files))
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(psutil.pid_exists(int(f.read_text())) for f in files))


def wait_until(holds, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)
