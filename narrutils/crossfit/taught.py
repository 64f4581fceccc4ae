"""A student held against the ensemble that taught it, on the same cases.

The ensemble is that of the run that this one starts from, as it lies there: its members, weights,
calibration and thresholds of fold k are those found without fold k.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.store import StoredModel
from narrutils.data.study import Study, same_cases
from narrutils.evaluation.calibration import cross_fitted_calibration
from narrutils.evaluation.ensemble import STUDENT, TEACHER, stored_ensemble
from narrutils.evaluation.intervals import (
    columns_of,
    draw,
    in_columns,
    in_table,
    paired_gain,
    score_interval,
)
from narrutils.evaluation.ladder import OOF, TEST, Ladder, Step
from narrutils.evaluation.reliability import brier_score, calibration_error, reliability


def read_teacher(study: Study, folder: str) -> Step | None:
    """The ensemble of the previous run as a step of this run's ladder; None unless it taught a student.

    Args:
        folder: of the previous run; empty: there is none.

    Raises:
        InputError: the two runs differ in cases or folds, or that one is not whole.
    """
    if not folder or not StoredModel(study.run, STUDENT).about_file.exists():
        return None
    other = Study.open(Run(folder))
    same_cases(other.run, study.run.cases("train"), study.folds, study.schema)
    name = f"its teacher, the ensemble of {other.run.folder.name}"
    return replace(stored_ensemble(replace(study, run=other.run)), name=name, model=TEACHER)


def beside_teacher(steps: Sequence[Step], teacher: Step | None) -> list[Step]:
    """The steps with the teacher before its student, whose gain is then over it; as they are without one."""
    at = [step.model for step in steps].index(STUDENT) if teacher else 0
    return [*steps[:at], *([teacher] if teacher else []), *steps[at:]]


def held_against(rungs: Ladder) -> pd.DataFrame:
    """What the last step of a ladder, the student as it is handed in, scores beside its teacher.

    Thresholds cross-fitted, against the given labels, paired on the same cases.

    Returns:
        A row out of fold and, where labels are known, one on the test: `split`, `student`, `teacher` and
        `gain` with their 95 % intervals, `share` (student / teacher), `n` (cases with a label); none
        without a teacher.
    """
    rows = []
    for place in (OOF, TEST):
        own, taught_by = rungs.counts[-1].get(place), _of_teacher(rungs).get(place)
        if own and taught_by:
            draw([own, taught_by])
            row = {"split": place[0]} | in_columns(STUDENT, score_interval(own))
            row |= in_columns(TEACHER, score_interval(taught_by))
            row |= in_columns("gain", paired_gain(own, taught_by))
            rows.append(row | {"share": own.average_f1 / taught_by.average_f1, "n": len(own.hits)})
    return in_table(rows, ["split", *columns_of(STUDENT, TEACHER, "gain"), "share", "n"])


def _of_teacher(rungs: Ladder) -> dict:
    """Its counts by place; empty where it is no step."""
    return next((c for step, c in zip(rungs.steps, rungs.counts) if step.model == TEACHER), {})


def calibration_of(rungs: Ladder) -> pd.DataFrame:
    """How far the probabilities of both can be trusted, out of fold, means over the variables.

    Returns:
        A row for the `student`, which is the last step, and one for the `teacher`: `who`; expected
        `calibration_error` of the probabilities as they are read, `calibrated_error` after a calibration
        that was fitted on the other folds, and the `brier` score of these; none without a teacher.
    """
    teacher = [step for step in rungs.steps if step.model == TEACHER]
    both = {STUDENT: rungs.steps[-1], TEACHER: teacher[0]} if teacher else {}
    return pd.DataFrame(
        [{"who": who} | _errors(rungs, step) for who, step in both.items()],
        columns=["who", "calibration_error", "calibrated_error", "brier"],
    )


def _errors(rungs: Ladder, step: Step) -> dict[str, float]:
    schema, labels, read = rungs.schema, rungs.labels, step.out_of_fold
    calibrated = cross_fitted_calibration(schema, labels, read, rungs.folds)
    return {
        "calibration_error": calibration_error(reliability(schema, labels, read)).mean(),
        "calibrated_error": calibration_error(reliability(schema, labels, calibrated)).mean(),
        "brier": brier_score(schema, labels, calibrated).mean(),
    }
