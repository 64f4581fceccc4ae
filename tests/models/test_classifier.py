"""One classifier for encoders and causal models: what is pooled, what learns, what is stored."""

import pytest
import torch
from toys import TOY, bert_tokenizer, gemma_tokenizer, word_texts

from narrutils.models.backbones import is_encoder, load_tokenizer, resolve
from narrutils.models.bases import base_name, save_base
from narrutils.models.classifier import build, load_classifier, pool_last, pool_mean, save_classifier
from narrutils.models.settings import Body, Lora
from narrutils.models.text import encode, pad

LORA = Lora(4, 8)


def made(backbone: str, lora: Lora = Lora(), checkpointing: bool = False, **body):  # noqa: B008
    """A classifier whose adapters do something: LoRA's B starts at zero."""
    torch.manual_seed(3)
    classifier = build(Body(backbone, **body), lora, TOY.width, 0.0, checkpointing)
    with torch.no_grad():
        for name, weight in classifier.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
        classifier.head.weight.normal_(std=0.5)
    return classifier.eval()


@pytest.fixture(scope="module", params=["encoder", "causal"])
def kind(request, tiny_bert, tiny_gemma_folder):
    """Backbone, LoRA settings and tokenizer of a fully trained encoder and of a LoRA causal model."""
    if request.param == "encoder":
        return tiny_bert, Lora(), bert_tokenizer()
    return tiny_gemma_folder, LORA, gemma_tokenizer()


def batch_of(tok, lengths=(3, 9, 1)):
    texts = word_texts(TOY, len(lengths), words=9)
    for column in texts:
        texts[column] = [" ".join(t.split()[:n]) for t, n in zip(texts[column], lengths, strict=True)]
    return encode(texts, tok, 40).ids


STATES = torch.arange(24.0).reshape(2, 4, 3)
RIGHT = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
LEFT = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])


def test_the_last_real_token_is_pooled_on_either_side_of_the_padding():
    torch.testing.assert_close(pool_last(STATES, RIGHT), torch.stack([STATES[0, 1], STATES[1, 3]]))
    torch.testing.assert_close(pool_last(STATES, LEFT), torch.stack([STATES[0, 3], STATES[1, 3]]))
    one = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(pool_last(STATES, one), torch.stack([STATES[0, 0], STATES[1, 3]]))


def test_the_mean_is_over_real_tokens_alone():
    torch.testing.assert_close(pool_mean(STATES, RIGHT)[0], STATES[0, :2].mean(0))
    torch.testing.assert_close(pool_mean(STATES, LEFT)[0], STATES[0, 2:].mean(0))


def test_encoders_and_causal_models_are_told_apart(tiny_bert, tiny_gemma_folder):
    assert made(tiny_bert).pooling == "mean"
    assert made(tiny_gemma_folder, LORA).pooling == "last"
    assert made(tiny_gemma_folder, LORA, pooling="mean").pooling == "mean"


def test_the_pooled_state_is_that_of_the_end_token(tiny_gemma_folder):
    """The author's inference pooled position -1, a pad in any batch of unlike lengths."""
    classifier, ids = made(tiny_gemma_folder, LORA), batch_of(gemma_tokenizer())
    batch = pad(ids, 0)
    states = classifier.body(**batch).last_hidden_state
    logits = classifier(**batch)
    ends = torch.tensor([len(row) - 1 for row in ids])
    torch.testing.assert_close(logits, classifier.head(states[torch.arange(3), ends]))
    wrong = classifier.head(states[:, -1])
    assert (wrong - logits)[ends < ends.max()].abs().max() > 0.1


def test_a_prediction_does_not_depend_on_the_company_in_its_batch(kind):
    backbone, lora, tok = kind
    classifier, ids = made(backbone, lora), batch_of(tok)
    with torch.no_grad():
        together = classifier(**pad(ids, tok.pad_token_id))
        alone = torch.cat([classifier(**pad([row], tok.pad_token_id)) for row in ids])
        odd = classifier(**pad([*ids, [7] * 60], 5))  # padded far out, with a real token
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(odd[:3], alone, atol=1e-5, rtol=1e-4)
    assert together.shape == (3, TOY.width)
    assert together.dtype == torch.float32


def test_a_saved_classifier_gives_the_same_logits(kind, tmp_path):
    backbone, lora, tok = kind
    folder, body = tmp_path / "models/gemma/fold0", Body(backbone)
    folder.mkdir(parents=True)
    classifier = made(backbone, lora)
    save_classifier(classifier, load_tokenizer(resolve(backbone)), body, lora, folder)
    back, tokenizer = load_classifier(folder)
    batch = pad(batch_of(tok), tok.pad_token_id)
    with torch.no_grad():
        torch.testing.assert_close(back(**batch), classifier(**batch), atol=1e-6, rtol=1e-6)
    assert not back.training
    assert batch_of(tokenizer) == batch_of(tok)
    kept = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in kept} <= {".safetensors", ".json", ".md", ".jinja", ".txt", ".model"}
    assert any(p.name == "head.safetensors" for p in kept)
    weights = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    if lora.lora_rank:  # adapters and head alone: the base is stored once for all folds
        assert (folder / "body/adapter_model.safetensors").exists()
        assert not (folder / "body/model.safetensors").exists()
        assert weights < 60_000


def test_the_base_of_a_run_folder_is_enough(tiny_gemma_folder, tmp_path):
    """The named backbone may be gone: `models/base/` holds what the adapters stand on."""
    import shutil

    away = tmp_path / "away"
    shutil.copytree(tiny_gemma_folder, away)
    body = Body(str(away), layers=1, precision="bfloat16")
    classifier = made(str(away), LORA, layers=1, precision="bfloat16")
    folder = tmp_path / "models/gemma/fold0"
    folder.mkdir(parents=True)
    save_classifier(classifier, load_tokenizer(resolve(str(away))), body, LORA, folder)
    base = tmp_path / "models/base" / base_name(body)
    base.mkdir(parents=True)
    save_base(body, base)
    shutil.rmtree(away)
    batch = pad(batch_of(gemma_tokenizer()), 0)
    with torch.no_grad():
        torch.testing.assert_close(load_classifier(folder)[0](**batch), classifier(**batch))
    assert {p.suffix for p in base.iterdir()} <= {".safetensors", ".json"}


def test_what_learns_is_float32_and_the_base_is_frozen_in_bf16(tiny_gemma_folder):
    classifier = made(tiny_gemma_folder, LORA, precision="bfloat16")
    learning = {n: w for n, w in classifier.named_parameters() if w.requires_grad}
    assert all("lora_" in n or n.startswith("head.") for n in learning)
    assert {w.dtype for w in learning.values()} == {torch.float32}
    frozen = {n: w for n, w in classifier.named_parameters() if not w.requires_grad}
    assert {w.dtype for w in frozen.values()} == {torch.bfloat16}
    adapted = {n.split(".lora_A")[0].split(".")[-1] for n in learning if "lora_A" in n}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert sum("lora_A" in n for n in learning) == 2 * 7  # every layer
    assert classifier(**pad(batch_of(gemma_tokenizer()), 0)).dtype == torch.float32


def test_without_lora_the_whole_body_learns_in_float32(tiny_bert):
    classifier = made(tiny_bert, precision="bfloat16")
    assert all(w.requires_grad and w.dtype == torch.float32 for w in classifier.parameters())


def test_gradients_reach_the_adapters_through_checkpoints(tiny_gemma_folder):
    batch = pad(batch_of(gemma_tokenizer()), 0)
    grads = []
    for checkpointing in (False, True):
        classifier = made(tiny_gemma_folder, LORA, checkpointing=checkpointing).train()
        classifier(**batch).square().mean().backward()
        grads.append({n: w.grad for n, w in classifier.named_parameters() if w.requires_grad})
    assert all(g is not None and g.abs().sum() > 0 for g in grads[1].values())
    torch.testing.assert_close(grads[0], grads[1])


def test_the_head_starts_small_and_follows_the_seed(tiny_bert):
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        heads.append(build(Body(tiny_bert), Lora(), TOY.width, 0.0, False).head)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)
    assert (heads[0].bias == 0).all()
    assert heads[0].weight.abs().max() < 0.15


def test_fewer_layers_may_be_kept(tiny_bert):
    classifier = made(tiny_bert, layers=1)
    assert classifier.body.config.num_hidden_layers == 1
    assert is_encoder(classifier.body.config)
