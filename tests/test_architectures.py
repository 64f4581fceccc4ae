"""What sets the full recipe's architectures apart holds once the package has loaded them."""

import architectures
import pandas as pd
import pytest
import torch
from transformers import AutoModel

from narrutils.generation.engines import render
from narrutils.generation.prompts import Prompt
from narrutils.models import attention
from narrutils.models.backbones import load_body, load_causal, load_tokenizer, resolve
from narrutils.models.classifier import build
from narrutils.models.settings import Body, Lora
from narrutils.models.text import encode, pad

TEXTS = [f"V was found at place {n} by a relative. XX reported item {n * 7}." for n in range(60)]
FAMILIES = [*architectures.TOKENS, "deberta"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Family -> folder of its tiny model."""
    folder = tmp_path_factory.mktemp("saved")
    made = {f: architectures.save(folder / f, f, TEXTS) for f in architectures.TOKENS}
    return made | {"deberta": architectures.save_deberta(folder / "deberta", TEXTS)}


def batch(folder: str, max_tokens: int = 40) -> dict[str, torch.Tensor]:
    words = load_tokenizer(resolve(folder))
    texts = pd.DataFrame({"one": [TEXTS[0] * 3, TEXTS[1]], "other": [TEXTS[2], TEXTS[3] * 4]})
    return pad(encode(texts, words, max_tokens).ids, words.pad_token_id)


@pytest.mark.parametrize("causal", [False, True])
def test_gemma_2_caps_its_attention(saved, tmp_path, causal):
    """torch's fused attention, which transformers would take, leaves the cap out and says nothing."""
    load = load_causal if causal else load_body
    model = load(resolve(saved["gemma2"]), torch.float32)
    assert model.config._attn_implementation == "eager"
    model.config.get_text_config().attn_logit_softcapping = 0.01
    model.save_pretrained(tmp_path)
    inputs, read = batch(saved["gemma2"]), lambda m: m.eval()(**inputs)[0]
    usual = read(load(resolve(saved["gemma2"]), torch.float32))  # its cap is 50, which hardly matters here
    moved = (read(load(resolve(str(tmp_path)), torch.float32)) - usual).abs().max()
    assert moved > 0.1
    if not causal:
        fused = AutoModel.from_pretrained(tmp_path, attn_implementation="sdpa", dtype=torch.float32)
        assert (read(fused) - usual).abs().max() < 0.01 * moved  # what would have been trained


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU keeps autocast's dtype")
def test_an_encoder_attends_in_float32_on_a_cpu(tiny_bert, monkeypatch):
    """Autocast would take it to bfloat16, where it is slow; what is computed stays the same."""
    fused, seen = attention.sdpa_attention_forward, []

    def spy(module, query, *args, **kwargs):
        seen.append(query.dtype)
        return fused(module, query, *args, **kwargs)

    monkeypatch.setattr(attention, "sdpa_attention_forward", spy)
    own = load_body(resolve(tiny_bert), torch.float32).eval()
    usual = AutoModel.from_pretrained(tiny_bert, attn_implementation="sdpa", dtype=torch.float32).eval()
    inputs = {"input_ids": torch.randint(5, 20, (3, 12)), "attention_mask": torch.ones(3, 12).long()}
    inputs["attention_mask"][1, 7:] = 0
    with torch.autocast("cpu", torch.bfloat16):
        close = own(**inputs).last_hidden_state
    assert seen == [torch.float32] * own.config.num_hidden_layers
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        whole, expected = own(**inputs).last_hidden_state, usual(**inputs).last_hidden_state
    torch.testing.assert_close(whole[real], expected[real])
    torch.testing.assert_close(close[real].float(), expected[real], atol=0.05, rtol=0.05)
    assert "attn" not in "".join(own.config.to_diff_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_end_is_read_and_padding_is_not(saved, family):
    """The end token is the last real one, the padding another; more padding changes no logit."""
    words, inputs = load_tokenizer(resolve(saved[family])), batch(saved[family])
    last = inputs["attention_mask"].sum(1) - 1
    end = words.sep_token_id if family == "deberta" else words.eos_token_id
    assert words.pad_token_id != end and (inputs["input_ids"].gather(1, last[:, None]) == end).all()
    rank = 0 if family == "deberta" else 2
    classifier = build(Body(saved[family]), Lora(rank, 4), 5, 0.0, False).eval()
    longer = {k: torch.nn.functional.pad(v, (0, 9), value=words.pad_token_id) for k, v in inputs.items()}
    longer["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, 9))
    with torch.no_grad():
        torch.testing.assert_close(classifier(**longer), classifier(**inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_learning_weight_gets_a_finite_float32_gradient(saved, family, checkpointing):
    rank = 0 if family == "deberta" else 2
    body = Body(saved[family], precision="bfloat16", dropout=0.0)
    classifier = build(body, Lora(rank, 4), 5, 0.0, checkpointing).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        classifier(**batch(saved[family])).square().sum().backward()
    learning = {n: w for n, w in classifier.named_parameters() if w.requires_grad}
    assert {w.dtype for w in learning.values()} == {torch.float32}
    assert [n for n, w in learning.items() if w.grad is None or not w.grad.isfinite().all()] == []


@pytest.mark.parametrize("family", architectures.TOKENS)
def test_a_chat_is_laid_out_as_the_family_expects(saved, family):
    """Also where its template knows no system role: the user says it then."""
    words = load_tokenizer(resolve(saved[family]))
    said = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write one."})
    text = render(Prompt("chat", (), (), messages=said), words)
    assert text.index("Be brief.") < text.index("Write one.")
    assert ("system" in text) == (family in ("qwen2", "llama"))
