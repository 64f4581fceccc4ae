"""The benchmark of real sizes: its models have the published sizes, and it counts what they compute."""

import pytest
import torch
from toys import TOY, random_labels, word_texts
from transformers import AutoModel

from benchmarks.big import SIZES, measure, operations
from narrutils.models.learner import Phase
from narrutils.models.settings import Body, Lora
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

#: Millions of weights as published: of Gemma 2's reports, its embeddings included, and of DeBERTa-v3's
#: (304 in the layers, 131 in the embeddings).
PUBLISHED = {"gemma-2-9b r64": 9242, "gemma-2-2b r128": 2614, "deberta-v3-large": 435}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_the_models_have_the_published_numbers_of_weights(size):
    with torch.device("meta"):
        body = AutoModel.from_config(size.config_of(tiny=False))
    millions = sum(w.numel() for w in body.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED[size.name], rel=0.005)


def test_operations_of_a_frozen_and_of_a_trained_body(tiny_gemma_folder):
    rows = Phase(word_texts(TOY, 4), TOY.to_targets(random_labels(TOY, 4)))
    recipe = Recipe(max_tokens=24, batch_size=4, precision="float32")
    model = NeuralLearner(TOY, Body(tiny_gemma_folder), Lora(2, 4), recipe).fit([rows], "m")
    named = dict(model.classifier.body.named_parameters())
    matrices = {n: w for n, w in named.items() if w.ndim == 2 and "embed_tokens" not in n}
    frozen = sum(w.numel() for n, w in matrices.items() if "lora" not in n)
    adapters = sum(w.numel() for n, w in matrices.items() if "lora" in n)
    assert operations(model, 10) == ((4 * frozen + 6 * adapters) * 10, 0)


def test_it_runs_small(capsys):
    found = measure(SIZES[0], tiny=True, steps=1, rate=1e12)
    assert found["layers"] == 2 and found["tokens a second"] > 0 and found["peak GB"] > 0
