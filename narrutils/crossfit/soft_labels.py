"""Pseudo-labelling: a teacher's soft labels, and the two-phase curriculum built on them.

One round trains a model on a teacher's soft labels and then on the official rows;
the next round takes that model as its teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import generated_phase, official_phase, together
from narrutils.crossfit.requested import draw_rows
from narrutils.data.folds import PLAIN, HeldOut, allowed, folder_name, for_fold, stack
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.models.learner import Phase
from narrutils.training.neural import NeuralLearner


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's readings, each indexed by (`uid`, `held_out_fold`).

    Row (u, k) is what the model tested on fold k may be told of u: for an official
    row by a teacher that learned from neither k nor u's own fold, for a generated
    row by a teacher that did not learn from k. `nested` is the model whose nested
    teachers read the official rows, and the pool with them. Stored are the readings as
    they are; whoever learns from them is told them at `temperature`, see `soften`.
    """

    official: pd.DataFrame
    pool: pd.DataFrame
    nested: str
    temperature: float = 1.0

    def told(self, schema: Schema, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What the model tested on a fold learns of official and of generated rows, indexed by uid."""
        official, pool = (
            soften(schema, for_fold(t, fold), self.temperature) for t in (self.official, self.pool)
        )
        return official, pool

    def save(self, run: Run, teacher: str, schema: Schema) -> None:
        """Write `labels/soft/<teacher>.parquet`."""
        run.write_probabilities(
            f"labels/soft/{teacher}.parquet", pd.concat([self.official, self.pool]), schema
        )


def soften(schema: Schema, probabilities: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """Probabilities p as p^(1 / temperature), renormalised (Hinton et al. 2015).

    Above 1 they come nearer to each other, below 1 they come nearer to a decision, at 1
    they stay as they are. A binary probability is renormalised with its complement.

    Raises:
        InputError: a temperature of 0 or less.
    """
    if not temperature > 0:
        raise InputError(f"soft_temperature is {temperature}; it is a number above 0")
    if temperature == 1:
        return probabilities
    table = probabilities ** (1 / temperature)
    for v in schema.variables:
        columns = list(v.columns)
        others = (1 - probabilities[columns]) ** (1 / temperature)
        total = (table[columns] + others).iloc[:, 0] if v.is_binary else table[columns].sum(axis=1)
        table[columns] = table[columns].div(total, axis=0)
    return table


def read_soft_labels(run: Run, teacher: str, official: pd.Index) -> SoftLabels:
    """Read `labels/soft/<teacher>.parquet`; `official` are the uids of the official rows."""
    table = run.read(f"labels/soft/{teacher}.parquet").set_index(["uid", "held_out_fold"])
    is_official = table.index.get_level_values("uid").isin(official)
    return SoftLabels(table[is_official], table[~is_official], teacher)


def nested_readings(teacher: CrossFit, strict: bool = True) -> pd.DataFrame:
    """Readings of official rows for each held-out fold, indexed by (`uid`, `held_out_fold`).

    Args:
        teacher: a fitted model, its nested teachers too where `strict`.
        strict: false is the author's way: every model gets the plain out-of-fold
            readings, whose teachers learned from the very fold that it is scored on.
    """
    if strict:
        return teacher.official_soft_labels()
    plain, folds = teacher.out_of_fold(), teacher.folds.loc[teacher.train.index]
    by_fold = {int(k): plain[(folds != k).to_numpy()] for k in sorted(folds.unique())}
    return stack({PLAIN: plain} | by_fold)


def two_phases(
    model: CrossFit,
    pool: pd.DataFrame,
    teacher: SoftLabels,
    corrected: pd.DataFrame,
    soft_epochs: int,
    hard_epochs: int,
    soft_rows: Mapping[str, int] = MappingProxyType({}),
):
    """`phases_of` for the prize-winning curriculum.

    Args:
        model: the student.
        pool: the generated rows to learn from, with `seen_folds`.
        teacher: whose soft labels the first phase holds.
        corrected: targets indexed by (`uid`, `held_out_fold`).
        soft_epochs: passes over generated and official rows with soft labels.
        hard_epochs: passes over the official rows with corrected labels.
        soft_rows: at most so many generated rows of a kind, see `requested.draw_rows`.
    """
    columns, hard = model.schema.text_columns, corrected_labels(model, corrected, hard_epochs)

    def phases_of(held_out: HeldOut) -> list[Phase]:
        (fold,) = held_out
        known, made = teacher.told(model.schema, fold)
        official = official_phase(model.train[columns], known, model.folds, held_out, soft_epochs, soft=True)
        if pool.empty:
            return [official, *hard(held_out)]
        rows = draw_rows(pool, model.schema, held_out, soft_rows)
        generated = generated_phase(rows, made, held_out, columns, soft_epochs)
        return [together(generated, official), *hard(held_out)]

    return phases_of


def pool_of_round(pool: pd.DataFrame, round_pools: list[list[str]], number: int) -> pd.DataFrame:
    """The generated rows that a round learns from: those of its pools, or all where none are named.

    Raises:
        InputError: there is no list for this round, or it names a pool that does not exist.
    """
    if not round_pools:
        return pool
    if number >= len(round_pools):
        raise InputError(f"round_pools has {len(round_pools)} lists; round {number} needs one too")
    unknown = set(round_pools[number]) - set(pool["pool"])
    if unknown:
        raise InputError(f"round_pools names {min(unknown)}, which is not among {sorted(set(pool['pool']))}")
    return pool[pool["pool"].isin(round_pools[number])]


def next_teacher(
    student: CrossFit,
    teacher: SoftLabels,
    pool: pd.DataFrame,
    labels: pd.DataFrame,
    epochs: tuple[int, int],
    strict: bool = True,
    relabel: bool = True,
) -> SoftLabels:
    """The soft labels that a trained student hands to the next round.

    Args:
        pool: the generated rows that the student learned from.
        labels: given codes, from which the nested teachers of the official rows learn.
        epochs: passes of those teachers over the soft generated and the hard official rows.
        strict: see `nested_readings`.
        relabel: false keeps the former teacher's labels of the official rows.
    """
    made = student.pool_soft_labels()
    if not relabel:
        return replace(teacher, pool=made)
    if strict:
        student.fit_pairs(_nested_phases(student, teacher, pool, labels, epochs))
    return SoftLabels(nested_readings(student, strict), made, student.name, teacher.temperature)


def _nested_phases(
    student: CrossFit, teacher: SoftLabels, pool: pd.DataFrame, labels: pd.DataFrame, epochs: tuple[int, int]
):
    """What a student's nested teachers learn from.

    First the generated rows, as the former teacher that left out the same two folds read
    them; then the given labels. Corrected or soft labels of official rows would need
    teachers that leave a third fold out.
    """
    hard = given_labels(student, labels, epochs[1])
    columns = student.schema.text_columns

    def phases_of(held_out: HeldOut) -> list[Phase]:
        rows = allowed(pool, held_out)
        if rows.empty:
            return hard(held_out)
        path = f"models/{teacher.nested}/{folder_name(held_out)}/predictions.parquet"
        readings = student.run.read_probabilities(path, student.schema, rows.index)
        readings = soften(student.schema, readings, teacher.temperature)
        return [generated_phase(rows, readings, held_out, columns, epochs[0]), *hard(held_out)]

    return phases_of


def given_labels(model: CrossFit, labels: pd.DataFrame, epochs: int = 1):
    """`phases_of` for a teacher that learns from the given labels of the official rows alone."""
    texts, targets = model.train[model.schema.text_columns], model.schema.to_targets(labels)
    return lambda held_out: [official_phase(texts, targets, model.folds, held_out, epochs)]


def corrected_labels(model: CrossFit, corrected: pd.DataFrame, epochs: int):
    """`phases_of` for a scored model: the official rows as corrected for its held-out fold."""
    texts = model.train[model.schema.text_columns]

    def phases_of(held_out: HeldOut) -> list[Phase]:
        (fold,) = held_out
        return [official_phase(texts, for_fold(corrected, fold), model.folds, held_out, epochs)]

    return phases_of


def final_learners(learner: NeuralLearner, finals: list[dict]) -> dict[str, NeuralLearner]:
    """The further models of a profile: name -> the rounds' learner with the settings that differ.

    Raises:
        InputError: an entry without a name, a name twice, or an unknown setting.
    """
    named = {}
    for final in finals:
        name = final.get("name")
        if not name or name in named:
            raise InputError(f"finals: every entry needs a name of its own; got {name!r}")
        named[name] = learner.varied(**{key: value for key, value in final.items() if key != "name"})
    return named


def backbones_of(backbone: str, finals: list[dict]) -> list[str]:
    """Every backbone that the rounds and the further models use, each once."""
    return list(dict.fromkeys([backbone, *(f["backbone"] for f in finals if "backbone" in f)]))
