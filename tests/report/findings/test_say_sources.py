"""Sentences on sources read apart: true of whatever was found."""

import pandas as pd

from narrutils.findings.sources.disagreements import BY, COLUMNS, KNOWN
from narrutils.report.findings.say_sources import ONE_SOURCE, sources_apart, sources_disagree, sources_planted

PAIRS = pd.DataFrame(
    [["A", "so", "B", 10, 2, 4], ["A", "not", "B", 1, 3, 0], ["A", "silent", "B", 5, 0, 75]],
    columns=["source", "says", "other_source", "so", "not", "silent"],
)


def test_how_much_stands_in_one_source_alone():
    said = sources_apart(PAIRS).data
    assert "Of the 25 labels of binary variables" in said
    assert "9 (36.0\xa0%) are told by one of them alone" in said
    assert "3 are said by one and denied by the other" in said
    silent = PAIRS.assign(**{"so": 0, "not": 0, "silent": [0, 0, 9]})
    assert sources_apart(silent).data == "A and B are silent on every binary variable."
    assert sources_apart(PAIRS[:0]).data == ONE_SOURCE


def test_on_what_sources_disagree_and_what_there_is_to_decide():
    found = pd.DataFrame(columns=COLUMNS).astype({"label": "Int64"})
    counts = pd.DataFrame(
        [["site", "x", 3, True], ["variable", "Rash", 90, False]],
        columns=["by", "level", "cases", "too_small"],
    )
    assert sources_disagree(found, counts[:0]).data == ONE_SOURCE
    assert (
        sources_disagree(found, counts).data
        == "No two sources of a case disagree. Too few cases for figures: site x."
    )
    rows = [("a", "train", "Rash", 1), ("a", "test", "Fall", None), ("b", "train", "Rash", None)]
    rows = [dict(zip(("uid", "split", "variable", "label"), row)) for row in rows]
    said = sources_disagree(pd.DataFrame(rows, columns=COLUMNS), counts).data
    assert said.startswith("Sources disagree on 3 labels of 2 cases, most on Rash (2), Fall (1). 1 of them")
    assert set(counts) <= set(BY)


def test_what_is_known_of_planted_answers():
    assert (
        sources_planted(pd.DataFrame(columns=KNOWN)).data == "What each source was made to say is not known."
    )
    rows = [
        {"variable": "", "answer": a, "found": 2, "planted": 2} | dict.fromkeys(KNOWN[4:], 0.5)
        for a in ("so", "not")
    ]
    rows.append({"variable": "", "answer": "disagreement", "found": 0, "planted": 0})
    said = sources_planted(pd.DataFrame(rows, columns=KNOWN)).data
    assert "“says so” is right 0.500 [0.500, 0.500], and finds 0.500 [0.500, 0.500]" in said
    assert "“sources disagree” is never found, and was never planted" in said
