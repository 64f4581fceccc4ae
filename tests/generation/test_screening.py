"""Screening: the right reason for each planted fault, and real cases let through."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids, with_holes, word_texts

from narrutils.data.clusters import words
from narrutils.data.demo import write_demo_data
from narrutils.data.intake.schema_file import load_schema
from narrutils.errors import InputError
from narrutils.generation import screening
from narrutils.generation.agreement import ScreeningTeacher, agreement, choose
from narrutils.generation.reference import Limits, scripts_of
from narrutils.generation.rules import RULES
from narrutils.generation.screening import Screener, copying, own_fold_teachers, summary
from narrutils.paths import PROJECT

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
OSHA = PROJECT.parent / "shared" / "data" / "osha_abstracts"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_data(folder, cases=250, seed=3)
    return folder


@pytest.fixture(scope="module")
def official(folder):
    cases = pd.read_csv(folder / "train_features.csv").set_index("uid")[SCHEMA.text_columns]
    return cases[cases.notna().all(axis=1)]


@pytest.fixture(scope="module")
def labels(folder, official):
    return pd.read_csv(folder / "train_labels.csv").set_index("uid").loc[official.index]


@pytest.fixture(scope="module")
def folds(official):
    return pd.Series(range(len(official)), index=official.index) % 4


@pytest.fixture(scope="module")
def screener(official, folds):
    """For rows that are looked at one by one: what it remembers of one test must not matter to another."""
    return Screener(official, folds, SCHEMA)


def told(official, start):
    """A case that passes: sentences of many official ones, none of their long runs."""
    texts = {}
    for n, column in enumerate(SCHEMA.text_columns):
        stories = [text.split(".") for text in official[column][start + n :: 9]]
        sentences = [story[min(2 + k % 3, len(story) - 1)].strip() for k, story in enumerate(stories)]
        texts[column] = ". ".join(dict.fromkeys(s for s in sentences if s))[:700]
    return texts


@pytest.fixture
def good(official):
    return told(official, 0)


def screen(rows, official, folds, schema, limits=None, teachers=()):
    """Rows with their verdicts, from a screener that has seen no others."""
    return Screener(official, folds, schema, limits, teachers).screen(rows)


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


def passage(official, length):
    """The opening of the longest official narrative, and whose it is."""
    source = official["NarrativeCME"].str.split().str.len().idxmax()
    return " ".join(words(official.at[source, "NarrativeCME"])[:length]), source


def test_a_copied_passage_names_its_length_and_its_source(official, folds, good):
    copied, source = passage(official, 60)
    found = reason(
        official, folds, **good | {"NarrativeCME": f"{good['NarrativeCME'][:200]}. zzz {copied} zzz"}
    )
    assert found.startswith(f"copy: 60 words in a row from case {source}")


def test_the_copied_run_stands_on_every_row_kept_or_not(screener, official, good):
    copied, _ = passage(official, 10)
    texts = [f"{good['NarrativeCME'][:200]}. zzz {copied} zzz", f"### zzz {copied}", "zzz " * 7, None]
    rows = [
        {"uid": f"p-{n}", "pool": "p", "seen_folds": [0], **good, "NarrativeCME": t}
        for n, t in enumerate(texts)
    ]
    out = screener.screen(pd.DataFrame(rows).assign(NarrativeLE=[good["NarrativeLE"], "", "", ""]))
    assert out["copied_words"].tolist()[1:] == [10, 0, 0]
    assert 10 <= out["copied_words"][0] <= screener.reference.copied_limit and out["kept"][0]


def test_the_copy_limit_is_what_official_cases_share_with_one_another(screener, official, folds, good):
    formula = " ".join(f"formula{n}" for n in range(40))
    row = good | {"NarrativeLE": f"{good['NarrativeLE']} {formula}"}
    once, everywhere = official.copy(), official.copy()
    once.iloc[0, 0] += f" {formula}"
    everywhere["NarrativeLE"] += f" {formula}"
    assert reason(once, folds, **row).startswith("copy: 40 words")
    assert not reason(everywhere, folds, **row).startswith("copy")
    limit = screener.reference.copied_limit
    assert limit == int(np.percentile(screener.reference.official_copied, Limits().copied_percentile))
    # Where they share next to nothing, the floor holds.
    apart = pd.DataFrame(
        {c: [f"{c}{u} x {u}" for u in official.index] for c in official}, index=official.index
    )
    assert Screener(apart, folds, SCHEMA).reference.copied_limit == Limits().copied_floor


def test_an_official_case_with_changed_words_is_not_kept(official, folds):
    source = official.index[official["NarrativeLE"].str[-20:] != official["NarrativeCME"].str[-20:]][0]
    texts = {c: words(t) for c, t in official.loc[source, SCHEMA.text_columns].items()}
    texts = {c: " ".join(w for n, w in enumerate(t, 1) if n % 20) for c, t in texts.items()}
    row = pd.DataFrame([{"uid": "p-0", "pool": "p", "seen_folds": [0], **texts}])
    out = screen(row, official, folds, SCHEMA, Limits(copied_floor=30))  # runs of some 19 words pass
    assert out["reason"][0] == f"near-duplicate: nearly the same as {source}"


def test_a_row_made_twice_is_kept_once(official, folds, good):
    rows = [{"uid": f"p-{n}", "pool": "p", "seen_folds": [n], **good} for n in range(2)]
    out = screen(pd.DataFrame(rows), official, folds, SCHEMA)
    assert out["kept"].tolist() == [True, False]
    assert out["reason"].tolist() == ["", "near-duplicate: nearly the same as p-0"]


def test_known_words_that_do_not_belong_together_are_too_far(screener, official, folds, good):
    vocabulary = sorted({w for text in official[folds == 0].to_numpy().ravel() for w in words(text)})
    rng = np.random.default_rng(0)
    text = {c: " ".join(rng.choice(vocabulary, 80, replace=False)) for c in SCHEMA.text_columns}
    rows = [{"uid": f"p-{n}", "pool": "p", "seen_folds": [0], **t} for n, t in enumerate((text, good))]
    out = screener.screen(pd.DataFrame(rows))
    assert out["reason"][0].startswith("domain: ") and out["kept"][1]
    assert out["domain_similarity"][0] < screener.reference.of_folds((0,)).least < out["domain_similarity"][1]


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


def labelled(pool, labels):
    """The same rows with requested labels: those of official cases."""
    return pool.assign(**{v: labels[v].to_numpy()[: len(pool)] for v in SCHEMA.names})


@pytest.fixture(scope="module")
def pool(official):
    """Rows as they come: good ones, near-duplicates, copies, faults."""
    rows = []
    for n in range(28):
        texts = told(official, n % 9)
        if n % 7 == 3:
            texts["NarrativeLE"] = ["I'm sorry, but no.", "", "### Case 2", passage(official, 60)[0]][n // 7]
        rows.append({"uid": f"p-{n:06d}", "pool": "p", "seen_folds": [n % 4], **texts})
    return pd.DataFrame(rows)


LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувщжыз"))
CYRILLIC = str.maketrans(LETTERS | {a.upper(): b.upper() for a, b in LETTERS.items()})


def test_the_script_is_that_of_the_official_cases(official, folds, good):
    """Cases in Cyrillic pass among their like, and a Latin row among them does not."""
    theirs = official.map(lambda text: text.translate(CYRILLIC))
    screener = Screener(theirs, folds, SCHEMA)
    passed = screener.screen(theirs.assign(seen_folds=[[fold] for fold in folds]))
    of_language = passed["reason"].str.startswith("language")
    assert not of_language.any()
    row = pd.DataFrame([{"uid": "new", **good, "seen_folds": [0]}])
    reason = screener.screen(row)["reason"].iloc[0]
    assert reason.startswith("language: 100% of the letters are not Cyrillic")


def test_a_quotation_in_another_script_is_none_of_the_cases_own():
    assert scripts_of(["plain words " * 50, "one Greek α"]) == {"LATIN"}
    assert scripts_of(["слово и word", "ещё слова"]) == {"CYRILLIC", "LATIN"}
    assert scripts_of(["1234", ""]) == frozenset()


def test_rows_in_chunks_get_the_verdicts_of_one_call(official, labels, folds, pool, monkeypatch):
    rows, teachers = labelled(pool, labels), own_fold_teachers(SCHEMA, official, labels, folds)
    whole = screen(rows, official, folds, SCHEMA, teachers=teachers)
    assert {"", "refusal", "echo", "parts", "near-duplicate"} <= set(whole["reason"].str.split(":").str[0])
    streamed = Screener(official, folds, SCHEMA, teachers=teachers)
    parts = [streamed.screen(rows.iloc[start : start + 5]) for start in range(0, len(rows), 5)]
    pd.testing.assert_frame_equal(pd.concat(parts), whole)
    monkeypatch.setattr(screening, "CHUNK", 3)
    pd.testing.assert_frame_equal(screen(rows, official, folds, SCHEMA, teachers=teachers), whole)


def test_rows_kept_in_another_pool_are_remembered(official, folds, good):
    rows = pd.DataFrame([{"uid": "a-0", "pool": "a", "seen_folds": [0], **good}])
    for kept, expected in ((True, "near-duplicate: nearly the same as a-0"), (False, "")):
        fresh = Screener(official, folds, SCHEMA)
        fresh.remember(rows.assign(kept=kept, reason=""))
        assert fresh.screen(rows.assign(uid="b-0"))["reason"].tolist() == [expected]


def test_a_uid_that_stands_twice_is_an_error(screener, pool):
    with pytest.raises(InputError, match="p-000000 stands twice"):
        screener.screen(pool.assign(uid="p-000000"))


def test_no_rows_give_no_rows_with_every_column(screener, pool):
    out = screener.screen(pool.head(0))
    assert out.empty and set(screening.VERDICT) <= set(out.columns)
    assert summary(out)["total"].tolist() == [0] * (len(RULES) + 1)


PRIOR = pd.Series(
    {"Sad": 0.5, "Place_1": 0.2, "Place_2": 0.4, "Place_3": 0.4, "Note": 0.1, "Tool_0": 0.5, "Tool_5": 0.5}
)


def test_agreement_is_a_mean_of_log_likelihood_ratios():
    asked = pd.DataFrame({"Sad": [1, 0], "Place": [1, 3], "Note": [0, 1], "Tool": [5, 0]}, index=uids(2))
    reading = pd.DataFrame([PRIOR, PRIOR], index=uids(2)).assign(Sad=[0.8, 0.8], Note=[0.1, 0.0])
    reading.loc["u001", ["Place_1", "Place_3"]] = [0.1, 0.5]
    found = agreement(TOY, asked, reading.iloc[::-1], PRIOR)
    # The other variables are read like the average case; probabilities below 0.01 count as 0.01.
    second = (np.log(0.2 / 0.5) + np.log(0.5 / 0.4) + np.log(0.01 / 0.1)) / 4
    assert found == pytest.approx([np.log(0.8 / 0.5) / 4, second])
    assert agreement(TOY, asked, pd.DataFrame([PRIOR, PRIOR], index=uids(2)), PRIOR) == pytest.approx([0, 0])
    with pytest.raises(InputError, match="Sad of case u000"):
        agreement(TOY, asked.assign(Sad=[np.nan, 1]), reading, PRIOR)


def teacher(*learned_from, read=None):
    return ScreeningTeacher(read, learned_from, PRIOR)


def test_a_teacher_adds_as_few_folds_as_can_be_and_never_all():
    all_folds, own, near, far = set(range(4)), teacher(0), teacher(0, 1), teacher(1, 2)
    assert choose([far, near, own], "p-000001", (0,), all_folds) is own
    assert choose([far, near], "p-000001", (0,), all_folds) is near
    assert choose([far], "p-000001", (0, 3), all_folds) is None
    assert choose([far], "p-000001", (0, 1, 2, 3), all_folds) is None
    assert choose([], "p-000001", (0,), all_folds) is None


def test_equally_near_teachers_take_turns_by_the_number_of_the_row():
    three = [teacher(0, 1), teacher(0, 2), teacher(1, 0)]
    turns = [choose(three, f"p2-{n:06d}", (0,), set(range(4))) for n in range(6)]
    assert all(one is three[n % 3] for n, one in enumerate(turns))
    assert choose(three, "no number", (0,), set(range(4))) is three[0]


def echo_teacher(schema, requested, learned_from):
    """Reads in every row what `requested` says of its uid."""
    targets = schema.to_targets(requested)
    return ScreeningTeacher(lambda texts: targets.loc[texts.index], learned_from, targets.mean())


def test_labels_that_a_teacher_does_not_find_are_the_reason(official, folds, pool, labels):
    rows = labelled(pool, labels)
    true = rows.set_index("uid")[SCHEMA.names]
    other = true.assign(**{v.name: 1 - true[v.name] for v in SCHEMA.binary})
    for read, refused in ((true, False), (other, True)):
        out = screen(rows, official, folds, SCHEMA, teachers=[echo_teacher(SCHEMA, read, (0,))])
        looked_at = out[out["kept"] | out["reason"].str.startswith("agreement: ")]
        assert len(looked_at) and (~looked_at["kept"] == refused).all()
        assert ((out["agreement"] <= 0) == refused).all()


def test_the_teachers_folds_join_those_of_the_prompt(official, folds, pool, labels):
    rows = labelled(pool, labels)
    rows.loc[rows.index[::2], SCHEMA.names] = np.nan
    read = echo_teacher(
        SCHEMA, rows.set_index("uid")[SCHEMA.names].fillna(labels.iloc[0]).astype(int), (0, 2)
    )
    plain, out = screen(rows, official, folds, SCHEMA), screen(rows, official, folds, SCHEMA, teachers=[read])
    assert plain["seen_folds"].tolist() == pool["seen_folds"].tolist()
    assert plain["agreement"].isna().all()
    asked = rows[SCHEMA.names[0]].notna()
    assert (out["agreement"].notna() == asked).all()
    expected = [
        sorted({*seen, 0, 2}) if is_asked else seen for seen, is_asked in zip(pool["seen_folds"], asked)
    ]
    assert out["seen_folds"].tolist() == expected
    # Bounds, vocabulary and domain are still those of the prompt's folds.
    assert (out["domain_similarity"] == plain["domain_similarity"]).all()


def test_real_labels_agree_with_their_case_and_opposite_ones_do_not(official, labels, folds):
    cases = official.reset_index().assign(pool="official", seen_folds=[[(f + 1) % 4] for f in folds])
    teachers, opposite = own_fold_teachers(SCHEMA, official, labels, folds), labels.copy()
    for v in SCHEMA.binary:
        opposite[v.name] = 1 - labels[v.name]
    for asked, low, high in ((labels, 0.8, 1), (opposite, 0, 0.05)):
        out = screen(cases.join(asked, on="uid"), official, folds, SCHEMA, teachers=teachers)
        assert low <= (out["agreement"] > 0).mean() <= high
        assert out["seen_folds"].tolist() == cases["seen_folds"].tolist()


def test_a_teacher_knows_nothing_of_what_its_fold_has_no_labels_of():
    labels, folds = with_holes(random_labels(TOY, 40), 0.3), pd.Series(np.arange(40) % 2, uids(40))
    labels.loc[folds.index[folds == 0], "Place"] = pd.NA
    teachers = own_fold_teachers(TOY, word_texts(TOY, 40), labels, folds)
    told = word_texts(TOY, 3, seed=5)
    for teacher, knows in zip(teachers, (False, True), strict=True):
        TOY.check_probabilities(teacher.prior.to_frame().T)
        asked = [pd.DataFrame({"Sad": 1, "Place": code, "Note": 0, "Tool": 5}, told.index) for code in (1, 2)]
        found = [agreement(TOY, codes, teacher.read(told), teacher.prior) for codes in asked]
        assert (found[0] != found[1]).any() == knows


def test_what_a_row_has_not_seen_has_no_say_but_against_copies(official, labels, folds, pool):
    def verdicts(changed):
        cases, given = official.copy(), labels.copy()
        there = folds.index[folds == changed]
        cases.loc[there] = [[f"{u} {n} was elsewhere on that day" for n in range(2)] for u in there]
        given.loc[there] = given.loc[there].to_numpy()[::-1]
        for v in SCHEMA.binary:
            given.loc[there, v.name] = 1 - given.loc[there, v.name]
        teachers = own_fold_teachers(SCHEMA, cases, given, folds)
        return screen(labelled(pool, labels), cases, folds, SCHEMA, teachers=teachers)

    before = screen(
        labelled(pool, labels),
        official,
        folds,
        SCHEMA,
        teachers=own_fold_teachers(SCHEMA, official, labels, folds),
    )
    after, saw = verdicts(changed=1), np.array([1 in seen for seen in pool["seen_folds"]])
    same = ["domain_similarity", "agreement", "seen_folds"]
    pd.testing.assert_frame_equal(before.loc[~saw, same], after.loc[~saw, same])
    copies = r"^$|^copy|^near-duplicate"
    for one, other in zip(before.loc[~saw, "reason"], after.loc[~saw, "reason"]):
        assert one == other or (pd.Series([one, other]).str.contains(copies).all())
    # The change is one that shows wherever it may.
    assert (before.loc[saw, "domain_similarity"] != after.loc[saw, "domain_similarity"]).all()
    assert (before.loc[saw, "agreement"] != after.loc[saw, "agreement"]).all()


def test_the_summary_counts_every_row_under_every_rule():
    rows = pd.DataFrame(
        {
            "pool": ["a", "a", "b", "b", "b"],
            "kept": [True, False, False, False, False],
            "reason": ["", "length: x", "echo: y", "length: z", "not screened"],
        }
    )
    table = summary(rows)
    assert table.index.tolist() == ["kept", *RULES, "not screened"]
    assert table.loc["length"].to_dict() == {"a": 1, "b": 1, "total": 2}
    assert table.loc["agreement"].to_dict() == {"a": 0, "b": 0, "total": 0}
    assert table["total"].sum() == len(rows)


def test_the_table_of_copying_reports_the_longest_run(screener):
    rows = pd.DataFrame(
        {"pool": ["a", "a", "b"], "kept": [True, False, False], "copied_words": [9, 31, 0], "reason": ""}
    )
    table = copying(rows, screener)
    assert table["longest, kept"].to_dict() == {"a": 9, "b": 0}
    assert table["longest, all"].to_dict() == {"a": 31, "b": 0}
    assert table["share kept"].to_dict() == {"a": 0.5, "b": 0}
    assert (table["limit"] == screener.reference.copied_limit).all()
