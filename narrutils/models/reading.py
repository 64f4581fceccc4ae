"""How a classifier reads a case: its settings, the token ids it is given, and the logits that come of them.

Of token ids a case has one row for all its narratives, or one for each.
`joined` is the prize-winning way. `separate` reads each narrative on its own, and a
variable counts as told as strongly as the narrative that tells it most: the maximum of
their logits, as the fourth place had it. An empty narrative tells nothing and has no say,
unless all are empty. Where the lower layers of a model are frozen, a case may be told by the
states that they gave of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from narrutils.data.files import read_json
from narrutils.data.schema import Schema
from narrutils.data.settings import restored
from narrutils.models.bases import Shared
from narrutils.models.classifier import Classifier, load_classifier, save_classifier
from narrutils.models.learner import Model, in_groups
from narrutils.models.lower import LowerStates, frozen_below, splits_cleanly, states_below
from narrutils.models.precision import autocast, suited, torch_device
from narrutils.models.settings import Body, Lora, Reading
from narrutils.models.text import Cases, batches


class Inputs(Cases):
    """Cases, tokenised once and batched on demand, as tensors.

    Args:
        lower: the states of all cases, to be told in place of their token ids.
    """

    def __init__(
        self,
        texts: pd.DataFrame,
        tokenizer: PreTrainedTokenizerBase,
        reading: Reading,
        lower: LowerStates | None = None,
    ):
        super().__init__(texts, tokenizer, reading)
        self.lower = lower

    def batch(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """What `Classifier.forward` takes, for the cases of these numbers."""
        batch = {name: torch.from_numpy(values) for name, values in self.arrays(numbers).items()}
        if self.lower is not None and self.told is None:
            batch["states"] = pad_sequence([self.lower.of(*self.cases[n]) for n in numbers], True)
            del batch["input_ids"]
        return batch


@torch.inference_mode()
def read_logits(
    classifier: Classifier, tokenizer, texts: pd.DataFrame, reading: Reading, lower: LowerStates | None = None
) -> np.ndarray:
    """Logits `[len(texts), width]`, in the order of `texts`; batches hold cases of like length.

    Every `BLOCK` rows are batched by themselves, and in whatever order they stand: a file gives
    the same batches, and to the last bit the same logits, whole and in pieces of `BLOCK` rows, in
    one precision and with one number of threads.
    """
    return _table(classifier, classifier, classifier.head.out_features, tokenizer, texts, reading, lower)


@torch.inference_mode()
def read_side_by_side(models: Sequence["NeuralModel"], texts: pd.DataFrame) -> list[np.ndarray]:
    """Logits of each of some models that are given the same batches, `[len(texts), width]`.

    To the last bit those that each gives alone.
    """
    for model in models:
        model.classifier.eval()
    first, ends = models[0], np.cumsum([model.classifier.head.out_features for model in models])
    what = partial(_side_by_side, models)
    table = _table(first.classifier, what, ends[-1], first.tokenizer, texts, first.reading, first.lower)
    return [np.ascontiguousarray(part) for part in np.split(table, ends[:-1], axis=1)]


def _side_by_side(models: Sequence["NeuralModel"], **batch: torch.Tensor) -> torch.Tensor:
    """Logits of all models side by side."""
    return torch.cat(in_groups(models, lambda model: model.below, partial(_above_one, batch=batch)), 1)


def _above_one(models: list["NeuralModel"], batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Logits of models that stand on the same frozen layers, which read the batch once."""
    if "states" not in batch and models[0].splits:
        batch = told_by_states(models[0].classifier, batch)
    return [model.classifier(**batch) for model in models]


def told_by_states(classifier: Classifier, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch whose token ids are replaced by the states that the frozen layers give of them."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if "told" in batch:
        given = {name: values.flatten(0, 1) for name, values in given.items()}
    states = states_below(classifier.body, classifier.cut, **given)
    if "told" in batch:
        states = states.unflatten(0, batch["told"].shape)
    return {name: values for name, values in batch.items() if name != "input_ids"} | {"states": states}


@torch.inference_mode()
def read_pooled(
    classifier: Classifier, tokenizer, texts: pd.DataFrame, reading: Reading, lower: LowerStates | None = None
) -> np.ndarray:
    """What the head reads of each case, `[len(texts), hidden]`, in the order of `texts`."""
    width = classifier.head.in_features
    return _table(classifier, classifier.pooled, width, tokenizer, texts, reading, lower)


def _table(classifier, what, width: int, tokenizer, texts, reading, lower) -> np.ndarray:
    """What `what` gives of each case, in the order of `texts`."""
    out = np.zeros((len(texts), width), dtype=np.float32)
    if texts.empty:
        return out
    inputs = Inputs(texts, tokenizer, reading)
    if lower is not None:
        read_lower(classifier, inputs, texts, reading, lower)
        inputs.lower = lower
    for rows, found in read(classifier, what, inputs, texts, reading):
        out[rows] = found.float().cpu().numpy()
    return out


@torch.inference_mode()
def read_lower(
    classifier: Classifier, inputs: Inputs, texts: pd.DataFrame, reading: Reading, lower: LowerStates
) -> None:
    """Let the frozen layers read the cases that nobody has read yet, in the batches of `read_logits`.

    Args:
        inputs: `texts`, as token ids.
    """
    below = partial(states_below, classifier.body, classifier.cut)
    ahead = lambda rows: any(lower.lacks(*inputs.cases[n]) for n in rows)  # noqa: E731
    lower.add(
        (inputs.cases[n][0], states[: inputs.lengths[n]].cpu())
        for rows, batch in read(classifier, below, inputs, texts, reading, ahead)
        for n, states in zip(rows, batch)
    )


def read(
    classifier, what, inputs: Inputs, texts: pd.DataFrame, reading: Reading, wanted=None
) -> Iterator[tuple]:
    """The rows of each batch, and what `what` gives of them; batches that are not `wanted` are left out."""
    classifier.eval()
    device = next(classifier.head.parameters()).device
    size = reading.batch_size * 2  # no gradients are kept, so twice the batch fits
    for rows in batches(texts, inputs.lengths, size):
        if wanted is not None and not wanted(rows):
            continue
        batch = {k: v.to(device) for k, v in inputs.batch(rows).items()}
        with autocast(reading.precision, classifier.body.config, device.type):
            found = what(**batch)
        yield rows, found


@dataclass
class NeuralModel(Model):
    """A trained classifier with its tokenizer; `body` and `lora` are what its files say of its making."""

    schema: Schema
    classifier: Classifier
    tokenizer: object
    reading: Reading
    body: Body
    lora: Lora
    history: list[dict] = field(default_factory=list)
    lower: LowerStates | None = None

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        return self.predict_together([self], texts)[0]

    @classmethod
    def predict_together(cls, models: Sequence["NeuralModel"], texts: pd.DataFrame) -> list[pd.DataFrame]:
        """What each model reads, in their order.

        Those that read alike share token ids and batches; of these, those that stand on the same
        frozen layers share what these give of a batch.
        """
        logits = in_groups(models, NeuralModel._reads_as, lambda alike: read_side_by_side(alike, texts))
        return [model.schema.from_logits(found, texts.index) for model, found in zip(models, logits)]

    def _reads_as(self) -> tuple:
        """What is equal of two models that can be given the same batches."""
        settings = tuple(getattr(self.reading, f.name) for f in fields(Reading))
        computes = suited(self.reading.precision, self.classifier.body.config)
        device = str(self.classifier.head.weight.device)
        return id(self.tokenizer), id(self.lower), computes, device, *settings

    @cached_property
    def below(self) -> tuple:
        """What is equal of two models that stand on the same frozen layers: cut and weights."""
        cut = self.classifier.cut
        return (cut, *frozen_below(self.classifier.body, cut)) if cut else (id(self),)

    @cached_property
    def splits(self) -> bool:
        """Whether the frozen layers can be computed apart from those above them."""
        cut, ids = self.classifier.cut, self.tokenizer("\n.")["input_ids"]
        return bool(cut) and splits_cleanly(self.classifier.body, cut, ids)

    def pooled(self, texts: pd.DataFrame) -> np.ndarray:
        """What the head reads of each case, `[cases, hidden]`."""
        return read_pooled(self.classifier, self.tokenizer, texts, self.reading, self.lower)

    @classmethod
    def load(
        cls, folder: Path, schema: Schema, precision: str = "", shared: Shared | None = None
    ) -> "NeuralModel":
        """A classifier that reads as it did when it was trained: the same length and truncation.

        Args:
            precision: in which it reads; the one that it was trained in if empty.
            shared: what other models loaded, of which it takes what it needs too.
        """
        config = read_json(folder / "training.json")["config"]
        settings = {f.name: config["recipe"][f.name] for f in fields(Reading)}
        reading = restored(Reading, settings | ({"precision": precision} if precision else {}))
        parts = restored(Body, config["body"]), restored(Lora, config["lora"])
        classifier, tokenizer = load_classifier(folder, precision, shared)
        classifier.to(torch_device())
        return cls(schema, classifier, tokenizer, reading, *parts)

    def save(self, folder: Path) -> None:
        save_classifier(self.classifier, self.tokenizer, self.body, self.lora, folder)
