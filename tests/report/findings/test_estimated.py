"""Three ways side by side, which a reader cannot take for one another."""

import numpy as np
import pandas as pd
import pytest

from narrutils.findings.estimates.three_ways import BOTH, COLUMNS, HUMAN, NAIVE, WAYS
from narrutils.report.findings import say_estimates
from narrutils.report.findings.estimated import lines, side_by_side
from narrutils.report.findings.forest import forest


def rows(measure, values, low=0.5, high=2.0, **more) -> list[dict]:
    blank = dict.fromkeys(COLUMNS, "") | dict.fromkeys(
        ["p", "p_adjusted", "machine_weight", "further_codes"], np.nan
    )
    told = blank | {"variable": "Sad", "measure": measure, "human_codes": 50.0, "cases": 200.0}
    bounds = [{"value": v, "value_low": v * low, "value_high": v * high} for v in values]
    return [told | more | bound | {"way": way} for way, bound in zip(WAYS, bounds)]


@pytest.fixture
def table() -> pd.DataFrame:
    compared = {"group": "site", "level": "south", "reference": "north"}
    return pd.DataFrame(
        [
            *rows("prevalence", (0.3, 0.25, 0.4)),
            *rows("prevalence", (0.2, 0.2, 0.2), group="site", level="north", further_codes=70.0),
            *rows("prevalence", (0.5, 0.4, 0.6), group="site", level="south"),
            *rows(
                "prevalence", (np.nan,) * 3, group="site", level="west", reason="fewer than 10 human codes"
            ),
            *rows("difference", (-0.0001, 0.2, 0.4), p=0.04, **compared),
            *rows("odds_ratio", (4.0, 2.667, 6.0), 0.6, 1.5, p=0.0001, **compared),
        ]
    )


def test_a_number_is_a_row_and_a_way_a_column(table):
    shown = side_by_side(table)
    assert list(shown) == ["variable", "what", "human codes", "human codes alone",
                           "machine corrected by human", "machine alone: NOT VALID"]  # fmt: skip
    assert shown["what"].tolist() == [
        "prevalence, all cases",
        "prevalence, site north",
        "prevalence, site south",
        "prevalence, site west",
        "difference, site south against north",
        "odds ratio, site south against north",
    ]
    assert shown.iloc[0].tolist()[2:5] == ["50 of 200", "30.0 % [15.0, 60.0]", "25.0 % [12.5, 50.0]"]
    assert shown.iloc[1, 3].endswith(", 70 further codes")
    assert shown.iloc[3, 3] == "(fewer than 10 human codes)"
    assert shown.iloc[4, 3].startswith("0.0 points [") and shown.iloc[4, 3].endswith("p 0.040")
    assert shown.iloc[5, 4] == "2.67 [1.60, 4.00] p < 0.001"
    assert len(side_by_side(table, ["odds_ratio"])) == 1


def test_a_corrected_p_takes_the_place_of_the_plain_one(table):
    table["p_adjusted"] = table["p"] * 2
    assert side_by_side(table).iloc[4, 3].endswith("p 0.080")


def test_lines_say_what_is_valid_and_what_is_not(table):
    said = "\n".join(lines(table))
    assert "machine alone: NOT VALID" in said.splitlines()[0]
    assert "are both valid" in said and "as wrong as the" in said


def test_the_picture_has_a_mark_a_way_and_a_line_at_1(table):
    truth = pd.Series(3.0, table.index)
    axis = forest(table, "Sad", truth)
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == ["human codes alone", "machine corrected by human", "planted truth of all cases",
                     "machine alone: NOT VALID"]  # fmt: skip
    assert axis.get_xscale() == "log" and axis.lines[0].get_xdata()[0] == 1
    assert [t.get_text() for t in axis.get_yticklabels()] == ["site: south against north"]
    assert forest(table[table["measure"] == "prevalence"], "Sad") is None


def test_the_sentence_tells_what_the_ratio_means_and_which_to_use(table):
    said = say_estimates.odds(table, "Sad").data
    assert (
        "Sad is true of 40.0\xa0% of the cases whose `site` is south, and of 20.0\xa0% where it is north"
        in said
    )
    assert "2.67 times as high" in said and "between 1.60 and 4.00 with 95 % confidence" in said
    assert "no surer" in said and "do not report it" in said
    surer = table.assign(value_low=table["value_low"].where(table["way"] != BOTH, table["value"] * 0.9))
    assert "times as wide" in say_estimates.odds(surer, "Sad").data
    wide = table.assign(value_low=table["value_low"] / 4)
    assert "these cases cannot tell" in say_estimates.odds(wide, "Sad").data
    assert say_estimates.odds(table, "Glad").data == say_estimates.NOTHING


def test_the_sentence_knows_where_all_is_coded(table):
    assert (
        "Human codes of 50 cases correct what the machine read of all 200" in say_estimates.basis(table).data
    )
    assert "machine codes add nothing" in say_estimates.basis(table.assign(human_codes=200.0)).data


def test_the_ways_have_their_names():
    assert "biased" in NAIVE and {HUMAN, BOTH, NAIVE} == set(WAYS)
