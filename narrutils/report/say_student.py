"""What a run found of a student and its teacher, in sentences that are true of other data too."""

import pandas as pd
from IPython.display import Markdown

from narrutils.evaluation.ensemble import STUDENT, TEACHER
from narrutils.report.say import WHERE, counted, differs, plain
from narrutils.report.tables import figure, percent, with_interval

_BOTH = (STUDENT, TEACHER)
NONE = "No previous run taught a student here."
REFIT = (
    "What is handed in, and reads new cases, is one model that learned from all rows; its thresholds are "
    "those of the models that left a fold out, and so is the score out of fold."
)


def held_against(table: pd.DataFrame, refit: bool) -> Markdown:
    """What the student keeps of its teacher's score, from `taught.held_against`.

    Args:
        refit: whether one model of all rows reads new cases.
    """
    if table.empty:
        return Markdown(NONE)
    return Markdown(" ".join([*(_kept(row) for _, row in table.iterrows()), *([REFIT] if refit else [])]))


def _kept(row: pd.Series) -> str:
    own, teacher = (with_interval(*(row[name + end] for end in ("", "_low", "_high"))) for name in _BOTH)
    told = (
        f"{WHERE[row['split']]}, the student scores {own}, {percent(row['share'])} of its teacher's {teacher}"
    )
    return f"{told}. It {differs(row, 'its teacher')}"


def calibration(table: pd.DataFrame) -> Markdown:
    """Whose probabilities are nearer to what came true, from `taught.calibration_of`."""
    if table.empty:
        return Markdown("")
    error = table.set_index("who")["calibrated_error"]
    own, teacher = (figure(error[name]) for name in _BOTH)
    told = "Calibrated, the probability of a code is off by"
    return Markdown(f"{told} {own} with the student, {teacher} with its teacher.")


def speed(table: pd.DataFrame) -> Markdown:
    """How much faster and smaller the student is, from `timing.measure`."""
    if table.empty:
        return Markdown("")
    own, teacher = (table.set_index("who").loc[name] for name in _BOTH)
    times = own["rows_per_second"] / teacher["rows_per_second"]
    of = [f"{counted(int(row['models']), 'model')} of {row['megabytes']:,.1f} MB" for row in (own, teacher)]
    return Markdown(
        f"The student reads {own['rows_per_second']:,.0f} cases a second, its teacher "
        f"{teacher['rows_per_second']:,.1f}: {times:,.1f} times as many. It is {of[0]}, its teacher {of[1]}. "
        f"Measured on {own['rows']} cases, {counted(int(own['threads']), 'thread')}, "
        f"{plain(own['processor'])}."
    )
