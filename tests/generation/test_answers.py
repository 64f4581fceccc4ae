"""Answers read back: one text a column, or the whole kept together."""

import pytest

from narrutils.data.intake.schema_file import load_schema, parse_schema
from narrutils.generation.answers import split_story

SCHEMA = load_schema("params/schemas/nvdrs.yaml")


@pytest.mark.parametrize(
    "answer",
    [
        "One.\n\nCoroner / medical-examiner report:\nTwo.",
        "\nOne.\n\nCoroner / medical-examiner report:\nTwo.\n\n### Case 4\n\nLaw-enforcement report:\nX",
        "\nLaw-enforcement report:\nOne.\n\nCoroner / medical-examiner report: Two.\n\nSurplus",
        "One.\n\nCoroner / medical-examiner report:\nCoroner / medical-examiner report:\nTwo.",
    ],
)
def test_a_completion_is_read_by_its_headings(answer):
    parts = split_story(answer, SCHEMA, "completion")
    assert parts == {"NarrativeLE": "One.", "NarrativeCME": "Two."}


@pytest.mark.parametrize(
    "answer",
    [
        "One.\n\nTwo.",
        " One.\nTwo.\n",
        "**Law-enforcement report:** One.\n\n**Coroner / medical-examiner report:** Two.",
    ],
)
def test_a_chat_answer_is_read_by_paragraphs_or_headings(answer):
    assert split_story(answer, SCHEMA, "chat") == {"NarrativeLE": "One.", "NarrativeCME": "Two."}


@pytest.mark.parametrize("answer", ["Only one.", "One.\n\nTwo.\n\nThree.", ""])
def test_parts_that_cannot_be_told_apart_stay_together_in_the_first(answer):
    parts = split_story(answer, SCHEMA, "chat")
    assert parts["NarrativeCME"] is None and parts["NarrativeLE"] == " ".join(answer.split())


def test_headings_in_another_order_stay_together():
    answer = "Coroner / medical-examiner report:\nTwo.\n\nLaw-enforcement report:\nOne.\n\nThree."
    assert split_story(answer, SCHEMA, "chat")["NarrativeCME"] is None


def test_a_completion_without_its_last_heading_stays_together_without_the_first():
    assert split_story("One.\n\nTwo.", SCHEMA, "completion") == {
        "NarrativeLE": "One. Two.",
        "NarrativeCME": None,
    }


def test_an_empty_part_is_empty_and_the_others_keep_their_places():
    answer = "\n\nCoroner / medical-examiner report:\nTwo."
    assert split_story(answer, SCHEMA, "completion") == {"NarrativeLE": "", "NarrativeCME": "Two."}


def test_any_number_of_text_columns():
    text = [{"name": n, "title": f"{n} report"} for n in ("a", "b", "c")]
    three = parse_schema({"name": "t", "text": text, "variables": [{"name": "X"}]}, "t")
    told = split_story("1\n\nB report:\n2\n\nC report:\n3", three, "completion")
    assert told == {"a": "1", "b": "2", "c": "3"}
    one = parse_schema({"name": "t", "text": text[:1], "variables": [{"name": "X"}]}, "t")
    assert split_story("alone\n\n### Case 2", one, "completion") == {"a": "alone"}
    assert split_story("alone", one, "chat") == {"a": "alone"}
