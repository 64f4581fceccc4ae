"""Trainings of a process stand on one base: each gives what it gives on a base of its own."""

import shutil
import weakref
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import TOY, random_labels, uids, word_texts

from narrutils.models import bases
from narrutils.models.classifier import learned
from narrutils.models.learner import Phase
from narrutils.models.settings import Body, Lora
from narrutils.training import neural
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(max_tokens=24, batch_size=4, learning_rate=1e-2, seed=5, head_start="probe")
ROWS = Phase(word_texts(TOY, 12, words=5), TOY.to_targets(random_labels(TOY, 12)), 2)
NEW = word_texts(TOY, 5, seed=3).set_axis(uids(5, "new"))
DROPPED = {"dropout": 0.2, "head_dropout": 0.2}


@pytest.fixture(
    params=["adapters", "adapters on the top", "checkpointed", "the top", "the top, dropout", "an encoder"]
)
def learner(request, tiny_bert, tiny_gemma_folder):
    causal, encoder = Body(tiny_gemma_folder, precision="bfloat16"), Body(tiny_bert, top_layers=1)
    return {
        "adapters": NeuralLearner(TOY, causal, Lora(4, 8, lora_dropout=0.2), RECIPE),
        "adapters on the top": NeuralLearner(TOY, replace(causal, top_layers=1), Lora(4, 8), RECIPE),
        "checkpointed": NeuralLearner(TOY, causal, Lora(4, 8), replace(RECIPE, checkpointing=True)),
        "the top": NeuralLearner(TOY, encoder, recipe=RECIPE),
        "the top, dropout": NeuralLearner(TOY, encoder, recipe=RECIPE).varied(**DROPPED),
        "an encoder": NeuralLearner(TOY, replace(encoder, top_layers=0), recipe=RECIPE),
    }[request.param]


@pytest.fixture
def loads(monkeypatch):
    """Weak references to the bodies that were loaded, from a process on that holds nothing yet."""
    seen, load = [], bases.load_body

    def spy(*args, **more):
        model = load(*args, **more)
        seen.append(weakref.ref(model))
        return model

    monkeypatch.setattr(bases, "load_body", spy)
    neural._HELD.clear()
    return seen


def trained(learner: NeuralLearner) -> tuple[dict, pd.DataFrame]:
    """What a training learned, and what its model reads."""
    model = learner.fit([ROWS])
    return learned(model.classifier) | model.classifier.head.tensors, model.predict(NEW)


def assert_equal(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(weight, other[0][name]) for name, weight in one[0].items())
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)


def test_trainings_after_one_another_give_what_each_gives_alone(learner, tmp_path):
    """Whatever the former one was: other adapters, other dropout, other layers."""
    learner = replace(learner, states=tmp_path)
    alone = []
    for seed in (0, 1):
        neural._HELD.clear()
        alone.append(trained(learner.reseeded(seed)))
    assert not alone[0][1].equals(alone[1][1])
    neural._HELD.clear()
    first = learner.fit([ROWS])
    assert_equal(trained(learner.reseeded(1)), alone[1])
    pd.testing.assert_frame_equal(first.predict(NEW), alone[0][1], check_exact=True)
    for other in ({"head_dropout": 0.3}, {"top_layers": 1}, {"checkpointing": True}):
        learner.varied(**other).fit([ROWS])
    assert_equal(trained(learner), alone[0])


def test_a_base_is_loaded_once_and_let_go_of_for_another(tiny_bert, tiny_gemma_folder, tmp_path, loads):
    top = NeuralLearner(TOY, Body(tiny_gemma_folder, top_layers=1), Lora(4, 8), RECIPE, states=tmp_path)
    top.prepare([ROWS.texts, NEW])
    assert len(loads) == 1 and loads[0]() is None  # whoever trains may be another process
    for learner in (top, top.reseeded(1), top.varied(pooling="mean"), top.varied(lora_rank=2)):
        learner.fit([ROWS]).predict(NEW)
        learner.prepare([NEW, ROWS.texts])
    assert len(loads) == 2
    NeuralLearner(TOY, Body(tiny_bert, top_layers=1), recipe=RECIPE).fit([ROWS])
    assert len(loads) == 3 and len(neural._HELD) == 1
    top.fit([ROWS])
    assert len(loads) == 4


def test_other_weights_of_the_same_name_are_another_base(tiny_bert, tmp_path, loads):
    body = Body(str(shutil.copytree(tiny_bert, tmp_path / "bert")), top_layers=1)
    learner = NeuralLearner(TOY, body, recipe=RECIPE)
    before = trained(learner)
    file = tmp_path / "bert/model.safetensors"
    save_file({n: 1.5 * w for n, w in load_file(file).items()}, file, {"format": "pt"})
    after = trained(learner)
    assert len(loads) == 2 and not before[1].equals(after[1])


def test_a_base_that_starts_partly_at_random_follows_the_seed(tiny_bert, tmp_path, loads):
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    file = folder / "model.safetensors"
    kept = {n: w for n, w in load_file(file).items() if "layer.0.output.dense" not in n}
    save_file(kept, file, {"format": "pt"})
    learner = NeuralLearner(TOY, Body(str(folder), top_layers=1), recipe=RECIPE)
    assert_equal(trained(learner), trained(learner))
    alone = [model.fit([ROWS]) for model in (learner, learner.reseeded(1))]
    one, other = (dict(model.classifier.body.named_parameters()) for model in alone)
    assert not torch.equal(*(w["encoder.layer.0.output.dense.weight"] for w in (one, other)))
    assert len(loads) == 4
