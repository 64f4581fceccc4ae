"""Sentences about promises."""

from narrutils.report.findings.say_promises import held_against, promised

KEPT = {"kind": "recall", "outcome": "promised", "basis": "exact", "reviewed": 0.1, "counted": 40}
MADE = {"promise": "recall", "promised": 0.9, "confidence": 0.95, "promise_review": 0.5, "needed": 29}


def said(**variables) -> str:
    return promised(MADE | {"variables": variables}).data.replace("\xa0", " ")


def test_what_stands_what_it_costs_and_why_others_do_not():
    text = said(
        A=KEPT,
        B=KEPT | {"basis": "approximate", "reviewed": 0.3},
        C=KEPT | {"outcome": "too few"},
        D=KEPT | {"outcome": "not reached"},
    )
    assert text.startswith(
        "For 2 of 4 variables: of the positives that go out unreviewed at least 90.0 % are found"
    )
    assert "20.0 % in the median, 30.0 % at most" in text and "classes" not in text
    assert "1 of them tested on cases that nothing consulted" in text and "1 of them approximate" in text
    assert "below 29: *C*" in text and "Not reached with 50.0 % of the codes reviewed: *D*" in text


def test_no_promise_and_the_other_kinds():
    assert said(A=KEPT | {"outcome": "too few"}).startswith(
        "No promise stands for any of 1 variable. Too few"
    )
    assert "of a variable with classes as many" in said(A=KEPT, B=KEPT | {"kind": "accuracy"})
    made = MADE | {"promise": "precision", "variables": {"A": KEPT}}
    assert "codes 1 that go out unreviewed at least 90.0" in promised(made).data.replace("\xa0", " ")


def test_what_new_narratives_are_held_against():
    assert "no alarm" in held_against({}).data
    assert (
        "against 60 test cases: 2 numbers"
        in held_against({"of": "test", "cases": 60, "numbers": {"a": 0, "b": 0}}).data
    )
    assert (
        "training cases, by their texts"
        in held_against({"of": "train", "cases": 60, "numbers": {"a": 0}}).data
    )
