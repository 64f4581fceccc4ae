"""Narratives on a page: hidden unless allowed, and never markup."""

import pandas as pd
from toys import TOY, uids

from narrutils.report.show import HIDDEN, show_cases

ROWS = pd.DataFrame(
    {
        "First": ["<script>alert(1)</script> & $5 and $6", ""],
        "Second": ["plain words", "*stars*"],
        "reason": ["too <short>", "kept"],
    },
    index=uids(2),
)


def test_hidden_narratives_are_nowhere_on_the_page():
    page = show_cases(ROWS, TOY, show_text=False, columns=["reason"]).data
    assert HIDDEN in page
    assert "u000" in page
    assert "too &lt;short&gt;" in page
    for text in ("script", "alert", "plain words", "stars"):
        assert text not in page


def test_a_narrative_is_shown_as_data():
    page = show_cases(ROWS, TOY, show_text=True).data
    assert HIDDEN not in page
    assert "plain words" in page
    assert "u001" in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in page
    assert "$" not in page
    assert "&#36;5 and &#36;6" in page
    assert "<em>empty</em>" in page
    assert "too" not in page


def test_every_text_column_is_shown_under_its_title():
    page = show_cases(ROWS[:1], TOY, show_text=True).data
    assert page.count("<strong>") == len(TOY.text)
    assert "<strong>Second</strong>" in page


def test_evidence_marks_its_sentences_and_leaves_the_text_whole():
    text = "He left. <b>Nobody</b> saw. It rained."
    rows = pd.DataFrame({"First": text, "Second": ""}, index=["u000"])
    effects = [("First", 9, 27, 0.4), ("First", 0, 8, -0.2), ("First", 28, 38, 0.01)]
    evidence = pd.DataFrame(effects, columns=["text", "start", "end", "effect"])
    page = show_cases(rows, TOY, show_text=True, evidence=evidence).data
    assert page.count("<span") == 2 and "It rained.</p>" in page
    assert ">&lt;b&gt;Nobody&lt;/b&gt; saw.</span>" in page
    solid, dotted = page.index("solid"), page.index("dotted")
    assert dotted < page.index("He left.") < solid < page.index("Nobody")
    assert "<span" not in show_cases(rows, TOY, show_text=False, evidence=evidence).data
    assert "<span" not in show_cases(rows, TOY, show_text=True, evidence=evidence[:0]).data
