"""Layers that do not learn read a case once: the same numbers as if they read it at every step."""

import stat
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from toys import TOY, random_labels, random_probabilities, save_tiny_gemma, uids, word_texts
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from narrutils.errors import InputError
from narrutils.models import lower, reading
from narrutils.models.backbones import layer_lists, load_body, load_tokenizer, resolve
from narrutils.models.classifier import Start, build, first_learning, load_classifier
from narrutils.models.learner import Phase
from narrutils.models.lower import (
    LowerStates,
    above,
    frozen_below,
    modules_below,
    raised,
    splits_cleanly,
    states_below,
)
from narrutils.models.reading import Inputs, read_logits
from narrutils.models.settings import Body, Lora
from narrutils.models.text import pad
from narrutils.training import neural
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(max_tokens=24, batch_size=4, learning_rate=1e-2, seed=5, head_start="probe")
LABELS = random_labels(TOY, 20)
ROWS = Phase(word_texts(TOY, 20, seed=2, words=5), TOY.to_targets(LABELS), 3)
NEW = word_texts(TOY, 7, seed=3, words=9).set_axis(uids(7, "new"))


#: What a learner adapts; the cut is between layers, between a layer's parts, or before its last product.
ADAPTED = {
    "adapters on a causal model": Lora().lora_targets,
    "adapters on one of its parts": ("up_proj", "down_proj"),
    "adapters on its last product": ("down_proj",),
}
KINDS = ["encoder", "adapters on an encoder", *ADAPTED]


@pytest.fixture(params=KINDS)
def learner(request, tiny_bert, tiny_gemma_folder):
    """A learner of the last layer of two, which computes everything at every step."""
    if request.param == "encoder":
        return NeuralLearner(TOY, Body(tiny_bert, top_layers=1), recipe=RECIPE)
    if request.param == "adapters on an encoder":
        lora = Lora(4, 8, lora_targets=("query", "value"))
        return NeuralLearner(TOY, Body(tiny_bert, top_layers=1), lora, RECIPE)
    lora = Lora(4, 8, lora_targets=ADAPTED[request.param])
    return NeuralLearner(TOY, Body(tiny_gemma_folder, top_layers=1, pooling="mean"), lora, RECIPE)


@pytest.fixture
def passes(monkeypatch):
    """Row numbers of every batch that the frozen layers read."""
    seen, read = [], reading.states_below

    def spy(body, cut, **batch):
        seen.append(len(batch["input_ids"]))
        return read(body, cut, **batch)

    monkeypatch.setattr(reading, "states_below", spy)
    return seen


def test_stored_states_give_the_model_that_computing_them_at_every_step_gives(learner, tmp_path):
    plain, stored = learner.fit([ROWS]), replace(learner, states=tmp_path).fit([ROWS])
    assert stored.lower is not None and plain.lower is None
    assert list(tmp_path.glob("*/*.safetensors"))
    expected, found = (read_logits(m.classifier, m.tokenizer, NEW, RECIPE, m.lower) for m in (plain, stored))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        [h["loss"] for h in stored.history], [h["loss"] for h in plain.history], atol=1e-5
    )
    whole = read_logits(stored.classifier, stored.tokenizer, NEW, RECIPE)
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_a_layer_that_is_computed_again_on_the_way_back_is_computed_as_before(learner, tmp_path):
    again = learner.varied(checkpointing=True)
    plain, stored = again.fit([ROWS]), replace(again, states=tmp_path).fit([ROWS])
    assert stored.lower is not None
    pd.testing.assert_frame_equal(stored.predict(NEW), plain.predict(NEW), atol=1e-5)
    pd.testing.assert_frame_equal(learner.fit([ROWS]).predict(NEW), plain.predict(NEW), atol=1e-5)


def test_only_what_stands_above_the_cut_learns(learner):
    before = learner.fit([replace(ROWS, epochs=1)]).classifier
    after = learner.fit([ROWS]).classifier
    moved = [n for (n, a), b in zip(before.named_parameters(), after.parameters()) if not torch.equal(a, b)]
    assert moved and all(name.startswith("head.") or ".1." in name for name in moved)
    assert any(name.startswith("body.") for name in moved)


def test_folds_rounds_and_readings_share_one_pass(learner, tmp_path, passes):
    shared = replace(learner, states=tmp_path)
    shared.prepare([NEW, ROWS.texts])
    read = sum(passes)
    assert read >= len(NEW) + len(ROWS.texts)
    shared.varied(seed=6, learning_rate=1e-3).fit([ROWS]).predict(NEW)
    shared.fit([replace(ROWS, epochs=1)]).predict(ROWS.texts)
    shared.prepare([NEW])
    assert sum(passes) == read


def test_a_body_that_gave_states_is_not_tried_again(learner, tmp_path, monkeypatch):
    shared = replace(learner, states=tmp_path)
    shared.prepare([ROWS.texts])
    monkeypatch.setattr(neural, "splits_cleanly", lambda *_: pytest.fail("all layers were computed"))
    assert shared.fit([ROWS]).lower is not None


def test_a_probe_on_stored_states_is_fitted_once_for_all_rounds(learner, tmp_path, monkeypatch):
    fitted, fit = [], neural.fit_probe
    monkeypatch.setattr(neural, "fit_probe", lambda *args: fitted.append(args) or fit(*args))
    rounds, alone = (replace(learner, states=tmp_path / name) for name in ("rounds", "alone"))
    soft = Phase(NEW, random_probabilities(TOY, NEW.index), 1, soft=True)
    rounds.fit([ROWS])
    later = rounds.fit([soft, ROWS])
    assert len(fitted) == 1
    expected = alone.fit([soft, ROWS])
    assert later.predict(NEW).equals(expected.predict(NEW)) and len(fitted) == 2
    others = Phase(ROWS.texts, ROWS.targets[::-1].set_axis(ROWS.targets.index))
    for one, phase in ((rounds, others), (rounds.varied(probe_c=1.0), ROWS), (rounds.reseeded(1), ROWS)):
        one.fit([phase])
    assert len(fitted) == 5


def test_a_training_reads_every_phase_that_nobody_has_read(learner, tmp_path):
    made = word_texts(TOY, 6, seed=8, words=7).set_axis(uids(6, "g"))
    soft = Phase(made, TOY.to_targets(random_labels(TOY, 6)).set_axis(made.index), 1)
    rates = learner.varied(head_start="rates")
    plain, stored = (one.fit([soft, ROWS]) for one in (rates, replace(rates, states=tmp_path)))
    assert stored.lower is not None
    pd.testing.assert_frame_equal(stored.predict(NEW), plain.predict(NEW), atol=1e-5)


CHANGES = ["another backbone", "more tokens", "another precision", "another cut", "adapters on one part"]


@pytest.mark.parametrize("change", CHANGES)
def test_states_of_something_else_are_never_used(change, tiny_gemma_folder, tmp_path):
    """The same folder holds them all; each training gives what it would give with a folder of its own."""
    torch.manual_seed(0)
    body = Body(tiny_gemma_folder, top_layers=1, pooling="mean")
    first = NeuralLearner(TOY, body, Lora(4, 8), RECIPE, states=tmp_path / "shared")
    first.varied(max_tokens=12).fit([ROWS])
    other = first
    if change == "another backbone":
        folder = tmp_path / "other"
        save_tiny_gemma(folder)
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.5)
        model.save_pretrained(folder)
        other = first.varied(backbone=str(folder), max_tokens=12)
    elif change == "another precision":
        other = first.varied(precision="bfloat16", max_tokens=12)
    elif change == "adapters on one part":
        other = first.varied(lora_targets=("down_proj",), max_tokens=12)
    elif change == "another cut":
        other = first.varied(layers=1, top_layers=0, max_tokens=12)
    if change == "more tokens":
        ROWS_ = Phase(word_texts(TOY, 20, seed=2, words=11).set_axis(ROWS.texts.index), ROWS.targets, 3)
        first.varied(max_tokens=12).fit([ROWS_])
        found, alone = (o.fit([ROWS_]).predict(NEW) for o in (other, replace(other, states=None)))
    else:
        found, alone = (o.fit([ROWS]).predict(NEW) for o in (other, replace(other, states=tmp_path / "own")))
    pd.testing.assert_frame_equal(found, alone, atol=1e-5)


def test_states_are_keyed_by_how_many_layers_read_and_how_they_compute(tiny_gemma_folder):
    """A deeper cut, fewer layers, another precision: nobody takes their states for his own."""
    learner = NeuralLearner(TOY, Body(tiny_gemma_folder, top_layers=1), Lora(4, 8), RECIPE)
    changes = [{}, {"top_layers": 2}, {"layers": 1}, {"precision": "bfloat16"}, {"lora_rank": 0}]
    changes += [{"lora_targets": ("down_proj",)}, {"checkpointing": True}]
    keys = [learner.varied(**change)._states_key() for change in changes]
    assert len(set(keys)) == len(changes)
    assert learner.varied(pooling="mean", seed=9, lora_rank=8)._states_key() == keys[0]


def test_every_case_has_states_of_its_own(tmp_path):
    states = LowerStates(tmp_path, "key")
    states.add([([1, 2, 3], torch.ones(3, 2)), ([3, 2, 1], torch.zeros(3, 2))])
    assert states.of([1, 2, 3]).sum() == 6 and states.of([3, 2, 1]).sum() == 0
    assert states.lacks([1, 2]) and not states.lacks([1, 2, 3])
    assert LowerStates(tmp_path, "another key").lacks([1, 2, 3])
    with pytest.raises(KeyError):
        states.of([1, 2])


def test_states_are_for_their_owner_alone(learner, tmp_path):
    replace(learner, states=tmp_path / "states").fit([ROWS])
    for path in [tmp_path / "states", *(tmp_path / "states").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_states_are_not_kept_where_what_enters_the_top_varies(learner, tiny_bert, tmp_path, monkeypatch):
    stored = replace(learner, states=tmp_path / "states")
    varied = [
        stored.varied(inputs="separate", head_start="rates"),
        replace(stored, start=Start("key", lambda: learner.body.backbone)),
        stored.varied(top_layers=0),
    ]
    if learner.body.backbone == tiny_bert:
        varied.append(stored.varied(dropout=0.2))
    for other in varied:
        model = other.fit([ROWS])
        assert model.lower is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert stored.fit([ROWS]).lower is None  # a Trainer divides a batch between threads
    assert not (tmp_path / "states").exists()


@pytest.mark.parametrize("config", [Gemma2Config, Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen2Config])
def test_what_adapters_of_a_layer_leave_as_it_was_is_computed_once(config):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "head_dim": 8, "vocab_size": 20}
    small = config(
        num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, use_cache=False, **sizes
    )

    def adapted(*targets: str):
        names = [f"layers.1.{name}" for name in targets]
        return get_peft_model(AutoModel.from_config(small), LoraConfig(target_modules=names))

    whole = adapted("mlp.up_proj", "self_attn.q_proj")
    half, last = adapted("mlp.up_proj", "mlp.down_proj"), adapted("mlp.down_proj")
    assert [raised(body, 1) for body in (whole, half, last)] == [1, 1.5, 1.75]
    products = ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj")
    below, computed = [(number, name) for number in range(3) for name in products], []
    batch = {"input_ids": torch.tensor([[1, 5, 6, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    for body, cut, first, width in ((half, 1.5, 4, 16), (last, 1.75, 5, 16 + 24)):
        assert splits_cleanly(body, cut, [1, 5, 6, 2])
        assert len(frozen_below(body, 1)) < len(frozen_below(body, cut))
        assert {*modules_below(body, 1)} < {*modules_below(body, cut)}
        ((_, _, layers),) = layer_lists(body)
        for number, name in below:
            layers[number].get_submodule(name).register_forward_hook(
                lambda *_, passed=(number, name): computed.append(passed)
            )
        computed.clear()
        states = states_below(body, cut, **batch)
        assert computed == below[:first] and states.shape == (1, 4, width)
        computed.clear()
        with above(body, cut):
            body(inputs_embeds=states, attention_mask=batch["attention_mask"])
        assert computed == below[first:]
    assert len(frozen_below(half, 1.5)) < len(frozen_below(last, 1.75))


def test_a_body_that_cannot_be_cut_is_computed_whole(tiny_bert, tmp_path, monkeypatch):
    classifier = build(Body(tiny_bert, top_layers=1), Lora(), TOY.width, 0.0, False)
    assert splits_cleanly(classifier.body, 1, [1, 5, 6, 2])

    class Stray(lower._Given):
        def forward(self, *args, inputs_embeds, **kwargs):
            return inputs_embeds + 1

    monkeypatch.setattr(lower, "_Given", Stray)
    assert not splits_cleanly(classifier.body, 1, [1, 5, 6, 2])
    learner = NeuralLearner(TOY, Body(tiny_bert, top_layers=1), recipe=RECIPE, states=tmp_path / "states")
    assert learner.fit([ROWS]).lower is None


def test_a_body_is_whole_again_after_its_top_was_used(learner):
    classifier = build(learner.body, learner.lora, TOY.width, 0.0, False).eval()
    batch = pad([[1, 5, 6, 2], [1, 7, 2]], 0)
    with torch.no_grad():
        before = classifier.body(**batch).last_hidden_state
        states = states_below(classifier.body, 1, **batch)
        with above(classifier.body, 1):
            top = classifier.body(inputs_embeds=states, attention_mask=batch["attention_mask"])
        after = classifier.body(**batch).last_hidden_state
    torch.testing.assert_close(
        top.last_hidden_state[batch["attention_mask"] == 1], before[batch["attention_mask"] == 1]
    )
    assert torch.equal(before, after)


def test_a_stored_model_reads_as_it_did_and_its_base_is_stored_once(learner, tmp_path):
    folder = tmp_path / "models/top/fold0"
    folder.mkdir(parents=True)
    model = replace(learner, states=tmp_path / "states").fit([ROWS])
    model.save(folder)
    learner.save_base(tmp_path / "models/base" / learner.base)
    loaded = read_logits(*load_classifier(folder), NEW, RECIPE)
    expected = read_logits(model.classifier, model.tokenizer, NEW, RECIPE, model.lower)
    np.testing.assert_allclose(loaded, expected, atol=1e-5)
    assert not (folder / "body/model.safetensors").exists()


def test_a_body_with_a_start_of_its_own_is_stored_whole(tiny_bert, tmp_path):
    """Its frozen layers are not those of the backbone, which `models/base/` would hold."""
    body = load_body(resolve(tiny_bert), torch.float32)
    with torch.no_grad():
        for weight in body.parameters():
            weight.mul_(1.3)
    body.save_pretrained(tmp_path / "start")
    load_tokenizer(resolve(tiny_bert)).save_pretrained(tmp_path / "start")
    plain = NeuralLearner(TOY, Body(tiny_bert, top_layers=1), recipe=RECIPE)
    check_stored_and_read(replace(plain, start=Start("key", lambda: tmp_path / "start")), plain, tmp_path)


def test_a_top_that_learned_in_float32_is_read_in_float32(tiny_bert, tmp_path):
    """Whatever the precision of frozen bases is."""
    body = Body(tiny_bert, top_layers=1, precision="bfloat16")
    learner = NeuralLearner(TOY, body, recipe=RECIPE)
    check_stored_and_read(learner, learner, tmp_path)


def check_stored_and_read(learner, publishing, folder):
    """A stored model reads as it did, beside the base that `publishing` stores."""
    model, place = learner.fit([ROWS]), folder / "models/top/fold0"
    place.mkdir(parents=True)
    model.save(place)
    publishing.save_base(folder / "models/base" / publishing.base)
    expected = read_logits(model.classifier, model.tokenizer, NEW, RECIPE)
    np.testing.assert_allclose(read_logits(*load_classifier(place), NEW, RECIPE), expected, atol=1e-5)


def test_a_head_may_start_where_a_linear_model_on_untrained_states_ends(learner):
    """Without training, the head reads what logistic regression on the same states does."""
    from sklearn.linear_model import LogisticRegression

    model = learner.varied(learning_rate=1e-12).fit([replace(ROWS, epochs=1)])
    states = model.pooled(ROWS.texts)
    scaled = (states - states.mean(0)) / (states.std(0) + 1e-6) / np.sqrt(states.shape[1])
    for name in ("Sad", "Note"):
        alone = LogisticRegression(C=RECIPE.probe_c, max_iter=300).fit(scaled, LABELS[name])
        expected = alone.predict_proba(scaled)[:, 1]
        np.testing.assert_allclose(model.predict(ROWS.texts)[name], expected, atol=1e-3)


def test_parts_are_pooled_by_narrative_and_as_a_whole(tiny_gemma_folder):
    body = Body(tiny_gemma_folder, pooling="parts")
    learner = NeuralLearner(TOY, body, Lora(4, 8), RECIPE)
    model = learner.fit([replace(ROWS, epochs=1)])
    pooled = model.pooled(NEW).reshape(len(NEW), 3, 16)
    inputs = Inputs(NEW, model.tokenizer, RECIPE)
    for n in range(len(NEW)):
        batch = inputs.batch([n])
        with torch.no_grad():
            states = model.classifier.body(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state[0]
        begins = [0, *(a for a, _ in inputs.spans[n])]
        ends = [len(states), *(b for _, b in inputs.spans[n])]
        means = torch.stack([states[a:b].mean(0) for a, b in zip(begins, ends)])
        np.testing.assert_allclose(pooled[n], means, atol=1e-5)


def test_an_empty_narrative_is_pooled_as_nothing(tiny_gemma_folder):
    learner = NeuralLearner(TOY, Body(tiny_gemma_folder, pooling="parts"), Lora(4, 8), RECIPE)
    model = learner.fit([replace(ROWS, epochs=1)])
    pooled = model.pooled(NEW.assign(Second="")).reshape(len(NEW), 3, 16)
    assert (pooled[:, 2] == 0).all() and (pooled[:, 1] != 0).any()
    TOY.check_probabilities(model.predict(NEW.assign(Second="", First="")))


def test_more_top_layers_than_there_are_is_refused(tiny_bert):
    with pytest.raises(InputError):
        build(Body(tiny_bert, top_layers=2), Lora(), TOY.width, 0.0, False)


def test_top_layers_are_refused_where_all_layers_share_their_weights():
    small = AlbertConfig(vocab_size=20, embedding_size=4, hidden_size=8, num_hidden_layers=3)
    small.update({"num_attention_heads": 2, "intermediate_size": 8})
    with pytest.raises(InputError):
        first_learning(AlbertModel(small), Body("albert", top_layers=1))


@pytest.fixture
def pooled(monkeypatch):
    """Number of cases of every reading of what the head is given."""
    seen, read = [], neural.NeuralModel.pooled
    monkeypatch.setattr(
        neural.NeuralModel, "pooled", lambda model, texts: seen.append(len(texts)) or read(model, texts)
    )
    return seen


def test_what_an_untrained_head_is_given_is_read_once_for_all_folds(learner, tmp_path, pooled):
    shared, alone = (replace(learner, states=tmp_path / name) for name in ("shared", "alone"))
    shared.prepare([NEW, ROWS.texts])
    assert pooled == [len(NEW), len(ROWS.texts)]
    folds = [Phase(ROWS.texts[part], ROWS.targets[part]) for part in (slice(12), slice(8, 20))]
    for fold in folds:
        found, expected = (one.fit([fold]).predict(NEW) for one in (shared, alone))
        pd.testing.assert_frame_equal(found, expected, atol=1e-3)  # other batches, and steps that enlarge it
    assert pooled[2:] == [12, 12]  # of those that nobody prepared


def test_another_pooling_or_another_part_of_the_same_tokens_is_read_anew(tiny_gemma_folder, tmp_path, pooled):
    body = Body(tiny_gemma_folder, top_layers=1, pooling="parts")
    learner = NeuralLearner(TOY, body, Lora(4, 8), RECIPE, states=tmp_path)
    learner.fit([ROWS])
    learner.varied(pooling="mean").fit([ROWS])
    assert pooled == [20, 20]
    first, second = TOY.text_columns
    a, b = (ROWS.texts.assign(**{first: x, second: y}) for x, y in (("w1 \n w2", "w3"), ("w1", "w2 \n w3")))
    tokens = [Inputs(texts, load_tokenizer(resolve(tiny_gemma_folder)), RECIPE).cases for texts in (a, b)]
    assert tokens[0] == tokens[1]
    for texts in (a, b):
        learner.fit([replace(ROWS, texts=texts)])
    assert pooled == [20, 20, 20, 20]
