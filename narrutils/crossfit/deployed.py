"""The deployed ensemble: what a finished run knows about narratives that it never saw.

A run folder is enough. Every fold model of every member reads a case, or its refit alone where it
has one, and what several have in common is loaded and computed once; the folds are averaged, the
members blended, and the run's thresholds make codes of the probabilities.
Codes come from the probabilities as the run scored them; calibrated, they say how far a
code can be trusted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
import psutil

from narrutils.crossfit.stored import EXPORTED, free, load_models, words_known
from narrutils.data.files import CONTENTS, read_json
from narrutils.data.folds import HeldOut
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole
from narrutils.data.store import StoredModel, base_folder
from narrutils.errors import InputError
from narrutils.evaluation.bands import Bands
from narrutils.evaluation.calibration import Calibration
from narrutils.evaluation.ensemble import combine
from narrutils.evaluation.flags import Flagging
from narrutils.models.learner import Model, in_groups
from narrutils.models.precision import resolved

#: Bytes of weights from which on loading them takes long.
HEAVY = 4 * 2**30
#: Files of a trained folder that reading needs nothing of; the first names the run's cases.
UNREAD = ("predictions.parquet", "key.json", CONTENTS, "README.md")
SCHEMA, ENSEMBLE, CALIBRATION, FLAGS = "schema.json", "ensemble.json", "calibration.json", "flags.json"
#: What runs of before lack; see `findings.promises` and `findings.reference`.
PROMISES, REFERENCE = "findings/promises.json", "findings/reference.json"


@dataclass
class Deployed:
    """The ensemble of a run folder, ready to read.

    Models stay loaded if all of them fit into half of the memory that is free, on the GPU
    where there is one. Otherwise as many are held at a time as fit, one at least, and `read` is
    best given many cases.

    Attributes:
        schema: of what is coded: the run's without auxiliary variables, which the models read as well.
        made: the content of `ensemble.json`: how the members become one, and the thresholds.
        read_by: model -> its models that read new cases, by what they left out.
        bases: model -> name of its frozen base under `models/base/`; those without one left out.
        precision: in which the neural models read; each in the one of its training if empty.
        sharers: processes that share the memory, this one among them.
    """

    run: Run
    schema: Schema
    made: Mapping
    read_by: dict[str, list[HeldOut]]
    bases: dict[str, str]
    precision: str = ""
    sharers: int = 1
    _kept: list[Model] = field(default_factory=list, repr=False)

    @classmethod
    def open(cls, folder: str | Path, precision: str = "", sharers: int = 1) -> "Deployed":
        """What stands in a run folder; no model is loaded yet.

        Args:
            precision: to read in, or `auto` for what is fastest here; empty: that of the run.

        Raises:
            InputError: it is no run folder, a notebook has not run to its end or its part does not
                belong to the rest, a model is missing, or there is no such precision here.
        """
        run = Run(folder)
        if not run.folder.is_dir():
            raise InputError(f"{folder}: no such run folder; name one, such as outputs/demo")
        check_whole(run, finished=True)
        return cls.of(run, precision, sharers)

    @classmethod
    def of(cls, run: Run, precision: str = "", sharers: int = 1) -> "Deployed":
        """The same of a run that may be under way, once `ensemble.json` is written."""
        schema = run.schema.scored
        made = run.read(ENSEMBLE)
        models = {name: StoredModel(run, name) for name in made["members"]}
        for name, model in models.items():
            if not {"folds", "base"} <= set(model.about):
                raise InputError(f"{run.folder}: {name} is of an earlier version; run its notebooks again")
        read_by = {name: model.deployed for name, model in models.items()}
        bases = {name: base for name, model in models.items() if (base := model.about["base"])}
        deployed = cls(run, schema, made, read_by, bases, resolved(precision) if precision else "", sharers)
        for path in deployed.models:
            if not path.is_dir():
                raise InputError(f"{path} is missing; run the notebooks of its run to the end")
        return deployed

    @property
    def members(self) -> list[str]:
        return self.made["members"]

    @property
    def models(self) -> list[Path]:
        """The folders of all models that read."""
        return [folder for name in self.members for folder in self.siblings(name)]

    def siblings(self, member: str) -> list[Path]:
        """The folders of a member's models that read."""
        return [StoredModel(self.run, member).path(held_out) for held_out in self.read_by[member]]

    @property
    def folders(self) -> list[Path]:
        """Those of all models that read and of the bases that they stand on."""
        return [*self.models, *{self.base_folder(name): None for name in self.bases}]

    @property
    def files(self) -> list[Path]:
        """The files of the run folder that codes depend on."""
        read = [
            p for folder in self.folders for p in folder.rglob("*") if p.is_file() and p.name not in UNREAD
        ]
        abouts = [StoredModel(self.run, member).about_file for member in self.members]
        return [self.run.path(SCHEMA), self.run.path(ENSEMBLE), *abouts, *read]

    def base_folder(self, member: str) -> Path:
        return self.run.path(base_folder(self.bases[member]))

    def read(self, texts: pd.DataFrame, after: Callable[[float], object] = lambda share: None):
        """Probabilities of the ensemble, `schema.columns` wide, in the order of `texts`.

        Args:
            texts: the text columns, indexed by uid; a uid may not stand twice.
            after: called after each reading with the share of the whole that it was.
        """
        texts = texts[self.schema.text_columns]
        found: list[pd.DataFrame] = []
        for batch in self.batches:
            found += self._read_batch(batch, texts, after)
        readings = {}
        for name in self.members:
            parts = [found.pop(0) for _ in self.read_by[name]]
            readings[name] = sum(parts) / len(parts)
        return combine(self.schema, readings, self.made)

    def _read_batch(self, folders: list[Path], texts: pd.DataFrame, after) -> list[pd.DataFrame]:
        """What the models of these folders read, those of one class together."""

        def read(models: list[Model]) -> list[pd.DataFrame]:
            found = type(models[0]).predict_together(models, texts)
            after(len(models) / len(self.models))
            return found

        try:
            return in_groups(self._loaded(folders), type, read)
        finally:
            if not self.all_fit:
                free()

    def _loaded(self, folders: list[Path]) -> list[Model]:
        models = self._kept or load_models(folders, self.run.schema, self.precision)
        if self.all_fit:
            self._kept = models
        return models

    def decide(self, probabilities: pd.DataFrame) -> pd.DataFrame:
        """Integer codes, one column a variable."""
        return self.schema.to_labels(probabilities, self.made["thresholds"])

    @cached_property
    def calibration(self) -> Calibration:
        """From the probabilities of `read` to calibrated ones."""
        return Calibration.from_dict(self.run.read(CALIBRATION))

    @cached_property
    def flagging(self) -> Flagging:
        """Which cases a person should decide."""
        return Flagging(self.schema, self.run.read(FLAGS)["cut"])

    @property
    def can_flag(self) -> bool:
        return self.run.has(CALIBRATION) and self.run.has(FLAGS)

    @cached_property
    def bands(self) -> Bands:
        """Which codes a person should decide so that the run's promises hold; of no variable without any."""
        stored = self.run.read(PROMISES) if self.run.has(PROMISES) else {"variables": {}}
        return Bands.from_dict(self.schema, stored)

    @cached_property
    def reference(self) -> Mapping[str, Mapping]:
        """How the cases of the run are distributed, see `drift.reference`; empty where that is not known."""
        return self.run.read(REFERENCE).get("numbers", {}) if self.run.has(REFERENCE) else {}

    @cached_property
    def known(self) -> frozenset[str] | None:
        """Words of the vocabulary by which the run's words were known; None without."""
        return words_known(self.siblings(name)[0] for name in self.members)

    @property
    def needs_hub(self) -> bool:
        """Whether a base is not in the run folder but in the hub cache, or on the hub."""
        return any(_on_hub(self.base_folder(name)) for name in self.bases)

    @cached_property
    def all_fit(self) -> bool:
        """Whether all models may stay loaded."""
        return len(self.batches) == 1

    @cached_property
    def batches(self) -> list[list[Path]]:
        """The folders of all models in their order, those that are held at a time in one list.

        Members share a list where they fit together, the folds of one member where these do.
        """
        batches: list[list[Path]] = []
        held: list[str] = []  # members of the last list
        for name in self.members:
            if held and self._fit([*held, name]):
                batches[-1] += self.siblings(name)
                held.append(name)
            elif self._fit([name]):
                batches.append(self.siblings(name))
                held = [name]
            else:
                batches += [[folder] for folder in self.siblings(name)]
                held = []
        return batches

    def _fit(self, members: list[str]) -> bool:
        """Whether the models of these members may be held at a time.

        Each fold of a member needs its base, so the largest one is there in any case; what comes on
        top of it may take half of the memory that it leaves.
        """
        bases = {self.base_folder(name) for name in members if name in self.bases}
        if len(members) > 1 and any(map(_on_hub, bases)):
            return False  # how large they are is not known here, and they are large
        wider = 2 if self.precision == "float32" else 1  # than a base that is stored in 16 bits
        *others, largest = sorted([0, *map(_bytes, bases)])
        own = [_bytes(folder) for name in members for folder in self.siblings(name)]
        return (
            sum([*own, *others]) * wider
            <= (_free_bytes(bool(self.precisions)) / self.sharers - largest * wider) / 2
        )

    @cached_property
    def heavy(self) -> bool:
        """Whether loading its models takes long, whatever memory there is to keep them."""
        return self.needs_hub or sum(map(_bytes, self.folders)) > HEAVY

    @cached_property
    def precisions(self) -> set[str]:
        """In which its neural models read."""
        configs = [read_json(path / "training.json")["config"] for path in self.models]
        parts = [config.get("recipe", config.get("body", {})) for config in configs]
        return {self.precision or part["precision"] for part in parts if "precision" in part}


def _on_hub(base: Path) -> bool:
    """Whether a base is told by its name on the hub alone."""
    return (base / "hub.json").exists() and not (base / "config.json").exists()


def _bytes(folder: Path) -> int:
    weights = [*folder.rglob("*.safetensors"), *folder.rglob(EXPORTED)]
    return sum(path.stat().st_size for path in weights)


def _free_bytes(neural: bool) -> float:
    """Of the memory that the models go to: the GPU's where there is one and they use it."""
    if neural:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available
