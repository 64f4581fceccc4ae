"""Backbones: names resolved or refused, layers cut, tokens that are safe to pad with."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, BertConfig, BertModel, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig
from transformers.utils import logging

from narrutils.errors import InputError
from narrutils.models.backbones import (
    Backbone,
    is_encoder,
    keep_layers,
    load_body,
    load_causal,
    load_tokenizer,
    quiet,
    resolve,
)
from narrutils.models.settings import Body

TINY = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 50,
}


@pytest.fixture
def tiny_gemma(tmp_path):
    config = Gemma3TextConfig(**TINY, num_hidden_layers=6, sliding_window=4)
    Gemma3ForCausalLM(config).save_pretrained(tmp_path / "gemma")
    return resolve(str(tmp_path / "gemma"))


@pytest.mark.models
def test_minilm_is_found_and_loads_without_its_pooler():
    backbone = resolve("minilm")
    assert backbone.kind == "packaged" and backbone.stands_in_for == "DeBERTa-v3-large"
    model = load_body(backbone, torch.float32, layers=2)
    assert model.pooler is None and model.config.num_hidden_layers == 2
    assert is_encoder(model.config)
    tokens = load_tokenizer(backbone)(["one", "two words"], padding=True, return_tensors="pt")
    assert model(**tokens).last_hidden_state.shape == (2, 4, 384)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gemma3-270", "did you mean gemma3-270m?"),
        ("minilmm", "did you mean minilm?"),
        ("./no/such/folder", "no such model folder"),
    ],
)
def test_an_unknown_name_gets_one_line_with_the_nearest_right_one(name, line):
    with pytest.raises(InputError) as raised:
        resolve(name)
    assert line in str(raised.value) and "\n" not in str(raised.value)


def test_a_hub_id_offline_without_a_copy_gets_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="nobody/nothing: not in the local hub cache"):
        resolve("nobody/nothing")


def test_a_hub_id_is_pinned_to_a_commit(monkeypatch):
    monkeypatch.setattr("narrutils.models.backbones.cached_commit", lambda *_: "0123abc")
    backbone = resolve("owner/model@main")
    assert (backbone.path_or_id, backbone.revision) == ("owner/model", "0123abc")
    assert "local_files_only" not in backbone.source


def test_a_folder_needs_a_config_and_safetensors(tmp_path):
    with pytest.raises(InputError, match="config.json"):
        resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="no safetensors weights"):
        resolve(str(tmp_path))


def test_a_local_folder_is_read_without_the_network(tiny_gemma):
    assert tiny_gemma.kind == "local" and tiny_gemma.source["local_files_only"] is True
    model = load_causal(tiny_gemma, torch.bfloat16)
    assert model.dtype == torch.bfloat16 and hasattr(model, "lm_head")


def test_quiet_holds_back_bars_and_reports_and_gives_both_back():
    def shown():
        return logging.is_progress_bar_enabled(), logging.get_verbosity()

    before = shown()
    with quiet(), quiet():
        assert shown() == (False, logging.ERROR)
    assert shown() == before


def test_a_cut_gemma_equals_the_first_layers_of_the_whole(tiny_gemma):
    whole, cut = (load_body(tiny_gemma, torch.float32, layers=n).eval() for n in (None, 2))
    assert len(cut.layers) == cut.config.num_hidden_layers == len(cut.config.layer_types) == 2
    ids = torch.arange(6)[None]
    hidden = whole(input_ids=ids, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(cut.norm(hidden), cut(input_ids=ids).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("layers", [0, 7])
def test_more_layers_than_there_are_is_refused(tiny_gemma, layers):
    with pytest.raises(InputError, match=r"this model has 1\.\.6"):
        load_body(tiny_gemma, torch.float32, layers=layers)


def test_layers_of_an_encoder_are_cut_too():
    config = BertConfig(hidden_size=8, num_attention_heads=2, intermediate_size=8, num_hidden_layers=4)
    assert len(keep_layers(BertModel(config), 3).encoder.layer) == 3


def test_8_bit_without_a_gpu_is_refused(tiny_gemma, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="needs a CUDA GPU"):
        load_body(tiny_gemma, torch.float32, quantization="8bit")
    with pytest.raises(InputError, match="quantization is '4bit'"):
        Body("gemma", quantization="4bit")


def test_which_models_pool_by_mean():
    for kind in ("bert", "deberta-v2", "roberta", "longformer", "big_bird", "modernbert"):
        assert is_encoder(AutoConfig.for_model(kind)), kind
    for config in (
        LlamaConfig(),
        Gemma3TextConfig(),
        AutoConfig.for_model("gemma2"),
        AutoConfig.for_model("qwen2"),
    ):
        assert not is_encoder(config), config.model_type


def small_tokenizer(folder: Path, special: list[str], **roles) -> Backbone:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate([*special, "a"])}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token=special[0])), **roles
    )
    fast.add_special_tokens({"extra_special_tokens": special})
    fast.save_pretrained(folder)
    return Backbone("small", "local", str(folder))


def test_a_tokenizer_is_its_callers_alone_and_copied_as_ever(tiny_gemma_folder):
    backbone, text = resolve(str(tiny_gemma_folder)), ["he left a note", "he left"]
    one, other = load_tokenizer(backbone), load_tokenizer(backbone)
    told, copied = other(text)["input_ids"], copy.deepcopy(one)
    assert len(told[0]) > 2
    one(text, truncation=True, max_length=2, padding="max_length")
    assert one.backend_tokenizer.truncation["max_length"] == 2
    assert other.backend_tokenizer.truncation is None and copied.backend_tokenizer.truncation is None
    assert other(text)["input_ids"] == copied(text)["input_ids"] == told


def test_padding_is_never_the_end_of_a_text(tmp_path):
    backbone = small_tokenizer(tmp_path, ["<s>", "</s>", "<fim_pad>"], bos_token="<s>", eos_token="</s>")
    assert load_tokenizer(backbone).pad_token == "<fim_pad>"
    roles = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    assert load_tokenizer(small_tokenizer(tmp_path, ["<unk>", "</s>"], **roles)).pad_token == "<unk>"
    with pytest.raises(InputError, match="no token to pad with"):
        load_tokenizer(small_tokenizer(tmp_path, ["</s>"], eos_token="</s>"))
