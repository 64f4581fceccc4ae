"""Evidence: what each sentence adds, found whatever the order, the chunks and the text."""

import re

import numpy as np
import pandas as pd
import pytest
from toys import TOY

from narrutils.errors import InputError
from narrutils.evaluation import evidence
from narrutils.evaluation.evidence import LONGEST, MOST_PASSAGES, leave_one_out, passages, sentences

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


WEIGHTS = {"blue": 2.0, "calm": -1.0, "garden": 0.5}


class Reader:
    """Reads words by fixed weights, for every column alike; keeps the sizes of what it was given."""

    def __init__(self):
        self.rows, self.characters = [], []

    def __call__(self, texts):
        assert list(texts.columns) == TOY.text_columns
        assert texts.index.is_unique
        joined = [" ".join(parts).lower() for parts in texts.itertuples(index=False)]
        self.rows.append(len(joined))
        self.characters.append(sum(map(len, joined)))
        z = np.array([sum(w for word, w in WEIGHTS.items() if word in text) for text in joined])
        spread = np.linspace(0.5, 1.5, TOY.width)  # so that the classes of a variable differ
        return TOY.from_logits(z[:, None] * spread, texts.index)


def cases(**texts):
    index = pd.Index(list(texts), name="uid")  # of objects: Arrow refuses a lone surrogate
    return pd.DataFrame(list(texts.values()), index, ["First", "Second"], dtype=object)


TEXTS = cases(
    a=("He felt blue.The garden was wet. It rained.", "It was calm. He felt blue!"),
    b=("", "Blue sky. Calm sea."),
    c=("Nothing here.", ""),
)
WANTED = pd.DataFrame({"uid": ["b", "a", "a", "c"], "column": ["Sad", "Sad", "Place_2", "Note"]})


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def said(found, uid, column="Sad"):
    rows = found[(found["uid"] == uid) & (found["column"] == column)]
    return [(TEXTS.loc[r.uid, r.text][r.start : r.end], r.effect) for r in rows.itertuples()]


def test_the_effect_is_what_the_case_loses_without_the_sentence():
    found = dict(said(leave_one_out(Reader(), TEXTS, WANTED, TOY), "b"))
    assert found["Blue sky."] == pytest.approx(sigmoid(0.5 * 1.0) - sigmoid(-0.5))
    assert found["Calm sea."] == pytest.approx(sigmoid(0.5) - sigmoid(1.0))


def test_the_strongest_effect_of_either_sign_stands_first_in_the_order_asked_for():
    found = leave_one_out(Reader(), TEXTS, WANTED, TOY)
    assert list(found.columns) == ["uid", "column", "text", "start", "end", "effect"]
    asked = list(WANTED.itertuples(index=False, name=None))
    assert list(dict.fromkeys(zip(found["uid"], found["column"]))) == asked
    for _, rows in found.groupby(["uid", "column"]):
        assert rows["effect"].abs().is_monotonic_decreasing
    assert said(found, "c", "Note") == [("Nothing here.", 0.0)]


def test_a_sentence_in_both_narratives_is_left_out_of_both_at_once():
    found = leave_one_out(Reader(), TEXTS, WANTED, TOY)
    twins = [pair for pair in said(found, "a") if "blue" in pair[0]]
    assert [text for text, _ in twins] == ["He felt blue.", "He felt blue!"]
    z = 2.0 - 1.0 + 0.5
    assert [effect for _, effect in twins] == pytest.approx([sigmoid(z / 2) - sigmoid((z - 2) / 2)] * 2)


def test_chunks_are_small_and_change_nothing(monkeypatch):
    whole, reader = leave_one_out(Reader(), TEXTS, WANTED, TOY), Reader()
    monkeypatch.setattr(evidence, "CHUNK_ROWS", 2)
    pd.testing.assert_frame_equal(leave_one_out(reader, TEXTS, WANTED, TOY), whole)
    assert max(reader.rows) == 2
    by_size = Reader()
    monkeypatch.setattr(evidence, "CHUNK_ROWS", 1000)
    monkeypatch.setattr(evidence, "CHUNK_CHARACTERS", 150)
    pd.testing.assert_frame_equal(leave_one_out(by_size, TEXTS, WANTED, TOY), whole)
    assert 1 < len(by_size.rows) < sum(by_size.rows)
    assert max(by_size.characters) <= 150 + by_size.rows[0]


def test_many_cases_are_read_in_one_call_and_other_cases_never():
    reader = Reader()
    leave_one_out(reader, TEXTS, WANTED[WANTED["uid"] != "c"], TOY)
    assert reader.rows == [1 + 4 + 1 + 2]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_narratives_pass_unharmed(text):
    texts = cases(a=(text, "He felt blue."), b=(None, "Calm."))
    found = leave_one_out(Reader(), texts, WANTED[:2], TOY)
    assert found["effect"].between(-1, 1).all()
    for row in found.itertuples():
        assert 0 <= row.start < row.end <= len(texts.loc[row.uid, row.text])
    if "blue" not in text:
        assert found.query("uid == 'a' and column == 'Sad'").iloc[0]["text"] == "Second"


def test_the_reading_of_an_endless_case_is_bounded_and_leaves_no_word_out():
    text = " ".join(f"Word{n} came." for n in range(20_000))
    found = passages({"First": text, "Second": ""})
    assert len(found) <= MOST_PASSAGES
    places = sorted(place for group in found for place in group)
    assert " ".join(text[a:b] for _, a, b in places) == text


def test_nothing_wanted_reads_nothing():
    reader = Reader()
    assert leave_one_out(reader, TEXTS, WANTED[:0], TOY).empty
    assert reader.rows == []


def test_an_unknown_case_is_named():
    with pytest.raises(InputError, match="uid z"):
        leave_one_out(Reader(), TEXTS, pd.DataFrame({"uid": ["z"], "column": ["Sad"]}), TOY)
