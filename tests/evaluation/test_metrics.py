"""The official average F1, against a case worked by hand and scikit-learn as referee."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score
from toys import TOY, random_labels, uids, with_holes

from narrutils.evaluation.metrics import average_f1, count, mean_score, per_variable, share

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


def test_a_variable_is_scored_on_its_labelled_cases(nvdrs):
    truth, guess = random_labels(nvdrs, 200), random_labels(nvdrs, 200, 1)
    partly = with_holes(truth, 0.2)
    found = per_variable(nvdrs, partly, guess)
    for name in nvdrs.names:
        given = partly.index[partly[name].notna()]
        assert 0 < len(given) < 200
        assert found[name] == per_variable(nvdrs, truth.loc[given], guess.loc[given])[name]
    assert average_f1(nvdrs, partly, guess) == pytest.approx(found.mean())


def test_a_case_without_any_label_counts_as_if_it_were_not_there():
    partly = TRUTH.astype("Int64")
    partly.loc["u001"] = pd.NA
    some, fewer = count(TOY, partly, GUESS), count(TOY, TRUTH.drop("u001"), GUESS.drop("u001"))
    for own, other in ((some.hits, fewer.hits), (some.errors, fewer.errors)):
        np.testing.assert_array_equal(own, other)
    assert some.given is fewer.given is None


def test_a_variable_without_any_label_has_no_score_and_is_left_out_of_the_mean():
    scores = per_variable(TOY, TRUTH.assign(Tool=pd.array([None] * 4, "Int64")), GUESS)
    assert np.isnan(scores["Tool"]) and scores["Note"] == 0  # no positive is a 0 as ever
    assert average_f1(TOY, TRUTH.assign(Tool=pd.array([None] * 4, "Int64")), GUESS) == pytest.approx(
        (0.5 + 0.75 + 0) / 3
    )
    nothing = count(TOY, TRUTH.astype("Int64").mask(TRUTH.notna()), GUESS)
    assert np.isnan(nothing.scores()).all() and np.isnan(nothing.average_f1)


def test_a_draw_without_a_label_of_a_variable_leaves_it_out_of_its_mean():
    partly = TRUTH.assign(Tool=pd.array([0, 5, None, None], "Int64"))
    scores = count(TOY, partly, GUESS).scores(np.array([[1.0, 1, 1, 1], [0, 0, 2, 2], [0, 0, 0, 0]]))
    assert scores[0, 3] == 0.5
    assert np.isnan(scores[:, 3]).tolist() == [False, True, True]
    assert mean_score(scores)[1] == pytest.approx(scores[1, :3].mean())


def test_a_share_is_hits_of_all_that_count():
    hits, of = np.array([[1, 0], [1, 0], [0, 0]]), np.array([[1, 0], [2, 0], [1, 0]])
    np.testing.assert_allclose(share(hits, of).scores(), [0.5, np.nan])
    np.testing.assert_allclose(share(hits.astype(bool), of.astype(bool)).scores(), [2 / 3, np.nan])
    means = share(np.array([[0.5], [-0.25]]), np.ones((2, 1)))
    assert means.scores()[0] == 0.125
    assert means.scores(np.array([2, 1]))[0] == pytest.approx(0.25)


def test_rows_left_out_count_no_case():
    labels, guess = random_labels(TOY, 40), random_labels(TOY, 40, 1)
    rows = np.arange(40) < 15
    whole = count(TOY, with_holes(labels, 0.2), guess)
    part = whole.where(rows)
    assert len(part.hits) == len(whole.hits)
    np.testing.assert_array_equal(part.scores(), whole.scores(rows.astype(float)))
    np.testing.assert_array_equal(whole.of([2, 0]).scores(), whole.scores()[[2, 0]])
    with pytest.raises(ValueError, match="given"):
        count(TOY, labels, guess).where(rows)
