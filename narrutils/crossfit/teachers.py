"""The per-fold models of a finished run, as teachers of the next one.

Teacher k learned from nothing that learned from fold k. It reads on behalf of the
model that is tested on fold k, and of no other, so the rule of `folds` holds over any
number of runs, as long as all of them share one draw of the folds: `Teachers.check`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import pandas as pd

from narrutils.crossfit.fit import official_soft_labels
from narrutils.crossfit.soft_labels import SoftLabels
from narrutils.crossfit.stored import free, load_model
from narrutils.data.folds import PLAIN, allowed, for_fold, learns_from, pairs, singles, stack
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.data.tables import read_table
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import ENSEMBLE, Blend, combine, normalise, without_fold
from narrutils.generation.agreement import ScreeningTeacher


@dataclass(frozen=True)
class Teachers:
    """A model of a finished run, one teacher a fold.

    Args:
        run: the finished run; it is only read.
        model: such as `tfidf` or `gemma`; `ensemble` is the weighted mean of that run's members.
        schema: of both runs; where nothing is taught but scored, that without its auxiliary variables. Of
            an auxiliary variable an ensemble tells the mean by its weights over all variables, uncalibrated.
    """

    run: Run
    model: str
    schema: Schema

    @cached_property
    def members(self) -> dict[str, float]:
        """The models that teach together, with weights that sum to 1."""
        if self.model != ENSEMBLE:
            return {self.model: 1.0}
        return normalise(self.run.read("ensemble.json")["weights"])

    @cached_property
    def folds(self) -> pd.Series:
        """Fold numbers of the official rows, as drawn in the teachers' run."""
        return self.run.folds()

    @property
    def optimistic(self) -> bool:
        """Whether something crossed the folds on the way to these teachers, so that scores flatter."""
        return any(self._is_optimistic(member) for member in self.members)

    def check(self, cases: pd.DataFrame, folds: pd.Series) -> "Teachers":
        """These teachers, if they may teach in a run with these cases and folds.

        Args:
            cases: the official training rows of the run that is taught, indexed by uid.
            folds: their fold numbers, indexed by uid.

        Raises:
            InputError: uids, texts or folds differ, so that a teacher may have learned from
                what its pupil is tested on; or a model is missing or left out other rows; or the
                stages of their run do not belong together.
        """
        if self.run.stage is None:  # another run than the one that is being made
            check_whole(self.run)
        same_cases(self.run, cases, folds, self.schema)
        for member in self.members:
            for (fold,) in singles(folds):
                self._check_model(member, fold, folds.index[folds == fold])
        return self

    def read(self, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities by the teacher that left `fold` out, in the order of `texts`.

        Args:
            texts: the text columns, indexed by uid. One model is loaded at a time, and freed.
        """
        texts = texts[self.schema.text_columns]
        readings = {member: self._read(member, fold, texts) for member in self.members}
        return combine(self.schema, readings, self._recipe(fold))

    def learned_from(self, fold: int) -> tuple[int, ...]:
        """The folds that teacher `fold` learned from: all but its own."""
        return tuple(k for (k,) in singles(self.folds) if k != fold)

    def pool_soft_labels(self, pool: pd.DataFrame) -> pd.DataFrame:
        """Readings of generated rows for each held-out fold k, by teacher k, of the rows that k allows.

        Args:
            pool: the text columns and `seen_folds`, indexed by uid.

        Returns:
            Probabilities indexed by (`uid`, `held_out_fold`).
        """
        return stack({h[0]: self.read(h[0], allowed(pool, h)) for h in singles(self.folds)})

    def official_soft_labels(self) -> pd.DataFrame:
        """Readings of official rows for each held-out fold k, by teachers that left out k and the row's own.

        They are what the run stored: `labels/soft/<model>.parquet`, or else the nested
        readings beside the model. An ensemble's are the weighted mean over the members
        that have some.

        Returns:
            Probabilities indexed by (`uid`, `held_out_fold`); −1 is the plain version, for people.

        Raises:
            InputError: there are none, or a row that should have one has none.
        """
        found = {member: self._official(member) for member in self.members}
        tables = {member: table for member, table in found.items() if table is not None}
        if not tables:
            raise InputError(
                f"{self.run.folder.name}: {self.model} has no soft labels of the official rows; "
                "run its notebooks there with `nested: true`, or name another model as the teacher"
            )
        held_outs = [PLAIN, *(fold for (fold,) in singles(self.folds))]
        parts = {k: {m: for_fold(table, k) for m, table in tables.items()} for k in held_outs}
        blended = stack({k: combine(self.schema, part, self._recipe(k)) for k, part in parts.items()})
        for (fold,) in singles(self.folds):
            if set(for_fold(blended, fold).index) != set(learns_from(self.folds, (fold,))):
                raise InputError(
                    f"{self.run.folder.name}: soft labels of the official rows for fold {fold} are not "
                    "those of its folds; run its notebooks again"
                )
        return blended

    def soft_labels(self, pool: pd.DataFrame, nested: str) -> SoftLabels:
        """Both kinds of soft labels.

        Args:
            nested: the model of the run that is taught whose nested teachers read the pool,
                from which later rounds' own nested teachers learn.
        """
        official, made = self.official_soft_labels(), self.pool_soft_labels(pool)
        return SoftLabels(official, made, nested, optimistic=self.optimistic)

    def for_screening(self, cases: pd.DataFrame, folds: pd.Series) -> list[ScreeningTeacher]:
        """One `ScreeningTeacher` a fold, each with its mean reading of the official cases of its folds.

        A row that teacher k decides over has seen every fold but k, so it serves model k alone.

        Raises:
            InputError: see `check`.
        """
        self.check(cases, folds)
        made = []
        for (fold,) in singles(folds):
            prior = self.read(fold, cases.loc[learns_from(folds, (fold,))]).mean()
            made.append(ScreeningTeacher(partial(self.read, fold), self.learned_from(fold), prior))
        return made

    def _read(self, member: str, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        try:
            return load_model(StoredModel(self.run, member).path((fold,)), self.run.schema).predict(texts)
        finally:
            free()

    def _recipe(self, fold: int) -> Mapping:
        """How the members become one on behalf of the model that is tested on `fold`."""
        if self.model != ENSEMBLE:
            return Blend(self.members).to_dict()
        return without_fold(self.run.read("ensemble.json"), fold)

    def _check_model(self, member: str, fold: int, left_out: pd.Index) -> None:
        """Whether the model is whole, of this schema, and left out these very official rows."""
        model, held_out = StoredModel(self.run, member), (fold,)
        where = f"{self.run.folder.name}: {model.fold(held_out)}"
        if not model.is_trained(held_out):
            raise InputError(f"{where} is missing; run its notebooks to the end, or name another model")
        table = read_table(model.path(held_out) / "predictions.parquet").set_index("uid")
        if list(table.columns) != self.schema.columns:
            raise InputError(f"{where} was trained for another schema; start from a run with this one")
        if set(table.index.intersection(self.folds.index)) != set(left_out):
            raise InputError(
                f"{where} left out other rows than those of fold {fold}; run its notebooks again"
            )

    def _official(self, member: str) -> pd.DataFrame | None:
        """A member's stored readings of official rows, indexed by (`uid`, `held_out_fold`); None without."""
        stored = f"labels/soft/{member}.parquet"
        if self.run.has(stored):
            table = self.run.read(stored).set_index(["uid", "held_out_fold"])
            return table[table.index.get_level_values("uid").isin(self.folds.index)]
        model = StoredModel(self.run, member)
        if all(map(model.is_trained, pairs(self.folds))):
            try:
                return official_soft_labels(model, self.schema, self.folds)
            except KeyError:  # a row that one of them left out is not where these folds say
                raise InputError(
                    f"{self.run.folder.name}: the nested teachers of {member} left out other rows than "
                    "those of its folds; run its notebooks again"
                ) from None
        return None

    def _is_optimistic(self, member: str) -> bool:
        soft = f"labels/soft/{member}.json"
        crossed = self.run.has(soft) and self.run.read(soft).get("optimistic", True)
        model = StoredModel(self.run, member)
        return crossed or (model.about_file.exists() and model.about["optimistic"])


def same_cases(other: Run, cases: pd.DataFrame, folds: pd.Series, schema: Schema) -> None:
    """Check that another run has the same official training rows, texts and folds.

    Args:
        cases: the official rows of this run, indexed by uid; `folds`: their fold numbers.

    Raises:
        InputError: they differ; one line names the first uid that does.
    """
    name, theirs = other.folder.name, other.cases("train")
    unshared = cases.index.symmetric_difference(theirs.index)
    if len(unshared):
        raise InputError(
            f"{name}: its training cases differ: uid {unshared[0]} is in only one; use the same data"
        )
    for column in schema.text_columns:
        if column not in theirs:
            raise InputError(f"{name}: its cases have no column {column}; start from a run with this schema")
        differs = cases[column].to_numpy() != theirs.loc[cases.index, column].to_numpy()
        if differs.any():
            uid = cases.index[differs][0]
            raise InputError(f"{name}: {column} of uid {uid} differs from this run's; use the same data")
    here, there = folds.loc[cases.index], other.folds().reindex(cases.index)
    moved = cases.index[here.to_numpy() != there.to_numpy()]
    if len(moved):
        raise InputError(
            f"{name}: its folds differ, and its models would have learned from what is tested here: uid "
            f"{moved[0]} is in fold {there[moved[0]]} there and {here[moved[0]]} here; use one fold seed"
        )


def first_teacher(study: Study, previous_run: str, model: str) -> SoftLabels:
    """Who teaches a run's encoder: `model` of the previous run, or else the run's own TF-IDF models.

    Its soft labels are kept as `labels/soft/before.parquet`.

    Raises:
        InputError: see `Teachers.check`; or it has no soft labels of the official rows.
    """
    run = Run(previous_run) if previous_run else study.run
    teachers = Teachers(run, model if previous_run else "tfidf", study.schema)
    made = teachers.check(study.train, study.folds).soft_labels(study.pool, nested="deberta")
    made.save(study.run, "before", study.schema)
    return made
