"""A finished run whose encoders are ONNX files: made in a folder of its own, and held against the run.

Linear members stay as they are. In float32 the export must give the codes of the stored weights, all but
near-ties. With 8-bit weights the probabilities move a little, so thresholds are found anew: those under
which what quantised siblings read of the cases that they never saw gives the run's codes of them. Weights
and calibration are the run's; a search on labels would change more codes than the rounding does.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from narrutils.crossfit.deployed import ENSEMBLE, SCHEMA, UNREAD, Deployed
from narrutils.crossfit.stored import EXPORTED, kind, load_model
from narrutils.crossfit.timing import race
from narrutils.data.files import write_json
from narrutils.data.folds import singles
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import combine, without_fold
from narrutils.evaluation.intervals import Interval, paired_gain, score_interval
from narrutils.evaluation.metrics import count
from narrutils.evaluation.thresholds import reproduce
from narrutils.models.precision import has_gpu

#: What makes an export; torch translates with onnxscript.
MAKERS = ("onnx", "onnxscript", "onnxruntime")
#: Cases that both read, at most, and those of them that are timed.
CHECKED, TIMED = 500, 64
#: A code may differ where its probability is so near to its threshold, or to that of another class.
TIE = 1e-4
#: No probability of a float32 export may differ by more.
CLOSE = 1e-3

#: Member -> its probabilities of some cases.
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Agreement:
    """How two readings of the same cases agree.

    Attributes:
        cells: codes compared; differ: those that differ; ties: those of them that are near-ties.
        largest: difference of a probability.
    """

    cells: int
    differ: int
    ties: int
    largest: float

    @property
    def share(self) -> float:
        """Of the codes that differ, in [0, 1]."""
        return self.differ / max(self.cells, 1)


@dataclass(frozen=True)
class Anew:
    """What 8-bit weights cost out of fold, each fold blended and cut as was found on the others.

    Attributes:
        before, after: average F1 of the run's models, and of those with 8-bit weights.
        gain: after − before, paired.
        changed: share of the codes that differ, in [0, 1].
    """

    before: Interval
    after: Interval
    gain: Interval
    changed: float


@dataclass
class Export:
    """An exported run, and what was found of it.

    Attributes:
        split: the cases that were compared: `test`, or `train` where there are none; cases: how many.
        agreements: what the export is compared with -> how they agree.
        speed: who reads -> rows a second, with `threads` threads.
        anew: with 8-bit weights, what these cost.
    """

    deployed: Deployed
    split: str
    cases: int
    threads: int
    agreements: dict[str, Agreement] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)
    anew: Anew | None = None


def export_run(run: Deployed, weights: str, folder: Path) -> Export:
    """Write the run that reads with ONNX files, and hold it against the run that it is made of.

    Args:
        weights: `float32` or `int8`.
        folder: of the new run, which does not exist yet.

    Raises:
        InputError: what makes an export is not installed, a member cannot be exported, or the export
            reads otherwise than its model.
    """
    _require()
    from narrutils.models.exported.reading import threads

    members, gpu = exportable(run), " on the GPU" if has_gpu() else ""
    split, texts = _checked(run)
    export = Export(_write(run, members, folder), split, len(texts), threads())
    stored = _read(Deployed.open(run.run.folder, "float32"), texts, export, f"torch float32{gpu}")
    made = _read(export.deployed, texts, export, "ONNX Runtime float32")
    _refuse(_noted(export, "float32", stored, made, run.made["thresholds"]))
    own = stored
    for precision in sorted(run.precisions - {"float32"}):
        own = _read(Deployed.open(run.run.folder), texts, export, f"torch {precision}{gpu}")
        _noted(export, precision, own, made, run.made["thresholds"])
    if weights == "int8":
        export.anew = _quantised(run, members, export)
        rounded = _read(export.deployed, texts, export, "ONNX Runtime int8")
        cuts = run.made["thresholds"], export.deployed.made["thresholds"]
        export.agreements["the run"] = agreement(run.schema, own, rounded, *cuts)
    return export


def _require() -> None:
    for name in MAKERS:
        if find_spec(name) is None:
            raise InputError(f"{name} is not installed; pip install 'narrutils[export]'")


def exportable(run: Deployed) -> list[str]:
    """The members that are exported: all but the linear ones.

    Raises:
        InputError: there is none, or one that cannot be.
    """
    found = []
    for name in run.members:
        what = kind(run.siblings(name)[0])
        if what == "frozen":
            raise InputError(f"{name}: reads the states of a frozen model, which is not exported to ONNX")
        if what != "linear":
            found.append(name)
    if not found:
        raise InputError(f"{run.run.folder}: no member reads with torch; bundle it without --onnx")
    return found


def _checked(run: Deployed) -> tuple[str, pd.DataFrame]:
    """The split that both read, and so many of its cases, evenly spread."""
    study = Study.open(Run(run.run.folder))
    split, texts = ("test", study.test) if len(study.test) else ("train", study.train)
    return split, texts.iloc[:: max(1, -(-len(texts) // CHECKED))]


def _write(run: Deployed, members: list[str], folder: Path) -> Deployed:
    """The exported run."""
    made = Run(folder)
    folder.mkdir(parents=True)
    for name in (SCHEMA, ENSEMBLE):
        shutil.copyfile(run.run.path(name), made.path(name))
    for name in run.members:
        about = StoredModel(run.run, name).about
        write_json(StoredModel(made, name).about_file, about | ({"base": ""} if name in members else {}))
        for model in run.siblings(name):
            place = made.path(model.relative_to(run.run.folder).as_posix())
            if name in members:
                _export_model(model, run.run.schema, place, name)
            else:
                shutil.copytree(model, place, ignore=shutil.ignore_patterns(*UNREAD))
    return Deployed.open(folder)


def _export_model(model: Path, schema: Schema, place: Path, name: str) -> None:
    from narrutils.models.exported.making import export

    export(load_model(model, schema, "float32"), place, name)
    write_json(place / "training.json", {"config": {"exported": "float32"}})


def _read(run: Deployed, texts: pd.DataFrame, export: Export, who: str) -> pd.DataFrame:
    """What a run reads of the cases; how fast it does is noted under its name."""
    _set_threads(export.threads)
    export.speed |= race({who: run.read}, texts.iloc[:TIMED])[0]
    return run.read(texts)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _noted(export: Export, who: str, stored, made, thresholds: Mapping[str, float]) -> Agreement:
    export.agreements[who] = agreement(export.deployed.schema, stored, made, thresholds, thresholds)
    return export.agreements[who]


def _refuse(found: Agreement) -> None:
    """That a float32 export reads as the weights that it was made of."""
    if found.differ > found.ties or not found.largest <= CLOSE:  # NaN is no small difference
        raise InputError(
            f"the ONNX export reads otherwise than its model: {found.differ} of {found.cells} codes differ, "
            f"{found.ties} of them near-ties, and probabilities by {found.largest:.2g}; bundle without --onnx"
        )


def agreement(
    schema: Schema, one: pd.DataFrame, other: pd.DataFrame, cut: Mapping[str, float], other_cut: Mapping
) -> Agreement:
    """How the codes of two tables of probabilities of the same cases agree, each at thresholds of its own."""
    differ = (schema.to_labels(one, cut) != schema.to_labels(other, other_cut)).to_numpy()
    tied = np.column_stack([_margin(v, one, cut) for v in schema.variables]) <= TIE
    largest = np.abs(one.to_numpy() - other.to_numpy()).max(initial=0)
    return Agreement(differ.size, int(differ.sum()), int((differ & tied).sum()), float(largest))


def _margin(variable, probabilities: pd.DataFrame, thresholds: Mapping[str, float]) -> np.ndarray:
    """How far each case's code is from another: `[cases]`, in units of probability."""
    values = probabilities[list(variable.columns)].to_numpy()
    if variable.is_binary:
        return np.abs(values[:, 0] - thresholds[variable.name])
    second, first = np.sort(values, axis=1)[:, -2:].T
    return first - second


def _quantised(run: Deployed, members: list[str], export: Export) -> Anew:
    """Round the weights of an exported run, and find anew what depends on its probabilities."""
    from narrutils.models.exported.making import quantise

    folder = export.deployed.run.folder
    for name in members:
        for model in export.deployed.siblings(name):
            quantise(model)
    study = Study.open(Run(run.run.folder)).scored
    uids = study.train.index
    before = {m: StoredModel(run.run, m).predictions("oof", study.schema, uids) for m in run.members}
    after = before | {name: _out_of_fold(study, name, export.deployed.run) for name in members}
    made = reproducing(study, run.made, before, after)
    write_json(folder / ENSEMBLE, made)
    export.deployed = Deployed.open(folder)
    return _cost(study, _codes(study, before, run.made), _codes(study, after, made))


def reproducing(study: Study, made: Mapping, before: Tables, after: Tables) -> dict:
    """The content of `ensemble.json` that gives, by other readings, the codes that it gave.

    Args:
        before, after: member -> its probabilities of the training cases, out of fold.
    """
    by_fold = {}
    for k in sorted(study.folds.unique()):
        others = study.folds.index[study.folds != k]
        by_fold[str(k)] = _cut_anew(study.schema, without_fold(made, k), before, after, others)
    return _cut_anew(study.schema, made, before, after, study.train.index) | {"by_fold": by_fold}


def _cut_anew(schema: Schema, made: Mapping, before: Tables, after: Tables, uids: pd.Index) -> dict:
    """The same of these cases alone."""
    old, new = (combine(schema, {m: t.loc[uids] for m, t in x.items()}, made) for x in (before, after))
    codes = schema.to_labels(old, made["thresholds"])
    return {**made, "thresholds": reproduce(schema, codes, new, made["thresholds"])}


def _out_of_fold(study: Study, name: str, made: Run) -> pd.DataFrame:
    """Each training case as the quantised model that left its fold out reads it; in training order."""
    from narrutils.models.exported.making import quantise
    from narrutils.models.exported.reading import OnnxModel

    parts = []
    for held_out in singles(study.folds):
        texts = study.train[study.folds.loc[study.train.index].isin(held_out).to_numpy()]
        with TemporaryDirectory() as room:
            place = StoredModel(made, name).path(held_out)
            if not (place / EXPORTED).exists():  # what is deployed is a refit; its siblings are read here
                place = Path(room) / name
                _export_model(StoredModel(study.run, name).path(held_out), study.run.schema, place, name)
                quantise(place)
            parts.append(OnnxModel.load(place, study.run.schema).predict(texts))
    return pd.concat(parts).loc[study.train.index]


def _codes(study: Study, tables: Tables, made: Mapping) -> pd.DataFrame:
    """Codes of the training cases, each fold blended and cut as was found on the others."""
    parts = []
    for k in sorted(study.folds.unique()):
        of_fold, found = study.folds.index[study.folds == k], without_fold(made, k)
        read = combine(study.schema, {m: table.loc[of_fold] for m, table in tables.items()}, found)
        parts.append(study.schema.to_labels(read, found["thresholds"]))
    return pd.concat(parts).loc[study.labels.index]


def _cost(study: Study, before: pd.DataFrame, after: pd.DataFrame) -> Anew:
    old, new = (count(study.schema, study.labels, codes) for codes in (before, after))
    changed = float((before != after).to_numpy().mean())
    return Anew(score_interval(old), score_interval(new), paired_gain(new, old), changed)
