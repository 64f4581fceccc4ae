"""The metric as a loss: why it collapsed for the author, what mends it, and what it is worth.

    python -m benchmarks.losses collapse|head|encoder [--cases 4000] [--data FOLDER --schema FILE]

- `collapse`: forms of an F1 loss on a linear head over frozen MiniLM states, in batches of 4 as
  the author had them, without warm-up. `ones` is the share of binary codes that are 1 at
  threshold 0.5; the last line has the share among the labels;
- `head`: cross-entropy, fine-tuning after it and each loss from scratch, on the same head;
- `encoder`: the same with the whole of MiniLM trained, by default on the demo's 450 cases.

Scores are average F1 out of fold against the given labels, at threshold 0.5 and with
cross-fitted thresholds; the gains are over cross-entropy, paired on the same cases, with 95 %
intervals, which speak of the sampling of cases. With several seeds, their counts are added up.
Every fold's model is kept in the folder, so a command that was killed goes on where it stopped.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import decide_cross_fitted
from narrutils.models.learner import Learner
from narrutils.models.settings import Body
from narrutils.training.losses import AbstractionLoss
from narrutils.training.neural import NeuralLearner
from narrutils.training.other_losses import LovaszLoss, SoftF1Loss

from .demo_corpus import EPOCHS, RECIPE, show
from .frozen import HeadLearner, embed
from .rows import add
from .world import FOLDS, World

SMOOTHING = RECIPE.smoothing
HEAD_EPOCHS = 20

#: Stages of a head's training, by the name of the row in the table.
COLLAPSE = {
    "cross-entropy": (("cross_entropy", HEAD_EPOCHS),),
    "mean of precision and recall": (("precision_recall", HEAD_EPOCHS),),
    "F1 of the last binary variable": (("last_column", HEAD_EPOCHS),),
    "F1 of each batch": (("batch_f1", HEAD_EPOCHS),),
    "F1 of each batch, after cross-entropy": (
        ("cross_entropy", HEAD_EPOCHS // 2),
        ("batch_f1", HEAD_EPOCHS // 2),
    ),
    "F1 with running counts": (("f1", HEAD_EPOCHS),),
    "F1 with running counts, after cross-entropy": (
        ("cross_entropy", HEAD_EPOCHS // 2),
        ("f1", HEAD_EPOCHS // 2),
    ),
}
HALVES = {
    name: (("cross_entropy", HEAD_EPOCHS // 2), (name, HEAD_EPOCHS // 2)) for name in ("f1", "lovasz", "both")
}
HEADS = {
    "cross-entropy": (("cross_entropy", HEAD_EPOCHS),),
    "cross-entropy, then F1": HALVES["f1"],
    "cross-entropy, then Lovász": HALVES["lovasz"],
    "cross-entropy, then both": HALVES["both"],
    "F1 from scratch": (("f1", HEAD_EPOCHS),),
    "Lovász from scratch": (("lovasz", HEAD_EPOCHS),),
}
#: Changes to the encoder's recipe; the number of epochs is the same for all.
ENCODERS = {
    "cross-entropy": {},
    "cross-entropy, then F1": {"finetune_loss": "f1", "finetune_epochs": 2},
    "cross-entropy, then Lovász": {"finetune_loss": "lovasz", "finetune_epochs": 2},
    "F1 from scratch": {"loss": "f1"},
    "Lovász from scratch": {"loss": "lovasz"},
}


def main() -> None:
    """Train what is asked for on the folds of one corpus and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("collapse", "head", "encoder"))
    parser.add_argument(
        "--folder", default="outputs/benchmark_losses", help="run folder; what is there stays"
    )
    parser.add_argument(
        "--cases", type=int, help="of the made corpus (450 or 4000); training cases of another (all)"
    )
    parser.add_argument("--data", help="folder of another corpus, in place of the made one")
    parser.add_argument("--schema", default="params/schemas/osha.yaml", help="of the other corpus")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training")
    given = parser.parse_args()
    if given.data:
        name = f"{given.folder}/other_{given.cases or 'all'}"
        world = World.open(name, given.cases or 0, data=given.data, schema_file=given.schema)
    else:
        cases = given.cases or (450 if given.what == "encoder" else 4000)
        world = World.open(f"{given.folder}/made_{cases}", cases)
    learners = {"collapse": collapsing, "head": heads, "encoder": encoders}[given.what](world, given.seeds)
    table = compare(world, given.what, learners)
    world.run.write(f"{given.what}.csv", table.rename_axis("loss"))
    show(f"{given.what}: {len(world.texts)} training cases of {world.schema.name}, {FOLDS} folds", table)


def collapsing(world: World, seeds: list[int]) -> dict[str, list[Learner]]:
    """Forms of the loss, from one half in every variable and without warm-up, in batches of 4."""
    head = partial(HeadLearner, world.schema, embed(world.run, world.texts), makers(world.schema))
    settings = {"batch_size": 4, "rate": 1e-3, "warmup": 0.0, "from_rates": False}
    return {name: [head(stages, seed=s, **settings) for s in seeds] for name, stages in COLLAPSE.items()}


def heads(world: World, seeds: list[int]) -> dict[str, list[Learner]]:
    """What each loss gives with all that helps: larger batches, warm-up, a start at the training rates."""
    head = partial(HeadLearner, world.schema, embed(world.run, world.texts), makers(world.schema))
    return {name: [head(stages, seed=s) for s in seeds] for name, stages in HEADS.items()}


def encoders(world: World, seeds: list[int]) -> dict[str, list[Learner]]:
    """MiniLM with the package's own training, a loss each."""
    return {
        name: [
            NeuralLearner(
                world.schema, Body("minilm", dropout=0.0), recipe=replace(RECIPE, seed=seed, **changes)
            )
            for seed in seeds
        ]
        for name, changes in ENCODERS.items()
    }


def makers(schema: Schema) -> dict[str, Callable[[], nn.Module]]:
    """Every loss that a head may be trained with; the author's forms stand here alone."""
    plain = partial(AbstractionLoss, schema, SMOOTHING)
    return {
        "cross_entropy": plain,
        "f1": partial(SoftF1Loss, schema),
        "lovasz": partial(LovaszLoss, schema, SMOOTHING),
        "both": lambda: Sum(plain(), SoftF1Loss(schema)),
        "batch_f1": partial(SoftF1Loss, schema, horizon=0),
        "precision_recall": partial(AuthorsForm, schema, mean_of_precision_and_recall),
        "last_column": partial(AuthorsForm, schema, f1_of_last_column),
    }


class Sum(nn.Module):
    """Two losses at once."""

    def __init__(self, *losses: nn.Module):
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, targets: Tensor, soft: Tensor) -> Tensor:
        return sum(loss(logits, targets, soft) for loss in self.losses)


class AuthorsForm(nn.Module):
    """1 − a soft score of a batch's binary variables; cross-entropy of the categorical ones.

    Args:
        score: of probabilities and targets, each `[batch, n_binary]`.
    """

    def __init__(self, schema: Schema, score: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.plain, self.score = AbstractionLoss(schema, SMOOTHING), score

    def forward(self, logits: Tensor, targets: Tensor, soft: Tensor) -> Tensor:
        binary = self.plain.binary
        loss = 1 - self.score(logits[:, binary].sigmoid(), targets[:, binary])
        others = sum(
            self.plain.cross_entropy(logits[:, s], targets[:, s], soft) for s in self.plain.categorical
        )
        return loss + others / self.plain.variables


def mean_of_precision_and_recall(said: Tensor, true: Tensor) -> Tensor:
    """The author's older form: with recall 1, all-ones scores more than one half."""
    both = (said * true).sum(0)
    return ((both / (said.sum(0) + 1e-7) + both / (true.sum(0) + 1e-7)) / 2).mean()


def f1_of_last_column(said: Tensor, true: Tensor) -> Tensor:
    """The author's later form: of all the variables the last one alone is looked at."""
    said, true = said[:, -1], true[:, -1]
    return 2 * (said * true).sum() / (said.sum() + true.sum() + 1e-7)


def compare(world: World, what: str, learners: dict[str, list[Learner]]) -> pd.DataFrame:
    """A line a loss: share of ones, scores, and gains over the first line, with their intervals."""
    lines, base = {}, None
    for name, seeded in learners.items():
        readings = [read(world, f"{what}_{slug(name)}_{n}", learner) for n, learner in enumerate(seeded)]
        ones = np.mean(
            [(table[[v.name for v in world.schema.binary]] > 0.5).mean().mean() for table in readings]
        )
        counts = scored(world, readings)
        base = base or counts
        line = {"ones": ones}
        for cut, counted in counts.items():
            gain = paired_gain(counted, base[cut])
            line |= {f"F1 {cut}": counted.scores().mean(), f"gain {cut}": gain.value}
            line |= {"low": gain.low, "high": gain.high} if cut == "searched" else {}
        lines[name] = line
    truth = {"ones": world.labels[[v.name for v in world.schema.binary]].mean().mean()}
    return pd.DataFrame(lines | {"(labels)": truth}).T


def read(world: World, name: str, learner: Learner) -> pd.DataFrame:
    """Out-of-fold probabilities of one learner, trained with the given labels where it is not yet."""
    model = CrossFit(Study(world.run, world.schema, world.texts, world.folds, world.texts[:0]), name, learner)
    return model.fit(given_labels(model.study, EPOCHS, labels=world.labels)).out_of_fold()


def scored(world: World, readings: list[pd.DataFrame]) -> dict[str, Counts]:
    """Counts of all seeds together, at threshold 0.5 and with cross-fitted thresholds."""
    schema, labels = world.schema, world.labels
    half = [count(schema, labels, schema.to_labels(table)) for table in readings]
    searched = [
        count(schema, labels, decide_cross_fitted(schema, labels, table, world.folds)) for table in readings
    ]
    return {"half": add(half), "searched": add(searched)}


def slug(name: str) -> str:
    """A row's name as a folder's."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
