"""The sentence after an odds ratio is told of whatever a table holds, and of one comparison alone."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from narrutils.findings.estimates.three_ways import BOTH, COLUMNS, HUMAN, NAIVE, WAYS
from narrutils.report.findings.forest import forest
from narrutils.report.findings.say_estimates import NOTHING, basis, odds


def row(measure: str, way: str, value: float | None, **told) -> dict:
    found = {"value": value, "value_low": value and value / 2, "value_high": value and value * 2}
    base = dict.fromkeys(COLUMNS) | {"variable": "Place", "class": "", "group": "site", "reference": ""}
    return base | {"measure": measure, "way": way, "human_codes": 50, "cases": 90} | found | told


def compared(level: str, values: dict, **told) -> list[dict]:
    shares = [row("prevalence", way, 0.2, level=x, **told) for way in WAYS for x in ("a", level)]
    ratios = [row("odds_ratio", way, values.get(way), level=level, reference="a", **told) for way in WAYS]
    return shares + ratios


def table(*rows: list[dict]) -> pd.DataFrame:
    keys = ["measure", "way", "class", "level"]
    return pd.DataFrame(sum(rows, []), columns=COLUMNS).drop_duplicates(keys, ignore_index=True)


def test_a_comparison_that_only_the_machine_makes_is_not_told():
    whole = dict.fromkeys(WAYS, 2.0)
    said = odds(table(compared("b", {NAIVE: 9.0}), compared("c", whole)), "Place").data
    assert "2.00" in said and "9.00" not in said
    assert odds(table(compared("b", {NAIVE: 9.0})), "Place").data == NOTHING


def test_without_a_value_of_the_machine_alone_the_others_are_told():
    said = odds(table(compared("b", {HUMAN: 2.0, BOTH: 2.5})), "Place").data
    assert "2.50" in said and "nan" not in said


def test_each_class_is_its_own_comparison():
    one, other = dict.fromkeys(WAYS, 2.0), dict.fromkeys(WAYS, 7.0)
    found = table(compared("b", one, **{"class": "1"}), compared("b", other, **{"class": "2"}))
    said = odds(found, "Place").data
    assert "Place = 1" in said and "2.00" in said and "7.00" not in said
    axis = forest(found, "Place")
    assert len(axis.get_yticklabels()) == 2 == len({label.get_text() for label in axis.get_yticklabels()})
    plt.close("all")


def test_of_a_handful_of_cases_nothing_is_counted():
    few = row("prevalence", BOTH, None, group="") | {"human_codes": None, "cases": None}
    assert "too few cases" in basis(table([few])).data


@pytest.mark.parametrize("measure", ["prevalence", "difference"])
def test_a_table_without_ratios_has_nothing_to_compare(measure):
    assert odds(table([row(measure, BOTH, 0.2)]), "Place").data == NOTHING
