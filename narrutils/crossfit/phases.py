"""What a model is shown, in which order: phases of texts and targets, for each set of held-out folds.

The prize-winning curriculum has two phases under one learning-rate curve: an
epoch on everything (generated rows and official ones) with soft labels, then
epochs on the official rows alone with corrected hard labels. A plain supervised
training has one phase.

The author's first encoder learns from label-conditioned rows in its first epochs: generated cases
whose labels were asked for before they were written, and are their targets. Those were drawn at the
rates of the fold that the prompt shows, which `seen_folds` holds, so that no label of a held-out
fold speaks through them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from narrutils.data.folds import HeldOut, allowed, for_fold, learns_from, told_as
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import Count, Positive, RowKind, Size, checked
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import STUDENT
from narrutils.models.learner import Phase

Phases = Callable[[HeldOut], list[Phase]]


@checked
class Teaching:
    """How a model becomes its own teacher."""

    soft_epochs: Count = 1  # passes over everything with soft labels
    epochs: Size = 1  # passes over the official rows with corrected ones
    soft_rows: dict[RowKind, Count] = field(default_factory=dict)  # at most, in a soft pass; {} is all
    soft_temperature: Positive = 1.0  # of soft labels; above 1 is softer, below 1 harder
    rounds: Count = 1  # times that the model becomes its own teacher
    gaining_only: bool = True  # a round is kept only if it gains; false keeps all, as the author did
    round_pools: list[list[str]] = field(default_factory=list)  # of each round, from 0 on; [] is all pools
    nested: bool = True  # official rows soft-labelled by teachers that leave two folds out
    relabel_official: bool = True  # each round labels the official rows anew; false keeps the first teacher's
    may_teach: bool = False  # the last kept round and `finals` get nested teachers, to teach a student later
    finals: list[dict] = field(default_factory=list)  # further models: a `name`, and the settings that differ

    def __post_init__(self):
        if self.round_pools and len(self.round_pools) <= self.rounds:
            raise InputError(
                f"round_pools has {len(self.round_pools)} lists; rounds 0 to {self.rounds} need one each"
            )

    @property
    def passes(self) -> tuple[int, int]:
        return self.soft_epochs, self.epochs


@checked
class Student:
    """Who learns in 04, and how long; at least one of the three passes is needed."""

    student: Literal["encoder", "linear"] = (
        "encoder"  # linear: on terms; a core reads thousands of cases a second
    )
    refit: bool = False  # one more model, of all official rows, reads new cases; then it teaches nobody
    linear_c: Positive = 4.0  # scikit-learn's C of a linear student
    requested_epochs: Count = (
        0  # first passes, over official rows and labelled pools with the labels asked for
    )
    soft_epochs: Count = 0  # passes before these over everything with a teacher's soft labels
    epochs: Count = 1  # passes over the official rows with corrected labels

    def __post_init__(self):
        if not (self.requested_epochs or self.soft_epochs or self.epochs):
            raise InputError("epochs, soft_epochs and requested_epochs are 0; set one of them to 1 or more")

    @property
    def name(self) -> str:
        """Of the model that is published."""
        return STUDENT if self.refit else "deberta"

    @property
    def listens(self) -> bool:
        """Whether it learns from a teacher, or may hand that of a previous run on to 05's round 0."""
        return self.soft_epochs > 0 or not self.refit


@dataclass(frozen=True)
class Corrected:
    """Targets of the official rows after correction, indexed by (`uid`, `held_out_fold`).

    NaN stands for a label that neither the data nor a person gave. They are `optimistic` where
    those of fold k were corrected by who had learned from fold k.
    """

    targets: pd.DataFrame
    optimistic: bool = False


def read_corrected(run: Run) -> Corrected:
    """The targets that `03_relabeling` wrote.

    Raises:
        InputError: they are missing.
    """
    targets = run.read("labels/corrected.parquet").set_index(["uid", "held_out_fold"])
    return Corrected(targets, optimistic=not run.read("labels/correction.json")["nested"])


def given_labels(study: Study, epochs: int = 1, labels: pd.DataFrame | None = None) -> Phases:
    """The given labels of the official rows alone.

    Args:
        labels: codes in place of the study's own.
    """
    targets = study.schema.to_targets(study.labels if labels is None else labels)
    return lambda held_out: [official_phase(study.train, targets, study.folds, held_out, epochs)]


def corrected_labels(study: Study, corrected: Corrected, epochs: int) -> Phases:
    """The official rows as corrected for the one fold that is held out, or for a refit."""

    def phases_of(held_out: HeldOut) -> list[Phase]:
        targets = for_fold(corrected.targets, told_as(held_out))
        phase = official_phase(study.train, targets, study.folds, held_out, epochs)
        return [replace(phase, optimistic=corrected.optimistic)]

    return phases_of


def official_phase(
    texts: pd.DataFrame, targets: pd.DataFrame, folds: pd.Series, held_out: HeldOut, epochs: int, soft=False
) -> Phase:
    """The official rows outside the held-out folds, targets joined by uid.

    Of a hard phase those without any label are left out, unless no row has one.
    """
    found = by_uid(targets, learns_from(folds, held_out), "official targets")
    labelled = found.notna().any(axis=1)
    if labelled.any() and not soft:
        found = found[labelled]
    return Phase(texts.loc[found.index], found, epochs, soft)


def generated_phase(
    pool: pd.DataFrame, targets: pd.DataFrame, held_out: HeldOut, columns: list[str], epochs: int
) -> Phase:
    """The generated rows that saw none of the held-out folds, with soft labels."""
    rows = allowed(pool, held_out)
    return Phase(rows[columns], by_uid(targets, rows.index, "soft labels"), epochs, soft=True)


def together(*phases: Phase) -> Phase:
    """Several sets of soft-labelled rows as one phase, so that an epoch mixes them."""
    if any(not p.soft or p.epochs != phases[0].epochs for p in phases):
        raise ValueError("only soft phases of equal length can be mixed")
    texts = pd.concat([p.texts for p in phases])
    if texts.index.has_duplicates:
        raise ValueError(f"uid {texts.index[texts.index.duplicated()][0]} stands in two phases")
    return Phase(texts, pd.concat([p.targets for p in phases]), phases[0].epochs, soft=True)


def is_labelled(pool: pd.DataFrame, schema: Schema) -> pd.Series:
    """Which generated rows were asked for with labels, of every variable."""
    return pool.reindex(columns=schema.names).notna().all(axis=1)


def requested_rows(pool: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The generated rows that were asked for with labels."""
    return pool[is_labelled(pool, schema)]


def with_requested(phases_of: Phases, pool: pd.DataFrame, schema: Schema, epochs: int) -> Phases:
    """`phases_of` after so many epochs over the official rows of its last phase and labelled ones.

    Args:
        pool: generated rows, of which those are taken that were asked for with labels.
        epochs: 0 leaves `phases_of` as it is.
    """
    if not epochs:
        return phases_of
    rows = requested_rows(pool, schema)
    targets = schema.to_targets(rows[schema.names].astype(int)) if len(rows) else pd.DataFrame()

    def phases(held_out: HeldOut) -> list[Phase]:
        later = phases_of(held_out)
        made, official = allowed(rows, held_out), replace(later[-1], epochs=epochs)
        if made.empty:
            return [official, *later]
        texts = pd.concat([made[schema.text_columns], official.texts])
        asked = pd.concat([targets.loc[made.index], official.targets])
        return [replace(official, texts=texts, targets=asked), *later]

    return phases


def draw_rows(
    pool: pd.DataFrame, schema: Schema, held_out: HeldOut, most: Mapping[str, int], seed: int = 0
) -> pd.DataFrame:
    """The rows that one model may learn from, drawn anew for each held-out set of folds.

    Args:
        most: at most so many of a kind, `labelled` or `unlabelled`; a kind left out keeps all.
    """
    rows = allowed(pool, held_out)
    labelled = is_labelled(rows, schema).to_numpy(dtype=bool)
    rng, keep = np.random.default_rng([seed, *held_out]), np.ones(len(rows), dtype=bool)
    for kind, of_kind in (("labelled", labelled), ("unlabelled", ~labelled)):
        numbers = np.flatnonzero(of_kind)
        keep[rng.permutation(numbers)[most.get(kind, len(numbers)) :]] = False
    return rows[keep]
