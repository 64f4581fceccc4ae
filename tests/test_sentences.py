"""Narratives cut into sentences: every character once, whatever was typed."""

import re

import pytest

from narrutils.sentences import LONGEST, sentences

ODD = {
    "empty": "",
    "white": " \n\t ",
    "markup": "<script>alert('a. B')</script>He left.",
    "formula": "=SUM(A1:A9).He left.",
    "right to left": "\u202eהוא יצא. The end.\u202c",
    "emoji": "He left 🙂. The 👨‍👩‍👧 stayed!",
    "null": "He\0 left.\0 The end.",
    "surrogate": "He \ud800 left. The end.",
    "marks": "...!?\"' . .",
    "one long word": "x" * (3 * LONGEST),
    "no full stop": "word " * 100_000,
    "many sentences": "He left.Then " * 20_000,
}


def cut(text):
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_every_character_that_is_not_white_is_in_one_sentence(text):
    spans = sentences(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in zip(spans, spans[1:]))
    assert re.sub(r"\s", "", "".join(cut(text))) == re.sub(r"\s", "", text)
    assert all(end - start <= LONGEST for start, end in spans)


def test_a_missing_space_after_a_full_stop_still_ends_a_sentence():
    assert cut("V went home.The door was shut.V's mother called.") == [
        "V went home.",
        "The door was shut.",
        "V's mother called.",
    ]
    assert cut("V was seen by XX.XX called 911.(He left.)V slept") == [
        "V was seen by XX.",
        "XX called 911.",
        "(He left.)",
        "V slept",
    ]


def test_abbreviations_initials_and_numbers_end_none():
    for text in (
        "Dr. XX saw V at 3 p.m. and again at 5.30 on XX.",
        "A BAC of 0.08 and 0.XX was found.",
        "J. XX of St. Mary's, approx. two miles off, e.g. by car.",
    ):
        assert cut(text) == [text]


def test_the_decedents_letter_ends_a_sentence_and_lines_do_too():
    assert cut('They had seen V. He said "no." Then quiet\nNext line') == [
        "They had seen V.",
        'He said "no."',
        "Then quiet",
        "Next line",
    ]
