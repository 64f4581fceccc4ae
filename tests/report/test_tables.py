"""Numbers as text: an interval beside its value, a sign to a difference, nothing where nothing is known."""

import numpy as np
import pandas as pd

from narrutils.evaluation.intervals import Interval, columns_of, in_columns, in_table
from narrutils.report.tables import (
    as_text,
    duration,
    figure,
    interval,
    percent,
    show,
    styled,
    with_interval,
)


def test_a_value_stands_before_its_interval():
    assert with_interval(0.8449, 0.8, 0.9004) == "0.845 [0.800, 0.900]"
    assert with_interval(-0.0312, -0.1, 0.2, "+") == "−0.031 [−0.100, +0.200]"
    assert figure(-0.00001, "+") == "+0.000"  # no zero is negative


def test_what_is_not_known_is_left_out():
    for nothing in (None, np.nan):
        assert (
            percent(nothing)
            == figure(nothing)
            == interval(nothing, 1)
            == with_interval(nothing, nothing, nothing)
            == ""
        )


def test_durations_and_shares():
    assert [duration(s) for s in (7.6, 59.6, 125, 3 * 3600 + 61)] == [
        "8 s",
        "1 min 00 s",
        "2 min 05 s",
        "3 h 01 min",
    ]
    assert percent(0.0871) == "8.7\xa0%"


TABLE = in_table(
    [
        {"step": "a", "average_f1": 0.5, "n": 3, "optimistic": False, "kept": True},
        {"step": "b", "average_f1": 0.25, "n": 3, "optimistic": True, "kept": False}
        | in_columns("gain", Interval(-0.25, -0.5, 0.125)),
    ],
    ["step", "average_f1", *columns_of("gain"), "n", "optimistic", "kept"],
)


def test_a_table_keeps_its_numbers_until_it_is_told():
    assert TABLE[columns_of("gain")].dtypes.eq(float).all()
    assert TABLE["gain"].isna().tolist() == [True, False]
    told = as_text(TABLE)
    assert len(told.columns) == 5
    first, second = told.to_numpy().tolist()
    assert first == ["a", "0.500", "", "3", "yes"]
    assert second[1:] == ["0.250", "−0.250 [−0.500, +0.125]", "3", "no"]
    assert second[0].startswith("b") and "optimistic" in second[0]


def test_rows_of_nothing_make_a_table_of_floats():
    empty = in_table([], ["step", *columns_of("gain")])
    assert empty[columns_of("gain")].dtypes.eq(float).all()
    assert as_text(empty).empty
    unknown = in_table([{"step": "a"}], ["step", *columns_of("gain")])
    assert as_text(unknown).to_numpy().tolist() == [["a", ""]]


def test_a_notebook_shows_the_same_text():
    shown = show(TABLE).to_html()
    assert all(cell in shown for cell in as_text(TABLE).to_numpy().ravel())
    assert as_text(pd.DataFrame({"a_b": [1]})).columns.tolist() == ["a b"]


def test_names_and_words_of_a_table_are_text():
    evil = "<img src=x onerror=run()>"
    table = pd.DataFrame({evil: [evil, "x"], "share": [0.5, np.nan]}, index=[evil, "y"])
    for html in (styled(table, formats={"share": "{:.1%}"}).to_html(), styled(table).to_html()):
        assert "<img" not in html and html.count("&lt;img") == 3
    assert (
        "50.0%" in styled(table, formats={"share": "{:.1%}"}).to_html()
        and "nan" not in styled(table).to_html()
    )
    assert evil not in styled(table, index=False).to_html()
    assert "0.500" in styled(table).to_html() and "0.50<" in styled(table, digits=2).to_html()


def test_a_p_value_is_never_zero_and_what_is_not_known_is_left_out():
    table = pd.DataFrame({"p": [0.00001, 0.0321, None], "positives": pd.array([3, None, 0], "Int64")})
    assert as_text(table).to_numpy().tolist() == [["< 0.001", "3"], ["0.032", ""], ["", "0"]]
