"""What the explorer shows: kinds of error, readings, neighbours, and a table without a kernel."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, with_holes, word_texts

from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.report.casebook import ADDED, AGREE, ALL, MISSED, OTHER, Casebook
from narrutils.report.explore import UNATTENDED, Explorer, explore
from narrutils.report.show import HIDDEN


@pytest.fixture
def run(tmp_path):
    """A run of 30 cases with two models."""
    run = Run(tmp_path / "run", stage="test")
    labels, texts = random_labels(TOY, 30), word_texts(TOY, 30)
    texts.iloc[3] = texts.iloc[7]  # the nearest neighbours there can be
    run.write("schema.json", TOY.to_dict())
    run.write("cases.parquet", pd.concat([texts, labels], axis=1).assign(split="train"))
    run.write("folds.parquet", pd.Series(np.arange(30) % 3, labels.index, name="fold").to_frame())
    for seed, model in enumerate(["tfidf", "ensemble"]):
        table = random_probabilities(TOY, labels.index, seed)
        run.write_probabilities(f"predictions/{model}_oof.parquet", table, TOY)
    return run


def test_the_kinds_of_error_share_the_cases_out(run):
    book = Casebook(Study.open(run))
    assert book.models == ["ensemble", "tfidf"]
    for v in TOY.variables:
        kinds = {kind: book.select(v.name, "tfidf", kind) for kind in book.errors(v.name)}
        parts = [set(chosen.index) for kind, chosen in kinds.items() if kind != ALL]
        assert sum(map(len, parts)) == len(kinds[ALL]) == 30 and set().union(*parts) == set(kinds[ALL].index)
        assert all(chosen.is_monotonic_increasing for chosen in kinds.values())
        assert set(kinds) == ({ALL, MISSED, ADDED, AGREE} if v.is_binary else {ALL, OTHER, AGREE})
    missed = book.select("Sad", "tfidf", MISSED).index
    assert (book.study.labels.loc[missed, "Sad"] == 1).all() and (
        book.codes("tfidf").loc[missed, "Sad"] == 0
    ).all()


def test_a_reading_is_the_probability_of_the_given_code(run):
    book = Casebook(Study.open(run))
    table, uid = book.readings("u003"), "u003"
    p = book.probabilities("tfidf").loc[uid]
    for name in ("Sad", "Place"):
        given, v = book.study.labels.loc[uid, name], TOY[name]
        wanted = (p[name] if given == 1 else 1 - p[name]) if v.is_binary else p[f"{name}_{given}"]
        read = book.codes("tfidf").loc[uid, name]
        assert table.loc[name, "tfidf"] == f"{wanted:.2f}" + ("" if read == given else f" → {read}")
        assert book.select(name, "tfidf")[uid] == pytest.approx(wanted)


def test_the_nearest_case_is_its_double_and_never_itself(run):
    near = Casebook(Study.open(run)).neighbours("u003", 4)
    assert near.index[0] == "u007" and near.iloc[0] == pytest.approx(1)
    assert "u003" not in near.index and near.is_monotonic_decreasing and len(near) == 4


def test_without_a_live_kernel_there_is_a_table_without_text(run, monkeypatch):
    monkeypatch.setenv(UNATTENDED, "1")
    page = explore(run.folder, show_text=True).data
    assert "<table" in page and all(name in page for name in TOY.names)
    assert not [text for text in Study.open(run).train["First"] if text in page]


def test_widgets_follow_what_is_chosen(run):
    seen = Explorer(Casebook(Study.open(run)), show_text=True)
    assert seen.case.value == Casebook(Study.open(run)).select("Sad", "ensemble").index[0]
    text = Study.open(run).train.loc[seen.case.value, "First"]
    assert text in seen.text.value and seen.table.value.index("Sad") < seen.table.value.index("Place")
    seen.variable.value = "Place"
    assert seen.error.options == (ALL, OTHER, AGREE)
    seen.error.value = OTHER
    assert len(seen.case.options) == len(Casebook(Study.open(run)).select("Place", "ensemble", OTHER))
    assert "u" in seen.near.value


def test_hidden_narratives_stay_hidden(run):
    seen = Explorer(Casebook(Study.open(run)), show_text=False)
    assert HIDDEN in seen.text.value and seen.button.disabled
    assert not [text for text in Study.open(run).train["First"] if text in seen.text.value]


def test_a_run_without_predictions_says_so(tmp_path):
    run = Run(tmp_path, stage="test")
    labels = random_labels(TOY, 6)
    run.write("schema.json", TOY.to_dict())
    run.write("cases.parquet", pd.concat([word_texts(TOY, 6), labels], axis=1).assign(split="train"))
    run.write("folds.parquet", pd.Series(0, labels.index, name="fold").to_frame())
    with pytest.raises(InputError, match="no predictions"):
        explore(run.folder, show_text=False)


@pytest.fixture
def holes(run):
    """The same run with a third of its labels missing, all of the variable `Tool`."""
    cases = run.read("cases.parquet").set_index("uid")
    labels = with_holes(cases[TOY.names], 0.3).assign(Tool=pd.array([None] * 30, "Int64"))
    run.write("cases.parquet", pd.concat([cases[TOY.text_columns], labels], axis=1).assign(split="train"))
    return Casebook(Study.open(run))


def test_a_case_without_a_label_is_no_kind_of_error(holes):
    labels = holes.study.labels
    for v in TOY.variables:
        kinds = {kind: holes.select(v.name, "tfidf", kind) for kind in holes.errors(v.name)}
        given = set(labels.index[labels[v.name].notna()])
        assert set().union(*(chosen.index for kind, chosen in kinds.items() if kind != ALL)) == given
        whole = kinds[ALL]
        assert len(whole) == 30 and set(whole.dropna().index) == given
        assert whole.iloc[len(given) :].isna().all()  # they stand last


def test_a_cell_without_a_label_is_empty_and_says_what_a_model_would_code(holes):
    labels = holes.study.labels
    uid = labels.index[labels["Sad"].isna() & labels["Place"].notna()][0]
    table = holes.readings(uid)
    assert table.loc["Sad", "given"] == table.loc["Tool", "given"] == ""
    assert table.loc["Sad", "tfidf"] == f"→ {holes.codes('tfidf').loc[uid, 'Sad']}"
    assert table.loc["Place", "given"] == labels.loc[uid, "Place"]
    assert table.loc["Place", "tfidf"].startswith("0.") or table.loc["Place", "tfidf"].startswith("1.")


def test_the_explorer_shows_cases_without_a_label(holes, monkeypatch):
    seen = Explorer(holes, show_text=True)
    seen.variable.value = "Tool"
    uid = seen.case.value
    assert seen.case.options[0] == (uid, uid)
    assert "nan" not in seen.table.value.lower() and "&lt;na&gt;" not in seen.table.value.lower()
    asked = []
    monkeypatch.setattr("narrutils.report.explore.Teachers", lambda *given: None)
    monkeypatch.setattr("narrutils.report.explore.leave_one_out", lambda *given: asked.append(given[2]))
    seen._evidence()
    assert asked[0]["column"].tolist() == [f"Tool_{holes.codes('ensemble').loc[uid, 'Tool']}"]
    monkeypatch.setenv(UNATTENDED, "1")
    page = explore(holes.study, show_text=False).data
    assert "Tool" not in page and "Sad" in page
