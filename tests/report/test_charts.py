"""Charts place marks where the values are, stay within their column, and hold well-formed markup."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from narrutils.report import plots
from narrutils.report.charts import (
    Axis,
    Mark,
    bar,
    fit_axis,
    fit_ratio_axis,
    picture,
    scale,
    sign,
    sparkline,
    strip,
)


@pytest.mark.parametrize("values", [(0.3, 0.61), (0.845, 0.869), (0.5, 0.5), (-0.2, 0.0), (0.0, 1.0)])
def test_an_axis_holds_its_values_and_a_few_round_ticks(values):
    axis = fit_axis(values)
    assert axis.low < min(values) <= max(values) < axis.high
    assert 2 <= len(axis.ticks) <= 7
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_a_value_stands_at_its_share_of_the_axis_and_never_beyond():
    axis = Axis(0.2, 0.6, ())
    assert [axis.place(v) for v in (0.2, 0.3, 0.6, 0.7, 0.0)] == [0, 25, 100, 100, 0]


def test_a_mark_lies_within_its_interval():
    text = strip(Axis(0.0, 1.0, (0.5,)), [Mark(0.4, "dot", 0.3, 0.6), Mark(0.2, "cross")])
    drawn = ET.fromstring(text)
    whisker = drawn.find(".//line[@class='whisker']")
    assert (whisker.get("x1"), whisker.get("x2")) == ("30.0%", "60.0%")
    assert [inner.get("x") for inner in drawn.findall(".//g/svg")] == ["40.0%", "20.0%"]
    assert len(drawn.findall(".//line[@class='whisker']")) == 1


def test_segments_of_a_bar_follow_one_another():
    parts = ET.fromstring(bar([0.25, 0.5, 0.125])).findall("rect")
    assert [p.get("x") for p in parts] == ["0.00%", "25.00%", "75.00%"]
    assert [p.get("width") for p in parts] == ["25.00%", "50.00%", "12.50%"]


def test_the_perfect_curve_lies_on_the_diagonal():
    points = re.search(r'points="([^"]+)"', sparkline([0, 0.5, 1], [0, 0.5, 1], size=46))[1]
    assert points == "3,43 23.0,23.0 43,3"


ROOT = Path(__file__).parents[2]

FLAGGING = {
    "curve": [{"flagged": x, "accuracy": y} for x, y in ((0.0, 0.8), (0.5, 0.9), (1.0, None))],
    "share": 0.5,
    "accuracy": 0.9,
    "accuracy_of_all": 0.8,
}


def drawn(flagging=FLAGGING):
    return picture(lambda axis: plots.flag_curve(flagging, axis), 5, 2.5)


def test_a_picture_is_an_image_of_a_figure_with_its_words_as_text():
    kind, _, coded = drawn().partition(",")
    assert kind == "data:image/svg+xml;base64"
    image = ET.fromstring(base64.b64decode(coded))
    assert (image.get("width"), image.get("height")) == ("360pt", "180pt")
    said = {"".join(text.itertext()).strip() for text in image.iter("{http://www.w3.org/2000/svg}text")}
    assert {"share of cases flagged", "chosen"} <= said


def test_the_same_figure_is_the_same_picture_whatever_was_styled_and_in_any_process():
    """And none is left open."""
    figures, before = plt.get_fignums(), drawn()
    with plt.rc_context():
        plots.use_style()
        assert drawn() == before
    code = "import sys; sys.path.append('tests/report'); import test_charts; print(test_charts.drawn())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{before}\n"
    assert plt.get_fignums() == figures


def test_a_curve_without_a_chosen_point_is_drawn():
    assert drawn(FLAGGING | {"accuracy": None}) != drawn()


def test_ticks_are_written_with_the_digits_that_they_need():
    assert re.findall(r">([\d.]+)<", scale(Axis(0, 1, (0.2, 0.4)))) == ["0.2", "0.4"]
    assert re.findall(r">([\d.]+)<", scale(Axis(0, 1, (0.845, 0.85)))) == ["0.845", "0.850"]


def test_charts_carry_no_style_of_their_own():
    axis = Axis(0.0, 1.0, (0.5,))
    for chart in (
        strip(axis, []),
        scale(axis),
        sign("dot"),
        bar([1]),
        sparkline([0], [1]),
    ):
        assert "style" not in chart
        assert 'aria-hidden="true"' in chart


def test_ratios_stand_as_far_from_one_upwards_as_downwards():
    axis = fit_ratio_axis([0.7, 5.0])
    assert axis.place(2) - axis.place(1) == pytest.approx(axis.place(1) - axis.place(0.5), abs=0.02)
    assert 1.0 in axis.ticks and axis.low <= 0.5 and axis.high == 8.0
    assert axis.place(0.001) == 0.0 and axis.place(100) == 100.0
    assert len(fit_ratio_axis([1e-4, 1e4]).ticks) <= 9
