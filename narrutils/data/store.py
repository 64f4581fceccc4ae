"""Where a model of a run lies, and what it read: the one place that spells these paths.

`models/<name>/fold<k>/` holds the model that left fold k out and its readings, `pair<j>_<k>/` the
readings of a nested teacher that left two out, `all/` a refit that left out none, `about.json` what the
ladder says of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from narrutils.data.files import read_json
from narrutils.data.folds import REFIT, HeldOut, folder_name
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.errors import InputError

MODELS = "models"


@dataclass(frozen=True)
class StoredModel:
    """A named model over the folds of a run, as it lies on disk."""

    run: Run
    name: str

    def fold(self, held_out: HeldOut) -> str:
        """The folder of the model that left these folds out, relative to the run's."""
        return f"{MODELS}/{self.name}/{folder_name(held_out)}"

    def path(self, held_out: HeldOut) -> Path:
        return self.run.path(self.fold(held_out))

    def is_trained(self, held_out: HeldOut) -> bool:
        """Whether the folder was made whole."""
        return (self.path(held_out) / "key.json").exists()

    def history(self, held_out: HeldOut) -> list[dict]:
        """Its training history, an entry an epoch."""
        return read_json(self.path(held_out) / "training.json")["history"]

    def read(self, held_out: HeldOut, schema: Schema, uids: Sequence[str] | None = None) -> pd.DataFrame:
        """All probabilities of the model that left these folds out, or those of `uids`, in their order."""
        return self.run.read_probabilities(f"{self.fold(held_out)}/predictions.parquet", schema, uids)

    @property
    def about_name(self) -> str:
        """What the run calls the file of `about`."""
        return f"{MODELS}/{self.name}/about.json"

    @property
    def about_file(self) -> Path:
        return self.run.path(self.about_name)

    @property
    def about(self) -> dict:
        """What was published with it: `model`, `step`, `stage`, `order`, `folds`, `refit` (older ones lack
        it), `base`, `optimistic`, `instead`.

        Raises:
            InputError: the model was not published.
        """
        return self.run.read(self.about_name)

    @property
    def has_refit(self) -> bool:
        """Whether it was published with a refit, which reads new cases."""
        return self.about_file.exists() and self.about.get("refit", False)

    @property
    def deployed(self) -> list[HeldOut]:
        """The models of a published one that read new cases: the refit alone, or every fold's."""
        return [REFIT] if self.has_refit else [(fold,) for fold in self.about["folds"]]

    def write_about(self, about: dict) -> None:
        self.run.write(self.about_name, about)

    def predictions(self, split: str, schema: Schema, uids: Sequence[str] | None = None) -> pd.DataFrame:
        """Published probabilities on `oof`, the official rows out of fold, or on `test`.

        Raises:
            InputError: the run has no such model.
        """
        name = f"predictions/{self.name}_{split}.parquet"
        if not self.run.has(name):
            known = ", ".join(self.run.models()) or "none yet"
            raise InputError(f"{self.run.folder}: no predictions of a model {self.name}; there are {known}")
        return self.run.read_probabilities(name, schema, uids)

    def write_predictions(self, split: str, table: pd.DataFrame, schema: Schema) -> None:
        self.run.write_probabilities(f"predictions/{self.name}_{split}.parquet", table, schema)


def published(run: Run) -> list[StoredModel]:
    """The published models of a run that stages before this one made, in the order of their making."""
    models = [StoredModel(run, path.parent.name) for path in run.path(MODELS).glob("*/about.json")]
    places = {model.name: (model.about["stage"], model.about["order"]) for model in models}
    earlier = [model for model in models if run.stage is None or places[model.name][0] < run.stage]
    return sorted(earlier, key=lambda model: places[model.name])


def base_folder(name: str) -> str:
    """Where the frozen base of this name lies in a run, for all models that share it."""
    return f"{MODELS}/base/{name}"


def base_beside(folder: Path, name: str) -> Path:
    """The folder of a base, seen from that of a fold's model."""
    return folder.parents[1] / "base" / name
