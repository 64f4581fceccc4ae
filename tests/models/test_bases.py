"""Several models on one base: its tensors lie in memory once, and none sees what another puts upon them."""

import shutil

import pytest
import torch
from deployments import TEST, siblings
from toys import TOY

from narrutils.crossfit.stored import load_model, load_models
from narrutils.models.backbones import load_tokenizer, resolve
from narrutils.models.bases import base_name, load_base, save_tokenizer, set_dropout, twin
from narrutils.models.settings import Body, Lora
from narrutils.models.text import pad
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(max_tokens=14, learning_rate=1e-2, batch_size=2)
BATCH = pad([[1, 5, 6, 2], [1, 7, 2]], 0)


@pytest.fixture(scope="module", params=["adapters", "adapters on the top", "the top", "an encoder"])
def stored(request, tiny_bert, tiny_gemma_folder, tmp_path_factory):
    """Folders of three models of one learner, and the learner."""
    learner = {
        "adapters": NeuralLearner(TOY, Body(tiny_gemma_folder), Lora(4, 8), RECIPE),
        "adapters on the top": NeuralLearner(TOY, Body(tiny_gemma_folder, top_layers=1), Lora(4, 8), RECIPE),
        "the top": NeuralLearner(TOY, Body(tiny_bert, top_layers=1), recipe=RECIPE),
        "an encoder": NeuralLearner(TOY, Body(tiny_bert), recipe=RECIPE),
    }[request.param]
    return siblings(learner, tmp_path_factory.mktemp("run")), learner


def places(models) -> dict[int, int]:
    """Where the weights of some models lie -> bytes there."""
    weights = [weight for model in models for weight in model.classifier.body.parameters()]
    return {weight.data_ptr(): weight.nbytes for weight in weights}


def test_what_is_frozen_lies_in_memory_once_and_what_learned_once_a_fold(stored):
    folders, learner = stored
    together, alone = load_models(folders, TOY), load_model(folders[0], TOY)
    body, cut = alone.classifier.body, alone.classifier.cut
    learned = lambda name: "lora_" in name or (not learner.lora.lora_rank and f"layer.{cut}." in name)  # noqa: E731
    if not learner.base:  # each fold has a whole body of its own
        learned = lambda name: True  # noqa: E731
    own = sum(weight.nbytes for name, weight in body.named_parameters() if learned(name))
    shared = sum(weight.nbytes for name, weight in body.named_parameters() if not learned(name))
    assert own and bool(shared) == bool(learner.base)
    assert sum(places(together).values()) == shared + 3 * own
    assert len({id(model.tokenizer) for model in together}) == 1


def test_models_on_one_base_read_as_each_does_alone(stored):
    """In whatever order they are loaded and read: nothing of one reaches another."""
    folders, _ = stored
    alone = [load_model(folder, TOY).predict(TEST) for folder in folders]
    together = load_models(folders[::-1], TOY)[::-1]
    for model, expected in [*zip(together, alone), *zip(together[::-1], alone[::-1])]:
        assert model.predict(TEST).equals(expected)
    assert not alone[0].equals(alone[1]) and not alone[1].equals(alone[2])


def test_a_precision_has_a_base_of_its_own(stored):
    folders, learner = stored
    shared: dict = {}
    read = [load_model(folders[0], TOY, each, shared) for each in ("float32", "bfloat16")]
    types = [{w.dtype for n, w in m.classifier.body.named_parameters() if "lora_" not in n} for m in read]
    narrow = torch.bfloat16 if learner.lora.lora_rank else torch.float32  # what learned is never narrowed
    assert types == [{torch.float32}, {narrow}]


def test_another_tokenizer_is_not_taken_for_the_first_ones(stored, tmp_path):
    folders, _ = stored
    run = shutil.copytree(folders[0].parents[2], tmp_path / "run")
    other = [run / folder.relative_to(folders[0].parents[2]) for folder in folders]
    tokenizer = load_model(other[0], TOY).tokenizer
    tokenizer.add_tokens(["w99"])
    tokenizer.save_pretrained(other[1] / "tokenizer")
    first, second, third = load_models(other, TOY)
    assert first.tokenizer is third.tokenizer is not second.tokenizer
    assert "w99" in second.tokenizer.get_vocab() and "w99" not in first.tokenizer.get_vocab()


def test_a_twin_computes_alike_and_keeps_its_changes_to_itself(tiny_bert, tmp_path):
    body = Body(tiny_bert)
    base = load_base(tmp_path / "models/m/fold0", body).eval()
    layer = base.encoder.layer[1]
    one, other = twin(base, [layer]), twin(base)
    with torch.no_grad():
        expected = base(**BATCH).last_hidden_state
        one.encoder.layer[1].output.dense.weight.zero_()
        one.config.num_hidden_layers = 1
        one.encoder.layer[0].output.dense = torch.nn.Identity()
        assert torch.equal(other(**BATCH).last_hidden_state, expected)
        assert torch.equal(base(**BATCH).last_hidden_state, expected)
    assert base.config.num_hidden_layers == other.config.num_hidden_layers == 2
    assert (
        other.encoder.layer[1].output.dense is layer.output.dense
    )  # a quantised one keeps more than tensors


def test_fewer_layers_make_another_base(tiny_gemma_folder):
    assert base_name(Body(tiny_gemma_folder)) != base_name(Body(tiny_gemma_folder, layers=1))
    assert base_name(Body("google/gemma-2-9b-it")).startswith("gemma-2-9b-it-")


def test_another_precision_or_place_makes_another_base():
    """Else the second model of a run is loaded onto the first one's base."""
    bodies = [Body("a/tiny"), Body("a/tiny", precision="bfloat16"), Body("/elsewhere/tiny")]
    assert len({base_name(body) for body in bodies}) == 3


def test_of_two_twins_one_may_drop_out_while_the_other_reads(tiny_bert, tmp_path):
    base = set_dropout(load_base(tmp_path / "models/m/fold0", Body(tiny_bert)), 0.5).eval()
    one, other = twin(base), twin(base)
    one.train()
    with torch.no_grad():
        expected = base(**BATCH).last_hidden_state
        assert torch.equal(other(**BATCH).last_hidden_state, expected)
        assert not torch.equal(one(**BATCH).last_hidden_state, expected)


def test_what_is_stored_of_a_tokenizer_is_what_it_writes_itself(tiny_bert, tiny_gemma_folder, tmp_path):
    """However often, and after another one: a process writes it once."""
    tokenizers = [load_tokenizer(resolve(name)) for name in (tiny_bert, tiny_gemma_folder)]
    for number, tokenizer in enumerate(2 * tokenizers):
        own, stored = tmp_path / f"own{number}", tmp_path / f"stored{number}"
        tokenizer.save_pretrained(own)
        save_tokenizer(tokenizer, stored)
        assert {p.name: p.read_bytes() for p in own.iterdir()} == {
            p.name: p.read_bytes() for p in (stored / "tokenizer").iterdir()
        }
