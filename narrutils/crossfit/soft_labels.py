"""Pseudo-labelling: a teacher's soft labels, and the two-phase curriculum built on them.

One round trains a model on a teacher's soft labels and then on the official rows;
the next round takes that model as its teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import (
    Corrected,
    Phases,
    corrected_labels,
    draw_rows,
    generated_phase,
    given_labels,
    official_phase,
    together,
)
from narrutils.data.folds import PLAIN, HeldOut, allowed, for_fold, stack, told_as
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.learner import Phase


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's readings, each indexed by (`uid`, `held_out_fold`).

    Row (u, k) is what the model tested on fold k may be told of u: for an official
    row by a teacher that learned from neither k nor u's own fold, for a generated
    row by a teacher that did not learn from k. Row (u, −1) is for a refit: an official row is
    still read by a teacher that left its own fold out; of generated ones see
    `Teachers.pool_soft_labels`. `nested` is the model whose nested
    teachers read the official rows, and the pool with them. They are `optimistic` where a
    teacher learned from the fold that it reads for. Stored are the readings as
    they are; whoever learns from them is told them at `temperature`, see `soften`.
    """

    official: pd.DataFrame
    pool: pd.DataFrame
    nested: str
    temperature: float = 1.0
    optimistic: bool = False

    def told(self, schema: Schema, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What the model tested on a fold, or a refit, learns of official and generated rows, by uid."""
        official, pool = (
            soften(schema, for_fold(t, fold), self.temperature) for t in (self.official, self.pool)
        )
        return official, pool

    def save(self, run: Run, teacher: str, schema: Schema) -> None:
        """Write `labels/soft/<teacher>.parquet`, and beside it who read the official rows and how."""
        table = pd.concat([self.official, self.pool])
        run.write_probabilities(f"labels/soft/{teacher}.parquet", table, schema)
        run.write(f"labels/soft/{teacher}.json", {"teachers": self.nested, "optimistic": self.optimistic})


def soften(schema: Schema, probabilities: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """Probabilities p as p^(1 / temperature), renormalised (Hinton et al. 2015).

    Above 1 they come nearer to each other, below 1 they come nearer to a decision, at 1
    they stay as they are. A binary probability is renormalised with its complement.
    """
    if temperature == 1:
        return probabilities
    table = probabilities ** (1 / temperature)
    for v in schema.variables:
        columns = list(v.columns)
        others = (1 - probabilities[columns]) ** (1 / temperature)
        total = (table[columns] + others).iloc[:, 0] if v.is_binary else table[columns].sum(axis=1)
        table[columns] = table[columns].div(total, axis=0)
    return table


def read_soft_labels(study: Study, teacher: str, temperature: float = 1.0) -> SoftLabels:
    """Read `labels/soft/<teacher>.parquet`.

    Raises:
        InputError: it is missing, or of another version.
    """
    table = study.run.read(f"labels/soft/{teacher}.parquet").set_index(["uid", "held_out_fold"])
    about = study.run.read(f"labels/soft/{teacher}.json")
    if "optimistic" not in about:
        raise InputError(
            f"{study.run.folder}: the soft labels of {teacher} are of another version; run with --from 04"
        )
    official = table.index.get_level_values("uid").isin(study.train.index)
    made = SoftLabels(table[official], table[~official], about["teachers"], temperature)
    return replace(made, optimistic=about["optimistic"])


def soft_labels_of(model: CrossFit, nested: bool = True) -> SoftLabels:
    """What a fitted model may teach, its nested teachers fitted too where `nested`."""
    readings, pool = nested_readings(model, nested), model.pool_soft_labels()
    return SoftLabels(readings, pool, model.name, optimistic=model.optimistic or not nested)


def nested_readings(teacher: CrossFit, nested: bool = True) -> pd.DataFrame:
    """Readings of official rows for each held-out fold, indexed by (`uid`, `held_out_fold`).

    Args:
        teacher: a fitted model, its nested teachers too where `nested`.
        nested: false is the author's way: every model gets the plain out-of-fold
            readings, whose teachers learned from the very fold that it is scored on.
    """
    if nested:
        return teacher.official_soft_labels()
    plain = teacher.out_of_fold()
    folds = teacher.folds.loc[plain.index]
    by_fold = {int(k): plain[(folds != k).to_numpy()] for k in sorted(folds.unique())}
    return stack({PLAIN: plain} | by_fold)


def two_phases(
    study: Study,
    pool: pd.DataFrame,
    teacher: SoftLabels | None,
    corrected: Corrected,
    epochs: tuple[int, int],
    soft_rows: Mapping[str, int] = MappingProxyType({}),
) -> Phases:
    """The prize-winning curriculum: soft labels of everything, then corrected labels of the official rows.

    Args:
        pool: the generated rows to learn from, with `seen_folds`.
        teacher: whose soft labels the first phase holds; without one there is the second phase alone.
        epochs: passes over generated and official rows with soft labels, and over the official rows
            with corrected ones.
        soft_rows: at most so many generated rows of a kind, see `phases.draw_rows`.
    """
    hard, columns = corrected_labels(study, corrected, epochs[1]), study.schema.text_columns
    if teacher is None:
        return hard

    def phases_of(held_out: HeldOut) -> list[Phase]:
        known, made = teacher.told(study.schema, told_as(held_out))
        soft = official_phase(study.train, known, study.folds, held_out, epochs[0], soft=True)
        if not pool.empty:
            rows = draw_rows(pool, study.schema, held_out, soft_rows)
            soft = together(generated_phase(rows, made, held_out, columns, epochs[0]), soft)
        return [replace(soft, optimistic=teacher.optimistic), *hard(held_out)]

    return phases_of


def next_teacher(
    student: CrossFit,
    teacher: SoftLabels,
    pool: pd.DataFrame,
    epochs: tuple[int, int],
    nested: bool = True,
    relabel: bool = True,
) -> SoftLabels:
    """The soft labels that a trained student hands to the next round.

    Args:
        pool: the generated rows that the student learned from.
        epochs: passes of its nested teachers over the soft generated and the hard official rows.
        nested: see `nested_readings`.
        relabel: false keeps the former teacher's labels of the official rows.
    """
    if not relabel:
        return replace(
            teacher, pool=student.pool_soft_labels(), optimistic=teacher.optimistic or student.optimistic
        )
    if nested:
        student.fit_pairs(nested_phases(student.study, teacher, pool, epochs))
    return replace(soft_labels_of(student, nested), temperature=teacher.temperature)


def nested_phases(study: Study, teacher: SoftLabels, pool: pd.DataFrame, epochs: tuple[int, int]) -> Phases:
    """What a student's nested teachers learn from.

    First the generated rows, as the former teacher that left out the same two folds read
    them; then the given labels. Corrected or soft labels of official rows would need
    teachers that leave a third fold out.
    """
    hard, schema = given_labels(study, epochs[1]), study.schema

    def phases_of(held_out: HeldOut) -> list[Phase]:
        rows = allowed(pool, held_out)
        if rows.empty:
            return hard(held_out)
        readings = StoredModel(study.run, teacher.nested).read(held_out, schema, rows.index)
        readings = soften(schema, readings, teacher.temperature)
        return [generated_phase(rows, readings, held_out, schema.text_columns, epochs[0]), *hard(held_out)]

    return phases_of
