"""Sentences on a student and its teacher are true of the numbers, and silent where there is neither."""

import pandas as pd
import pytest

from narrutils.crossfit.timing import NOTHING
from narrutils.evaluation.intervals import Interval, columns_of, in_columns, in_table
from narrutils.report import plots, say_student
from narrutils.report.sections import student

EMPTY = in_table([], ["split", *columns_of("student", "teacher", "gain"), "share", "n"])


def against(student: float, gain: Interval, *splits: str) -> pd.DataFrame:
    rows = []
    for split in splits:
        teacher = student - gain.value
        row = {"split": split, "share": student / teacher, "n": 90}
        row |= in_columns("student", Interval(student, student - 0.02, student + 0.02))
        row |= in_columns("teacher", Interval(teacher, teacher - 0.02, teacher + 0.02))
        rows.append(row | in_columns("gain", gain))
    return in_table(rows, EMPTY.columns)


SPEED = pd.DataFrame(
    [("student", 4000.0, 2.5, 1, 300), ("teacher", 50.0, 120.0, 15, 300)], columns=NOTHING.columns[:5]
).assign(threads=2, processor="a <b>processor</b>")


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (
            Interval(-0.1, -0.15, -0.05),
            ["80.0\xa0%", "loses 0.100 [0.050, 0.150] to its teacher", "excludes"],
        ),
        (Interval(-0.1, -0.25, 0.05), ["loses 0.100 [−0.050, 0.250] to its teacher", "holds zero"]),
        (
            Interval(0.1, 0.05, 0.15),
            ["133.3\xa0%", "gains 0.100 [0.050, 0.150] over its teacher", "excludes"],
        ),
    ],
)
def test_a_share_is_told_with_the_difference_and_its_interval(gain, told):
    said = say_student.held_against(against(0.4, gain, "oof"), refit=False).data
    assert "Out of fold, the student scores 0.400 [0.380, 0.420]" in said and "test" not in said
    assert all(part in said for part in told) and "all rows" not in said


def test_a_refit_is_said_to_have_the_score_and_thresholds_of_its_siblings():
    said = say_student.held_against(against(0.4, Interval(0, 0, 0), "oof", "test"), refit=True).data
    assert "On the test cases, the student scores" in said
    assert (
        "one model that learned from all rows" in said and "those of the models that left a fold out" in said
    )


def test_speed_and_size_are_told_of_both():
    said = say_student.speed(SPEED).data
    assert "4,000 cases a second" in said and "50.0: 80.0 times as many" in said
    assert "1 model of 2.5 MB" in said and "15 models of 120.0 MB" in said
    assert "300 cases, 2 threads" in said and "<b>" not in said


def test_without_a_student_nothing_is_claimed():
    assert say_student.held_against(EMPTY, refit=True).data == say_student.NONE
    assert say_student.speed(NOTHING).data == ""
    assert say_student.calibration(pd.DataFrame(columns=["who", "calibrated_error"])).data == ""


def test_the_picture_has_a_mark_a_split_and_reader():
    axis = plots.student(against(0.4, Interval(-0.1, -0.15, -0.05), "oof", "test"), SPEED)
    assert axis.get_xscale() == "log"
    assert [*axis.get_legend_handles_labels()[1]] == ["Out of fold", "On the test cases"]
    assert {text.get_text() for text in axis.texts} == {"student", "teacher"}


def test_the_first_page_tells_share_and_speed():
    scores = against(0.4, Interval(-0.1, -0.15, -0.05), "oof", "test").to_dict("records")
    assert student({"scores": scores, "speed": SPEED.to_dict("records")}) == [
        ("80.0\xa0%", "of its teacher's F1 out of fold"),
        ("80.0\xa0%", "of its teacher's F1 on the test cases"),
        ("80 times", "its teacher's speed"),
    ]
