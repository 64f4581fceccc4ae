"""Training in several processes gives what one process gives: DDP and FSDP, on the CPU."""

import shutil
import stat
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import in_process
import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import DistributedType
from torch import nn
from toys import TOY, random_labels, random_probabilities, uids, word_texts

from narrutils.errors import InputError
from narrutils.models.classifier import learned, take_over
from narrutils.models.learner import Phase
from narrutils.models.settings import Body, Lora
from narrutils.training import distributed, launching, worker
from narrutils.training.distributed import gathered, share
from narrutils.training.divergence import Diverged
from narrutils.training.launching import accelerate_options, read_job, train_launched
from narrutils.training.losses import AbstractionLoss
from narrutils.training.neural import NeuralLearner
from narrutils.training.other_losses import LovaszLoss, SoftF1Loss
from narrutils.training.recipe import Recipe

DDP = {"num_processes": 2}
FSDP = DDP | {"use_fsdp": True}
#: 7 rows in steps of 2 batches: 4 and 3 rows, and 3 do not divide by 2. One step an epoch, so
#: that the history holds every step's loss.
RECIPE = Recipe(max_tokens=32, batch_size=4, accumulation=2, learning_rate=1e-2, precision="float32")
ROWS, EPOCHS = 7, 10


def phases(soft_rows: int = ROWS) -> list[Phase]:
    made = word_texts(TOY, soft_rows, seed=1).set_axis(uids(soft_rows, "g"))
    soft = Phase(made, random_probabilities(TOY, made.index), 1, soft=True)
    return [soft, Phase(word_texts(TOY, ROWS), TOY.to_targets(random_labels(TOY, ROWS)), EPOCHS)]


def learner(folder: str, rank: int, launch: dict | None = None, **recipe) -> NeuralLearner:
    return NeuralLearner(
        TOY, Body(folder), Lora(rank, 2 * rank), replace(RECIPE, **recipe), launch=launch or {}
    )


def check_same(one, other) -> None:
    """The same loss at every step, the same learned weights."""
    curves = [[entry["loss"] for entry in model.history] for model in (one, other)]
    assert len(curves[0]) == 1 + EPOCHS and curves[0][-1] < 0.9 * curves[0][1]  # there was something to learn
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    mine, theirs = learned(one.classifier), learned(other.classifier)
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-2, atol=2e-3, msg=name)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tiny_gemma_folder, capsys):
    alone = learner(tiny_gemma_folder, 4).fit(phases(), "m fold0")
    both = learner(tiny_gemma_folder, 4, DDP).fit(phases(), "m fold0")
    check_same(alone, both)
    texts = word_texts(TOY, 5, seed=9)
    pd.testing.assert_frame_equal(alone.predict(texts), both.predict(texts), atol=5e-3)
    # One line an epoch of each training, not of each process.
    assert capsys.readouterr().out.count(f"m fold0 · epoch {EPOCHS + 1}/") == 2


#: Models that are divided between processes: a whole encoder, on a loss that is no mean over cases and with
#: averaged weights, and adapters over a base in bfloat16.
DIVIDED = {
    "whole": {"loss": "f1", "ema": 0.5},
    "adapters": {"precision": "bfloat16", "checkpointing": True},
}


@pytest.fixture(scope="module")
def divided(tiny_bert, tiny_gemma_folder, tmp_path_factory):
    """Each of them, as one process learns it and as two do.

    Two learn all of them in one launch, which is most of the time: what they are asked for is kept, they
    are started once, and each training is given what they learned. See `fsdp_on_cpu`, which fails if the
    weights were not divided.
    """
    jobs, asked = tmp_path_factory.mktemp("jobs"), []

    def keep(words: list[str], label: str) -> None:
        shutil.copytree(words[-1], jobs / label)
        asked[:] = words[words.index("accelerate.commands.launch") + 1 : -1]
        raise _Kept

    def give(words: list[str], label: str) -> str:
        shutil.copytree(jobs / label, words[-1], dirs_exist_ok=True)
        return ""

    def fitted(launch: dict) -> dict[str, NeuralLearner]:
        whole = learner(tiny_bert, 0, launch, **DIVIDED["whole"])
        adapters = learner(tiny_gemma_folder, 4, launch, **DIVIDED["adapters"])
        adapters = replace(adapters, body=Body(tiny_gemma_folder, precision="bfloat16"))
        made = {}
        for name, one in {"whole": whole, "adapters": adapters}.items():
            with suppress(_Kept):
                made[name] = one.fit(phases(), name)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "_run", keep)
        assert not fitted(FSDP)
        said = in_process.module("fsdp_on_cpu", *asked, *(str(jobs / name) for name in DIVIDED))
        assert all((jobs / name / "outcome.json").exists() for name in DIVIDED), said.stdout
        patch.setattr(launching, "_run", give)
        return fitted({}), fitted(FSDP)


class _Kept(Exception):
    pass


@pytest.mark.slow
def test_a_model_divided_between_processes_learns_the_same(divided):
    alone, both = divided
    check_same(alone["whole"], both["whole"])


@pytest.mark.slow
def test_fsdp_over_a_bfloat16_base_keeps_adapters_and_head_in_float32(divided):
    alone, both = (models["adapters"] for models in divided)
    curves = [[entry["loss"] for entry in model.history] for model in (alone, both)]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.02)  # bfloat16 has 3 digits
    assert {w.dtype for w in learned(both.classifier).values()} == {torch.float32}


LOSSES = {
    "cross_entropy": lambda: AbstractionLoss(TOY, 0.1),
    "f1": lambda: SoftF1Loss(TOY),
    "lovasz": lambda: LovaszLoss(TOY, 0.1),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [7, 2, 1])
def test_the_mean_of_the_gradients_is_that_of_the_whole_batch(monkeypatch, loss, rows):
    """Adam forgives a wrong scale, so gradients are looked at; with fewer rows than processes too."""
    torch.manual_seed(0)
    model, inputs, count = nn.Linear(5, TOY.width), torch.randn(rows, 5), 3
    targets = torch.tensor(TOY.to_targets(random_labels(TOY, rows)).to_numpy(), dtype=torch.float32)
    aims = targets, torch.zeros(rows, dtype=torch.bool)
    alone = LOSSES[loss]()(model(inputs), *aims)
    wanted = torch.autograd.grad(alone, model.weight)[0]

    def of_process(rank: int) -> torch.Tensor:
        monkeypatch.setattr(distributed, "place", lambda: (rank, count))
        return model(inputs[share(range(rows))])

    told = [of_process(rank).detach() for rank in range(count)]
    everyone = lambda parts, mine: [part.copy_(t) for part, t in zip(parts, told)]  # noqa: E731
    monkeypatch.setattr(distributed.distributed, "all_gather", everyone)
    gradients = []
    for rank in range(count):
        value = LOSSES[loss]()(gathered(of_process(rank), rows), *aims)
        torch.testing.assert_close(value, alone)
        gradients.append(torch.autograd.grad(value, model.weight)[0])
    torch.testing.assert_close(sum(gradients) / count, wanted)


def test_one_process_reads_every_row():
    assert share([4, 2, 9]) == [4, 2, 9]
    logits = torch.ones(3, 2, requires_grad=True)
    assert gathered(logits, 3) is logits


@pytest.fixture
def here(monkeypatch):
    """The worker in this very process: what goes through the folder is what it reads and writes."""
    monkeypatch.setattr(launching, "_run", lambda words, label: worker.main(Path(words[-1])))


def test_through_the_folder_nothing_is_lost(tiny_bert, here):
    alone, launched = (learner(tiny_bert, 0, launch).fit(phases(), "m") for launch in ({}, DDP))
    one, other = learned(alone.classifier), learned(launched.classifier)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("recipe", "kind", "told"),
    [
        ({"learning_rate": 1e25, "warmup": 0.0}, Diverged, "at step"),
        ({"r_drop": 1.0, "head_dropout": 0.0}, InputError, "r_drop compares"),
    ],
)
def test_trouble_in_the_processes_is_passed_back(tiny_bert, here, recipe, kind, told):
    with pytest.raises(kind, match=told):
        learner(tiny_bert, 0, DDP, **recipe).fit(phases(), "m fold0")


@pytest.mark.parametrize(
    ("kind", "version", "told"),
    [(DistributedType.MULTI_CPU, "2", "leave use_fsdp out"), (DistributedType.FSDP, "1", "it takes 2")],
)
def test_fsdp_is_refused_where_it_would_be_something_else(monkeypatch, kind, version, told):
    """Without GPUs accelerate runs DDP instead, and says nothing."""
    worker.check_strategy(SimpleNamespace(distributed_type=kind))  # nobody asked for FSDP
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", version)
    with pytest.raises(InputError, match=told):
        worker.check_strategy(SimpleNamespace(distributed_type=kind))


def test_processes_that_end_without_a_result_are_an_error(tiny_bert, monkeypatch):
    monkeypatch.setattr(launching, "command", lambda options: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match="without a result"):
        learner(tiny_bert, 0, {"num_processes": 1}).fit(phases(), "m fold0")


def test_the_folder_between_the_processes_is_private_and_removed(tmp_path, monkeypatch):
    """It holds narratives."""
    seen = {}

    def look(words, label):
        folder = Path(words[-1])
        seen["mode"] = stat.S_IMODE(folder.stat().st_mode)
        seen["tables"] = {stat.S_IMODE(p.stat().st_mode) for p in folder.glob("*.parquet")}
        seen["words"] = words
        schema, parts, read, label = read_job(folder)
        assert schema == TOY and [p.key() for p in read] == [p.key() for p in phases()]
        launching.write_outcome(folder, {"w": torch.ones(2)}, [{"loss": 1.0}])
        return ""

    monkeypatch.setattr(launching, "_run", look)
    settings = {"num_processes": 2, "scratch": str(tmp_path), "before": ["srun", "--nodes=2"]}
    outcome = train_launched(settings, TOY, {"body": {}, "lora": {}, "recipe": {}}, phases(), "m")
    assert seen["mode"] == 0o700 and seen["tables"] == {0o600}
    assert seen["words"][:3] == ["srun", "--nodes=2", sys.executable]
    assert outcome.history == [{"loss": 1.0}] and not list(tmp_path.iterdir())


def test_weights_of_another_classifier_are_refused():
    with pytest.raises(ValueError, match="bias"):
        take_over(nn.Linear(2, 2), {"weight": torch.zeros(2, 2)})


def test_settings_are_those_of_accelerate():
    words = accelerate_options({"num_processes": 3, "gpu_ids": "0,1,2"})
    assert words[words.index("--num_processes") + 1] == "3" and "--multi_gpu" in words
    assert accelerate_options({"config_file": "fsdp.yaml"}) == ["--config_file", "fsdp.yaml"]
    assert "--multi_gpu" not in accelerate_options(FSDP) and "--use_fsdp" in accelerate_options(FSDP)
    with pytest.raises(InputError, match="num_processes"):
        accelerate_options({"num_proceses": 3})


def test_how_it_is_launched_is_no_part_of_the_key(tiny_bert):
    """A run that was begun on three GPUs is resumed on one."""
    assert learner(tiny_bert, 0, DDP).config() == learner(tiny_bert, 0).config()
    assert learner(tiny_bert, 0, DDP).reseeded(1).launch == DDP


@pytest.mark.parametrize("rows", [1, 5, 6, 7])
def test_the_shares_are_equal_and_together_the_batch(monkeypatch, rows):
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "place", lambda rank=rank: (rank, 3))
        shares.append(share(list(range(10, 10 + rows))))
    assert {len(s) for s in shares} == {-(-rows // 3)}
    assert [row for s in shares for row in s][:rows] == list(range(10, 10 + rows))
