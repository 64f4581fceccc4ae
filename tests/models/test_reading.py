"""What is read of a case: joined as before, or each narrative on its own and the largest logits."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from deployments import siblings
from toys import TOY, bert_tokenizer, gemma_tokenizer, random_labels, tokenizer, uids, word_texts

from narrutils.crossfit.stored import load_model, load_models
from narrutils.data.files import write_json
from narrutils.errors import InputError
from narrutils.models import lower, text
from narrutils.models.backbones import layer_lists
from narrutils.models.learner import Phase
from narrutils.models.reading import Inputs, NeuralModel, read_logits
from narrutils.models.settings import Body, Lora
from narrutils.models.text import batches, encode, pad, told
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

SEPARATE = Recipe(max_tokens=40, batch_size=2, precision="float32", inputs="separate", learning_rate=1e-3)
TEXTS = word_texts(TOY, 6)
TEXTS.iloc[1, 0] = ""
TEXTS.iloc[2, 1] = " \n"
TEXTS.iloc[3] = ""


@pytest.fixture(scope="module", params=["encoder", "causal"])
def model(request, tiny_bert, tiny_gemma_folder):
    """A trained model that reads the narratives of a case each on its own."""
    parts = (tiny_bert, Lora()) if request.param == "encoder" else (tiny_gemma_folder, Lora(2, 4))
    learner = NeuralLearner(TOY, Body(parts[0]), parts[1], SEPARATE)
    phase = Phase(word_texts(TOY, 12, seed=4), TOY.to_targets(random_labels(TOY, 12)), 4)
    trained = learner.fit([phase])
    with torch.no_grad():  # far apart, so that a wrong choice of narrative shows
        trained.classifier.head.weight.normal_(std=0.5)
    return trained


def alone(model, narrative: str) -> torch.Tensor:
    """Logits of one narrative, read as a case of its own."""
    ids = encode(pd.DataFrame({"only": [narrative]}), model.tokenizer, 40).ids
    with torch.inference_mode():
        return model.classifier.eval()(**pad(ids, model.tokenizer.pad_token_id))[0]


def test_the_largest_logit_of_the_narratives_counts_and_an_empty_one_has_no_say(model):
    read = torch.tensor(read_logits(model.classifier, model.tokenizer, TEXTS, SEPARATE))
    for n, narratives in enumerate(TEXTS.itertuples(index=False)):
        filled = [text for text in narratives if text.strip()] or list(narratives)
        by_hand = torch.stack([alone(model, text) for text in filled]).amax(0)
        torch.testing.assert_close(read[n], by_hand, atol=1e-4, rtol=1e-4)
    empty = alone(model, "")
    assert (empty > read[1]).any()  # it would have won somewhere
    torch.testing.assert_close(read[3], empty, atol=1e-4, rtol=1e-4)


def test_neither_order_nor_company_matters(model):
    read = read_logits(model.classifier, model.tokenizer, TEXTS, SEPARATE)
    turned = read_logits(model.classifier, model.tokenizer, TEXTS[["Second", "First"]], SEPARATE)
    torch.testing.assert_close(torch.tensor(read), torch.tensor(turned), atol=1e-4, rtol=1e-4)
    large = read_logits(model.classifier, model.tokenizer, TEXTS, replace(SEPARATE, batch_size=50))
    torch.testing.assert_close(torch.tensor(read), torch.tensor(large), atol=1e-4, rtol=1e-4)


def test_gradients_reach_only_the_narratives_that_win(tiny_bert):
    learner = NeuralLearner(TOY, Body(tiny_bert), recipe=SEPARATE)
    made = learner.fit([Phase(TEXTS, TOY.to_targets(random_labels(TOY, 6)), 1)])
    batch = Inputs(TEXTS, made.tokenizer, SEPARATE).batch([0, 1])
    states = made.classifier.body.embeddings(batch["input_ids"].flatten(0, 1)).detach().requires_grad_()
    mask = batch["attention_mask"].flatten(0, 1)
    logits = made.classifier.head(states.mean(1) * mask.any(1, keepdim=True)).unflatten(0, (2, 2))
    logits.masked_fill(~batch["told"][..., None], -torch.inf).amax(1).sum().backward()
    assert states.grad[2].abs().sum() == 0  # the empty first narrative of the second case
    assert states.grad[3].abs().sum() > 0
    assert states.grad.isfinite().all()


def test_a_stored_model_reads_the_same(model, tmp_path):
    folder = tmp_path / "models/gemma/fold0"
    folder.mkdir(parents=True)
    model.save(folder)
    parts = (("body", "body"), ("lora", "lora"), ("recipe", "reading"))
    write_json(folder / "training.json", {"config": {name: vars(getattr(model, was)) for name, was in parts}})
    pd.testing.assert_frame_equal(load_model(folder, TOY).predict(TEXTS), model.predict(TEXTS), atol=1e-6)


def top_of(kind, backbone, causal, recipe=SEPARATE) -> NeuralLearner:
    """A learner of the upper of two layers."""
    lora = Lora(2, 4) if kind == "causal" else Lora()
    return NeuralLearner(TOY, Body(causal if kind == "causal" else backbone, top_layers=1), lora, recipe)


def whole(model, texts=TEXTS) -> pd.DataFrame:
    """What a model reads with all its layers, one after the other."""
    return TOY.from_logits(read_logits(model.classifier, model.tokenizer, texts, model.reading), texts.index)


def calls_of(module) -> list[int]:
    """The rows of each batch that a module reads from now on."""
    calls: list[int] = []
    module.register_forward_hook(lambda _, given, out: calls.append(len(out)))
    return calls


@pytest.mark.parametrize("inputs", ["joined", "separate"])
@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_what_lies_below_the_cut_is_computed_once_for_all_folds(
    kind, inputs, tiny_bert, tiny_gemma_folder, tmp_path
):
    learner = top_of(kind, tiny_bert, tiny_gemma_folder, replace(SEPARATE, inputs=inputs))
    models = load_models(siblings(learner, tmp_path), TOY)
    ((_, _, layers),) = layer_lists(models[0].classifier.body)
    assert all(model.classifier.cut == 1 and model.splits for model in models)
    lower, upper = (calls_of([*layer.modules()][-1]) for layer in layers)
    found = NeuralModel.predict_together(models, TEXTS)
    read = [*batches(TEXTS, Inputs(TEXTS, models[0].tokenizer, learner.recipe).lengths, 4)]
    rows = 2 if inputs == "separate" else 1
    assert lower == [len(batch) * rows for batch in read]
    shared_leaf = (
        kind == "causal"
    )  # a norm of the base; the encoder's layer learned, so it is the first's own
    assert len(upper) == len(read) * (len(models) if shared_leaf else 1)
    for model, table in zip(models, found, strict=True):
        pd.testing.assert_frame_equal(table, whole(model), atol=1e-5, rtol=0)
        pd.testing.assert_frame_equal(table, model.predict(TEXTS), check_exact=True)


@pytest.mark.slow
def test_models_that_read_otherwise_are_each_read_in_their_own_way(tiny_bert, tiny_gemma_folder, tmp_path):
    """Another length, kind of inputs, tokenizer or base in one call: what each gives alone."""
    learners = [
        top_of("causal", tiny_bert, tiny_gemma_folder),
        top_of("causal", tiny_bert, tiny_gemma_folder, replace(SEPARATE, max_tokens=5)),
        top_of("causal", tiny_bert, tiny_gemma_folder, replace(SEPARATE, inputs="joined")),
        top_of("encoder", tiny_bert, tiny_gemma_folder),
        NeuralLearner(TOY, Body(tiny_bert), recipe=SEPARATE),
    ]
    folders = [siblings(one, tmp_path / str(n), 2) for n, one in enumerate(learners)]
    models = [model for pair in zip(*folders) for model in load_models(pair, TOY)]
    words = tokenizer(pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", mask_token="<mask>")
    models.append(replace(models[0], tokenizer=words))  # whose words have other numbers
    for model, table in zip(models, NeuralModel.predict_together(models, TEXTS), strict=True):
        pd.testing.assert_frame_equal(table, whole(model), atol=1e-5, rtol=0)
        pd.testing.assert_frame_equal(table, model.predict(TEXTS), check_exact=True)


def test_texts_become_tokens_once_for_all_folds(tiny_bert, tmp_path, monkeypatch):
    models = load_models(siblings(NeuralLearner(TOY, Body(tiny_bert), recipe=SEPARATE), tmp_path), TOY)
    seen = []
    monkeypatch.setattr(text, "encode", lambda *given: seen.append(len(given[0])) or encode(*given))
    NeuralModel.predict_together(models, TEXTS)
    assert seen == [len(TEXTS)] * 2  # narratives are read each on its own


def test_folds_of_a_body_that_cannot_be_cut_are_read_whole(tiny_bert, tmp_path, monkeypatch):
    class Stray(lower._Given):
        def forward(self, *args, inputs_embeds, **kwargs):
            return inputs_embeds + 1

    models = load_models(siblings(top_of("encoder", tiny_bert, ""), tmp_path), TOY)
    monkeypatch.setattr(lower, "_Given", Stray)
    assert not models[0].splits
    for model, table in zip(models, NeuralModel.predict_together(models, TEXTS)):
        pd.testing.assert_frame_equal(table, whole(model), check_exact=True)


def test_frozen_layers_that_differ_are_not_shared(tiny_bert, tmp_path):
    """Two models of one kind, loaded apart: the lower layers of each are its own."""
    folders = siblings(top_of("encoder", tiny_bert, ""), tmp_path, 2)
    one, other = (load_model(folder, TOY) for folder in folders)
    other.tokenizer = one.tokenizer
    with torch.no_grad():
        other.classifier.body.encoder.layer[0].output.dense.weight.mul_(3)
    expected = [model.predict(TEXTS) for model in (one, other)]
    for table, alone_ in zip(NeuralModel.predict_together([one, other], TEXTS), expected):
        pd.testing.assert_frame_equal(table, alone_, check_exact=True)


def test_no_texts_give_no_rows_of_any_model(tiny_bert, tmp_path):
    models = load_models(siblings(top_of("encoder", tiny_bert, ""), tmp_path, 2), TOY)
    assert [len(table) for table in NeuralModel.predict_together(models, TEXTS[:0])] == [0, 0]
    assert NeuralModel.predict_together([], TEXTS) == []


def test_each_narrative_has_the_whole_length_to_itself():
    texts = pd.DataFrame({c: [" ".join(["w1"] * 50)] for c in "abc"}, index=uids(1))
    inputs = Inputs(texts, bert_tokenizer(), replace(SEPARATE, max_tokens=20))
    assert [len(row) for row in inputs.cases[0]] == [20, 20, 20]
    assert inputs.lengths == [20]
    batch = inputs.batch([0])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (1, 3, 20)


@pytest.mark.parametrize("tok", [bert_tokenizer(), gemma_tokenizer()])
def test_joined_cases_are_batched_as_they_are_encoded(tok):
    inputs = Inputs(TEXTS, tok, replace(SEPARATE, inputs="joined"))
    plain = pad([encode(TEXTS, tok, 40).ids[n] for n in (4, 0)], tok.pad_token_id)
    batch = inputs.batch([4, 0])
    assert set(batch) == {*plain, "parts"}
    assert all(batch[name].equal(plain[name]) for name in plain)


@pytest.mark.parametrize("tok", [bert_tokenizer(), gemma_tokenizer()])
def test_the_parts_of_a_batch_are_its_narratives(tok):
    """Every token of a narrative is in its own part, in order, and no special token is in any."""
    inputs = Inputs(TEXTS, tok, replace(SEPARATE, inputs="joined"))
    batch = inputs.batch([4, 0])
    for row, n in enumerate((4, 0)):
        for part, name in enumerate(TEXTS):
            told = batch["input_ids"][row][batch["parts"][row, part] == 1].tolist()
            whole = tok(TEXTS[name].iloc[n], add_special_tokens=False)["input_ids"]
            assert told == whole[: len(told)] and bool(told) == bool(whole)
        assert (batch["parts"][row].sum(0) <= batch["attention_mask"][row]).all()


def test_who_has_a_say():
    assert told(TEXTS).tolist()[:4] == [[True, True], [False, True], [True, False], [True, True]]


def test_periods_are_repaired_where_text_becomes_tokens():
    seen = []

    class Spy:
        def __call__(self, texts, **_):
            seen.extend(texts)
            return {"input_ids": [[9] for _ in texts]}

        cls_token_id, sep_token_id, bos_token_id, pad_token_id = 1, 2, None, 0

    texts = pd.DataFrame({"a": ["home.The end"]})
    Inputs(texts, Spy(), replace(SEPARATE, repair_periods=True))
    Inputs(texts, Spy(), SEPARATE)
    assert seen == ["home. The end", "home.The end"]
    assert texts["a"][0] == "home.The end"


def test_unknown_inputs_are_one_line():
    with pytest.raises(InputError, match="inputs is 'apart'"):
        Inputs(TEXTS, bert_tokenizer(), replace(SEPARATE, inputs="apart"))


def test_narratives_that_are_read_apart_have_no_parts_to_pool(tiny_bert):
    with pytest.raises(InputError):
        NeuralLearner(TOY, Body(tiny_bert, pooling="parts"), recipe=SEPARATE)
