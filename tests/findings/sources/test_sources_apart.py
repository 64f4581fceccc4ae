"""What each source says by itself, and where two disagree: a toy corpus whose answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from apart import TEST, TOPICS, Hearing, N, made_run
from toys import uids

from narrutils.data.study import Study
from narrutils.findings.settings import Findings
from narrutils.findings.sources import alone
from narrutils.findings.sources.answers import read_apart
from narrutils.findings.sources.disagreements import (
    AGAINST,
    BY,
    COUNTS,
    DISAGREEMENTS,
    SOURCES,
    against_planted,
    counted,
    crossed,
    find,
    write,
)

pytestmark = pytest.mark.slow

CASE = ["uid", "source", "variable"]
WIDTH = len(TOPICS) + 1


@pytest.fixture(scope="module", autouse=True)
def hearing():
    """Narratives are read by who hears their topics, and not whether they are denied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alone, "teachers_of", lambda run, model, task: Hearing(task))
        yield patch


def changed(texts, labels):
    """Planted by hand: a contradiction, a copy of it, an empty narrative, cells without labels."""
    texts, labels = texts.copy(), labels.copy()
    texts.loc["u000"] = ["V had a rash. dog looked wet.", "there was no rash. dog looked old."]
    texts.loc["u001"] = ["there was no fall. found at home.", "V had a fall. found in park."]
    many = "dog looked old. street looked big. garden looked wet. bicycle looked near. shop looked loud. "
    many += "kite looked old. river looked big. dog looked near. street looked wet. garden looked loud. "
    texts.loc["u002"] = [many + "V had a rash.", many + "no rash."]
    texts.loc["u003"] = ["", "V had a fall. dog looked wet."]
    texts.loc["u241"] = ["V had a rash. dog looked wet.", "there was no rash. dog looked old."]
    labels.loc[["u000", "u002"], "Rash"] = 1
    labels.loc["u001", "Fall"] = 0
    labels.loc[uids(60)[40:], "Rash"] = pd.NA
    labels.loc[uids(N + TEST)[N:]] = pd.NA
    return texts, labels


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("apart") / "run", change=changed)


@pytest.fixture(scope="module")
def answers(study):
    return read_apart(study, Findings())


@pytest.fixture(scope="module")
def found(study, answers):
    return find(study, answers)


def test_there_is_one_row_for_each_case_source_and_variable_in_order(study, answers):
    assert len(answers) == (N + TEST) * 2 * WIDTH
    assert answers["uid"].tolist() == np.repeat(uids(N + TEST), 2 * WIDTH).tolist()
    assert not answers.duplicated(CASE).any()
    assert answers["split"].value_counts().to_dict() == {"train": N * 2 * WIDTH, "test": TEST * 2 * WIDTH}


def test_what_is_told_denied_and_left_out_is_heard(study, answers):
    """Nine of ten, out of fold; the untouched cases."""
    planted = study.run.truth_by_source().set_index(CASE)["said"]
    rows = answers[~answers["uid"].isin(["u000", "u001", "u002", "u003", "u241"])].set_index(CASE)
    true = planted.reindex(rows.index).astype("Int64")
    for kind in (rows["says"].isna() == true.isna(), (rows["says"] == true).dropna()):
        assert kind.mean() > 0.9
    assert (rows["says"].dropna() == true[rows["says"].notna()]).mean() > 0.95


def test_an_empty_narrative_is_silent_and_has_no_probability(answers):
    empty = answers[(answers["uid"] == "u003") & (answers["source"] == "First")]
    assert empty[["says", "probability", "start", "end"]].isna().all(axis=None)
    assert answers[answers["probability"].isna()].index.equals(empty.index)


def test_the_sentence_that_decides_is_told(study, answers):
    texts = pd.concat([study.train, study.test])
    spoken = answers[answers["says"].notna()]
    assert answers[answers["says"].isna()][["start", "end"]].isna().all(axis=None)
    told = [texts.at[r.uid, r.source][r.start : r.end] for r in spoken.itertuples()]
    word = spoken["variable"].str.lower().replace("place", "found")
    assert all(w in t for w, t in zip(word, told))
    binary = spoken["variable"] != "Place"
    denied = np.array([" no " in f" {t} " or "denied" in t for t in told])
    assert denied[binary & (spoken["says"] == 0)].all()
    assert not denied[binary & (spoken["says"] == 1)].any()


def test_the_labels_of_a_fold_change_no_answer_for_its_cases(tmp_path, study, answers):
    """Readings are the same whatever the labels; calibration, thresholds, wording must be of other folds."""
    own = study.folds.index[study.folds == 1]

    def turned(texts, labels):
        texts, labels = changed(texts, labels)
        for name in TOPICS:
            labels[name] = labels[name].where(~labels.index.isin(own), 1 - labels[name])
        return texts, labels

    again = read_apart(made_run(tmp_path / "run", change=turned), Findings())
    of_fold = answers["uid"].isin(own)
    pd.testing.assert_frame_equal(again[of_fold], answers[of_fold])
    assert not again[~of_fold]["probability"].equals(answers[~of_fold]["probability"])


def test_planted_contradictions_are_found_with_their_sentences(study, found):
    texts = pd.concat([study.train, study.test])
    for uid, split, variable, yes, no, label in (
        ("u000", "train", "Rash", "First", "Second", 1),
        ("u001", "train", "Fall", "Second", "First", 0),
        ("u241", "test", "Rash", "First", "Second", None),
    ):
        (row,) = found[(found["uid"] == uid) & (found["variable"] == variable)].to_dict("records")
        assert (row["split"], row["source"], row["other_source"]) == (split, yes, no)
        assert (row["says"], row["other_says"]) == (1, 0)
        assert row["probability"] > row["other_probability"]
        assert texts.at[uid, yes][row["start"] : row["end"]].startswith("V had a")
        assert texts.at[uid, no][row["other_start"] : row["other_end"]].startswith("there was no")
        assert pd.isna(row["label"]) if label is None else row["label"] == label


def test_two_classes_disagree_too(found):
    (row,) = found[(found["uid"] == "u001") & (found["variable"] == "Place")].to_dict("records")
    assert (row["source"], row["says"], row["other_says"]) == ("First", 1, 2)


def test_copies_and_silence_never_disagree(study, answers, found):
    assert not found["uid"].isin(["u003"]).any()
    says = answers.set_index(CASE)["says"]
    assert (says["u002", "First", "Rash"], says["u002", "Second", "Rash"]) == (1, 0)
    assert "u002" not in set(found["uid"])
    for row in found.itertuples():
        assert says[row.uid, row.source, row.variable] != says[row.uid, row.other_source, row.variable]


def test_silence_is_no_disagreement_whatever_the_readings(study, answers):
    silent = answers.assign(says=answers["says"].mask(answers["source"] == "Second"))
    assert find(study, silent).empty
    assert crossed(study.schema, silent)[["so", "not"]].to_numpy().sum() == 0
    assert counted(study, silent)["disagreements"].fillna(0).eq(0).all()


def test_of_a_variable_that_nobody_denies_a_narrative_says_so_or_nothing(tmp_path):
    def asserted(texts, labels):
        drop = r"[^.]*(?:no fall|denied any fall|fall was denied)[^.]*\."
        return texts.apply(lambda c: c.str.replace(drop, "", regex=True)), labels

    study = made_run(tmp_path / "run", change=asserted)
    says = read_apart(study, Findings()).query("variable == 'Fall'")["says"]
    assert set(says.dropna()) == {1}
    assert says.notna().sum() > 50


def test_counts_are_those_of_the_disagreements(study, answers, found):
    table = counted(study, answers)
    variables = table[table["by"] == "variable"].set_index("level")
    assert (
        variables["disagreements"].to_dict()
        == found["variable"].value_counts().reindex(study.schema.names, fill_value=0).to_dict()
    )
    spoken = answers.dropna(subset="says").groupby(["uid", "variable"]).size().eq(2)
    for name, row in variables.iterrows():
        assert row["spoken"] == spoken.xs(name, level="variable").sum()
        assert row["share"] == pytest.approx(row["disagreements"] / row["spoken"])
        assert row["share_low"] <= row["share"] <= row["share_high"]
    few, many = table[table["by"] == "site"].set_index("level").loc[["few", "many"]].to_dict("records")
    assert few["cases"] == 5 and few["too_small"]
    assert pd.isna(few["disagreements"]) and pd.isna(few["share"])
    assert many["disagreements"] == (~found["uid"].isin(uids(5))).sum()


def test_the_nine_pairs_add_up(study, answers):
    table = crossed(study.schema, answers)
    assert table["says"].tolist() == ["so", "not", "silent"]
    assert table[["so", "not", "silent"]].to_numpy().sum() == (N + TEST) * len(TOPICS)


def test_scores_against_what_was_planted(study, answers):
    table = against_planted(study, answers).set_index(["variable", "answer"])
    planted = study.run.truth_by_source()
    assert (
        table.at[("Rash", "so"), "planted"] == (planted["variable"].eq("Rash") & planted["said"].eq(1)).sum()
    )
    assert (table.loc[("", "so"), ["precision", "recall"]] > 0.9).all()
    assert (table["precision_low"].dropna() <= table["precision"].dropna()).all()
    perfect = answers.set_index(CASE).drop(columns="says")
    perfect["says"] = planted.set_index(CASE)["said"].reindex(perfect.index).astype("Int64")
    best = against_planted(study, perfect.reset_index()).set_index(["variable", "answer"])
    assert (best["precision"].dropna() == 1).all()
    assert (best["found"] <= best["planted"]).all()
    silent = against_planted(study, answers.assign(says=pd.array([None] * len(answers), "Int64")))
    said = silent[silent["answer"] == "so"]
    assert (said["found"] == 0).all() and said["precision"].isna().all() and (said["recall"] == 0).all()


def test_what_is_said_of_another_is_no_denial_unless_no_words_deny(study, answers):
    texts = pd.concat([study.train, study.test])
    kin = [
        (uid, source, name)
        for name in TOPICS
        for source in study.schema.text_columns
        for uid, text in texts[source].items()
        if f"uncle had a {name.lower()}" in text or f"a {name.lower()} of the uncle" in text
    ]
    assert len(kin) > 50
    assert answers.set_index(CASE)["says"].loc[kin].isna().mean() > 0.9
    without = read_apart(study, Findings(denials=""))
    assert (without.set_index(CASE)["says"].loc[kin] == 0).mean() > 0.3


def test_what_is_stored_holds_no_text(study, answers):
    made = write(study, Findings())
    pd.testing.assert_frame_equal(made["answers"], answers)
    words = {"uid", "train", "test", *study.schema.text_columns, *study.schema.names}
    for name in (SOURCES, DISAGREEMENTS):
        table = study.run.read(name)
        assert len(table)
        for column in table.select_dtypes(exclude="number"):
            assert column == "uid" or set(table[column].dropna()) <= words, column
    for name in (SOURCES, DISAGREEMENTS, COUNTS, AGAINST):
        assert not any(
            w in json.dumps(study.run.read(name).astype(str).to_numpy().tolist())
            for w in ("rash", "dog", "home")
        )


@pytest.mark.parametrize("columns", [("Only",), ("First", "Second", "Third")])
def test_one_narrative_disagrees_with_nobody_and_of_three_every_two_may(tmp_path, columns):
    def contradicted(texts, labels):
        told = ["V had a rash. dog looked wet.", "dog looked big.", "there was no rash."]
        texts.loc["u000", list(columns)] = told[: len(columns)]
        return texts, labels

    study = made_run(tmp_path / "run", columns, contradicted)
    made = write(study, Findings())
    pairs = len(columns) * (len(columns) - 1) // 2
    assert len(made["answers"]) == (N + TEST) * len(columns) * WIDTH
    assert len(crossed(study.schema, made["answers"])) == 3 * pairs
    found = made["disagreements"][["uid", "variable", "source", "other_source"]].to_numpy().tolist()
    assert found == ([["u000", "Rash", "First", "Third"]] if pairs else [])
    assert made["counts"].empty == (pairs == 0)
    assert list(made["counts"][~made["counts"]["too_small"]]) == BY


@pytest.mark.parametrize("names", [["Place"], ["Rash"]])
def test_variables_of_one_kind_alone(tmp_path, study, names):
    some = replace(study.schema, variables=tuple(study.schema[name] for name in names))
    run = made_run(tmp_path / "run").run
    run.write("schema.json", some.to_dict())
    made = write(Study.open(run), Findings())
    assert set(made["answers"]["variable"]) == set(made["answers"].dropna()["variable"]) == set(names)
    labels = (N + TEST) * len(some.binary)
    assert crossed(some, made["answers"])[["so", "not", "silent"]].to_numpy().sum() == labels


def test_without_planted_answers_test_cases_or_labels_there_is_less_to_tell(tmp_path):
    def bare(texts, labels):
        labels = labels.copy()
        labels["Fall"] = pd.NA
        labels.loc[labels.index[12:], "Rash"] = 0
        labels.loc[labels.index[:12], "Rash"] = pd.NA
        return texts, labels

    study = made_run(tmp_path / "run", change=bare)
    study.run.path("truth_by_source.parquet").unlink()
    study.run.path("groups.parquet").unlink()
    study = Study(study.run, study.schema, study.train, study.folds, study.test[:0], study.labels)
    made = write(study, Findings(denials=""))
    assert made["answers"]["split"].unique().tolist() == ["train"]
    assert made["answers"]["probability"].between(0, 1).all()
    assert made["disagreements"]["label"].isna().eq(made["disagreements"]["variable"] == "Fall").all()
    assert set(made["counts"]["by"]) == {"variable"}
    assert made["scores"].empty
    assert not study.run.has(AGAINST)


def test_one_who_hears_denials_finds_the_contradictions_too(study, hearing):
    hearing.setattr(alone, "teachers_of", lambda run, model, task: Hearing(task, listens=True))
    found = find(study, read_apart(study, Findings()))
    hearing.setattr(alone, "teachers_of", lambda run, model, task: Hearing(task))
    assert {("u000", "Rash"), ("u001", "Fall"), ("u241", "Rash")} <= set(zip(found["uid"], found["variable"]))


@pytest.mark.parametrize("filled", ["u001", f"u{N + 1}"])
def test_a_narrative_of_a_column_that_no_case_taught_is_silent(tmp_path, filled):
    def rare(texts, labels):
        return texts.assign(Second=texts["Second"].where(texts.index == filled, "")), labels

    rows = read_apart(made_run(tmp_path / "run", change=rare), Findings())
    rows = rows[(rows["uid"] == filled) & (rows["source"] == "Second")]
    assert len(rows) == WIDTH and rows[["says", "probability"]].isna().all(axis=None)
