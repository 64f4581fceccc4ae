"""The official average F1, against a case worked by hand and scikit-learn as referee."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score
from toys import TOY, random_labels, uids

from narrutils.evaluation.metrics import average_f1, count, per_variable

TRUTH = pd.DataFrame(
    {"Sad": [1, 1, 0, 0], "Place": [1, 2, 3, 1], "Note": [0, 0, 0, 0], "Tool": [0, 5, 5, 0]}, index=uids(4)
)
GUESS = pd.DataFrame(
    {"Sad": [1, 0, 1, 0], "Place": [1, 2, 1, 1], "Note": [0, 0, 0, 0], "Tool": [5, 5, 5, 5]}, index=uids(4)
)


def test_a_case_worked_by_hand():
    scores = per_variable(TOY, TRUTH, GUESS)
    # Sad: 1 true positive, 1 false positive, 1 false negative. Place: 3 of 4. Note: undefined. Tool: 2 of 4.
    assert scores.to_dict() == {"Sad": 2 / 4, "Place": 3 / 4, "Note": 0.0, "Tool": 2 / 4}
    assert average_f1(TOY, TRUTH, GUESS) == pytest.approx((0.5 + 0.75 + 0 + 0.5) / 4)


def test_scikit_learn_agrees(nvdrs):
    for seed in range(5):
        truth, guess = random_labels(nvdrs, 60, seed), random_labels(nvdrs, 60, seed + 50)
        guess.iloc[::2] = truth.iloc[::2]
        guess[nvdrs.names[seed]] = 0
        scores = per_variable(nvdrs, truth, guess)
        for v in nvdrs.variables:
            if v.is_binary:
                expected = f1_score(truth[v.name], guess[v.name], zero_division=0)
            else:
                expected = f1_score(truth[v.name], guess[v.name], average="micro")
                assert expected == pytest.approx(accuracy_score(truth[v.name], guess[v.name]))
            assert scores[v.name] == pytest.approx(expected)
        assert average_f1(nvdrs, truth, guess) == pytest.approx(scores.mean())


def test_rows_are_joined_by_uid_not_by_position():
    shuffled = GUESS.sample(frac=1, random_state=3)
    assert not shuffled.index.equals(GUESS.index)
    pd.testing.assert_series_equal(per_variable(TOY, TRUTH, shuffled), per_variable(TOY, TRUTH, GUESS))
    np.testing.assert_array_equal(count(TOY, TRUTH, shuffled).hits, count(TOY, TRUTH, GUESS).hits)


def test_columns_are_joined_by_name():
    pd.testing.assert_series_equal(
        per_variable(TOY, TRUTH, GUESS[GUESS.columns[::-1]]), per_variable(TOY, TRUTH, GUESS)
    )


@pytest.mark.parametrize("guess", [GUESS.iloc[:3], GUESS.rename(index={"u003": "u009"})])
def test_other_uids_are_refused(guess):
    with pytest.raises(ValueError, match="different uids"):
        average_f1(TOY, TRUTH, guess)


def test_all_ones_does_not_win(nvdrs):
    truth = random_labels(nvdrs, 300)
    rng = np.random.default_rng(0)
    for v in nvdrs.binary:
        truth[v.name] = (rng.random(300) < 0.2).astype(int)
    ones = truth.assign(**{v.name: 1 for v in nvdrs.binary})
    careful = truth.copy()
    for v in nvdrs.binary:  # half of the positives found, nothing called in vain
        careful[v.name] = truth[v.name] * (rng.random(300) < 0.5)
    assert average_f1(nvdrs, truth, ones) < average_f1(nvdrs, truth, careful) < 1
    expected = 2 * 0.2 / (1 + 0.2)  # precision .2, recall 1
    assert per_variable(nvdrs, truth, ones)["DepressedMood"] == pytest.approx(expected, abs=0.06)


def test_a_perfect_guess_scores_one_and_an_undefined_f1_zero():
    assert average_f1(TOY, TRUTH.assign(Note=[1, 0, 0, 0]), TRUTH.assign(Note=[1, 0, 0, 0])) == 1
    assert per_variable(TOY, TRUTH, TRUTH)["Note"] == 0


def test_weights_count_a_case_as_often_as_they_say():
    weights = np.array([[3.0, 1, 0, 1], [0, 0, 0, 0]])
    repeated = ["u000", "u000", "u000", "u001", "u003"]
    again = [f.loc[repeated].set_axis(uids(5)) for f in (TRUTH, GUESS)]
    scores = count(TOY, TRUTH, GUESS).scores(weights)
    np.testing.assert_allclose(scores[0], per_variable(TOY, *again))
    assert (scores[1] == 0).all()
