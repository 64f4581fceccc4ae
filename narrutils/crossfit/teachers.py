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
from narrutils.data.files import read_json
from narrutils.data.folds import (
    PLAIN,
    REFIT,
    HeldOut,
    allowed,
    for_fold,
    learns_from,
    pairs,
    singles,
    stack,
    told_as,
)
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole
from narrutils.data.store import StoredModel
from narrutils.data.study import same_cases
from narrutils.data.tables import read_table
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import ENSEMBLE, Blend, combine, normalise, without_fold
from narrutils.evaluation.stacking import as_given, found_anew
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

    def check_nested(self) -> "Teachers":
        """These teachers, if every member has readings by nested teachers of its own; no model is loaded.

        Raises:
            InputError: see `official_soft_labels`.
        """
        assert self._nested.keys() == self.members.keys()
        return self

    def read(self, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities by the teacher that left `fold` out, in the order of `texts`.

        Args:
            texts: the text columns, indexed by uid. One model is loaded at a time, and freed.
        """
        readings = {member: self._read(member, fold, texts)[0] for member in self.members}
        return combine(self.schema, readings, self._recipe(fold))

    def learned_from(self, fold: int) -> tuple[int, ...]:
        """The folds that teacher `fold` learned from: all but its own."""
        return tuple(k for (k,) in singles(self.folds) if k != fold)

    def pool_soft_labels(self, pool: pd.DataFrame, plain: bool = False) -> pd.DataFrame:
        """Readings of generated rows for each held-out fold k, by teacher k, of the rows that k allows.

        Args:
            pool: the text columns and `seen_folds`, indexed by uid.
            plain: whether the version for a refit, −1, is made too: all rows as the deployed models read
                them, the mean of each member's fold models. Each of these reads a row once in any case.

        Returns:
            Probabilities indexed by (`uid`, `held_out_fold`).
        """
        parts, sums = {}, dict.fromkeys(self.members, 0.0)
        for held_out in singles(self.folds):
            own = allowed(pool, held_out)
            others = pool.drop(index=own.index) if plain else pool[:0]
            found = {m: self._read(m, held_out[0], own, others) for m in self.members}
            parts[held_out[0]] = self._taught({m: tables[0] for m, tables in found.items()}, held_out[0])
            sums = {m: sums[m] + pd.concat(tables).reindex(pool.index) for m, tables in found.items()}
        if plain:
            means = {m: total / len(parts) for m, total in sums.items()}
            parts[PLAIN] = self._taught(means, PLAIN)
        return stack(parts)

    def official_soft_labels(self) -> pd.DataFrame:
        """Readings of official rows for each held-out fold k, by teachers that left out k and the row's own.

        Every member has readings of its own: those that the run stored, `labels/soft/<model>.parquet`,
        where that model's own teachers made them, or else the nested readings beside the model.

        Returns:
            Probabilities indexed by (`uid`, `held_out_fold`); −1 is the plain version, for people and a
            refit: each row by the teacher that left its own fold out.

        Raises:
            InputError: a member has none, or a row that should have one has none.
        """
        held_outs = [PLAIN, *(fold for (fold,) in singles(self.folds))]
        parts = {k: {m: for_fold(table, k) for m, table in self._nested.items()} for k in held_outs}
        return stack({k: self._taught(part, k) for k, part in parts.items()})

    def soft_labels(self, pool: pd.DataFrame, nested: str, plain: bool = False) -> SoftLabels:
        """Both kinds of soft labels.

        Args:
            nested: the model of the run that is taught whose nested teachers read the pool,
                from which later rounds' own nested teachers learn.
            plain: whether a refit is to learn from them, see `pool_soft_labels`.
        """
        official, made = self.official_soft_labels(), self.pool_soft_labels(pool, plain)
        return SoftLabels(official, made, nested, optimistic=self.optimistic)

    def for_screening(self, cases: pd.DataFrame, folds: pd.Series) -> list[ScreeningTeacher]:
        """One `ScreeningTeacher` a fold, each with its mean reading of the official cases of its folds.

        A row that teacher k decides over has seen every fold but k, so it serves model k alone. An ensemble
        screens by its given weights, uncalibrated: those that 06 found without k will not do, see `_taught`.

        Raises:
            InputError: see `check`; or the ensemble's given weights are not known.
        """
        self.check(cases, folds)
        made = []
        for (fold,) in singles(folds):
            prior = self._screen(fold, cases.loc[learns_from(folds, (fold,))]).mean()
            made.append(ScreeningTeacher(partial(self._screen, fold), self.learned_from(fold), prior))
        return made

    def _screen(self, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        readings = {member: self._read(member, fold, texts)[0] for member in self.members}
        made = self.run.read("ensemble.json") if self.model == ENSEMBLE else {"weights": self.members}
        return as_given(made).apply(self.schema, readings)

    def _read(self, member: str, fold: int, *texts: pd.DataFrame) -> list[pd.DataFrame]:
        """What a member's model reads, each table by itself: no reading depends on another table."""
        try:
            model = load_model(StoredModel(self.run, member).path((fold,)), self.run.schema)
            return [model.predict(table[self.schema.text_columns]) for table in texts]
        finally:
            free()

    @cached_property
    def _nested(self) -> dict[str, pd.DataFrame]:
        """Of each member its readings of official rows, indexed by (`uid`, `held_out_fold`)."""
        return {member: self._official(member) for member in self.members}

    def _taught(self, readings: Mapping[str, pd.DataFrame], fold: int) -> pd.DataFrame:
        """The members' readings as one, for a model that is to learn from them.

        Args:
            fold: on which it is tested. Calibration and weights come of the other folds' rows as nested
                teachers read them. Those that 06 found without the fold will not do: out of fold, the
                models of the other folds learned from it. −1: a refit, which the deployed ones serve.
        """
        if self.model != ENSEMBLE or fold == PLAIN:
            return combine(self.schema, readings, self._recipe(fold))
        return self._blends[fold].apply(self.schema, readings)

    @cached_property
    def _blends(self) -> dict[int, Blend]:
        """How an ensemble's members become one on behalf of a model that learns from them, by its fold."""
        schema, made, blends = self.schema.scored, self.run.read("ensemble.json"), {}
        labels = self.run.labels(schema)
        for (fold,) in singles(self.folds):
            found = {m: for_fold(table, fold) for m, table in self._nested.items()}
            others = labels.loc[learns_from(self.folds, (fold,))]
            blends[fold] = found_anew(schema, made, found, others)
        return blends

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

    def _official(self, member: str) -> pd.DataFrame:
        """A member's stored readings of official rows, indexed by (`uid`, `held_out_fold`).

        Raises:
            InputError: it has none of its own, or they are of other rows than they should be.
        """
        name, model = self.run.folder.name, StoredModel(self.run, member)
        if self._are_stored(member):
            table = self.run.read(f"labels/soft/{member}.parquet").set_index(["uid", "held_out_fold"])
            table = table[table.index.get_level_values("uid").isin(self.folds.index)]
        elif all(map(model.is_trained, pairs(self.folds))):
            for held_out in pairs(self.folds):
                self._check_pair(model, held_out)
            table = official_soft_labels(model, self.schema, self.folds)
        else:
            raise InputError(f"{name}: {member} has no nested teachers, so it cannot teach; {_mend(model)}")
        for held_out in (REFIT, *singles(self.folds)):
            if set(for_fold(table, told_as(held_out)).index) != set(learns_from(self.folds, held_out)):
                whom = f"fold {held_out[0]}" if held_out else "a refit"
                raise InputError(
                    f"{name}: soft labels of the official rows by {member} for {whom} are not "
                    "those of its folds; run its notebooks again"
                )
        return table

    def _are_stored(self, member: str) -> bool:
        """Whether the run stored soft labels that the member's own teachers made."""
        note = f"labels/soft/{member}.json"
        return self.run.has(note) and self.run.read(note).get("teachers") == member

    def _check_pair(self, model: StoredModel, held_out: HeldOut) -> None:
        """Whether a nested teacher left out the official rows of these two folds, and no others."""
        left_out = self.folds.index[self.folds.isin(held_out)]
        read = model.read(held_out, self.schema).index.intersection(self.folds.index)
        noted = read_json(model.path(held_out) / "training.json")["held_out"]
        if set(read) != set(left_out) or tuple(noted) != held_out:
            raise InputError(
                f"{self.run.folder.name}: the nested teachers of {model.name} left out other rows than "
                "those of its folds; run its notebooks again"
            )

    def _is_optimistic(self, member: str) -> bool:
        soft = f"labels/soft/{member}.json"
        crossed = self.run.has(soft) and self.run.read(soft).get("optimistic", True)
        model = StoredModel(self.run, member)
        return crossed or (model.about_file.exists() and model.about["optimistic"])


def _mend(model: StoredModel) -> str:
    """By which parameter a member gets nested teachers."""
    stage = model.about["stage"] if model.about_file.exists() else ""
    parameter = "may_teach: true` in `teaching" if stage == "05_gemma_lora" else "nested: true"
    return f"run its {stage or 'notebooks'} there with `{parameter}`, or name another model as the teacher"
