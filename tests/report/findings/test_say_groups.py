"""Sentences on groups and sites are true of the tables that they stand after."""

import numpy as np
import pandas as pd

from narrutils.findings import groups, sites
from narrutils.report.findings import say_groups


def table(*rows: dict) -> pd.DataFrame:
    usual = {"column": "site", "cases": 40, "sets": 40, "variables": 2, "too_small": False}
    return pd.DataFrame([usual | row for row in rows], columns=groups.TABLE)


def held(*rows: dict) -> pd.DataFrame:
    usual = {"column": "site", "measure": "sensitivity", "cases": 40, "p": 0.5, "p_holm": 1.0}
    return pd.DataFrame([usual | row for row in rows], columns=groups.TESTS)


def test_levels_with_figures_and_without():
    said = say_groups.by_group(
        table(
            {"level": "north", "flagged": 0.5},
            {"level": "south", "flagged": 0.6, "too_small": True},
            {"level": "east", "cases": 7, "too_small": True},
            {"level": groups.SINGLE, "cases": 2, "too_small": True},
            {"level": "", "cases": 1, "too_small": True},
        )
    ).data
    assert said.startswith("2 levels of *site* with figures")
    assert "too small for their intervals to mean much: *site* south;" in said
    assert "recognised: *site* east;" in said
    assert said.endswith("*site* is not known of 1 case.")


def test_without_groups_there_is_nothing_to_tell():
    assert say_groups.by_group(table()).data == say_groups.NO_GROUPS
    assert "nothing to tell" in say_groups.differences(held()).data
    assert "not known" in say_groups.given_labels(table()).data
    empty = pd.DataFrame(columns=sites.COLUMNS)
    assert "No column" in say_groups.sites(empty, None).data
    assert "*site*" in say_groups.sites(empty, pd.Series(["a"], name="site")).data


def test_what_differs_is_named_with_its_direction():
    more = {
        "level": "west",
        "measure": "calibration_gap",
        "value": 0.05,
        "rest": -0.01,
        "p": 0.001,
        "p_holm": 0.02,
    }
    less = {"level": "e*st", "value": 0.6, "rest": 0.8, "p": 0.002, "p_holm": 0.03}
    said = say_groups.differences(held(less, {"level": "north", "value": 0.7, "rest": 0.7}, more)).data
    assert said.startswith("3 tests")
    first, second = said.split("\n")[2:]
    assert first == (
        "- *site* *west*: said − came +0.050, −0.010 in the rest; "
        "the models say more than was coded, as where positives are missed there."
    )
    assert "e&#42;st" in second and "sensitivity 0.600, 0.800 in the rest; fewer of" in second


def test_no_difference_is_no_proof_of_none():
    said = say_groups.differences(
        held({"level": "a", "p_holm": 0.31}, {"level": "b", "p": np.nan, "p_holm": np.nan})
    )
    assert said.data.startswith("1 test,") and "0.310" in said.data and "does not show" in said.data


def test_a_variable_is_named():
    row = {
        "column": "site",
        "level": "a",
        "variable": "Sad",
        "measure": "accuracy",
        "value": 0.9,
        "rest": 0.8,
    }
    said = say_groups.differences(pd.DataFrame([row | {"p": 0.001, "p_holm": 0.01}])).data
    assert "*site* *a*, *Sad*: accuracy 0.900, 0.800 in the rest; more codes are" in said


def test_given_labels_from_the_fewest_to_the_most():
    rows = [
        {"level": level, "label_sensitivity": share} for level, share in (("a", 0.9), ("b", 0.7), ("c", 0.8))
    ]
    said = say_groups.given_labels(
        table(*rows, {"column": "sex", "level": "x", "label_sensitivity": 0.5})
    ).data
    assert "*site* 70.0\xa0% at *b* to 90.0\xa0% at *a*; by *sex* 50.0\xa0% at *x*," in said


def test_sites_that_code_otherwise():
    row = {"column": "site", "level": "west", "own": 0.5, "own_low": 0.2, "own_high": 0.8, "elsewhere": -0.1}
    row |= {
        "elsewhere_low": -0.3,
        "elsewhere_high": 0.1,
        "difference": 0.6,
        "variable": "Sad",
        "p_holm": 0.01,
    }
    cells = pd.Series(["west", "east", "north", ""], name="site")
    other = {"column": "site", "level": "east", "difference": -0.6, "p_holm": 0.01}  # worse: no such finding
    said = say_groups.sites(pd.DataFrame([row, other], columns=sites.COLUMNS), cells).data
    assert said.startswith("2 levels of *site* compared, 1 smaller one not")
    assert (
        "*west*: +0.500 [+0.200, +0.800] hundredths" in said
        and "most in *Sad*" in said
        and "*east*" not in said
    )
    alone = say_groups.sites(pd.DataFrame([row | {"p_holm": 0.2}], columns=sites.COLUMNS), cells).data
    assert "as far as these cases can tell" in alone and "0.200" in alone
