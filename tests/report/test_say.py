"""Sentences are true of the numbers they stand after: on both sides of zero, and where nothing is known."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from narrutils.evaluation.intervals import Interval, columns_of, in_columns, in_table
from narrutils.report import say
from narrutils.report.pages import read_page

SURE, UNSURE = "excludes zero", "holds zero"


def over(*gains: Interval) -> pd.DataFrame:
    """As of `Ladder.over_first`: steps a, b, c …, the first without a gain."""
    rows = [{"step": "a"}]
    rows += [{"step": name} | in_columns("gain", gain) for name, gain in zip("bcd", gains)]
    return in_table(rows, ["step", *columns_of("gain", "gain_on_test")])


@pytest.mark.parametrize(
    ("gain", "told", "verdict"),
    [
        (Interval(0.124, 0.102, 0.144), "gains 0.124 [0.102, 0.144]", SURE),
        (Interval(0.012, -0.004, 0.03), "gains 0.012 [−0.004, 0.030]", UNSURE),
        (Interval(-0.012, -0.03, 0.004), "loses 0.012 [−0.004, 0.030]", UNSURE),
        (Interval(-0.124, -0.144, -0.102), "loses 0.124 [0.102, 0.144]", SURE),
        (Interval(0.0, 0.0, 0.0), "gains 0.000 [0.000, 0.000]", UNSURE),
    ],
)
def test_a_gain_says_its_sign_and_whether_it_can_be_told(gain, told, verdict):
    said = say.gain(over(Interval(9, 9, 9), gain)).data
    assert told in said
    assert "The c " in said and " a;" in said
    assert (SURE in said, UNSURE in said) == (verdict == SURE, verdict == UNSURE)


def test_a_single_step_is_held_against_nothing():
    assert say.gain(over()).data == say.steps([entry("a", None)]).data
    assert "zero" not in say.gain(over()).data


def entry(step: str, gain: Interval | None, optimistic: bool = False, **place) -> dict:
    place = {"split": "oof", "against": "given", "thresholds": "cross_fitted"} | place
    score = {"average_f1": 0.5, "ci_low": 0.25, "ci_high": 0.75, "n": 1200}
    return {"step": step, "optimistic": optimistic} | place | score | in_columns("gain", gain)


LADDER = [
    entry("first", None),
    entry("up", Interval(0.1, 0.05, 0.2)),
    entry("down", Interval(-0.1, -0.2, -0.05)),
    entry("flat", Interval(0.1, -0.1, 0.2)),
]


def test_steps_are_told_by_what_they_gained():
    said = say.steps(LADDER).data
    gained, lost, neither = said.split(";")
    assert "gain for *up*" in gained and "loss for *down*" in lost and "neither for *flat*" in neither
    assert "first" not in said
    assert "loss" not in say.steps(LADDER[:2]).data and "neither" not in say.steps(LADDER[:2]).data


def test_a_score_is_the_last_step_s_and_unknown_labels_score_nothing():
    assert "flat scores 0.500 [0.250, 0.750]" in say.score(LADDER).data
    assert "1,200 cases" in say.score(LADDER).data
    assert "not known" in say.score(LADDER, "test").data
    assert "not known" in say.score(LADDER, against="truth").data
    known = [entry("tested", None, optimistic=True, split="test")]
    assert "tested" in say.score(known, "test").data
    assert "flatters" in say.score(known, "test").data
    assert "flatters" not in say.score(LADDER).data


def gaps(*rows: dict) -> pd.DataFrame:
    return in_table(rows, ["step", *columns_of("gap", "single", "averaging")])


def test_the_gap_is_that_of_single_models_where_they_are_known():
    below = in_columns("gap", Interval(-0.2, -0.3, -0.1))
    alike = in_columns("single", Interval(0.1, -0.1, 0.2))
    said = say.test_gap(gaps({"step": "a"} | below, {"step": "b"} | below | alike)).data
    assert "0.100 [−0.100, 0.200] more on the test" in said
    assert UNSURE in said and "1 of 1 step" in said
    said = say.test_gap(gaps({"step": "a"} | below, {"step": "b"} | below)).data
    assert "0.200 [0.100, 0.300] less on the test" in said
    assert SURE in said and "0 of 2 steps" in said
    assert "not known" in say.test_gap(gaps()).data


def test_the_submission_names_who_codes_it():
    table = pd.DataFrame({"uid": ["x", "y"], "Sad": 1, "Note": 0})
    said = say.handed_in(table, ["nb", "chars"]).data
    assert "2 test cases" in said and "2 variables" in said and "mean of *nb*, *chars*" in said
    assert "mean" not in say.handed_in(table, ["nb"]).data


def test_the_best_way_is_held_against_the_first():
    rows = [{"way": name, "average_f1": score} for name, score in (("half", 0.5), ("grid", 0.75))]
    rows[1] |= in_columns("gain", Interval(0.25, 0.1, 0.3))
    columns = ["way", "average_f1", *columns_of("gain")]
    said = say.ways(in_table(rows, columns)).data
    assert "*grid*, gains 0.250" in said and "*half*" in said and SURE in said
    said = say.ways(in_table([rows[0] | {"average_f1": 0.8}, rows[1]], columns)).data
    assert "*half*" in said and "grid" not in said


def test_a_member_alone_is_not_missed():
    columns = ["member", "share", *columns_of("gain")]
    assert "*" not in say.each_member(in_table([], columns)).data
    table = in_table([{"member": "nb", "share": 1} | in_columns("gain", Interval(1, -1, 2))], columns)
    assert "neither for *nb*" in say.each_member(table).data


def test_variables_are_told_by_score_and_width():
    table = pd.DataFrame({"score": [0.9, 0.1, 0.5], "low": [0.8, 0.0, 0.2], "high": 0.95}, index=list("ABC"))
    said = say.variables(table).data
    assert (
        "A is read best, 0.900, B worst, 0.100" in said and "of B is least sure, its interval 0.950" in said
    )


def test_flags_say_how_many_cases_a_person_decides():
    flagging = {"share": 0.25, "accuracy": 0.95, "accuracy_of_all": 0.9, "cut": 1.5}
    said = say.flags(flagging, 80).data
    assert "20 of 80 cases" in said and "95.0" in said and "90.0" in said and "1.50" in said
    assert "right" not in say.flags(flagging | {"accuracy": np.nan, "share": 1.0}, 80).data


def test_a_queue_says_of_what_kinds_its_labels_are():
    doubts = pd.DataFrame({"direction": ["missed", "missed", "other"], "probability": [0.9, 0.8, 0.4]})
    said = say.queue(doubts).data
    assert "estimate" in said and "no finding" in said
    assert "3 labels" in said and "2 missed, 1 other" in said and " 2 of them are wrong" in said
    assert "0 labels" in say.queue(doubts[:0]).data and "wrong" not in say.queue(doubts[:0]).data


def test_evidence_takes_the_strongest_sentence_of_each_doubt():
    effects = pd.DataFrame({"uid": list("xxyz"), "column": "c", "effect": [0.1, -0.4, 0.2, 0.3]})
    said = say.evidence(effects).data
    assert "3 doubts" in said and "0.300 in the median, 0.400 at most" in said
    assert "No evidence" in say.evidence(effects[:0]).data


def test_generated_rows_are_told_with_the_most_frequent_refusal():
    counts = pd.DataFrame({"total": [3, 1, 4]}, index=["kept", "loop", "echo"])
    said = say.kept(counts).data
    assert "3 of 8 generated rows" in said and "echo (4)" in said
    assert "reason" not in say.kept(counts[:1]).data
    assert "0 of 0" in say.kept(counts * 0).data


def test_changed_labels_are_judged_only_where_the_truth_is_known():
    table = pd.DataFrame({"changed": [3, 1], "found": [2, 1], "wrong": [5, 2]})
    said = say.changed(table, 2000).data
    assert "4 of 2,000 labels" in said and "3 of the changes agree" in said and "7 given labels" in said
    assert "truth" not in say.changed(table[["changed"]], 2000).data


def test_a_previous_run_is_held_against_if_there_is_one():
    assert "no other" in say.previous(None).data
    assert "loses 0.100" in say.previous(Interval(-0.1, -0.2, 0.0)).data


def test_missing_labels_are_counted_and_none_is_passed_over_in_silence():
    labels = pd.DataFrame({"Sad": [1, 0, 1], "Note": [0, 0, 1]}, index=list("abc"))
    assert say.missing(labels).data == say.missing(labels, labels).data == ""
    some = labels.astype("Int64")
    some.loc["a"], some.loc["b", "Note"] = pd.NA, pd.NA
    said = say.missing(some, labels).data
    assert "3 of 6 labels of the official cases are missing, all of 1 case among them." in said
    assert "at random" in said and "test" not in said and "no score" not in said
    both = say.missing(some.assign(Sad=pd.NA), some.iloc[1:]).data
    assert "; 1 of 4 labels of the test cases are missing. " in both
    assert "No label is given of *Sad*" in both


def test_the_conclusion_repeats_what_was_said():
    first, second = say.score(LADDER), say.score(LADDER, "test")
    assert say.conclusion(first, second).data.splitlines() == [f"- {first.data}", f"- {second.data}"]


def test_a_sentence_is_a_paragraph_of_the_report_and_the_conclusion_a_list(tmp_path):
    sentence = say.steps(LADDER)
    outputs = [
        new_output("execute_result", {"text/markdown": said._repr_markdown_(), "text/plain": "<object>"})
        for said in (sentence, say.conclusion(sentence))
    ]
    notebook = new_notebook(cells=[new_code_cell("say.steps(entries)", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "06_toy.ipynb")
    (cell,) = read_page(tmp_path / "06_toy.ipynb").cells
    paragraph, items = (str(output["html"]) for output in cell["outputs"])
    assert paragraph.startswith("<p>") and "<em>up</em>" in paragraph
    assert items.count("<li>") == 1


def kin(sets: list[int], twins: list[str]) -> pd.DataFrame:
    """As `clusters.parquet`."""
    numbers = pd.array([*sets, *[None] * len(twins)], "Int64")
    return pd.DataFrame({"cluster": numbers, "twin": [*[""] * len(sets), *twins]})


def test_cases_that_belong_together_are_counted():
    said = say.together(kin([0, 0, 1, 2, 2, 2, 3], ["u1", ""]), 0.5).data
    assert "5 of 7 training cases belong to 2 sets, the largest of 3" in said
    assert "1 of 2 test cases belong to a training case" in said
    assert "from a similarity of 0.5 on" in said and "drawn" not in said
    said = say.together(kin([0, 1], [""]), 0).data
    assert "No training case belongs to another. No test case belongs to a training case." in said
    assert "not compared" in said
    assert "2 training cases were drawn, not 3" in say.together(kin([0, 0], [""]), 1, 3).data
    assert "drawn" not in say.together(kin([0, 0], [""]), 1, 2).data


PARTS = ["step", "part", *columns_of("average_f1"), "n"]


def test_test_cases_with_a_twin_are_told_apart():
    rows = [("a", "all", 0.5, 0.4, 0.6, 9), ("a", "without a twin", 0.4, 0.3, 0.5, 8)]
    rows += [("a", "with a twin", 0.9, 0.8, 1.0, 1)]
    said = say.apart(pd.DataFrame(rows, columns=PARTS), pd.Series(["u", ""])).data
    assert "0.400 [0.300, 0.500] on 8 test cases without a twin" in said
    assert "0.900 [0.800, 1.000] on 1 test case with a twin" in said and "0.500 [0.4" not in said
    assert say.apart(pd.DataFrame(rows[:0], columns=PARTS), pd.Series(["u"])).data == say.UNKNOWN["given"]
    assert "No test case" in say.apart(pd.DataFrame(rows[:0], columns=PARTS), pd.Series([""])).data
