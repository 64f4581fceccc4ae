"""What the tests share: small schemas, random tables, and tiny real models, all made on the spot."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
)

from narrutils.data.files import digest, write_json
from narrutils.data.intake.schema_file import parse_schema
from narrutils.data.schema import Schema
from narrutils.models.learner import Learner, Model

#: Binary and categorical variables alternate, and codes do not start at 1: a fixed slice would be wrong.
TOY = parse_schema(
    {
        "name": "toy",
        "text": [{"name": "First"}, {"name": "Second"}],
        "variables": [
            {"name": "Sad"},
            {"name": "Place", "classes": {1: "in", 2: "out", 3: "unknown"}},
            {"name": "Note"},
            {"name": "Tool", "classes": {0: "none", 5: "some"}},
        ],
    },
    "toy.yaml",
)


def uids(n: int, prefix: str = "u") -> pd.Index:
    return pd.Index([f"{prefix}{i:03d}" for i in range(n)], name="uid")


def random_labels(schema: Schema, n: int, seed: int = 0) -> pd.DataFrame:
    """Codes of n cases, every code of every variable possible."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({v.name: rng.choice(v.codes, n) for v in schema.variables}, index=uids(n))


def with_holes(labels: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    """The labels without a share of the cells, drawn at random."""
    gone = np.random.default_rng(seed).random(labels.shape) < share
    return labels.astype("Int64").mask(gone)


def random_probabilities(schema: Schema, index: pd.Index, seed: int = 0) -> pd.DataFrame:
    logits = np.random.default_rng(seed).normal(0, 2, (len(index), schema.width))
    return schema.from_logits(logits, index)


def word_texts(schema: Schema, n: int, seed: int = 0, words: int = 6) -> pd.DataFrame:
    """Narratives of `words` words out of w0..w39."""
    rng = np.random.default_rng(seed)
    tell = lambda: " ".join(f"w{i}" for i in rng.integers(0, 40, words))  # noqa: E731
    return pd.DataFrame({c: [tell() for _ in range(n)] for c in schema.text_columns}, index=uids(n))


def tokenizer(**specials: str) -> PreTrainedTokenizerFast:
    """A word-level tokenizer of w0..w39 and newline, with these special tokens, `<unk>` among them."""
    words = [*dict.fromkeys([*specials.values(), "<unk>"]), "\n", *(f"w{i}" for i in range(40))]
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return PreTrainedTokenizerFast(tokenizer_object=made, **{"unk_token": "<unk>"} | specials)


def bert_tokenizer() -> PreTrainedTokenizerFast:
    return tokenizer(pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]")


def gemma_tokenizer() -> PreTrainedTokenizerFast:
    return tokenizer(pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of one token a byte, which reads and writes any text."""
    words = ["<pad>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({w: n for n, w in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    specials = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **specials)


def save_tiny_bert(folder: Path, layers: int = 2) -> str:
    """An encoder of hidden size 16, no dropout; its folder is the backbone's name."""
    torch.manual_seed(1)
    BertModel(
        BertConfig(
            hidden_size=16,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=layers,
            vocab_size=60,
            max_position_embeddings=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.2,
        )
    ).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return str(folder)


def save_tiny_gemma(folder: Path, words: PreTrainedTokenizerFast | None = None) -> str:
    """A causal model of hidden size 16, no dropout; its folder is the backbone's name.

    It reads the words of `gemma_tokenizer` unless another tokenizer is given.
    """
    words = words or gemma_tokenizer()
    torch.manual_seed(1)
    Gemma3ForCausalLM(
        Gemma3TextConfig(
            hidden_size=16,
            intermediate_size=16,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            num_hidden_layers=2,
            vocab_size=max(60, len(words)),
            sliding_window=8,
            initializer_range=0.2,
        )
    ).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def save_tiny_writer(folder: Path) -> str:
    """A causal model that writes letter by letter; its folder is the backbone's name."""
    return save_tiny_gemma(folder, letter_tokenizer())


class HashLearner(Learner):
    """A learner whose every prediction depends on every text and target that it learned from.

    The seed of its random predictions is a digest of its phases and of the text read.
    So if changed data leaves one prediction as it was, the model has not learned from
    them, however many steps lie between.
    """

    def __init__(self, schema: Schema, setting: int = 0, fail_on: str = ""):
        self.schema, self.setting, self.fail_on = schema, setting, fail_on
        self.trained: list[str] = []  # labels, in order
        self.learned: dict[str, set[str]] = {}  # label -> uids

    def config(self) -> dict:
        return {"setting": self.setting}

    def fit(self, phases, label=""):
        if self.fail_on and label.endswith(self.fail_on):
            raise KeyboardInterrupt(label)
        self.trained.append(label)
        self.learned[label] = {uid for p in phases for uid in p.texts.index}
        return HashModel(self.schema, digest(self.config(), [p.key() for p in phases]))


class HashModel(Model):
    """What `HashLearner` gives."""

    def __init__(self, schema: Schema, state: str):
        self.schema, self.state = schema, state
        self.history = [{"epoch": 1, "loss": 0.5}]

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for parts in texts[self.schema.text_columns].itertuples(index=False):
            seed = int(digest(self.state, list(parts)), 16)
            rows.append(np.random.default_rng(seed).normal(0, 2, self.schema.width))
        return self.schema.from_logits(np.array(rows).reshape(len(texts), self.schema.width), texts.index)

    def save(self, folder: Path) -> None:
        write_json(folder / "state.json", self.state)
