"""The deployed ensemble: what a finished run knows about narratives that it never saw.

A run folder is enough. Every fold model of every member reads a case; the folds are
averaged, the members blended, and the run's thresholds make codes of the probabilities.
Codes come from the probabilities as the run scored them; calibrated, they say how far a
code can be trusted.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
import psutil

from narrutils.crossfit.stored import free, load_model
from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole
from narrutils.data.store import StoredModel, base_folder
from narrutils.errors import InputError
from narrutils.evaluation.calibration import Calibration
from narrutils.evaluation.ensemble import combine
from narrutils.evaluation.flags import Flagging
from narrutils.models.learner import Model
from narrutils.models.precision import resolved

SCHEMA, ENSEMBLE, CALIBRATION, FLAGS = "schema.json", "ensemble.json", "calibration.json", "flags.json"


@dataclass
class Deployed:
    """The ensemble of a run folder, ready to read.

    Models stay loaded if all of them fit into half of the memory that is free, on the GPU
    where there is one. Otherwise one is held at a time, and `read` is best given many cases.

    Attributes:
        made: the content of `ensemble.json`: how the members become one, and the thresholds.
        folds: model -> its folds.
        bases: model -> name of its frozen base under `models/base/`; those without one left out.
        precision: in which the neural models read; each in the one of its training if empty.
    """

    run: Run
    schema: Schema
    made: Mapping
    folds: dict[str, list[int]]
    bases: dict[str, str]
    precision: str = ""
    _kept: dict[Path, Model] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: str | Path, precision: str = "") -> "Deployed":
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
        schema = Schema.from_dict(run.read(SCHEMA))
        made = run.read(ENSEMBLE)
        abouts = {name: StoredModel(run, name).about for name in made["members"]}
        for name, about in abouts.items():
            if not {"folds", "base"} <= set(about):
                raise InputError(f"{folder}: {name} is of an earlier version; run its notebooks again")
        folds = {name: about["folds"] for name, about in abouts.items()}
        bases = {name: about["base"] for name, about in abouts.items() if about["base"]}
        deployed = cls(run, schema, made, folds, bases, resolved(precision) if precision else "")
        for path in deployed.models:
            if not path.is_dir():
                raise InputError(f"{path} is missing; run the notebooks of its run to the end")
        return deployed

    @property
    def members(self) -> list[str]:
        return self.made["members"]

    @property
    def models(self) -> list[Path]:
        """The folders of all fold models."""
        return [self.model_folder(name, k) for name in self.members for k in self.folds[name]]

    def model_folder(self, member: str, fold: int) -> Path:
        return StoredModel(self.run, member).path((fold,))

    def base_folder(self, member: str) -> Path:
        return self.run.path(base_folder(self.bases[member]))

    def read(self, texts: pd.DataFrame, after: Callable[[float], object] = lambda share: None):
        """Probabilities of the ensemble, `schema.columns` wide, in the order of `texts`.

        Args:
            texts: the text columns, indexed by uid; a uid may not stand twice.
            after: called after each model with the share of the whole reading that it was.
        """
        texts = texts[self.schema.text_columns]
        readings = {}
        for name in self.members:
            parts = []
            for fold in self.folds[name]:
                parts.append(self._read_one(self.model_folder(name, fold), texts))
                after(1 / len(self.models))
            readings[name] = sum(parts) / len(parts)
        return combine(self.schema, readings, self.made)

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

    @property
    def needs_hub(self) -> bool:
        """Whether a base is not in the run folder but in the hub cache, or on the hub."""
        bases = map(self.base_folder, self.bases)
        return any((base / "hub.json").exists() and not (base / "config.json").exists() for base in bases)

    @cached_property
    def all_fit(self) -> bool:
        """Whether all models may stay loaded."""
        copies = [self.base_folder(name) for name in self.bases for _ in self.folds[name]]
        if self.needs_hub:
            return False  # how large they are is not known here, and they are large
        wider = 2 if self.precision == "float32" else 1  # than a base that is stored in 16 bits
        return sum(map(_bytes, [*self.models, *copies])) * wider <= _free_bytes() / 2

    @property
    def precisions(self) -> set[str]:
        """In which its neural models read."""
        configs = [read_json(path / "training.json")["config"] for path in self.models]
        parts = [config.get("recipe", config.get("body", {})) for config in configs]
        return {self.precision or part["precision"] for part in parts if "precision" in part}

    def _read_one(self, folder: Path, texts: pd.DataFrame) -> pd.DataFrame:
        if self.all_fit:
            if folder not in self._kept:
                self._kept[folder] = load_model(folder, self.schema, self.precision)
            return self._kept[folder].predict(texts)
        try:
            return load_model(folder, self.schema, self.precision).predict(texts)
        finally:
            free()


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _free_bytes() -> float:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available
