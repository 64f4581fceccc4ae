"""The space after a full stop: put where it was forgotten, and nowhere that a stop stands by right."""

import pytest

from narrutils.repair import repair_periods


@pytest.mark.parametrize(
    ("given", "repaired"),
    [
        ("V was at home.The door was open.", "V was at home. The door was open."),
        ("one.Two three.Four", "one. Two three. Four"),
        ("was found.V was alone", "was found. V was alone"),
        ("in 2019.She left", "in 2019. She left"),
        ("(his brother).He called", "(his brother). He called"),
        ("spoke with XX.V was calm", "spoke with XX. V was calm"),
        ("at 3 a.m.The call", "at 3 a.m. The call"),
        ("wrote to a@b.Com.Then home.The end", "wrote to a@b.Com.Then home. The end"),
        ("a Ph.D student.The", "a Ph.D student. The"),
    ],
)
def test_a_forgotten_space_is_put(given, repaired):
    assert repair_periods(given) == repaired


@pytest.mark.parametrize(
    "whole",
    [
        "",
        "home. The door",
        "the U.S. Army and the U.S.Army",
        "J.Smith",
        "a Ph.D. and an M.D.",
        "at 3.5 ft, 10 a.m. and 11 p.m.",
        "0.XX per litre",
        "first.last@mail.Example.org",
        "https://site.Org/page.Html",
        "www.site.Org",
        "v1.2 and file.txt",
        "what...then",
    ],
)
def test_a_stop_that_stands_by_right_is_left(whole):
    assert repair_periods(whole) == whole


def test_a_repaired_text_stays_as_it_is():
    text = "one.Two by XX.V at 2 a.m.The (end).Ph.D.Then a@b.Com.The last.V"
    once = repair_periods(text)
    assert once != text
    assert repair_periods(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")  # nothing but spaces
