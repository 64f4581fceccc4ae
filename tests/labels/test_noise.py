"""The noise model over a schema: planted errors found in both directions, other labels used, folds apart."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.labels.noise import ENOUGH, examples, most_probable, probability_wrong, propose

N = 600


def world(seed=0):
    """Truth where Note follows Place, readings that know Sad and Place well, labels with planted errors."""
    rng = np.random.default_rng(seed)
    truth = random_labels(TOY, N, seed)
    truth["Note"] = (truth["Place"] == 2).astype(int)
    read = TOY.to_targets(truth) * 0.8 + 0.1
    read["Note"] = 0.5  # the teacher cannot read it: only the other labels can tell
    for v in TOY.categorical:
        read[list(v.columns)] = read[list(v.columns)].div(read[list(v.columns)].sum(axis=1), axis=0)
    given = truth.copy()
    for name in ("Sad", "Note"):
        rate = np.where(truth[name] == 1, 0.2, 0.05)
        given[name] = (truth[name] - (rng.random(N) < rate)).abs()
    given.iloc[:12, given.columns.get_loc("Place")] = truth["Place"].iloc[:12] % 3 + 1
    folds = pd.Series(np.arange(N) % 3, index=truth.index).sample(frac=1, random_state=1)
    return given, truth, read, folds


GIVEN, TRUTH, READ, FOLDS = world()
SOUND = GIVEN.index[GIVEN["Place"] == TRUTH["Place"]]  # where the label that Note follows is right
LEAST = 0.04  # so few cases leave a model of so many rates unsure of every single label


@pytest.mark.parametrize("name", TOY.names)
def test_wrong_labels_are_told_from_right_ones(name):
    rows = TRUTH.index if name == "Place" else SOUND
    wrong = probability_wrong(TOY, GIVEN, READ, FOLDS).loc[rows, name]
    error = GIVEN.loc[rows, name] != TRUTH.loc[rows, name]
    if error.any():
        assert wrong[error].min() > wrong[~error].max()
    for code in (0, 1) if TOY[name].is_binary else ():
        assert (
            name == "Tool" or (error & (GIVEN.loc[rows, name] == code)).any()
        )  # so that both directions were tried
    assert wrong.between(0, 1).all()


def test_what_the_teacher_cannot_read_is_learned_from_other_labels():
    """Note is 1 where Place is 2, which is written nowhere; of an unreadable Note that is all there is."""
    shuffled = GIVEN.assign(Place=np.random.default_rng(3).permutation(GIVEN["Place"]))
    missed = SOUND[(GIVEN["Note"] < TRUTH["Note"])[SOUND]]
    told, untold = (probability_wrong(TOY, labels, READ, FOLDS)["Note"] for labels in (GIVEN, shuffled))
    assert told[missed].min() > 0.1 > untold[missed].median()


def test_proposals_are_the_labels_above_the_least_probability():
    wrong, found = probability_wrong(TOY, GIVEN, READ, FOLDS), propose(TOY, GIVEN, READ, FOLDS, LEAST)
    assert set(zip(found["uid"], found["variable"])) == {
        (uid, name) for name in TOY.names for uid in wrong.index[wrong[name] > LEAST]
    }
    for row in found.itertuples():
        assert row.before == GIVEN.at[row.uid, row.variable] != row.after
        if row.variable == "Place":
            assert row.after == TRUTH.at[row.uid, row.variable]
        assert row.probability == wrong.at[row.uid, row.variable]
    assert {"Sad", "Place", "Note"} <= set(found["variable"])
    assert len(propose(TOY, GIVEN, READ, FOLDS)) < len(found)


def test_a_fold_is_judged_by_the_others_alone():
    """Half of a fold's labels change: what is said of its other half stays, of other folds it does not."""
    own = FOLDS.loc[GIVEN.index] == 1
    turned = GIVEN.index[own][::2]
    other = GIVEN.copy()
    other.loc[turned, "Sad"] = 1 - other.loc[turned, "Sad"]
    before = probability_wrong(TOY, GIVEN, READ, FOLDS)["Sad"]
    after = probability_wrong(TOY, other, READ, FOLDS)["Sad"]
    rest = GIVEN.index[own].difference(turned)
    assert after[rest].equals(before[rest])
    assert (after[turned] != before[turned]).all() and (after[~own] != before[~own]).any()


def test_rows_are_matched_by_uid():
    turned = probability_wrong(TOY, GIVEN, READ.iloc[::-1], FOLDS.iloc[::-1])
    pd.testing.assert_frame_equal(turned, probability_wrong(TOY, GIVEN, READ, FOLDS))


def test_a_variable_of_one_code_and_a_handful_of_cases_do_no_harm():
    labels = random_labels(TOY, 9).assign(Sad=0)
    folds = pd.Series(np.arange(9) % 3, index=uids(9))
    wrong = probability_wrong(TOY, labels, random_probabilities(TOY, uids(9)), folds)
    assert wrong.notna().all(axis=None) and (wrong["Sad"] < 0.5).all()


def test_examples_are_the_cases_of_the_code_in_other_folds_and_of_both_codes_where_there_are_two():
    labels = random_labels(TOY, 9).assign(Sad=[1, 1, 0, 0, 0, 0, 0, 1, 0], Place=[3, 1, 1, 1, 2, 2, 1, 1, 2])
    labels = labels.astype("Int64")
    labels.iloc[8, :2] = pd.NA
    folds = pd.Series(np.arange(9) % 3, index=labels.index)
    found = examples(TOY, labels, folds)
    assert found["Sad"].tolist()[:8] == [2, 1, 3, 2, 1, 3, 2, 1]
    assert found["Place"].tolist()[:8] == [0, 3, 4, 3, 1, 1, 3, 3]
    assert found.iloc[8, :2].isna().all() and found.iloc[:, 2:].notna().all(axis=None)
    most = most_probable(TOY, labels, folds)
    assert most["Place"].tolist()[:5] == [0, 1, 1, 1, 0.5] and most.iloc[8, :2].isna().all()


@pytest.mark.parametrize("positives", [1, 2, 3])
def test_what_hardly_anybody_has_seen_is_not_wrong(positives):
    """Readings as of teachers that learned next to nothing of a code: low, and firmly so."""
    labels = random_labels(TOY, N).assign(Sad=0)
    labels["Place"] = labels["Place"].clip(upper=2)
    labels.iloc[:positives, :2] = [1, 3]
    folds = pd.Series(np.arange(N) % 5, index=labels.index)
    read = TOY.to_targets(labels.assign(Sad=0, Place=labels["Place"].clip(upper=2))) * 0.99 + 0.002
    for v in TOY.categorical:
        read[list(v.columns)] = read[list(v.columns)].div(read[list(v.columns)].sum(axis=1), axis=0)
    rare = labels.index[:positives]
    wrong = probability_wrong(TOY, labels, read, folds).loc[rare, ["Sad", "Place"]]
    assert wrong.max(axis=None) <= (0.5 if positives > 1 else 0) and positives <= ENOUGH
    found = propose(TOY, labels, read, folds, least=0.0).query(
        "uid in @rare and variable in ['Sad', 'Place']"
    )
    assert len(found) == (0 if positives == 1 else 2 * positives)


def with_gaps(share=0.2):
    """The labels with a share of them taken out."""
    gaps = np.random.default_rng(7).random(GIVEN.shape) < share
    return GIVEN.astype("Int64").mask(gaps), gaps


def test_missing_labels_are_not_judged_and_what_is_judged_learns_from_what_is_there():
    labels, gaps = with_gaps()
    wrong = probability_wrong(TOY, labels, READ, FOLDS)
    assert (wrong.isna() == gaps).all(axis=None)
    error = (GIVEN["Sad"] != TRUTH["Sad"])[wrong["Sad"].notna()]
    assert wrong["Sad"][error.index][error].min() > wrong["Sad"][error.index][~error].max()
    found = propose(TOY, labels, READ, FOLDS, LEAST)
    assert len(found) and all(pd.notna(labels.at[row.uid, row.variable]) for row in found.itertuples())


def test_a_missing_label_says_of_other_variables_what_its_mean_says():
    """Which lies between what its codes would say, here of a Note that follows Sad."""
    labels, told = GIVEN.assign(Note=GIVEN["Sad"]).astype("Int64"), []
    for code in (0, 1, pd.NA):
        labels.loc["u000", "Sad"] = code
        told.append(probability_wrong(TOY, labels, READ, FOLDS).at["u000", "Note"])
    assert min(told[:2]) < told[2] < max(told[:2])


def test_a_fit_looks_at_the_labelled_cases_of_its_variable_alone():
    """To take a case out, or its labels, is one for all others, but for the mean of its readings."""
    labels, read = GIVEN.astype("Int64"), READ.copy()
    out = GIVEN.index[::3]
    labels.loc[out] = pd.NA
    read.loc[out] = READ[~READ.index.isin(out)].iloc[: len(out)].to_numpy()
    rest = GIVEN.index.difference(out, sort=False)
    without = probability_wrong(TOY, GIVEN.loc[rest], READ, FOLDS)
    assert np.allclose(probability_wrong(TOY, labels, read, FOLDS).loc[rest], without, atol=0.02)


def test_no_label_missing_is_as_it_was():
    whole = probability_wrong(TOY, GIVEN, READ, FOLDS)
    pd.testing.assert_frame_equal(probability_wrong(TOY, GIVEN.astype("Int64"), READ, FOLDS), whole)
    labels = GIVEN.astype("Int64").assign(Sad=pd.array([pd.NA] * N, dtype="Int64"))
    assert probability_wrong(TOY, labels, READ, FOLDS)["Sad"].isna().all()
