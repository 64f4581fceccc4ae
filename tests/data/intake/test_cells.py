"""A label is read where there is one reading, and else refused without a word of it."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrutils.data.intake.cells import NUMBER, WORDS, read_codes, read_label
from narrutils.data.intake.sheets import read_sheet
from narrutils.data.schema import Variable
from narrutils.errors import InputError

FALL = Variable("Fall", "The person fell.")
PLACE = Variable("Place", "It was {class}.", {1: "home", 2: "School", 30: "the street"})
FRACTION, ZERO, TRUTH, YES, NAME = (
    "written like 1.0",
    "written like 02",
    *WORDS,
    "given by the names of classes",
)

READ = [
    (FALL, {
        "1.0": (1, FRACTION), "0,00": (0, FRACTION), "1.": (1, FRACTION), "01": (1, ZERO), "+1": (1, ZERO),
        "TRUE": (1, TRUTH), "false": (0, TRUTH), "T": (1, TRUTH), "F": (0, TRUTH),
        "Yes": (1, YES), "no": (0, YES), "Y": (1, YES), "N": (0, YES),
        "": (None, ""), "NA": (None, ""), "NaN": (None, ""), ".": (None, ""),
    }),
    (PLACE, {
        "02": (2, ZERO), "30.0": (30, FRACTION), "HOME": (1, NAME), "school": (2, NAME),
        "The Street": (30, NAME), "na": (None, ""),
    }),
    (replace(FALL, missing=("", "9", "unknown")), {
        "9": (None, ""), "09": (None, ""), "9.0": (None, ""), "Unknown": (None, ""),
    }),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "cells"), READ)
def test_what_has_one_reading_is_read(variable, cells):
    assert {cell: read_label(cell, variable) for cell in cells} == cells


STATUS = Variable("Status", "{class}", {1: "2", 2: "yes", 3: "NA", 4: "Dup", 5: "dup", 6: "none"})
REFUSED = [
    (FALL, "2", "2 is out of range; its codes are 0, 1, and a case without a label has an empty cell"),
    (FALL, "02", "02 is out of range"),
    (FALL, "0.5", "0.5 is not an integer"),
    (FALL, "sure", "the label is not an integer"),
    (PLACE, "yes", "the label is neither an integer nor the name of a class"),
    (PLACE, "31", "31 is out of range; its codes are 1, 2, 30"),
    (replace(FALL, missing=()), "", "the label is empty; its codes are 0, 1, and every case has one"),
    (replace(FALL, missing=()), "NA", "the label is not an integer"),
    (replace(FALL, missing=("9",)), "", "a case without a label has 9"),
    (STATUS, "NA", "the label may mean two things; write its code"),
    (STATUS, "dup", "the label may mean two things; write its code"),
]


@pytest.mark.parametrize(("variable", "cell", "said"), REFUSED)
def test_what_has_none_or_two_is_refused(variable, cell, said):
    with pytest.raises(ValueError, match="codes are") as caught:
        read_label(cell, variable)
    assert said in str(caught.value)


def test_a_code_comes_before_a_name_and_a_name_before_a_word():
    assert read_label("2.0", STATUS) == (2, FRACTION)
    assert read_label("Yes", STATUS) == (2, NAME)


@given(st.text(min_size=1))
def test_nothing_else_is_read_and_no_word_is_quoted(cell):
    cell = cell.strip()
    for variable in (FALL, PLACE):
        try:
            code, _ = read_label(cell, variable)
        except ValueError as fault:
            said = str(fault).split(" is ")[0]
            assert said == "the label" or (said == cell and re.fullmatch("[0-9.,eE+-]{1,12}", said))
            continue
        known = {*variable.missing, *(w for words in WORDS.values() for w in words)}
        known |= {title.casefold() for title in (variable.classes or {}).values()}
        assert cell.casefold() in known or (NUMBER.fullmatch(cell) and code in variable.codes)


@pytest.mark.parametrize(("cells", "right"), {"1 2 3": [1, 2, 3], "0 0 2+": [1, 1, 3], "0 1 3": None}.items())
def test_codes_and_names_that_look_like_codes_are_never_mixed(tmp_path, cells, right):
    falls = Variable("Falls", "There were {class}.", {1: "0", 2: "1", 3: "2+"})
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["uid,Falls", *(f"{n},{cell}" for n, cell in enumerate(cells.split()))]))
    sheet = read_sheet(path, ["uid", "Falls"], "uid")
    if right:
        assert read_codes(sheet, falls)[0].tolist() == right
    else:
        with pytest.raises(InputError, match="line 3, column Falls: 1 may mean two things"):
            read_codes(sheet, falls)
