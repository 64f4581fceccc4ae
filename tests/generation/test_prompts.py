"""Prompts: one fold, one seed, within the words allowed; labels asked for and shown where they belong."""

from os.path import commonprefix

import pandas as pd
import pytest
from toys import random_labels

from narrutils.data.intake.schema_file import load_schema, parse_schema
from narrutils.errors import InputError
from narrutils.generation.conditioning import NOTHING
from narrutils.generation.prompts import (
    SEPARATOR,
    Examples,
    Story,
    document,
    few_shot,
    headings,
    instructions,
    shortened,
)
from narrutils.models.backbones import load_tokenizer, resolve

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
FORMS = ("chat", "completion")
LABELS = random_labels(SCHEMA, 40).set_axis([f"c{n:03d}" for n in range(40)])
REQUESTED = {v.name: v.codes[-1] for v in SCHEMA.variables} | {"Argument": 0, "SuicideNote": 0}


@pytest.fixture
def cases():
    rows = {f"c{n:03d}": [f"law{n} " * 50, f"exam{n}\nline " * 25] for n in range(40)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=SCHEMA.text_columns).rename_axis("uid")


@pytest.fixture
def folds(cases):
    return pd.Series(range(len(cases)), index=cases.index) % 4


@pytest.fixture
def examples(cases, folds):
    return Examples(cases, folds, SCHEMA, LABELS)


def everything(prompt):
    return prompt.text + "\n\n".join(m["content"] for m in prompt.messages)


def sentences_in(text):
    """Variable and code of every description that stands in a text."""
    return {(v.name, c) for v in SCHEMA.variables for c in v.codes if c and v.sentence(c) in text}


def true_of(codes):
    return {(v.name, codes[v.name]) for v in SCHEMA.variables if codes[v.name]}


@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_shows_cases_of_one_fold_only(examples, folds, form):
    prompt = few_shot(examples, 2, seed=1, index=0, form=form)
    assert prompt.seen_folds == (2,)
    assert set(folds[list(prompt.example_uids)]) == {2}
    assert len(set(prompt.example_uids)) == len(prompt.example_uids) == 7
    shown = {n for n in range(40) if f"law{n} " in everything(prompt)}
    assert shown == {int(uid[1:]) for uid in prompt.example_uids}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("requested", [None, REQUESTED], ids=["unlabelled", "labelled"])
def test_the_prompt_stays_within_its_words_but_keeps_the_first_example(examples, form, requested):
    ask = {"seed": 1, "index": 0, "form": form, "requested": requested}
    long = few_shot(examples, 0, max_words=1100, max_examples=99, **ask)
    count = len(long.example_uids)
    assert 1 < count < 10 and len(everything(long).split()) <= 1100
    one_more = few_shot(examples, 0, max_words=10**6, max_examples=count + 1, **ask)
    assert len(everything(one_more).split()) > 1100
    short = few_shot(examples, 0, max_words=10, **ask)
    assert short.example_uids == long.example_uids[:1]


def test_a_first_example_is_shortened_fairly_and_one_that_fits_stays_whole():
    story = Story(("short part of five words", " ".join(f"word{n}" for n in range(100))), ("True.",))
    cut = shortened(story, 25)
    assert cut.parts[0] == story.parts[0] and cut.settings == story.settings
    assert cut.parts[1].split() == story.parts[1].split()[:20]
    assert shortened(story, 105) is story
    told = "One ends here. Two goes on and on. Three is long and has no end that is in reach"
    assert shortened(Story((told,)), 12).parts == ("One ends here. Two goes on and on.",)
    assert shortened(Story((told,)), 2).parts == ("One ends",)


def test_the_same_seed_and_index_give_the_same_prompt_in_any_row_order(cases, folds):
    ask = {"seed": 5, "form": "completion", "requested": REQUESTED}
    one, same = (
        Examples(c, f, SCHEMA, labels)
        for c, f, labels in (
            (cases, folds, LABELS),
            (cases[::-1], folds.sample(frac=1, random_state=0), LABELS.sample(frac=1, random_state=1)),
        )
    )
    prompt = few_shot(one, 1, index=3, **ask)
    assert prompt == few_shot(same, 1, index=3, **ask)
    assert prompt.example_uids != few_shot(one, 1, index=4, **ask).example_uids
    assert prompt.example_uids != few_shot(one, 1, index=3, **ask | {"seed": 6}).example_uids


def test_cases_with_an_empty_part_are_no_examples(cases, folds):
    cases.loc[folds.index[folds == 0][1:], "NarrativeCME"] = [None, "", "  "] * 3
    examples = Examples(cases, folds, SCHEMA)
    assert few_shot(examples, 0, seed=1, index=0).example_uids == (folds.index[0],)
    with pytest.raises(InputError, match="fold 9 has no case"):
        few_shot(examples, 9, seed=1, index=0)


def test_a_completion_breaks_off_on_the_first_heading_of_the_next_case(examples):
    for requested in (None, REQUESTED):
        prompt = few_shot(
            examples, 0, seed=1, index=0, form="completion", max_examples=2, requested=requested
        )
        assert prompt.text.endswith(f"\n\n{headings(SCHEMA)[0]}\n")
        assert prompt.text.count(SEPARATOR) == 3 and f"{SEPARATOR} 3\n\n" in prompt.text
        assert prompt.following == ("Coroner / medical-examiner report:",)


@pytest.mark.parametrize("form", FORMS)
def test_requested_labels_are_told_as_sentences_and_no_negative_is(examples, form):
    prompt = few_shot(examples, 0, seed=1, index=0, form=form, requested=REQUESTED, max_examples=1)
    request = everything(prompt).split(f"{SEPARATOR} 2")[-1]  # a completion's examples tell theirs before
    assert sentences_in(request) == true_of(REQUESTED)
    assert prompt.requested == REQUESTED
    plain = few_shot(examples, 0, seed=1, index=0, form=form, max_examples=1)
    assert sentences_in(everything(plain)) == set() and plain.requested is None


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_settings_is_shuffled_anew(examples, form):
    def order(index):
        text = everything(few_shot(examples, 0, 1, index, form, max_examples=0, requested=REQUESTED))
        return sorted((v for v in SCHEMA.binary if REQUESTED[v.name]), key=lambda v: text.index(v.sentence()))

    assert order(0) == order(0)
    assert order(0) != order(1) != [v for v in SCHEMA.binary if REQUESTED[v.name]]


def test_a_request_without_a_positive_says_so(examples):
    binary = parse_schema({"name": "t", "text": [{"name": "a"}], "variables": [{"name": "X"}]}, "t")
    cases = pd.DataFrame({"a": ["text"]}, index=["u"])
    known = Examples(cases, pd.Series([0], index=["u"]), binary, pd.DataFrame({"X": [1]}, index=["u"]))
    for form in FORMS:
        assert NOTHING in everything(few_shot(known, 0, 0, 0, form, requested={"X": 0}))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_cases_are_shown_with_and_without_labels(examples, form):
    for index in range(5):
        plain = few_shot(examples, 1, seed=3, index=index, form=form, max_words=10**6)
        asked = few_shot(examples, 1, seed=3, index=index, form=form, max_words=10**6, requested=REQUESTED)
        assert plain.example_uids == asked.example_uids


def test_a_labelled_completion_tells_each_examples_own_labels(examples):
    prompt = few_shot(examples, 0, seed=1, index=0, form="completion", requested=REQUESTED)
    blocks = prompt.text.split(SEPARATOR)[1:-1]
    assert len(blocks) == len(prompt.example_uids) > 1
    for uid, block in zip(prompt.example_uids, blocks, strict=True):
        assert examples.parts[uid][0] in block
        assert sentences_in(block) == true_of(LABELS.loc[uid])


def test_a_labelled_prompt_shows_cases_with_something_to_tell_and_tells_what_is_given(cases, folds):
    labels, own = LABELS.astype("Int64"), folds.index[folds == 0]
    labels.loc[own[3:]] = pd.NA
    labels.loc[own[0], "Argument"] = pd.NA
    some = Examples(cases, folds, SCHEMA, labels)
    prompt = few_shot(some, 0, 1, 0, "completion", requested=REQUESTED)
    assert set(prompt.example_uids) == set(own[:3])
    for uid, block in zip(prompt.example_uids, prompt.text.split(SEPARATOR)[1:-1], strict=True):
        assert sentences_in(block) == true_of(labels.loc[uid].dropna().reindex(SCHEMA.names, fill_value=0))
    assert len(few_shot(some, 0, 1, 0, "completion").example_uids) == 7
    labels.loc[own] = pd.NA
    none = few_shot(Examples(cases, folds, SCHEMA, labels), 0, 1, 0, "completion", requested=REQUESTED)
    assert len(none.example_uids) == 7 and none.text.count("What is known") == 1


def test_a_chat_does_not_tell_its_examples_labels(examples):
    prompt = few_shot(examples, 0, seed=1, index=0, form="chat", requested=REQUESTED)
    shown = everything(prompt).split("Now draft")[0]
    assert len(prompt.example_uids) > 1 and sentences_in(shown) == set()


@pytest.mark.parametrize("form", FORMS)
def test_no_examples_at_all(examples, form):
    prompt = few_shot(examples, 1, seed=1, index=0, form=form, max_examples=0)
    assert prompt.example_uids == () and prompt.seen_folds == (1,)
    assert "law" not in everything(prompt).replace("law-enforcement", "")
    if form == "completion":
        assert prompt.text.endswith(f"{SEPARATOR} 1\n\n{headings(SCHEMA)[0]}\n")


@pytest.mark.parametrize("requested", [None, REQUESTED], ids=["unlabelled", "labelled"])
@pytest.mark.models
def test_an_adapter_is_taught_to_go_on_with_what_it_is_asked(examples, requested):
    """Its prompt is the very text of a request, and its answer what a case looks like there."""
    asked = few_shot(examples, 0, 1, 0, "completion", max_examples=0, requested=requested).text
    order = sorted(true_of(REQUESTED), key=lambda v: asked.find(SCHEMA[v[0]].sentence(v[1])))
    settings = tuple(SCHEMA[name].sentence(code) for name, code in order) if requested else ()
    prompt, answer = document(Story(("One.", "Two."), settings), SCHEMA)
    assert prompt == asked
    assert answer == f"One.\n\n{headings(SCHEMA)[1]}\nTwo.\n\n{SEPARATOR}"
    tokenizer = load_tokenizer(resolve("smollm2-135m"))
    whole = tokenizer(prompt + answer)["input_ids"]
    assert whole[: len(tokenizer(asked)["input_ids"])] == tokenizer(asked)["input_ids"]


def test_a_taught_document_is_the_beginning_of_a_few_shot_prompt(examples):
    """So an adapted generator may be shown examples too, and knows them."""
    shown = few_shot(examples, 0, 1, 0, "completion", max_examples=1)
    prompt, answer = document(examples.story(shown.example_uids[0]), SCHEMA)
    assert shown.text.startswith(prompt + answer)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("requested", [None, REQUESTED], ids=["unlabelled", "labelled"])
def test_what_all_prompts_share_stands_first(examples, form, requested):
    """An engine with a prefix cache reads that part once."""
    told = [
        everything(few_shot(examples, n % 4, seed=n, index=n, form=form, requested=requested))
        for n in range(8)
    ]
    shared = commonprefix(told)
    opening = instructions(SCHEMA)
    system, completion = opening[0], opening[2].split(headings(SCHEMA)[0])[0]
    if form == "completion":
        assert shared.startswith(completion)
    else:
        assert shared.startswith(f"{system}\n\nBelow are case files.")
        assert SCHEMA.text[-1].title in shared and "Example 1:" in shared


def test_the_instructions_hold_no_case_and_stand_in_every_prompt(examples):
    told = " ".join(instructions(SCHEMA))
    assert "exam0" not in told and not any(f"law{n}" in told for n in range(40))
    assert sentences_in(told) == set()
    assert SCHEMA.caution in told and "What is known" in told and "All of this holds" in told
    words = set(told.split())
    for form in FORMS:
        prompt = few_shot(examples, 0, 1, 0, form, max_examples=0, requested=REQUESTED)
        own = everything(prompt)
        for name, code in true_of(REQUESTED):
            own = own.replace(SCHEMA[name].sentence(code), "")
        assert set(own.split()) <= words


def test_any_number_of_text_columns():
    text = [{"name": n, "title": f"{n} report"} for n in ("a", "b", "c")]
    three = parse_schema({"name": "t", "text": text, "variables": [{"name": "X"}]}, "t")
    one = parse_schema({"name": "t", "text": text[:1], "variables": [{"name": "X"}]}, "t")
    cases = pd.DataFrame([["x", "y", "z"]], columns=["a", "b", "c"], index=["u"])
    folds = pd.Series([0], index=["u"])
    prompt = few_shot(Examples(cases, folds, three), 0, 0, 0, "completion")
    assert prompt.following == ("B report:", "C report:")
    assert "3 paragraphs" in everything(few_shot(Examples(cases, folds, three), 0, 0, 0, "chat"))
    alone = few_shot(Examples(cases, folds, one), 0, 0, 0, "completion")
    assert alone.following == () and alone.text.endswith("A report:\n")
    assert "one paragraph" in everything(few_shot(Examples(cases, folds, one), 0, 0, 0, "chat"))
    assert document(Story(("1", "2", "3")), three)[1] == "1\n\nB report:\n2\n\nC report:\n3\n\n### Case"
    assert document(Story(("1",)), one)[1] == "1\n\n### Case"
