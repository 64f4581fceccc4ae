"""The review queue: who is in it, in which order, what is proposed, and whose models give the evidence."""

import functools

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, word_texts

from narrutils.data.run import Run
from narrutils.evaluation.evidence import leave_one_out
from narrutils.labels import noise
from narrutils.labels.review_queue import (
    DOUBTFUL,
    LEAST,
    MISSED,
    OTHER,
    find_doubts,
    gather_evidence,
    share_wrong,
    write_queue,
)
from narrutils.models.learner import Phase
from narrutils.models.tfidf import TfidfLearner

N = 60
LABELS = random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % 3, index=uids(N), name="fold")
MEMBERS = {"tfidf": random_probabilities(TOY, uids(N), 1), "other": random_probabilities(TOY, uids(N), 2)}
WEIGHTS = {"tfidf": 3.0, "other": 1.0, "unused": 0.0}
READINGS = {"ensemble": 0.75 * MEMBERS["tfidf"] + 0.25 * MEMBERS["other"]} | MEMBERS


def find(rows=None, readings=READINGS, folds=FOLDS):
    return find_doubts(TOY, LABELS, readings, WEIGHTS, folds, rows)


@functools.cache
def whole():
    return find()


def queue(rows=None):
    return whole().head(N * 4 if rows is None else rows)


@pytest.fixture(scope="module")
def wrong():
    """P(wrong) of every label, `[cases, variables]`: the weighted mean over the members."""
    judged = {name: noise.probability_wrong(TOY, LABELS, table, FOLDS) for name, table in MEMBERS.items()}
    return 0.75 * judged["tfidf"] + 0.25 * judged["other"]


def test_a_label_is_doubted_where_a_model_disagrees_or_it_is_probably_wrong(wrong):
    found = set(zip(queue()["uid"], queue()["variable"]))
    codes = {name: TOY.to_labels(reading) for name, reading in READINGS.items()}
    for uid in LABELS.index:
        for name in TOY.names:
            against = any(read.at[uid, name] != LABELS.at[uid, name] for read in codes.values())
            assert ((uid, name) in found) == (against or wrong.at[uid, name] > LEAST)
    apart = codes["tfidf"] != codes["other"]
    assert all((uid, name) in found for name in TOY.names for uid in apart.index[apart[name]])


def test_the_members_judge_together_and_the_likeliest_to_be_wrong_stand_first(wrong):
    table = queue()
    assert table["probability"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(find(rows=7), table.head(7))
    expected = [wrong.at[uid, name] for uid, name in zip(table["uid"], table["variable"])]
    assert table["probability"].tolist() == pytest.approx(expected)


def test_what_nobody_can_judge_and_what_is_missing_is_not_in_the_queue():
    labels = LABELS.astype("Int64").assign(Note=0, Place=LABELS["Place"].clip(upper=2))
    labels.loc["u003", ["Note", "Place"]] = [1, 3]  # of which no other fold has one
    labels.loc["u004", "Sad"] = labels.loc["u005", "Place"] = pd.NA
    labels.loc["u006"] = pd.NA
    found = find_doubts(TOY, labels, READINGS, WEIGHTS, FOLDS)
    named = set(zip(found["uid"], found["variable"]))
    assert not named & {("u003", "Note"), ("u003", "Place"), ("u004", "Sad"), ("u005", "Place")}
    assert "u006" not in set(found["uid"]) and {"u004", "u005"} <= set(found["uid"])
    assert found["probability"].notna().all() and found.dtypes.equals(whole().dtypes)


def test_tables_are_joined_by_uid():
    order = np.random.default_rng(5).permutation(N)
    shuffled = {name: table.iloc[order] for name, table in READINGS.items()}
    again = find(readings=shuffled, folds=FOLDS.iloc[order[::-1]])
    pd.testing.assert_frame_equal(again, queue(), rtol=1e-6)


def test_what_is_proposed_is_another_code_and_its_probabilities_are_the_models():
    for row in queue().to_dict("records"):
        v, after = TOY[row["variable"]], row["label_after"]
        assert row["label_before"] == LABELS.at[row["uid"], v.name] != after
        assert after in v.codes
        assert row["fold"] == FOLDS[row["uid"]]
        for name, reading in READINGS.items():
            p = reading.loc[row["uid"], row["column"]]
            assert row[f"p_{name}"] == pytest.approx(1 - p if row["direction"] == DOUBTFUL else p)
        if not v.is_binary:
            others = READINGS["ensemble"].loc[row["uid"], list(v.columns)]
            others = others.drop(f"{v.name}_{row['label_before']}")
            assert others.idxmax() == row["column"] == f"{v.name}_{after}"


def test_both_directions_and_other_classes_are_named():
    table = queue()
    binary = table["variable"].isin(["Sad", "Note"])
    assert (table.loc[~binary, "direction"] == OTHER).all()
    assert (table.loc[binary & (table["label_before"] == 0), "direction"] == MISSED).all()
    assert (table.loc[binary & (table["label_before"] == 1), "direction"] == DOUBTFUL).all()
    assert (table.loc[binary, "column"] == table.loc[binary, "variable"]).all()
    assert set(table["direction"]) == {OTHER, MISSED, DOUBTFUL}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two TF-IDF members, each fold's learned from the other folds, and an ensemble of them."""
    run = Run(tmp_path_factory.mktemp("run"), stage="06_ensemble")
    texts = word_texts(TOY, N, words=12).map(lambda text: text.replace(" w1", ". W1"))
    run.write("schema.json", TOY.to_dict())
    run.write("cases.parquet", texts.assign(split="train").join(LABELS))
    run.write("folds.parquet", FOLDS.to_frame())
    for name, strength in {"tfidf": 4.0, "other": 0.5}.items():
        for k in range(3):
            learned = FOLDS.index[FOLDS.ne(k)]
            phase = Phase(texts.loc[learned], TOY.to_targets(LABELS.loc[learned]))
            model = TfidfLearner(TOY, strength, 1).fit([phase])
            run.write_folder(f"models/{name}/fold{k}", "key", model.save)
    run.write("ensemble.json", {"weights": {"tfidf": 3.0, "other": 1.0}})
    return run


def reader(run, name, fold):
    from narrutils.crossfit.stored import load_model

    return load_model(run.path(f"models/{name}/fold{fold}"), TOY).predict


def test_evidence_is_read_by_the_models_that_left_the_cases_fold_out(run):
    doubts = queue(rows=12)
    found = gather_evidence(run, TOY, doubts, "tfidf")
    assert set(zip(found["uid"], found["column"])) == set(zip(doubts["uid"], doubts["column"]))
    for row in doubts.to_dict("records"):
        wanted = pd.DataFrame({"uid": [row["uid"]], "column": [row["column"]]})
        right = leave_one_out(reader(run, "tfidf", FOLDS[row["uid"]]), run.cases(), wanted, TOY)
        rows = found[(found["uid"] == row["uid"]) & (found["column"] == row["column"])]
        pd.testing.assert_frame_equal(rows.reset_index(drop=True), right, check_dtype=False)


def test_the_evidence_of_an_ensemble_weighs_that_of_its_members(run):
    doubts, place = queue(rows=5), ["uid", "column", "text", "start", "end"]
    parts = [gather_evidence(run, TOY, doubts, name).set_index(place) for name in ("tfidf", "other")]
    both = gather_evidence(run, TOY, doubts, "ensemble").set_index(place)
    expected = 0.75 * parts[0]["effect"] + 0.25 * parts[1]["effect"]
    pd.testing.assert_series_equal(both["effect"].sort_index(), expected.sort_index(), check_exact=False)


def test_no_doubts_make_an_empty_queue_with_all_its_columns(run):
    empty = queue(rows=0)
    assert list(empty.columns) == list(queue().columns)
    evidence = gather_evidence(run, TOY, empty, "tfidf")
    assert list(evidence.columns) == ["uid", "column", "text", "start", "end", "effect"]
    write_queue(run, TOY, LABELS, empty, evidence, "tfidf", show_text=False)
    assert run.read("review/queue.parquet").empty


def test_what_is_stored_holds_no_narrative(run):
    doubts = queue(rows=10)
    evidence = gather_evidence(run, TOY, doubts, "tfidf")
    write_queue(run, TOY, LABELS, doubts, evidence, "tfidf", show_text=True)
    words = {word for text in run.cases()["First"] for word in text.split()}
    for path in run.path("review").iterdir():
        stored = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text()
        assert not [word for word in words if word in stored.replace(".", " ").split()]
    about = run.read("review/about.json")
    assert about["variables"]["Place"]["codes"] == {"1": "in", "2": "out", "3": "unknown"}
    assert about["texts"] == {"First": "First", "Second": "Second"}


def test_the_share_of_wrong_labels_is_known_where_the_truth_is():
    found, truth = queue().head(4), LABELS.copy()
    for row in found.head(3).itertuples():
        truth.at[row.uid, row.variable] = row.label_after
    assert share_wrong(found, truth.sample(frac=1, random_state=0)[TOY.names[::-1]]) == 0.75
    assert share_wrong(found, None) is None
