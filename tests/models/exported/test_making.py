"""An exported encoder reads as its model, without what its file should not tell."""

import copy
import re
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from toys import TOY, bert_tokenizer, random_labels, word_texts

from narrutils.crossfit.stored import EXPORTED, load_model
from narrutils.errors import InputError
from narrutils.models.exported import making
from narrutils.models.exported.making import BLOCK, _rounded, export, quantise
from narrutils.models.exported.reading import GRAPH, SPECIAL, WORDS, OnnxModel, Words
from narrutils.models.learner import Phase
from narrutils.models.settings import Body, Lora
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

#: Short and long, blank in one narrative and in both, more than two batches, with words that are not known.
TEXTS = pd.concat([word_texts(TOY, 5, seed=n, words=n * 5 + 2) for n in range(3)], ignore_index=True)
TEXTS.iloc[[1, 3, 3, 7], [0, 0, 1, 1]] = ""
TEXTS.iloc[0, 0] = "w1 strange  w2\n [SEP] w3"
KINDS = {
    "joined": ({"pooling": "parts"}, Lora(2, 4, lora_targets=("query", "value")), "joined"),
    "separate": ({"top_layers": 1}, Lora(), "separate"),
}


def trained(backbone: str, body: dict, lora: Lora, inputs: str):
    """A model whose logits are far apart, so that what is read otherwise shows."""
    recipe = Recipe(max_tokens=14, batch_size=2, precision="float32", learning_rate=1e-2, inputs=inputs)
    learner = NeuralLearner(TOY, Body(backbone, **body), lora, recipe)
    model = learner.fit([Phase(word_texts(TOY, 12, seed=4), TOY.to_targets(random_labels(TOY, 12)))])
    with torch.no_grad():
        model.classifier.head.weight.normal_(std=0.5)
    return model


@pytest.fixture(scope="module", params=KINDS)
def made(request, tiny_bert, tmp_path_factory):
    """A model, and the folder of its export."""
    body, lora, inputs = KINDS[request.param]
    model, folder = trained(tiny_bert, body, lora, inputs), tmp_path_factory.mktemp("exported")
    export(model, folder, "encoder")
    return model, folder


def test_it_reads_as_its_model_in_float32(made):
    model, folder = made
    found, right = load_model(folder, TOY).predict(TEXTS), model.predict(TEXTS)
    assert right.std().mean() > 0.05
    pd.testing.assert_frame_equal(found, right, atol=1e-5, rtol=0)
    assert OnnxModel.load(folder, TOY).predict(TEXTS[:0]).shape == (0, TOY.width)


def test_a_sibling_brings_its_own_weights_into_the_graph_of_another(made, tmp_path, monkeypatch):
    model, folder = made
    export(model, tmp_path / "again", "encoder")
    assert (tmp_path / "again" / GRAPH).read_bytes() == (folder / GRAPH).read_bytes()
    monkeypatch.setattr(making, "_trace", None)
    sibling = copy.copy(model)
    sibling.classifier = copy.deepcopy(model.classifier)
    with torch.no_grad():
        for weight in sibling.classifier.state_dict().values():
            weight += 0.05 * torch.randn(weight.shape) if weight.is_floating_point() else 0
    export(sibling, tmp_path / "sibling", "encoder")
    found, right = load_model(tmp_path / "sibling", TOY).predict(TEXTS), sibling.predict(TEXTS)
    assert (right - model.predict(TEXTS)).abs().to_numpy().max() > 0.01
    pd.testing.assert_frame_equal(found, right, atol=1e-5, rtol=0)


def test_its_file_tells_of_no_code_and_no_place(made):
    model, folder = made
    content = (folder / GRAPH).read_bytes()
    assert GRAPH == EXPORTED
    assert not re.search(rb"narrutils|site-packages|transformers\.|/home|\.py\b", content)
    graph = onnx.load(folder / GRAPH)
    onnx.checker.check_model(graph)
    assert not graph.metadata_props and not any(n.metadata_props or n.doc_string for n in graph.graph.node)


def test_8_bit_weights_read_nearly_the_same_and_the_head_is_kept(made, tmp_path):
    model, folder = made
    rounded = shutil.copytree(folder, tmp_path / "rounded")
    quantise(rounded)
    graph = onnx.load(rounded / GRAPH).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulNBits") >= 12 and kinds.count("GatherBlockQuantized") >= 1
    floats = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
    assert [name for name in floats if "head.weight" in name]
    assert not [name for name in floats if "word_embeddings" in name and not name.endswith("steps")]
    found, right = load_model(rounded, TOY).predict(TEXTS), model.predict(TEXTS)
    assert 1e-5 < np.abs(found - right).to_numpy().max() < 0.05
    alone = load_model(rounded, TOY).predict(TEXTS[4:5])  # states have no scale that they share
    pd.testing.assert_frame_equal(alone, found[4:5], atol=1e-5, rtol=0)


def test_each_block_is_rounded_to_half_a_step_of_its_own():
    table = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    table[0, :BLOCK], table[1, BLOCK:] = 0, table[1, BLOCK:] * 1000
    values, steps = _rounded(table)
    assert values.shape == (3, 2, BLOCK) and values.dtype == np.uint8 and values.min() >= 1
    again = ((values.astype(float) - 128) * steps[..., None]).reshape(3, -1)
    assert (again[:, 40:] == 0).all() and (again[0, :BLOCK] == 0).all()
    half = np.repeat(steps, BLOCK, axis=1)[:, :40] / 2
    assert (np.abs(again[:, :40] - table) <= half * 1.001).all()
    assert steps[1, 1] > 100 * steps[1, 0]


def test_the_stored_words_are_those_of_the_tokenizer(made):
    model, folder = made
    words = Words(folder / WORDS, {name: getattr(model.tokenizer, name) for name in SPECIAL})
    given = [*TEXTS["First"], "w1 <unk> [CLS] w2", ""]
    right = bert_tokenizer()(given, add_special_tokens=False)["input_ids"]
    assert words(given)["input_ids"] == right
    assert words(given[0])["input_ids"] == right[0]


def test_a_damaged_file_is_named(made, tmp_path):
    model, folder = made
    for name in (GRAPH, WORDS):
        broken = shutil.copytree(folder, tmp_path / name)
        (broken / name).write_bytes(b"{")
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            load_model(broken, TOY)


def test_a_causal_model_is_not_exported(tiny_gemma_folder, tmp_path):
    model = trained(tiny_gemma_folder, {}, Lora(2, 4), "joined")
    with pytest.raises(InputError, match="^gemma: reads with a causal language model; only encoders"):
        export(model, tmp_path / "made", "gemma")
    assert not (tmp_path / "made").exists()
