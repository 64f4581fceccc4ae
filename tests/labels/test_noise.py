"""The noise model over a schema: planted errors found in both directions, other labels used, folds apart."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.labels.noise import probability_wrong, propose

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
