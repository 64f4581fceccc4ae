"""Doubt is the expected number of wrong codes; flags take the most doubtful, cut on other folds."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.data.intake.schema_file import parse_schema
from narrutils.errors import InputError
from narrutils.evaluation import flags

N = 3000
P = random_probabilities(TOY, uids(N))
CODES = TOY.to_labels(P, {"Sad": 0.3, "Note": 0.6})
FOLDS = pd.Series(np.arange(N) % 3, index=P.index)


def drawn(probabilities, seed=1):
    """Labels drawn from the probabilities, which are then calibrated by construction."""
    rng, labels = np.random.default_rng(seed), {}
    for v in TOY.variables:
        p = probabilities[list(v.columns)].to_numpy()
        p = np.hstack([1 - p, p]) if v.is_binary else p
        labels[v.name] = np.array(v.codes)[(p.cumsum(axis=1) < rng.random(len(p))[:, None]).sum(axis=1)]
    return pd.DataFrame(labels, index=probabilities.index)


LABELS = drawn(P)
DOUBTS, RIGHT = flags.doubt(TOY, CODES, P), flags.accuracy(TOY, CODES, LABELS)


def test_doubt_by_hand():
    p = pd.DataFrame([[0.9, 0.2, 0.5, 0.3, 0.4, 0.75, 0.25]], columns=TOY.columns, index=["a"])
    codes = pd.DataFrame({"Sad": 1, "Place": 2, "Note": 1, "Tool": 0}, index=["a"])
    assert flags.doubt(TOY, codes, p)["a"] == pytest.approx(0.1 + 0.5 + 0.6 + 0.25)


def test_codes_are_found_by_their_number_not_by_their_order():
    schema = parse_schema(
        {"text": [{"name": "T"}], "variables": [{"name": "X", "classes": {9: "a", 2: "b"}}]}, "toy"
    )
    p = pd.DataFrame({"X_9": [0.8], "X_2": [0.2]}, index=["a"])
    assert flags.doubt(schema, pd.DataFrame({"X": [9]}, index=["a"]), p)["a"] == pytest.approx(0.2)
    assert flags.doubt(schema, pd.DataFrame({"X": [2]}, index=["a"]), p)["a"] == pytest.approx(0.8)


def test_doubt_of_calibrated_probabilities_is_the_number_of_wrong_codes():
    wrong = (1 - RIGHT) * len(TOY.variables)
    assert DOUBTS.mean() == pytest.approx(wrong.mean(), abs=0.03)
    top = DOUBTS.rank(pct=True) > 0.9
    assert DOUBTS[top].mean() == pytest.approx(wrong[top].mean(), abs=0.1)


def test_the_rest_is_coded_better_the_more_is_flagged():
    points = flags.curve(DOUBTS, RIGHT, FOLDS)
    assert points["accuracy"].iloc[0] == pytest.approx(RIGHT.mean())
    assert points["flagged"].iloc[0] == 0
    assert points["accuracy"].is_monotonic_increasing
    assert points["flagged"].to_numpy() == pytest.approx(points["share"].to_numpy(), abs=0.03)


def test_a_fold_is_cut_at_what_the_others_say():
    """The doubts of one fold raised: its own cut stays, so all of its cases are flagged."""
    moved = DOUBTS + 100 * (FOLDS == 1)
    found = flags.flagged(moved, FOLDS, 0.2)
    assert found[(FOLDS == 1).to_numpy()].all()
    assert not found[(FOLDS == 0).to_numpy()].any()


def test_matching_is_by_uid():
    mixed = P.sample(frac=1, random_state=1)
    pd.testing.assert_series_equal(flags.doubt(TOY, CODES, mixed), DOUBTS)
    pd.testing.assert_series_equal(flags.accuracy(TOY, CODES, LABELS[::-1]), RIGHT)


def test_a_refit_is_cut_where_the_share_lies_as_it_reads():
    before = {"cut": 99.0, "share": 0.3}
    found = flags.cut_by(before, TOY, 0.25, CODES, P)
    flagged = flags.Flagging(TOY, found["cut"]).of(CODES, P)["flag"]
    assert flagged.mean() == pytest.approx(0.25, abs=0.002)
    assert found["share"] == before["share"]
    assert flags.cut_by(before, TOY, 0.25, CODES[:0], P[:0]) == before


def test_new_cases_above_the_cut_are_flagged():
    found = flags.Flagging(TOY, flags.cut_at(DOUBTS, 0.25)).of(CODES, P)
    assert list(found.columns) == ["flag", "doubt"]
    assert found["flag"].mean() == pytest.approx(0.25, abs=0.002)
    assert found.loc[found["flag"] == 1, "doubt"].min() > found.loc[found["flag"] == 0, "doubt"].max()


def test_a_target_takes_the_least_share_that_reaches_it():
    asked = (TOY, LABELS, CODES, P, FOLDS)
    made = flags.summarise(*asked, share=0.1)
    assert made["share"] == pytest.approx(0.1, abs=0.02)
    assert made["accuracy"] > made["accuracy_of_all"]
    target = made["curve"][6]["accuracy"]
    assert flags.choose_share(pd.DataFrame(made["curve"]), 0.1, target) == made["curve"][6]["share"]
    with pytest.raises(InputError, match="the best that flagging reaches here is"):
        flags.summarise(*asked, 0.1, target=1.0)


def test_a_coin_is_no_better_than_chance():
    """Doubts that know nothing leave the rest as accurate as the whole."""
    noise = pd.Series(np.random.default_rng(0).random(N), index=P.index)
    points = flags.curve(noise, flags.accuracy(TOY, CODES, random_labels(TOY, N)), FOLDS, [0.0, 0.5])
    assert points["accuracy"].iloc[1] == pytest.approx(points["accuracy"].iloc[0], abs=0.01)


def test_accuracy_is_that_of_labelled_codes():
    labels = pd.DataFrame(
        {"Sad": [1, 0, None], "Place": [2, None, None], "Note": [1, None, None], "Tool": [None] * 3},
        index=uids(3),
        dtype="Int64",
    )
    codes = pd.DataFrame({"Sad": [1, 1, 1], "Place": 2, "Note": 0, "Tool": 0}, index=labels.index)
    assert flags.accuracy(TOY, codes, labels).tolist() == pytest.approx([2 / 3, 0, np.nan], nan_ok=True)


def test_a_case_without_a_label_may_be_flagged_and_says_nothing_of_the_rest():
    some = LABELS.astype("Int64")
    some.loc[DOUBTS.nlargest(400).index[::2]] = pd.NA
    given = some.index[some["Sad"].notna()]
    summary = flags.summarise(TOY, some, CODES, P, FOLDS, 0.2)
    assert summary["cut"] == flags.summarise(TOY, LABELS, CODES, P, FOLDS, 0.2)["cut"]
    assert summary["accuracy_of_all"] == pytest.approx(RIGHT[given].mean())
    cuts = flags.flagged(DOUBTS, FOLDS, 0.2)
    assert summary["share"] == cuts.mean()
    assert summary["accuracy"] == pytest.approx(
        RIGHT[~cuts].loc[lambda right: right.index.isin(given)].mean()
    )
    assert flags.Flagging(TOY, summary["cut"]).of(CODES, P)["flag"].sum() == (summary["cut"] < DOUBTS).sum()
