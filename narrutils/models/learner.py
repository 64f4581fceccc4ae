"""What `crossfit` trains: a learner, the model that it makes, and the phases that it learns from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from narrutils.data.files import digest

#: Rows that are read together: what a model gives of them depends on no further row.
BLOCK = 1024


@dataclass(frozen=True)
class Phase:
    """Some epochs over some rows.

    Args:
        texts: the text columns, indexed by uid.
        targets: probabilities, `schema.columns` wide, the same uids in the same order; NaN in all
            columns of a variable without a label.
        epochs: passes over the rows.
        soft: whether the targets are a teacher's probabilities; a soft categorical
            target is not smoothed further.
        loss: a `Loss`; empty is what the recipe says.
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


class Model(ABC):
    """A trained model."""

    history: Sequence[dict] = ()  # an entry an epoch, where it was trained in epochs

    @abstractmethod
    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""

    @classmethod
    def predict_together(cls, models: Sequence["Model"], texts: pd.DataFrame) -> list[pd.DataFrame]:
        """What each of some models of this class reads, in their order; what they share is done once."""
        return [model.predict(texts) for model in models]

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into an existing folder what `stored.load_model` reads."""


def in_groups(
    models: Sequence[Model], key: Callable[[Model], Hashable], read: Callable[[list[Model]], Sequence]
) -> list:
    """What `read` gives of the models of each key, one for each of them, in the order of all the models."""
    groups: dict[Hashable, list[int]] = {}
    for number, model in enumerate(models):
        groups.setdefault(key(model), []).append(number)
    found: dict[int, object] = {}
    for numbers in groups.values():
        found |= zip(numbers, read([models[n] for n in numbers]), strict=True)
    return [found[number] for number in range(len(models))]


class Learner(ABC):
    """Something that can be trained on phases; its module, and what that imports, decide what comes of it."""

    base: str = ""  # name of the frozen weights that all its models share; empty where there are none
    seed: int | None = None  # of what a training draws; None where it draws nothing
    attempts: int = 1  # trainings of one model at most, each with the next seed, where they go wrong
    whole_machine: bool = True  # whether one training leaves no room for another beside it

    @abstractmethod
    def config(self) -> dict:
        """What the key of a training artefact holds of it; where there is a base, `weights` among it."""

    @abstractmethod
    def fit(self, phases: list[Phase], label: str = "") -> Model:
        """Train one model; lines of progress open with `label`."""

    def reseeded(self, attempt: int) -> "Learner":
        """The same learner for a further attempt, numbered from 0; the first is as it is."""
        return self

    def prepare(self, tables: list[pd.DataFrame]) -> None:  # noqa: B027 (most have nothing to do)
        """Read cases ahead for several trainings, each table by itself, where that spares them work."""

    def save_base(self, folder: Path) -> None:
        """Write the weights that `base` names, once for all folds."""
        raise NotImplementedError
