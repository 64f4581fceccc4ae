"""A linear head on frozen MiniLM states: a training of seconds, to compare losses on thousands of cases."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from narrutils.data.files import digest, read_tensors, write_tensors
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.models.backbones import load_body, load_tokenizer, resolve
from narrutils.models.classifier import pool_mean
from narrutils.models.learner import Learner, Model, Phase
from narrutils.models.precision import autocast, fastest
from narrutils.models.reading import Inputs
from narrutils.training.recipe import Recipe

READING = Recipe(max_tokens=256, precision=fastest())


def embed(run: Run, texts: pd.DataFrame) -> pd.DataFrame:
    """Mean-pooled MiniLM states of each case, indexed by uid; kept in the run folder."""
    backbone = resolve("minilm")

    def make(part: Path) -> None:
        write_tensors(part / "states.safetensors", {"states": mean_states(backbone, texts)})

    folder = run.write_folder("embeddings", digest(backbone.fingerprint, texts, asdict(READING)), make)
    return pd.DataFrame(read_tensors(folder / "states.safetensors")["states"], index=texts.index)


@torch.inference_mode()
def mean_states(backbone, texts: pd.DataFrame, size: int = 32) -> np.ndarray:
    """States `[cases, hidden]`, in the order of `texts`."""
    body = load_body(backbone, torch.float32).eval()
    inputs = Inputs(texts, load_tokenizer(backbone), READING)
    order = np.argsort(inputs.lengths, kind="stable")
    states = np.empty((len(texts), body.config.hidden_size), dtype=np.float32)
    for rows in np.array_split(order, -(-len(order) // size)):
        batch = inputs.batch(rows)
        with autocast(READING.precision, body.config, "cpu"):
            told = body(**batch).last_hidden_state
        states[rows] = pool_mean(told.float(), batch["attention_mask"]).numpy()
    return states


@dataclass(frozen=True)
class HeadLearner(Learner):
    """A learner for `CrossFit`: AdamW under a cosine, with a loss for each stretch of epochs.

    Args:
        features: states of every case that is learned from or read, indexed by uid.
        losses: name -> makes a fresh loss, called with `(logits, targets, soft)`.
        stages: name of a loss, and for how many epochs; in order.
        warmup: share of all steps.
        from_rates: start each logit at its training rate; otherwise at zero, one half.
    """

    schema: Schema
    features: pd.DataFrame
    losses: dict[str, Callable[[], nn.Module]]
    stages: tuple[tuple[str, int], ...]
    batch_size: int = 32
    rate: float = 3e-3
    warmup: float = 0.1
    from_rates: bool = True
    seed: int = 0

    def config(self) -> dict:
        """What decides a training besides the cases; this file among it."""
        names = ("stages", "batch_size", "rate", "warmup", "from_rates", "seed")
        return {n: getattr(self, n) for n in names} | {"features": digest(self.features, Path(__file__))}

    def fit(self, phases: list[Phase], label: str = "") -> "HeadModel":
        """Train on the rows of the one phase; its epochs are those of `stages`."""
        (phase,) = phases
        torch.manual_seed(self.seed)
        values = self.features.loc[phase.texts.index].to_numpy()
        scale = values.mean(0), values.std(0).clip(1e-3)  # some of MiniLM's states never move
        x = torch.tensor((values - scale[0]) / scale[1])
        y = torch.tensor(phase.targets.to_numpy(dtype=np.float32))
        head = nn.Linear(x.shape[1], self.schema.width)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        if self.from_rates:
            rates = y.mean(0).clamp(1e-3, 1 - 1e-3)
            head.bias.data = rates.log() - (1 - rates).log()
        self._train(head, x, y)
        return HeadModel(self, head, scale)

    def _train(self, head: nn.Linear, x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer = torch.optim.AdamW(head.parameters(), lr=self.rate, weight_decay=0.01)
        steps = -(-len(x) // self.batch_size) * sum(epochs for _, epochs in self.stages)
        curve = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.rate, steps, pct_start=max(self.warmup, 2 / steps), cycle_momentum=False
        )
        for name, epochs in self.stages:
            loss = self.losses[name]()
            for _ in range(epochs):
                for rows in torch.randperm(len(x)).split(self.batch_size):
                    optimizer.zero_grad()
                    loss(head(x[rows]), y[rows], torch.zeros(len(rows), dtype=torch.bool)).backward()
                    optimizer.step()
                    curve.step()


@dataclass
class HeadModel(Model):
    """What `HeadLearner` gives."""

    learner: HeadLearner
    head: nn.Linear
    scale: tuple[np.ndarray, np.ndarray]

    @torch.inference_mode()
    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        values = (self.learner.features.loc[texts.index].to_numpy() - self.scale[0]) / self.scale[1]
        return self.learner.schema.from_logits(self.head(torch.tensor(values)).numpy(), texts.index)

    def save(self, folder: Path) -> None:
        """The head's weights."""
        weights = {name: value.numpy() for name, value in self.head.state_dict().items()}
        write_tensors(folder / "head.safetensors", weights)
