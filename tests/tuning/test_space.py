"""A search space is read as it is written, or refused in one line."""

import pytest
from searches import OWN, SPACE

from narrutils.errors import InputError
from narrutils.tuning.space import parse_space


def check(name, value):
    """As a stage's: three settings, one of them a whole number."""
    kinds = {"inverse_regularisation": float, "min_df": int, "scaled": bool, "ngrams": int}
    if name not in kinds:
        raise InputError(f"unknown name {name}")
    if kinds[name] is int and not isinstance(value, int):
        raise InputError(f"{name} is {value}; it should be a valid integer")
    return kinds[name](value)


def parse(**changes):
    return parse_space(SPACE | changes, check, OWN)


def test_the_first_trial_is_the_profiles_own_but_for_what_is_said():
    made = parse()
    assert made.first == {"inverse_regularisation": 0.02, "min_df": 3, "scaled": False}
    assert made.holds(made.first) and not made.holds(made.first | {"min_df": 9})


def test_bounds_are_as_the_stage_takes_them():
    made = parse(
        space={"inverse_regularisation": {"low": 1, "high": 9}, "min_df": {"low": 1, "high": 3}}, first={}
    )
    low = made.dimensions["inverse_regularisation"].low
    assert (low, type(low)) == (1.0, float)
    assert isinstance(made.dimensions["min_df"].low, int)


def test_a_proxy_has_cases_and_settings_of_all_trials():
    made = parse(proxy={"cases": 30, "ngrams": 1})
    assert (made.cases, made.proxy, made.has_proxy) == (30, {"ngrams": 1}, True)
    assert not parse().has_proxy


FAULTY = {
    "a search space is a mapping": {"space": None},
    "unknown name depth": {"space": {"depth": {"low": 1, "high": 2}}},
    "valid integer": {"space": {"min_df": {"low": 1.5, "high": 2}}},
    "low must be below high": {"space": {"min_df": {"low": 3, "high": 3}}},
    "give low and high, or choices": {"space": {"min_df": {"low": 3}}},
    "log needs low above 0": {"space": {"min_df": {"low": 0, "high": 3, "log": True}}},
    "a choice stands twice": {"space": {"min_df": {"choices": [1, 2, 1]}}},
    "unknown name top": {"space": {"min_df": {"low": 1, "high": 3, "top": 4}}},
    "must be a mapping": {"space": {"min_df": [1, 2]}},
    "did you mean min_df": {"first": {"min_d": 2}},
    "lies outside the space": {"first": {"min_df": 7}},
    "the profile's own, and lies outside": {"space": {"min_df": {"low": 2, "high": 3}}, "first": {}},
    "is tuned, and cannot be set": {"proxy": {"min_df": 1}},
    "cases is 0": {"proxy": {"cases": 0}},
    "space[frist]": {"frist": {}},
}


@pytest.mark.parametrize("said", FAULTY)
def test_what_does_not_fit_is_refused_in_one_line(said):
    with pytest.raises(InputError) as caught:
        parse(**({"first": {}, "space": SPACE["space"]} | FAULTY[said]))
    assert said in str(caught.value) and "\n" not in str(caught.value)
