"""Rounds of pseudo-labelling, and which of them are kept: those that gain on rows that nobody learned from.

A round is judged against the last one that was kept, on the official rows out of fold,
paired. Only a kept round teaches the next one and the further models; the predictions of a
refused one stay on the ladder, marked. The test split takes no part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, Teaching
from narrutils.crossfit.soft_labels import SoftLabels, nested_phases, next_teacher, two_phases
from narrutils.data.folds import pairs
from narrutils.data.run import Run
from narrutils.data.store import StoredModel
from narrutils.data.study import Study, same_cases
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.evaluation.intervals import Interval, in_columns, paired_gain
from narrutils.evaluation.scores import score, score_stored
from narrutils.models.learner import Learner


@dataclass
class Rounds:
    """What came of the rounds: the models by name, a record of each, and who teaches from here on."""

    students: dict[str, CrossFit]
    records: list[dict]
    teacher: SoftLabels


def run_rounds(
    study: Study, learner: Learner, teacher: SoftLabels, corrected: Corrected, how: Teaching, at_once: int = 1
) -> Rounds:
    """Train, judge and publish `gemma`, `gemma_round1` …, each taught by the last one that was kept.

    Args:
        teacher: of round 0.
        corrected: labels of the official rows.
        at_once: see `CrossFit`.

    Raises:
        InputError: nested teachers of the rounds are asked for, and the first teacher has none.
    """
    made, kept = Rounds({}, [], teacher), None
    readers = map(StoredModel(study.run, teacher.nested).is_trained, pairs(study.folds))
    if len(study.pool) and how.nested and (how.relabel_official or how.may_teach) and not all(readers):
        raise InputError(
            f"{teacher.nested} has no nested teachers, which those of a round learn from; set nested to "
            "true in 04, or to false here"
        )
    for number in range(how.rounds + 1):
        name = "gemma" if number == 0 else f"gemma_round{number}"
        student = CrossFit(study, name, learner, study.pool, at_once=at_once)
        rows = pool_of_round(study.pool, how.round_pools, number)
        student.fit(two_phases(study, rows, made.teacher, corrected, how.passes, how.soft_rows))
        record = judge(student, kept, how.gaining_only)
        student.publish(f"Gemma LoRA, round {number}", number, "" if record["kept"] else kept.name)
        made.records.append(record)
        made.students[name] = student
        if record["kept"]:
            kept, learned = student, nested_phases(study, made.teacher, rows, how.passes)
            made.teacher = next_teacher(
                student, made.teacher, rows, how.passes, how.nested, how.relabel_official
            )
            made.teacher.save(study.run, name, study.schema)
    if how.nested and how.may_teach:
        kept.fit_pairs(learned)
    study.run.write("rounds.json", made.records)
    return made


def run_finals(
    study: Study,
    learners: Mapping[str, Learner],
    made: Rounds,
    corrected: Corrected,
    how: Teaching,
    at_once: int = 1,
) -> dict[str, CrossFit]:
    """Train and publish the further models, all taught by the last kept round: name -> model."""
    students = {}
    for number, (name, learner) in enumerate(learners.items(), start=len(made.records)):
        students[name] = CrossFit(study, name, learner, study.pool, at_once=at_once)
        taught = two_phases(study, study.pool, made.teacher, corrected, how.passes, how.soft_rows)
        students[name].fit(taught)
        students[name].publish(f"Gemma LoRA, final {name}", number)
        if how.nested and how.may_teach:
            students[name].fit_pairs(nested_phases(study, made.teacher, study.pool, how.passes))
    return students


def pool_of_round(pool: pd.DataFrame, round_pools: list[list[str]], number: int) -> pd.DataFrame:
    """The rows that a round learns from: those of its pools, or all where none are named.

    Narratives that nobody coded are of no pool, and of every round.

    Raises:
        InputError: a pool that is named does not exist.
    """
    if not round_pools:
        return pool
    known = set(pool["pool"].dropna())
    unknown = set(round_pools[number]) - known
    if unknown:
        raise InputError(f"round_pools names {min(unknown)}, which is not among {sorted(known)}")
    return pool[pool["pool"].isin(round_pools[number]) | pool["pool"].isna()]


def judge(student: CrossFit, kept: CrossFit | None, gaining_only: bool = True) -> dict:
    """The record of a round.

    Args:
        student: the round's fitted model.
        kept: that of the last kept round; None for round 0, which there is nothing to hold against.
        gaining_only: false keeps every round, as the author did.

    Returns:
        `model`, `against`, `average_f1` (out of fold, thresholds cross-fitted), `gain` over
        `against` with the bounds of its 95 % interval `gain_low` and `gain_high`, `kept`.
    """
    scored = score(student.study, student.out_of_fold())
    gain = paired_gain(scored.counts, score(kept.study, kept.out_of_fold()).counts) if kept else None
    return {
        "model": student.name,
        "against": kept and kept.name,
        "average_f1": scored.average_f1,
        **in_columns("gain", gain),
        "kept": gain is None or gain.value > 0 or not gaining_only,
    }


def gain_over(study: Study, previous: Study, model: str = ENSEMBLE) -> Interval:
    """Gain in average F1 over the same model of another run, with its 95 % interval.

    Paired, on the same out-of-fold rows, against the labels given in `study`, each side with
    its own cross-fitted thresholds. Nothing of the test split is used.

    Raises:
        InputError: a run lacks the model, or the two differ in cases or folds.
    """
    same_cases(previous.run, study.run.cases("train"), study.folds, study.schema)
    previous = replace(previous, labels=study.labels)
    return paired_gain(score_stored(study, model).counts, score_stored(previous, model).counts)


def gain_since(study: Study, folder: str) -> Interval | None:
    """The ensemble's gain over that of the run in a folder; None where no folder is named."""
    return gain_over(study, Study.open(Run(folder))) if folder else None
