"""A linear model on the states of a frozen backbone: what its pretraining knows, at hardly any cost.

Each narrative is read whole, in windows of equal length, and its states are averaged; the
narratives of a case stand side by side. The backbone learns nothing, so one reading of
every text serves all folds without a leak.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from narrutils.data.files import read_json, read_tensors, write_json, write_tensors
from narrutils.data.schema import Schema
from narrutils.data.settings import Companion, fitting, restored
from narrutils.models.backbones import config_of, hidden_size, load_body, load_tokenizer, quiet, resolve
from narrutils.models.bases import Shared, base_name, load_base, save_base, save_tokenizer, stored_tokenizer
from narrutils.models.classifier import pool_mean
from narrutils.models.learner import BLOCK, Learner, Model, Phase, in_groups
from narrutils.models.linear import fit_probe
from narrutils.models.precision import torch_device, weights_dtype
from narrutils.models.settings import Body
from narrutils.models.text import pad, special_ids
from narrutils.models.tfidf import LINEAR, TfidfLearner

BATCH = 32  # windows read at once


@dataclass
class Reader:
    """A frozen backbone that keeps what it has read while the process lives, unless told not to.

    Args:
        body: the backbone in evaluation mode.
        tokenizer: its own.
        window: tokens of a narrative that are read at once, special ones left out.
        keep: whether states are kept between readings; new cases are without number.
    """

    body: nn.Module
    tokenizer: PreTrainedTokenizerBase
    window: int
    keep: bool = True
    known: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def states(self, texts: pd.DataFrame) -> np.ndarray:
        """Mean states of each case's narratives, side by side: `[cases, narratives × hidden]`, float32.

        Args:
            texts: one column a narrative. An empty one has the states of the special tokens.
        """
        return np.vstack([self._block(block) for block in blocks(texts)])

    def _block(self, texts: pd.DataFrame) -> np.ndarray:
        columns = [self._column(texts[name].tolist()) for name in texts.columns]
        if not self.keep:
            self.known.clear()
        return np.hstack(columns)

    @property
    def reads_as(self) -> tuple:
        """What is equal of two readers that give the same states."""
        return id(self.body), id(self.tokenizer), self.window

    def _column(self, narratives: list[str]) -> np.ndarray:
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in narratives]
        new = {key: text for key, text in zip(keys, narratives) if key not in self.known}
        if new:
            self.known |= dict(zip(new, self._read(list(new.values()))))
        read = np.array([self.known[key] for key in keys], dtype=np.float32)
        return read.reshape(len(keys), hidden_size(self.body))

    @torch.inference_mode()
    def _read(self, narratives: list[str]) -> np.ndarray:
        """Mean state of each narrative, its windows weighted by their tokens: `[narratives, hidden]`."""
        windows, owner = self._windows(narratives)
        order = sorted(range(len(windows)), key=lambda n: len(windows[n]))
        total, device = 0.0, next(self.body.parameters()).device
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = pad([windows[n] for n in rows], self.tokenizer.pad_token_id)
            batch = {name: values.to(device) for name, values in batch.items()}
            means = pool_mean(self.body(**batch).last_hidden_state.float(), batch["attention_mask"])
            counts = batch["attention_mask"].sum(1, keepdim=True)
            sums = torch.hstack([means * counts, counts.float()]).cpu().numpy()
            total = total + _by_owner(sums, [owner[n] for n in rows], len(narratives))
        return total[:, :-1] / total[:, -1:]

    def _windows(self, narratives: list[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of every window, and the number of the narrative that it belongs to."""
        start, _, end = special_ids(self.tokenizer)
        tokens = self.tokenizer(narratives, add_special_tokens=False, verbose=False)["input_ids"]
        windows, owner = [], []
        for number, ids in enumerate(tokens):
            parts = max(1, -(-len(ids) // self.window))
            cuts = np.linspace(0, len(ids), parts + 1).round().astype(int)
            windows += [start + ids[a:b] + end for a, b in zip(cuts, cuts[1:])]
            owner += [number] * parts
        return windows, owner


def blocks(texts: pd.DataFrame) -> list[pd.DataFrame]:
    """The texts, `BLOCK` rows at a time; one block where there are none."""
    return [texts.iloc[start : start + BLOCK] for start in range(0, max(1, len(texts)), BLOCK)]


def _by_owner(values: np.ndarray, owner: list[int], owners: int) -> np.ndarray:
    """Sums of `values` `[rows, any]` by owner: `[owners, any]`."""
    total = np.zeros((owners, values.shape[1]))
    np.add.at(total, owner, values)
    return total


@cache
def _reader(body: Body, window: int, fingerprint: str) -> Reader:
    """One reader a backbone and process."""
    backbone = resolve(body.backbone)
    dtype = weights_dtype(body.precision, config_of(backbone))
    model = load_body(backbone, dtype, layers=body.layers or None)
    return Reader(model.to(torch_device()).eval(), load_tokenizer(backbone), window)


@dataclass(frozen=True)
class FrozenLearner(Learner):
    """Logistic regression on standardised states, one a variable or class."""

    schema: Schema
    body: Body
    window: int = 126  # tokens read at once; with the special ones 128
    inverse_regularisation: float = 3.0  # scikit-learn's C, for features of summed variance 1

    @cached_property
    def backbone_fingerprint(self) -> str:
        return resolve(self.body.backbone).fingerprint

    @property
    def base(self) -> str:
        """Name of the frozen base under `models/base/`."""
        return base_name(self.body)

    def save_base(self, folder: Path) -> None:
        save_base(self.body, folder)

    def config(self) -> dict:
        settings = {"window": self.window, "inverse_regularisation": self.inverse_regularisation}
        return settings | {"body": asdict(self.body), "weights": self.backbone_fingerprint}

    def fit(self, phases: list[Phase], label: str = "") -> "FrozenModel":
        """Learn from the last phase, the official rows; `by_column` makes its targets 0 or 1."""
        texts, targets = phases[-1].texts, phases[-1].targets
        reader = _reader(self.body, self.window, self.backbone_fingerprint)
        found = fit_probe(self.schema, reader.states(texts), targets, self.inverse_regularisation)
        weights = found.weights / found.spread[:, None]
        return FrozenModel(self.schema, self.body, reader, weights, found.bias - found.centre @ weights)


@dataclass(frozen=True)
class FrozenModel(Model):
    """A fitted linear model, and the reader of the states that it stands on."""

    schema: Schema
    body: Body
    reader: Reader
    weights: np.ndarray  # [narratives × hidden, schema.width]
    bias: np.ndarray  # [schema.width]

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        return self.predict_together([self], texts)[0]

    @classmethod
    def predict_together(cls, models: Sequence["FrozenModel"], texts: pd.DataFrame) -> list[pd.DataFrame]:
        """What each model reads, in their order; those that stand on one base share its states."""
        return in_groups(models, lambda model: model.reader.reads_as, lambda alike: _heads(alike, texts))

    def save(self, folder: Path) -> None:
        """Write `frozen.json`, `weights.safetensors` and the tokenizer; the backbone stands apart."""
        write_json(folder / "frozen.json", {"body": asdict(self.body), "window": self.reader.window})
        write_tensors(folder / "weights.safetensors", {"weights": self.weights, "bias": self.bias})
        save_tokenizer(self.reader.tokenizer, folder)

    @classmethod
    def load(
        cls, folder: Path, schema: Schema, precision: str = "", shared: Shared | None = None
    ) -> "FrozenModel":
        """The model of a folder; its backbone in `precision`, or in its own where that is empty.

        Args:
            shared: what other models loaded, of which it takes what it needs too.
        """
        described, tensors = read_json(folder / "frozen.json"), read_tensors(folder / "weights.safetensors")
        body = restored(Body, described["body"])
        tokenizer = stored_tokenizer(folder, shared)
        with quiet():
            base = load_base(folder, body, precision, shared).eval()
        reader = Reader(base.to(torch_device()), tokenizer, described["window"], keep=False)
        return cls(schema, body, reader, tensors["weights"], tensors["bias"])


def _heads(models: Sequence[FrozenModel], texts: pd.DataFrame) -> list[pd.DataFrame]:
    """What several models read in the states of one reader."""
    logits: list[list[np.ndarray]] = [[] for _ in models]
    for block in blocks(texts):
        states = models[0].reader.states(block)
        for model, parts in zip(models, logits):
            parts.append(states @ model.weights + model.bias)
    return [model.schema.from_logits(np.vstack(parts), texts.index) for model, parts in zip(models, logits)]


def cheap_models(
    schema: Schema, companions: list[str], backbone: str, precision: str = "float32"
) -> dict[str, tuple[str, Learner]]:
    """The baseline and its companions: name -> step of the ladder, and its learner.

    Args:
        companions: names of `LINEAR` beside `tfidf`, and `frozen`.
        backbone: whose states `frozen` stands on; precision: in which it computes them.

    Raises:
        InputError: there is no cheap model of a name.
    """
    body = Body(backbone, precision=precision)
    known = {name: (title, TfidfLearner(schema, **how)) for name, (title, how) in LINEAR.items()}
    known["frozen"] = (f"linear model on frozen {backbone}", FrozenLearner(schema, body))
    companions = fitting(companions, list[Companion], "companions")
    return {name: known[name] for name in dict.fromkeys(["tfidf", *companions])}
