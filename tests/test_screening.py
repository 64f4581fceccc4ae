"""Screening: the right reason for each planted fault, and real cases let through."""

import pandas as pd
import pytest

from narrutils.demo import write_demo_data
from narrutils.overlap import Copies, NearDuplicates
from narrutils.paths import PROJECT
from narrutils.schema import load_schema
from narrutils.screening import screen, summary

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
OSHA = PROJECT.parent / "shared" / "data" / "osha_abstracts"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_data(folder, cases=250, seed=3)
    cases = pd.read_csv(folder / "train_features.csv").set_index("uid")
    return cases[cases.notna().all(axis=1)]


@pytest.fixture(scope="module")
def folds(official):
    return pd.Series(range(len(official)), index=official.index) % 4


@pytest.fixture
def good(official):
    """A case that passes: sentences of many official ones, none of their long runs."""
    texts = {}
    for n, column in enumerate(SCHEMA.text_columns):
        sentences = [text.split(".")[2 + k % 3].strip() for k, text in enumerate(official[column][n::9])]
        texts[column] = ". ".join(dict.fromkeys(s for s in sentences if s))[:700]
    return texts


def reason(official, folds, **texts):
    row = {"uid": "p-000000", "pool": "p", "seen_folds": [0], **texts}
    return screen(pd.DataFrame([row]), official, folds, SCHEMA)["reason"].iloc[0]


def test_a_plausible_case_is_kept(official, folds, good):
    assert reason(official, folds, **good) == ""


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("refusal", "I'm sorry, but I cannot write this."),
        ("refusal", "As an AI language model I have no access to case files."),
        ("refusal", "Certainly! Here is a new case file."),
        ("echo", "### Case 5"),
        ("echo", "Law-enforcement report: V was found."),
        ("echo", "Coroner / medical examiner report: V was found."),
        ("echo", "**Summary** V was found."),
        ("echo", "Reply with the case file alone, without a title, a heading or a remark."),
        ("language", "Сотрудники полиции прибыли на место происшествия в квартиру вечером."),
        ("language", "qwrt zxplk vbnmq asdfgh plokij mnbvc qazwsx edcrfv tgbyhn ujmik olpqa wsxed " * 2),
    ],
)
def test_a_faulty_part_gets_its_reason(official, folds, good, rule, text):
    assert reason(official, folds, **good | {"NarrativeLE": text}).startswith(f"{rule}: ")


def test_one_paragraph_alone_lacks_a_part(official, folds, good):
    for nothing in (None, "", " . "):
        found = reason(official, folds, **good | {"NarrativeCME": nothing})
        assert found == "parts: NarrativeCME is empty"


def test_words_said_over_and_over(official, folds, good):
    loop = good["NarrativeLE"][:200] + " V was at home with a friend." * 12
    assert reason(official, folds, **good | {"NarrativeLE": loop}).startswith("repetition: ")


def test_the_same_text_twice(official, folds, good):
    same = good | {"NarrativeCME": good["NarrativeLE"].upper()}
    assert reason(official, folds, **same).startswith("same parts: ")


def test_lengths_are_held_against_the_fold_of_the_prompt_alone(official, folds, good):
    short = good | {"NarrativeLE": "V was found at home."}
    assert reason(official, folds, **short).startswith("length: NarrativeLE has 5 words")
    tiny = official.copy()
    tiny.loc[folds.index[folds != 0], "NarrativeLE"] = "V was found at home."
    assert reason(tiny, folds, **short).startswith("length: ")


def test_a_copied_passage_names_its_source(official, folds, good):
    source = official["NarrativeCME"].str.split().str.len().idxmax()
    passage = " ".join(official.at[source, "NarrativeCME"].split()[:60])
    found = reason(official, folds, **good | {"NarrativeCME": f"{good['NarrativeCME'][:200]}. {passage}"})
    assert found.startswith("copy: ") and found.endswith(f"from case {source}")


def test_a_copied_case_is_not_kept_nor_a_row_made_twice(official, folds, good):
    texts = official.iloc[0][SCHEMA.text_columns].to_dict()
    texts = {c: " ".join(w for n, w in enumerate(t.split()) if n % 35 != 34) for c, t in texts.items()}
    assert reason(official, folds, **texts) == f"near-duplicate: nearly the same as {official.index[0]}"
    rows = [{"uid": f"p-{n}", "pool": "p", "seen_folds": [n], **good} for n in range(2)]
    out = screen(pd.DataFrame(rows), official, folds, SCHEMA)
    assert out["kept"].tolist() == [True, False]
    assert out["reason"].tolist() == ["", "near-duplicate: nearly the same as p-0"]


def test_no_reason_holds_narrative_text(official, folds, good):
    texts = official.iloc[1][SCHEMA.text_columns].to_dict()
    found = reason(official, folds, **texts)
    assert found and not any(" ".join(text.split()[:4]) in found for text in texts.values())


def passing(cases, schema):
    folds = pd.Series(range(len(cases)), index=cases.index) % 4
    # Held against another fold, so that bounds and vocabulary have not seen the case itself.
    rows = cases.reset_index().assign(pool="official", seen_folds=[[(f + 1) % 4] for f in folds])
    return screen(rows, cases, folds, schema)


def test_real_cases_pass(official):
    assert passing(official, SCHEMA)["kept"].mean() >= 0.95


@pytest.mark.skipif(not OSHA.is_dir(), reason="the public OSHA abstracts are not beside the project")
def test_real_public_cases_pass():
    cases = pd.read_csv(OSHA / "train_features.csv", nrows=1000).set_index("uid").dropna()
    assert passing(cases, load_schema("params/schemas/osha.yaml"))["kept"].mean() >= 0.95


def test_the_summary_counts_every_row():
    rows = pd.DataFrame(
        {
            "pool": ["a", "a", "b", "b"],
            "kept": [True, False, False, False],
            "reason": ["", "length: x", "echo: y", "length: z"],
        }
    )
    table = summary(rows)
    assert table.index.tolist() == ["kept", "echo", "length"]
    assert table.loc["length"].to_dict() == {"a": 1, "b": 1, "total": 2}
    assert table["total"].sum() == len(rows)


def test_the_longest_shared_run_is_found():
    known = Copies(shortest=3)
    known.add("u", ["a", "b", "c", "d", "e", "f"])
    known.add("v", ["x", "a", "b", "c"])
    assert known.longest(["z", "a", "b", "c", "d", "q"]) == (4, "u")
    assert known.longest(["z", "a", "b", "c", "d", "q"], other_than="u") == (3, "v")
    assert known.longest(["a", "b", "z", "c", "d"]) is None


def test_near_duplicates_are_found_by_their_word_triples():
    text = [f"w{n}" for n in range(60)]
    known = NearDuplicates(similarity=0.7)
    known.add("u", text)
    assert known.find([*text[:58], "new"]) == "u"
    assert known.find(text, other_than="u") is None
    assert known.find(text[::-1]) is None
