"""Cheap companions: they learn, are stored without a pickle, and read nothing twice and nothing cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from test_tfidf import LABELS, TARGETS, TEXTS, told
from threadpoolctl import threadpool_info, threadpool_limits
from toys import TOY, random_labels, with_holes, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.stored import load_model, load_models
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.metrics import average_f1
from narrutils.models import frozen
from narrutils.models.backbones import load_tokenizer, resolve
from narrutils.models.bases import base_name
from narrutils.models.frozen import FrozenLearner, cheap_models
from narrutils.models.learner import Phase
from narrutils.models.linear import NEVER, by_column
from narrutils.models.settings import Body
from narrutils.models.tfidf import LINEAR, TfidfLearner, ratios


@pytest.fixture(scope="module", params=list(LINEAR))
def model(request):
    return TfidfLearner(TOY, **LINEAR[request.param][1]).fit([Phase(TEXTS, TARGETS)])


def test_a_companion_learns_every_kind_of_variable(model):
    labels = random_labels(TOY, 60, seed=7)
    table = model.predict(told(labels, 9))
    TOY.check_probabilities(table)
    assert average_f1(TOY, labels, TOY.to_labels(table)) > 0.9


def test_a_companion_is_stored_and_read_like_the_baseline(model, tmp_path):
    model.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    pd.testing.assert_frame_equal(load_model(tmp_path, TOY).predict(TEXTS), model.predict(TEXTS))


def test_few_terms_are_left_under_the_absolute_penalty():
    dense, sparse = (TfidfLearner(TOY, **LINEAR[n][1]).fit([Phase(TEXTS, TARGETS)]) for n in ("nb", "lasso"))
    assert (sparse.weights != 0).mean() < 0.5 * (dense.weights != 0).mean()


def test_a_term_of_positive_cases_is_scaled_up():
    """By hand: shares (2+1)/(2+2) and (0+1)/(2+2), then equal ones."""
    features = csr_matrix(np.array([[0.3, 0.1], [0.9, 0.0], [0.0, 0.2], [0.0, 0.0]]))
    got = ratios(features, np.array([1, 1, 0, 0]))
    np.testing.assert_allclose(got, [np.log(3), 0.0], atol=1e-12)


def test_a_column_of_one_answer_asks_no_regression():
    targets = TOY.to_targets(LABELS.assign(Sad=1, Place=2))
    features = np.zeros((len(targets), 3))
    weights, bias = by_column(TOY, features, targets, lambda rows, answers: (np.ones(3), answers.mean()))
    places = {c: n for n, c in enumerate(TOY.columns)}
    assert [bias[places[c]] for c in ("Sad", "Place_1", "Place_2")] == [-NEVER, NEVER, -NEVER]
    assert not weights[:, places["Sad"]].any()
    assert weights[:, places["Note"]].all()


@pytest.mark.parametrize("classify", [None, lambda rows, codes, width: (rows[:width].T, codes[:width] / 9)])
def test_each_variable_is_fitted_on_the_rows_that_have_its_label(classify):
    features, targets = (
        np.random.default_rng(0).normal(size=(150, 4)),
        TOY.to_targets(with_holes(LABELS, 0.3)),
    )

    def regress(rows, answers):
        return rows.T @ answers, float(answers.mean())

    weights, bias = by_column(TOY, features, targets, regress, classify)
    for name, columns in TOY.slices.items():
        given = targets[TOY.columns[columns.start]].notna().to_numpy()
        assert 0 < given.sum() < 150, name
        alone = by_column(TOY, features[given], targets[given], regress, classify)
        np.testing.assert_array_equal(weights[:, columns], alone[0][:, columns])
        np.testing.assert_array_equal(bias[columns], alone[1][columns])


def blas_threads() -> list[int]:
    """Threads of the OpenBLAS that NumPy brings, and of SciPy's; none where they stand on another."""
    found = [one for one in threadpool_info() if one["internal_api"] == "openblas"]
    places = ("numpy.libs", "scipy.libs")
    return [one["num_threads"] for one in found if Path(one["filepath"]).parent.name in places]


def test_linear_models_are_fitted_on_one_thread_of_blas_however_many_there_are():
    """NumPy's and SciPy's alike, and both have their threads back afterwards; others' are left alone."""
    seen, features, targets = [], np.zeros((len(LABELS), 3)), TOY.to_targets(LABELS)
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        by_column(
            TOY, features, targets, lambda rows, answers: seen.append(blas_threads()) or (np.ones(3), 0.0)
        )
        assert blas_threads() == before
    if not before:
        pytest.skip("NumPy and SciPy stand on another BLAS here")
    assert before == [2, 2] and seen and all(one == [1, 1] for one in seen)


def test_an_unknown_companion_is_one_line():
    with pytest.raises(InputError, match="companions.*'trees'"):
        cheap_models(TOY, ["nb", "trees"], "minilm")
    assert list(cheap_models(TOY, ["chars", "nb", "chars"], "minilm")) == ["tfidf", "chars", "nb"]


@pytest.fixture
def reader(tiny_bert):
    return FrozenLearner(TOY, Body(str(tiny_bert)), 4), frozen._reader(
        Body(str(tiny_bert)), 4, resolve(str(tiny_bert)).fingerprint
    )


def test_a_long_narrative_is_read_to_its_end(reader):
    """Its windows are equal, hold every token once, and its last word changes its state."""
    words = " ".join(f"w{n}" for n in range(10))
    windows, owner = reader[1]._windows([words, "", "w1"])
    assert owner == [0, 0, 0, 1, 2]
    inside = [ids[1:-1] for ids in windows[:3]]
    assert sorted(map(len, inside)) == [3, 3, 4]
    ids = load_tokenizer(resolve(reader[0].body.backbone))(words, add_special_tokens=False)["input_ids"]
    assert [t for part in inside for t in part] == ids
    texts = pd.DataFrame({"First": [words, words[:-2] + "w0"], "Second": ["w1", "w1"]})
    states = reader[1].states(texts)
    assert np.abs(states[0] - states[1]).max() > 1e-4


def test_a_state_is_the_mean_over_all_tokens_of_all_windows(reader):
    texts = pd.DataFrame({"First": ["w1 w2 w3 w4 w5"]})
    windows, _ = reader[1]._windows(texts["First"].tolist())
    import torch

    with torch.inference_mode():
        rows = [reader[1].body(input_ids=torch.tensor([w])).last_hidden_state[0] for w in windows]
    expected = torch.cat(rows).mean(0).numpy()
    np.testing.assert_allclose(reader[1].states(texts)[0], expected, atol=1e-5)


def test_a_text_is_read_once(reader, monkeypatch):
    texts = word_texts(TOY, 6, seed=3)
    first = reader[1].states(texts)
    monkeypatch.setattr(reader[1], "_read", lambda narratives: pytest.fail("read twice"))
    np.testing.assert_array_equal(reader[1].states(texts[::-1])[::-1], first)


@pytest.fixture
def folds(tiny_bert, tmp_path):
    """Three stored models on one base."""
    texts, labels = word_texts(TOY, 30), random_labels(TOY, 30)
    parts = pd.Series(np.arange(30) % 3, index=texts.index)
    learner = FrozenLearner(TOY, Body(str(tiny_bert)), 4)
    model = CrossFit(Study(Run(tmp_path, "01_eda"), TOY, texts, parts, texts[:0]), "frozen", learner)
    model.fit(given_labels(model.study, labels=labels)).publish("frozen")
    return load_models([tmp_path / f"models/frozen/fold{k}" for k in range(3)], TOY)


def test_folds_stand_on_one_base_and_read_a_text_once(folds, monkeypatch):
    texts = word_texts(TOY, 9, seed=5)
    alone, read, seen = [model.predict(texts) for model in folds], frozen.Reader._read, []
    assert len({id(model.reader.body) for model in folds}) == 1
    monkeypatch.setattr(frozen.Reader, "_read", lambda self, new: seen.append(len(new)) or read(self, new))
    for found, expected in zip(frozen.FrozenModel.predict_together(folds, texts), alone, strict=True):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert seen == [9, 9]  # of each text column
    assert not alone[0].equals(alone[1])


def test_another_window_is_read_for_itself(folds):
    texts = word_texts(TOY, 9, seed=5)
    other = replace(folds[1], reader=replace(folds[1].reader, window=2))
    found = frozen.FrozenModel.predict_together([folds[0], other, folds[2]], texts)
    for model, table in zip([folds[0], other, folds[2]], found, strict=True):
        pd.testing.assert_frame_equal(table, model.predict(texts), check_exact=True)
    assert not found[1].equals(folds[1].predict(texts))


def test_a_block_of_rows_is_read_by_itself(folds, monkeypatch):
    """Whatever rows come before and after it."""
    monkeypatch.setattr(frozen, "BLOCK", 4)
    texts = pd.concat([word_texts(TOY, 3, seed=n, words=2 + 3 * n) for n in range(4)]).set_axis(range(12))
    read, seen = frozen.Reader._read, []
    monkeypatch.setattr(frozen.Reader, "_read", lambda self, new: seen.append(list(new)) or read(self, new))
    whole = folds[0].predict(texts)
    columns = [texts[start : start + 4][name].tolist() for start in (0, 4, 8) for name in texts]
    assert seen == columns
    pieces = [folds[0].predict(texts[n : n + 4]) for n in (0, 4, 8)]
    pd.testing.assert_frame_equal(pd.concat(pieces), whole, check_exact=True)
    assert len(folds[0].predict(texts[:0])) == 0


def test_the_stored_model_reads_alike_from_its_run_folder(tiny_bert, tmp_path):
    texts, labels = word_texts(TOY, 30), random_labels(TOY, 30)
    folds = pd.Series(np.arange(30) % 3, index=texts.index)
    test = word_texts(TOY, 5, seed=8).set_axis([f"t{n}" for n in range(5)]).rename_axis("uid")
    learner = FrozenLearner(TOY, Body(str(tiny_bert)), 4)
    model = CrossFit(Study(Run(tmp_path, "01_eda"), TOY, texts, folds, test), "frozen", learner)
    model.fit(given_labels(model.study, labels=labels)).publish("frozen")
    assert (tmp_path / "models/base" / base_name(learner.body) / "config.json").exists()
    back = load_model(tmp_path / "models/frozen/fold1", TOY)
    pd.testing.assert_frame_equal(back.predict(test), model.fold_on_test(1), check_names=False, atol=1e-6)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pkl"))


def test_empty_texts_and_missing_labels_end_nothing(reader):
    labels = with_holes(random_labels(TOY, 30), 0.3).assign(Note=pd.NA)
    texts = word_texts(TOY, 30).assign(First="", Second="")
    table = reader[0].fit([Phase(texts, TOY.to_targets(labels))]).predict(texts)
    TOY.check_probabilities(table)
    assert np.allclose(table, table.iloc[0]) and np.allclose(table["Note"], 0.5)


def test_the_backbone_is_part_of_the_key(tiny_bert):
    a, b = FrozenLearner(TOY, Body(str(tiny_bert))), FrozenLearner(TOY, Body(str(tiny_bert)), 8)
    assert a.config() != b.config()
    assert a.config()["weights"] == resolve(str(tiny_bert)).fingerprint
