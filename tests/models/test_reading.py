"""What is read of a case: joined as before, or each narrative on its own and the largest logits."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from toys import TOY, bert_tokenizer, gemma_tokenizer, random_labels, uids, word_texts

from narrutils.crossfit.stored import load_model
from narrutils.data.files import write_json
from narrutils.errors import InputError
from narrutils.models.learner import Phase
from narrutils.models.reading import Inputs, read_logits, told
from narrutils.models.settings import Body, Lora
from narrutils.models.text import encode, pad
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
