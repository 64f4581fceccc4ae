"""A linear student of probabilities: plain logistic regression where they are 0 or 1, and right where not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from test_frozen import blas_threads
from threadpoolctl import threadpool_limits
from toys import TOY, random_labels, random_probabilities, uids, with_holes, word_texts

from narrutils.crossfit.stored import load_model
from narrutils.models.learner import Phase
from narrutils.models.terms import student
from narrutils.models.terms.heads import join
from narrutils.models.terms.student import SoftLearner, mixed, regress
from narrutils.models.tfidf import TfidfLearner

N = 60
TEXTS, LABELS = word_texts(TOY, N, seed=1), random_labels(TOY, N)
HARD, SOFT = TOY.to_targets(LABELS), random_probabilities(TOY, TEXTS.index, 3)
LEARNER = SoftLearner(TOY, min_df=1)


def exactly(self, features, answers):
    """scikit-learn's optimum, found more closely than its own default."""
    model = LogisticRegression(C=self.inverse_regularisation, tol=1e-8, max_iter=5000)
    return model.fit(features, answers)


@pytest.mark.parametrize("scaled", [False, True])
def test_of_hard_targets_it_learns_what_plain_logistic_regression_does(scaled, monkeypatch):
    monkeypatch.setattr(TfidfLearner, "_logistic", exactly)
    how = {"min_df": 1, "scaled": scaled, "multinomial": not scaled}
    plain, soft = (kind(TOY, **how).fit([Phase(TEXTS, HARD)]) for kind in (TfidfLearner, SoftLearner))
    known = [TOY.columns.index(c) for c in ("Sad", "Place_1", "Place_2", "Place_3", "Note")]
    np.testing.assert_allclose(soft.weights[:, known], plain.weights[:, known], atol=3e-4)
    columns = ["Sad", "Place_1", "Place_3", "Note"]
    pd.testing.assert_frame_equal(soft.predict(TEXTS)[columns], plain.predict(TEXTS)[columns], atol=1e-4)
    assert soft.vocabulary == plain.vocabulary


def test_at_the_optimum_what_it_reads_differs_from_the_targets_by_the_penalty_alone():
    """The gradient: over the rows, C Σ counts · (p − target) x = −weights, and without x nothing is left."""
    features, _, _ = LEARNER.terms(TEXTS)
    counts = np.random.default_rng(0).uniform(0.2, 1, N)
    for columns in (["Sad"], ["Place_1", "Place_2", "Place_3"]):
        targets = SOFT[columns].to_numpy()
        weights, bias = regress(features, targets, counts, 4.0)
        z = features @ weights + bias
        read = expit(z) if len(columns) == 1 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        off = counts[:, None] * (read - targets) * 4.0
        np.testing.assert_allclose(off.sum(axis=0), 0, atol=2e-3)
        np.testing.assert_allclose(features.T @ off, -weights, atol=2e-3)


def test_two_cases_by_hand():
    """One term that one case has: 4 (σ(w + b) − 0.8) = −w, and the bias balances both cases."""
    weights, bias = regress(csr_matrix([[1.0], [0.0]]), np.array([[0.8], [0.3]]), np.ones(2), 4.0)
    w, b = weights[0, 0], bias[0]
    assert 4 * (expit(w + b) - 0.8) == pytest.approx(-w, abs=1e-4)
    assert expit(w + b) + expit(b) == pytest.approx(1.1, abs=1e-4)


def test_an_epoch_is_a_weight_and_only_the_shares_count():
    soft, hard = Phase(TEXTS, SOFT, 2, soft=True), Phase(TEXTS[:20], HARD[:20], 1)
    targets, counts = mixed([soft, hard], TEXTS.index, ["Sad"])
    np.testing.assert_allclose(counts, [1] * 20 + [2 / 3] * 40)
    expected = np.where(np.arange(N) < 20, (2 * SOFT["Sad"] + HARD["Sad"]) / 3, SOFT["Sad"])
    np.testing.assert_allclose(targets[:, 0], expected)
    one = LEARNER.fit([soft, hard]).predict(TEXTS)
    twice = LEARNER.fit([replace(soft, epochs=4), replace(hard, epochs=2)]).predict(TEXTS)
    pd.testing.assert_frame_equal(one, twice, atol=1e-6)
    other = LEARNER.fit([replace(soft, epochs=1), hard]).predict(TEXTS)
    assert not np.allclose(one, other, atol=1e-3)


def test_a_label_that_is_not_given_has_no_say_and_a_variable_without_any_is_unknown():
    targets = TOY.to_targets(with_holes(LABELS, 0.3))
    targets[["Tool_0", "Tool_5"]] = np.nan
    targets.loc[TEXTS.index[40:], "Sad"] = np.nan
    read = LEARNER.fit([Phase(TEXTS, targets)]).predict(TEXTS)
    TOY.check_probabilities(read)
    assert read["Tool_0"].eq(0.5).all()
    moved = targets.copy()
    moved["Note"] = 1 - moved["Note"]
    again = LEARNER.fit([Phase(TEXTS, moved)]).predict(TEXTS)
    pd.testing.assert_series_equal(again["Sad"], read["Sad"])


def test_one_answer_is_read_as_that_and_no_terms_as_the_shares():
    read = LEARNER.fit([Phase(TEXTS, HARD.assign(Sad=0.0, Note=1.0))]).predict(TEXTS)
    assert read["Sad"].lt(1e-6).all() and read["Note"].gt(1 - 1e-6).all()
    empty = TEXTS.assign(First="", Second="")
    read = LEARNER.fit([Phase(empty, SOFT, soft=True)]).predict(empty)
    pd.testing.assert_series_equal(read.iloc[0], SOFT.mean(), check_names=False, atol=1e-5)


def test_rows_of_several_phases_stand_once_and_words_of_all_are_known():
    more = word_texts(TOY, 10, seed=5).set_axis(uids(10, "g")).replace("w0", "w39", regex=True)
    made = random_probabilities(TOY, more.index)
    soft = Phase(pd.concat([more, TEXTS]), pd.concat([made, SOFT]), soft=True)
    found = LEARNER.fit([soft, Phase(TEXTS, HARD)])
    assert found.vocabulary == LEARNER.terms(pd.concat([more, TEXTS]))[1]
    assert set(" ".join(join(more)).split()) <= set(found.vocabulary)


def test_it_is_stored_and_read_as_any_linear_model(tmp_path):
    model = LEARNER.fit([Phase(TEXTS, SOFT, soft=True), Phase(TEXTS, HARD)])
    model.save(tmp_path)
    pd.testing.assert_frame_equal(load_model(tmp_path, TOY).predict(TEXTS), model.predict(TEXTS))
    assert LEARNER.config() == replace(LEARNER).config() and "schema" not in LEARNER.config()


def test_a_student_is_fitted_on_one_thread_of_blas(monkeypatch):
    seen = []
    fit = lambda loss, start, **_: seen.append(blas_threads()) or SimpleNamespace(x=start)  # noqa: E731
    monkeypatch.setattr(student, "minimize", fit)
    with threadpool_limits(2, "blas"):
        regress(csr_matrix([[1.0], [0.0]]), np.array([[0.8], [0.3]]), np.ones(2), 4.0)
    assert len(seen) == 1 and all(threads == 1 for threads in seen[0])
