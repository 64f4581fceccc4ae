"""Few-shot prompts: one fold, one seed, within the words allowed; and answers read back."""

import pandas as pd
import pytest

from narrutils.errors import InputError
from narrutils.prompts import SEPARATOR, few_shot, headings, split_story
from narrutils.schema import load_schema, parse_schema

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
FORMS = ("chat", "completion")


@pytest.fixture
def cases():
    rows = {f"c{n:03d}": [f"law{n} " * 50, f"exam{n}\nline " * 25] for n in range(40)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=SCHEMA.text_columns).rename_axis("uid")


@pytest.fixture
def folds(cases):
    return pd.Series(range(len(cases)), index=cases.index) % 4


def everything(prompt):
    return prompt.text + " ".join(m["content"] for m in prompt.messages)


@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_shows_cases_of_one_fold_only(cases, folds, form):
    prompt = few_shot(cases, folds, 2, SCHEMA, seed=1, index=0, form=form)
    assert prompt.seen_folds == (2,)
    assert set(folds[list(prompt.example_uids)]) == {2}
    assert len(set(prompt.example_uids)) == len(prompt.example_uids) == 7
    others = [f"law{n} " for n in range(40) if f"c{n:03d}" not in prompt.example_uids]
    assert not any(text in everything(prompt) for text in others)


@pytest.mark.parametrize("form", FORMS)
def test_the_prompt_stays_within_its_words_but_keeps_the_first_example(cases, folds, form):
    long = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0, form=form, max_words=420)
    assert 1 < len(long.example_uids) < 7 and len(everything(long).split()) <= 420
    short = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0, form=form, max_words=10)
    assert short.example_uids == long.example_uids[:1]


def test_the_same_seed_and_index_give_the_same_prompt_in_any_row_order(cases, folds):
    ask = {"schema": SCHEMA, "seed": 5, "form": "chat"}
    one = few_shot(cases, folds, 1, index=3, **ask)
    assert one == few_shot(cases[::-1], folds.sample(frac=1, random_state=0), 1, index=3, **ask)
    assert one.example_uids != few_shot(cases, folds, 1, index=4, **ask).example_uids


def test_cases_with_an_empty_part_are_no_examples(cases, folds):
    cases.loc[folds.index[folds == 0][1:], "NarrativeCME"] = [None, "", "  "] * 3
    prompt = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0)
    assert prompt.example_uids == (folds.index[0],)
    with pytest.raises(InputError, match="fold 9 has no case"):
        few_shot(cases, folds, 9, SCHEMA, seed=1, index=0)


def test_a_completion_breaks_off_on_the_first_heading_of_the_next_case(cases, folds):
    prompt = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0, form="completion", max_examples=2)
    assert prompt.text.endswith(f"{SEPARATOR} 3\n\n{headings(SCHEMA)[0]}")
    assert prompt.text.count(SEPARATOR) == 3
    assert prompt.following == ("Coroner / medical-examiner report:",)


def test_an_answer_ends_with_its_last_part(cases, folds):
    prompt = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0, form="completion")
    assert not prompt.is_answered("\nFirst part.\n\n")
    assert not prompt.is_answered("\nFirst part.\n\nCoroner / medical-examiner report:\n\nSecond")
    assert prompt.is_answered("\nFirst part.\n\nCoroner / medical-examiner report:\nSecond part.\n\n")
    assert prompt.is_answered(f"\nFirst part.\n\n{SEPARATOR} 4")


def test_a_heading_is_due_after_each_part_but_the_last(cases, folds):
    prompt = few_shot(cases, folds, 0, SCHEMA, seed=1, index=0, form="completion")
    assert prompt.next_heading("\nFirst part.\n\n") == "Coroner / medical-examiner report:"
    assert prompt.next_heading("\n\nFirst part.") is None
    assert prompt.next_heading("\nFirst.\n\nCoroner / medical-examiner report:\nSecond.\n\n") is None


@pytest.mark.parametrize(
    "answer",
    [
        "\nOne.\n\nCoroner / medical-examiner report:\nTwo.\n\n### Case 4\n\nLaw-enforcement report:\nX",
        "\nLaw-enforcement report:\nOne.\n\nCoroner / medical-examiner report: Two.\n\nSurplus",
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


@pytest.mark.parametrize("answer", ["Only one.", "One.\n\nTwo.\n\nThree."])
def test_parts_that_cannot_be_told_apart_stay_together_in_the_first(answer):
    parts = split_story(answer, SCHEMA, "chat")
    assert parts["NarrativeCME"] is None and parts["NarrativeLE"] == " ".join(answer.split())


def test_any_number_of_text_columns():
    text = [{"name": n, "title": f"{n} report"} for n in ("a", "b", "c")]
    three = parse_schema({"name": "t", "text": text, "variables": [{"name": "X"}]}, "t")
    cases = pd.DataFrame([["x", "y", "z"]], columns=["a", "b", "c"], index=["u"])
    prompt = few_shot(cases, pd.Series([0], index=["u"]), 0, three, 0, 0, "completion")
    assert prompt.following == ("B report:", "C report:")
    assert prompt.next_heading("1\n\nB report:\n2\n\n") == "C report:"
    assert prompt.next_heading("1\n\nB report:\n2") is None
    assert split_story("1\n\nB report:\n2\n\nC report:\n3", three, "completion") == {
        "a": "1",
        "b": "2",
        "c": "3",
    }
    one = parse_schema({"name": "t", "text": text[:1], "variables": [{"name": "X"}]}, "t")
    assert split_story("alone\n\n### Case 2", one, "completion") == {"a": "alone"}
    assert few_shot(cases, pd.Series([0], index=["u"]), 0, one, 0, 0, "completion").is_answered("alone\n\n")


def test_an_unknown_form_is_refused(cases, folds):
    with pytest.raises(InputError, match="chat or completion"):
        few_shot(cases, folds, 0, SCHEMA, 0, 0, form="poem")
