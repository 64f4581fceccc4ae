"""What `crossfit` trains: a learner, the model that it makes, and the phases that it learns from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from narrutils.data.files import digest


@dataclass(frozen=True)
class Phase:
    """Some epochs over some rows.

    Args:
        texts: the text columns, indexed by uid.
        targets: probabilities, `schema.columns` wide, the same uids in the same order.
        epochs: passes over the rows.
        soft: whether the targets are a teacher's probabilities; a soft categorical
            target is not smoothed further.
        loss: one of `recipe.LOSSES`; empty is what the recipe says.
        optimistic: whether who made the targets learned from the fold that is held out.
    """

    texts: pd.DataFrame
    targets: pd.DataFrame
    epochs: int = 1
    soft: bool = False
    loss: str = ""
    optimistic: bool = False

    def __post_init__(self):
        if not self.texts.index.equals(self.targets.index):
            raise ValueError("texts and targets of a phase must carry the same uids in the same order")

    def key(self) -> str:
        """Content key of texts, targets and settings."""
        return digest(self.texts, self.targets, self.epochs, self.soft, self.loss)


class Model(Protocol):
    """A trained model."""

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame: ...

    def save(self, folder: Path) -> None: ...


class Learner(Protocol):
    """Something that can be trained on phases.

    Its module, and what that imports, decide what a training gives. `base` names the frozen
    weights that all its models share, empty where there are none. One that can
    read cases ahead for all its trainings has `prepare(tables)`.
    """

    base: str

    def config(self) -> dict: ...

    def fit(self, phases: list[Phase], label: str) -> Model: ...

    def save_base(self, folder: Path) -> None: ...
