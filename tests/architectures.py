"""The full recipe's architectures as tiny models of random weights, each with a tokenizer of its kind.

Configurations keep what sets an architecture apart (disentangled attention, soft-capping,
sliding windows, grouped heads, untied or scaled embeddings); only sizes shrink. Special
tokens and chat templates are laid out as in the real checkpoints: no padding token for
Mistral and Llama, no beginning-of-sequence for Qwen, no system role for Gemma.
"""

from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    Gemma2Config,
    Gemma2ForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

#: Of the last norm: makes the states as telling as those of a much wider model.
GAIN = 40.0

#: Sizes that the causal models share.
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 8192,
}

_TURNS = "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}<e>\n{% endfor %}"
_NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
CHATML = _TURNS.replace("<s>", "<|im_start|>").replace("<e>", "<|im_end|>")
CHATML += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}{{ eos_token }}"
    "{% else %}[INST]{{ m['content'] }}[/INST]{% endif %}{% endfor %}"
)
GEMMA = f"{{{{ bos_token }}}}{_NO_SYSTEM}" + _TURNS.replace("<s>", "<start_of_turn>").replace(
    "<e>", "<end_of_turn>"
)
GEMMA += "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"

#: Family -> special tokens by role, further special tokens, chat template, token that ends an answer.
TOKENS = {
    "gemma2": (
        {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
        ["<start_of_turn>", "<end_of_turn>"], GEMMA, "<end_of_turn>",
    ),
    "qwen2": (
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], CHATML, "<|im_end|>",
    ),
    "mistral": (
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}, ["[INST]", "[/INST]", "<pad>"],
        MISTRAL, "</s>",
    ),
    "llama": (
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_0|>"], LLAMA3, "<|eot_id|>",
    ),
}  # fmt: skip


def save(
    folder: Path, family: str, texts: Sequence[str], says: Sequence[tuple[str, str]] = (), seed=0
) -> str:
    """A tiny random causal model; its folder is the backbone's name.

    Args:
        family: `gemma2`, `qwen2`, `mistral` or `llama`.
        texts: what the tokenizer is made from.
        says: cases of two paragraphs each. A generator answers a chat with one of the first
            paragraphs, then one of the second, each drawn at random, and ends; a case is what
            it would take a trained model to write, and screening refuses anything less.
    """
    words = _tokenizer(family, texts)
    told = _paragraphs(words, says)
    torch.manual_seed(seed)
    model = _causal(family, len(words), words)
    norm = model.model.norm.weight
    nn.init.constant_(norm, GAIN - 1 if family == "gemma2" else GAIN)  # Gemma adds 1 to it
    if says:
        _teach_to_say(model, told, words.convert_tokens_to_ids(TOKENS[family][3]))
        model.generation_config = _manners(model, words, TOKENS[family][3])
    model.to(torch.bfloat16).save_pretrained(folder)  # as the real checkpoints are stored
    words.save_pretrained(folder)
    return str(folder)


def _tokenizer(family: str, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, trained on the spot."""
    roles, more, template, _ = TOKENS[family]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    specials = [*roles.values(), *more]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    words = PreTrainedTokenizerFast(tokenizer_object=made, **roles, extra_special_tokens=more)
    words.chat_template = template
    return words


def _paragraphs(
    words: PreTrainedTokenizerFast, says: Sequence[tuple[str, str]]
) -> tuple[list[int], list[int]]:
    """Each paragraph as one token of the vocabulary: ids of the first ones and of the second ones."""
    columns = [[pair[0] for pair in says], [f"\n\n{pair[1]}" for pair in says]]
    ids = []
    for told in columns:
        words.add_tokens([AddedToken(t, normalized=False, special=False) for t in told])
        ids.append([words.convert_tokens_to_ids(t) for t in told])
    return ids[0], ids[1]


def _causal(family: str, vocabulary: int, words: PreTrainedTokenizerFast) -> PreTrainedModel:
    ids = {k: getattr(words, k) for k in ("pad_token_id", "bos_token_id", "eos_token_id")}
    shared = SMALL | {"vocab_size": vocabulary, "initializer_range": 0.1} | ids
    # A generator's paragraphs are told apart by embeddings of their own, so none are tied.
    match family:
        case "gemma2":
            return Gemma2ForCausalLM(
                Gemma2Config(
                    **shared,
                    head_dim=8,
                    query_pre_attn_scalar=8,
                    sliding_window=16,
                    attn_logit_softcapping=50.0,
                    final_logit_softcapping=30.0,
                    tie_word_embeddings=False,
                )
            )
        case "qwen2":
            return Qwen2ForCausalLM(Qwen2Config(**shared, tie_word_embeddings=False))
        case "mistral":
            return MistralForCausalLM(MistralConfig(**shared, head_dim=8, sliding_window=None))
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**shared, rope_theta=500000.0, tie_word_embeddings=False))
    raise ValueError(f"no tiny model of family {family!r}")


def _teach_to_say(model: PreTrainedModel, told: tuple[list[int], list[int]], end: int) -> None:
    """Weights that follow any token by a first paragraph, that by a second one, and that by the end.

    Two axes of the states say whether the last token was a first or a second paragraph.
    """
    first, second = told
    with torch.no_grad():
        embed, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embed[:, :3] = 0.0
        embed[:, 0] = 3.0
        for ids, axis in ((first, 1), (second, 2)):
            embed[ids, 0], embed[ids, axis] = 0.0, 3.0
        head.mul_(0.1 / GAIN)  # a little chance remains in what follows what
        head[:, :3] = -8.0 / GAIN
        for ids, axis in ((first, 0), (second, 1), ([end], 2)):
            head[ids, axis] = 8.0 / GAIN


def _manners(model: PreTrainedModel, words: PreTrainedTokenizerFast, end: str) -> GenerationConfig:
    """Sampling settings as a checkpoint carries them."""
    ends = sorted({words.eos_token_id, words.convert_tokens_to_ids(end)})
    return GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.95, eos_token_id=ends, pad_token_id=words.pad_token_id
    )


def save_deberta(folder: Path, texts: Sequence[str], seed: int = 0) -> str:
    """A tiny random DeBERTa-v3; its tokenizer is a SentencePiece model alone, as on the hub."""
    folder.mkdir(parents=True)
    (folder / "texts.txt").write_text("\n".join(texts))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"),
        model_prefix=str(folder / "spm"),
        vocab_size=400,
        hard_vocab_limit=False,
        pad_id=0, pad_piece="[PAD]", bos_id=1, bos_piece="[CLS]", eos_id=2, eos_piece="[SEP]",
        unk_id=3, unk_piece="[UNK]",
        minloglevel=2,
    )  # fmt: skip
    for left in ("texts.txt", "spm.vocab"):
        (folder / left).unlink()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    torch.manual_seed(seed)
    model = DebertaV2Model(
        DebertaV2Config(
            vocab_size=420,
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=4,
            num_hidden_layers=2,
            max_position_embeddings=64,
            relative_attention=True,
            position_buckets=16,
            max_relative_positions=-1,
            position_biased_input=False,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type="p2c|c2p",
            type_vocab_size=0,
            pad_token_id=0,
        )
    )
    nn.init.constant_(model.encoder.layer[-1].output.LayerNorm.weight, GAIN)
    model.save_pretrained(folder)
    return str(folder)
