"""Labels to ask for: rare ones often enough, each on its own, told as they are."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels

from narrutils.data.intake.schema_file import load_schema
from narrutils.errors import InputError
from narrutils.generation.conditioning import NOTHING, check_floors, draw_labels, rates, sentences

NVDRS = load_schema("params/schemas/nvdrs.yaml")


def draws(schema, known, count=3000, **floors):
    rng = np.random.default_rng(0)
    return [draw_labels(schema, known, rng, **floors) for _ in range(count)]


def share(codes, name, code=1):
    return np.mean([c[name] == code for c in codes])


def test_rates_are_those_of_the_labels():
    labels = random_labels(TOY, 8).assign(Sad=[1, 1, 1, 0, 0, 0, 0, 0], Note=0)
    assert rates(TOY, labels) == {"Sad": 0.375, "Note": 0.0}


def test_rates_are_those_of_the_labels_that_are_given():
    labels = random_labels(TOY, 4).astype("Int64").assign(Sad=[1, 0, 1, pd.NA], Note=pd.NA)
    assert rates(TOY, labels) == {"Sad": 2 / 3, "Note": 0.0}


@pytest.mark.parametrize(
    ("rate", "floors", "expected"),
    [
        (0.05, {}, 0.2),  # the default floor
        (0.6, {}, 0.6),
        (0.05, {"floor": 0.3}, 0.3),
        (0.05, {"floor": 0.3, "floors": {"Sad": 0.5}}, 0.5),
        (0.4, {"floor": 0.3, "floors": {"Sad": 0.1}}, 0.4),
        (0.05, {"floor": 0.3, "floors": {"Sad": 0.1}}, 0.1),
        (0.0, {"floor": 0.0}, 0.0),
        (1.0, {}, 1.0),
    ],
)
def test_a_binary_label_is_asked_for_at_its_rate_or_its_floor(rate, floors, expected):
    codes = draws(TOY, {"Sad": rate, "Note": 0.7}, **floors)
    assert share(codes, "Sad") == pytest.approx(expected, abs=0.03)
    assert share(codes, "Note") == pytest.approx(0.7, abs=0.03)


def test_every_class_is_as_probable_as_any_other():
    codes = draws(NVDRS, {v.name: 0.1 for v in NVDRS.binary}, count=6000)
    for v in NVDRS.categorical:
        for code in v.codes:
            assert share(codes, v.name, code) == pytest.approx(1 / len(v.codes), abs=0.02)


def test_labels_are_drawn_independently_of_one_another():
    codes = draws(TOY, {"Sad": 0.5, "Note": 0.5})
    both = np.mean([c["Sad"] and c["Note"] for c in codes])
    assert both == pytest.approx(0.25, abs=0.03)


def test_the_same_generator_state_gives_the_same_codes_and_every_variable_has_one_of_its_own():
    codes = draws(TOY, {"Sad": 0.5, "Note": 0.5}, count=50)
    assert codes == draws(TOY, {"Sad": 0.5, "Note": 0.5}, count=50)
    assert all(type(value) is int and value in TOY[name].codes for c in codes for name, value in c.items())
    assert all(list(c) == TOY.names for c in codes)


def test_the_sentences_are_what_is_true_of_the_codes():
    for codes in draws(NVDRS, {v.name: 0.3 for v in NVDRS.binary}, count=30):
        told = sentences(NVDRS, codes, np.random.default_rng(1))
        true = [NVDRS[n].sentence(c) for n, c in codes.items() if c == 1 or not NVDRS[n].is_binary]
        assert sorted(told) == sorted(true)


def test_the_sentences_are_shuffled():
    codes = dict.fromkeys([v.name for v in NVDRS.binary], 1) | {"InjuryLocationType": 2, "WeaponType1": 12}
    one, same, other = (sentences(NVDRS, codes, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other and one != sorted(one)


def test_a_class_of_code_0_is_told_and_nothing_positive_is_said_in_words():
    told = sentences(TOY, {"Sad": 0, "Place": 2, "Note": 0, "Tool": 0}, np.random.default_rng(0))
    assert sorted(told) == ["Place is out.", "Tool is none."]
    binary = type(TOY)("b", "b", "uid", TOY.text, tuple(TOY.binary))
    assert sentences(binary, {"Sad": 0, "Note": 0}, np.random.default_rng(0)) == [NOTHING]


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({"Sad": 1, "Place": None, "Note": None, "Tool": 0}, ["Sad applies.", "Tool is none."]),
        ({"Sad": None, "Place": pd.NA, "Note": np.nan, "Tool": None}, []),
        ({"Sad": 0, "Place": None, "Note": 0, "Tool": None}, []),  # that nothing holds is not known
    ],
)
def test_of_a_label_that_is_not_given_nothing_is_said(codes, told):
    table = pd.DataFrame([codes], index=["u"]).astype("Int64")
    for given in (codes, table.loc["u"]):
        assert sorted(sentences(TOY, given, np.random.default_rng(0))) == told


@pytest.mark.parametrize("name", ["Sadd", "Place"])
def test_a_floor_of_no_binary_variable_gets_one_line(name):
    with pytest.raises(InputError, match=f"floors names {name}, which is no binary variable of schema toy"):
        check_floors(TOY, {name: 0.4})


def test_right_floors_pass():
    check_floors(TOY, {"Sad": 1.0, "Note": 0.4})
