"""One model over the folds: nobody learns from what it is scored on, and a killed run resumes."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import (
    TOY,
    HashLearner,
    HashModel,
    random_labels,
    random_probabilities,
    uids,
    with_holes,
    word_texts,
)

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels, official_phase
from narrutils.data.folds import PLAIN, allowed, folder_name, for_fold, learns_from, pairs, singles, stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.intervals import score_interval
from narrutils.evaluation.scores import score
from narrutils.models.learner import Phase
from narrutils.models.tfidf import TfidfLearner

N = 24
TEXTS, LABELS = word_texts(TOY, N, seed=1), random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % 4, index=TEXTS.index, name="fold").sample(frac=1, random_state=5)
TEST = word_texts(TOY, 5, seed=2).set_axis(uids(5, "t"))
POOL = word_texts(TOY, 8, seed=3).set_axis(uids(8, "g")).assign(seen_folds=[[n % 4] for n in range(8)])


def crossfit(folder, learner=None, **changes):
    cases = {"train": TEXTS, "folds": FOLDS, "test": TEST, "pool": POOL} | changes
    study = Study(Run(folder, "04_test"), TOY, cases["train"], cases["folds"], cases["test"])
    return CrossFit(study, "model", learner or HashLearner(TOY), cases["pool"])


def given(held_out):
    return [official_phase(TEXTS, TOY.to_targets(LABELS), FOLDS, held_out, 1)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    model = crossfit(tmp_path_factory.mktemp("run"))
    return model.fit(given).fit_pairs(given)


def reading(model, held_out, rows):
    """What the model with these held-out folds says of these rows."""
    twin = HashLearner(TOY).fit(given(held_out))
    return twin.predict(rows[TOY.text_columns])


def test_each_official_row_is_read_by_the_model_that_left_its_fold_out(fitted):
    table = fitted.out_of_fold()
    assert table.index.equals(TEXTS.index)  # joined by uid: the folds stand in another order
    for k in range(4):
        own = TEXTS[FOLDS.loc[TEXTS.index] == k]
        pd.testing.assert_frame_equal(table.loc[own.index], reading(fitted, (k,), own), check_names=False)
    for label, learned in fitted.learner.learned.items():
        held_out = tuple(map(int, label.removeprefix("model fold").removeprefix("model pair").split("_")))
        assert learned == set(learns_from(FOLDS, held_out))


def test_test_predictions_are_the_mean_of_the_fold_models(fitted):
    expected = sum(reading(fitted, (k,), TEST) for k in range(4)) / 4
    pd.testing.assert_frame_equal(fitted.on_test(), expected, check_names=False)
    pd.testing.assert_frame_equal(fitted.fold_on_test(2), reading(fitted, (2,), TEST), check_names=False)


def test_official_soft_labels_come_from_the_teacher_without_both_folds(fitted):
    labels = fitted.official_soft_labels()
    assert sorted(labels.index.unique("held_out_fold")) == [PLAIN, 0, 1, 2, 3]
    pd.testing.assert_frame_equal(for_fold(labels, PLAIN), fitted.out_of_fold())
    for k in range(4):
        table = for_fold(labels, k)
        assert set(table.index) == set(learns_from(FOLDS, (k,)))
        for j in {0, 1, 2, 3} - {k}:
            own = TEXTS[FOLDS.loc[TEXTS.index] == j]
            expected = reading(fitted, tuple(sorted((j, k))), own)
            pd.testing.assert_frame_equal(table.loc[own.index], expected, check_names=False)


def test_pool_soft_labels_for_a_fold_come_from_its_own_model_and_only_of_allowed_rows(fitted):
    labels = fitted.pool_soft_labels()
    for k in range(4):
        rows = allowed(POOL, (k,))
        table = for_fold(labels, k)
        assert set(table.index) == set(rows.index)
        assert len(rows) == 6
        expected = reading(fitted, (k,), rows)
        pd.testing.assert_frame_equal(table.loc[rows.index], expected, check_names=False)


def test_one_teacher_serves_both_orders(fitted):
    assert len(fitted.learner.trained) == 4 + 6
    assert sorted(p.name for p in fitted.study.run.path("models/model").iterdir()) == sorted(
        folder_name(h) for h in singles(FOLDS) + pairs(FOLDS)
    )


@pytest.mark.parametrize("who", ["held-out row", "test row", "generated row that saw the fold"])
def test_a_phase_that_leaks_is_refused_before_training(tmp_path, who):
    model = crossfit(tmp_path)
    leaked = {
        "held-out row": TEXTS.loc[FOLDS.index[FOLDS.eq(2)][:1]],
        "test row": TEST[:1],
        "generated row that saw the fold": POOL.loc[["g002"], TOY.text_columns],
    }[who]
    extra = Phase(leaked, random_probabilities(TOY, leaked.index), soft=True)

    def phases_of(held_out):
        return [*given(held_out), extra] if held_out == (2,) else given(held_out)

    with pytest.raises(ValueError, match=f"model fold2 may not learn from {leaked.index[0]}"):
        model.fit(phases_of)
    assert model.learner.trained == ["model fold0", "model fold1"]
    with pytest.raises(ValueError, match="may not learn from"):
        model.fit(lambda held_out: [*given(held_out), extra], [(2, 3)])


def test_a_second_fit_trains_nothing(tmp_path):
    crossfit(tmp_path).fit(given)
    again = crossfit(tmp_path).fit(given)
    assert again.learner.trained == []


@pytest.mark.parametrize("change", ["config", "texts", "targets", "epochs", "test rows", "pool"])
def test_what_makes_a_model_is_in_its_key(tmp_path, change):
    crossfit(tmp_path).fit(given)
    targets = TOY.to_targets(LABELS)
    moved = TEXTS.copy()
    learner, texts, epochs, more = HashLearner(TOY), TEXTS, 1, {}
    if change == "config":
        learner = HashLearner(TOY, setting=1)
    elif change == "texts":
        moved.loc[FOLDS.index[FOLDS.eq(0)][0], "First"] += " more"
        texts = moved
        more = {"train": moved}
    elif change == "targets":
        targets = targets.assign(Sad=1 - targets["Sad"])
    elif change == "epochs":
        epochs = 2
    elif change == "test rows":
        more = {"test": TEST[:3]}
    else:
        more = {"pool": POOL[:4]}
    model = crossfit(tmp_path, learner, **more)
    model.fit(lambda h: [official_phase(texts, targets, FOLDS, h, epochs)])
    assert learner.trained == [f"model fold{k}" for k in range(4)]
    assert model.out_of_fold().shape == (N, TOY.width)


def test_a_changed_row_retrains_only_the_models_that_knew_it(tmp_path):
    """Fold 0's model never learned the row's label, so it stays."""
    crossfit(tmp_path).fit(given)
    targets = TOY.to_targets(LABELS)
    uid = FOLDS.index[FOLDS.eq(0)][0]
    targets.loc[uid, "Sad"] = 1 - targets.loc[uid, "Sad"]
    again = crossfit(tmp_path)
    again.fit(lambda h: [official_phase(TEXTS, targets, FOLDS, h, 1)])
    assert again.learner.trained == ["model fold1", "model fold2", "model fold3"]


def test_a_killed_fit_keeps_whole_folds_and_resumes_at_the_next(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        crossfit(tmp_path, HashLearner(TOY, fail_on="fold1")).fit(given)
    folders = tmp_path / "models/model"
    assert [p.name for p in folders.iterdir()] == ["fold0"]
    resumed = crossfit(tmp_path).fit(given)
    assert resumed.learner.trained == ["model fold1", "model fold2", "model fold3"]


def test_a_kill_while_saving_leaves_no_half_written_folder(tmp_path, monkeypatch):
    save = HashModel.save

    def die(self, folder):
        save(self, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(HashModel, "save", die)
    with pytest.raises(KeyboardInterrupt):
        crossfit(tmp_path).fit(given)
    assert list((tmp_path / "models/model").iterdir()) == []
    monkeypatch.setattr(HashModel, "save", save)
    assert len(crossfit(tmp_path).fit(given).learner.trained) == 4


def test_a_model_that_diverged_is_not_kept(tmp_path, monkeypatch):
    """Stored, its NaN would fail every rerun, which would find the fold already trained."""
    predict = HashModel.predict
    monkeypatch.setattr(HashModel, "predict", lambda self, texts: predict(self, texts) * np.nan)
    with pytest.raises(ValueError, match="not a number"):
        crossfit(tmp_path).fit(given)
    monkeypatch.setattr(HashModel, "predict", predict)
    assert len(crossfit(tmp_path).fit(given).out_of_fold()) == N


def test_a_row_of_unknown_origin_is_refused(tmp_path):
    """Nobody can say which folds it saw."""
    model, row = crossfit(tmp_path, pool=POOL[:0]), POOL.loc[["g002"], TOY.text_columns]
    extra = Phase(row, random_probabilities(TOY, row.index), soft=True)
    with pytest.raises(ValueError, match="g002"):
        model.fit(lambda held_out: [*given(held_out), extra])


def test_nested_teachers_leave_only_their_readings(fitted):
    pair, fold = fitted.study.run.path("models/model/pair0_2"), fitted.study.run.path("models/model/fold1")
    assert sorted(p.name for p in pair.iterdir()) == [
        "files.json",
        "key.json",
        "predictions.parquet",
        "training.json",
    ]
    assert (fold / "state.json").exists()


def test_publishing_writes_what_the_ladder_reads_and_marks_the_optimistic(fitted):
    fitted.publish("a model", order=2)
    run = fitted.study.run
    assert run.read("models/model/about.json") == {
        "model": "model",
        "step": "a model",
        "stage": "04_test",
        "order": 2,
        "folds": [0, 1, 2, 3],
        "refit": False,
        "base": "",
        "optimistic": False,
        "instead": "",
    }
    oof = run.read_probabilities("predictions/model_oof.parquet", TOY)
    pd.testing.assert_frame_equal(oof, fitted.out_of_fold())
    pd.testing.assert_frame_equal(
        run.read_probabilities("predictions/model_test.parquet", TOY), fitted.on_test()
    )


def test_what_crossed_the_folds_marks_the_model_that_learned_from_it(tmp_path):
    model = crossfit(tmp_path).fit(lambda held_out: [replace(p, optimistic=True) for p in given(held_out)])
    model.publish("a model")
    assert model.optimistic and model.stored.about["optimistic"]


def test_a_refit_learns_from_all_rows_and_reads_the_test_in_place_of_the_folds(tmp_path):
    model = crossfit(tmp_path).fit(given).fit_all(given)
    assert model.learner.learned["model all"] == set(TEXTS.index)
    read = model.stored.read((), TOY)
    assert read.index.equals(TEST.index)  # nothing that it learned from, and nothing of the pool
    pd.testing.assert_frame_equal(read, reading(model, (), TEST), check_names=False)
    pd.testing.assert_frame_equal(model.on_test(), read)
    assert not np.allclose(model.on_test(), crossfit(tmp_path).fit(given).on_test())
    model.publish("a model")
    published = [model.stored.predictions(split, TOY) for split in ("oof", "test")]
    pd.testing.assert_frame_equal(published[1], read)
    pd.testing.assert_frame_equal(published[0], crossfit(tmp_path).out_of_fold())
    assert model.stored.has_refit and model.stored.deployed == [()]
    crossfit(tmp_path).fit(given).publish("a model")  # the same folder, the refit no longer asked for
    assert not model.stored.has_refit and model.stored.deployed == singles(FOLDS)


def test_a_refit_is_made_once_and_again_the_same(tmp_path):
    model = crossfit(tmp_path).fit_all(given)
    saved = model.stored.path(()) / "state.json"
    first = saved.read_bytes(), model.on_test()
    again = crossfit(tmp_path).fit_all(given)
    assert again.learner.trained == []
    shutil.rmtree(saved.parent)
    again = crossfit(tmp_path).fit_all(given)
    assert again.learner.trained == ["model all"]
    assert saved.read_bytes() == first[0]
    pd.testing.assert_frame_equal(again.on_test(), first[1], check_exact=True)


def test_a_refit_may_learn_from_generated_rows_of_every_fold_and_never_from_the_test(tmp_path):
    rows = POOL[TOY.text_columns]
    soft = Phase(rows, random_probabilities(TOY, rows.index), soft=True)
    model = crossfit(tmp_path).fit_all(lambda held_out: [soft, *given(held_out)])
    assert model.learner.learned["model all"] == set(TEXTS.index) | set(POOL.index)
    test = Phase(TEST, random_probabilities(TOY, TEST.index), soft=True)
    with pytest.raises(ValueError, match="model all may not learn from t000"):
        crossfit(tmp_path).fit_all(lambda held_out: [test, *given(held_out)])


def test_histories_are_kept_by_fold(fitted):
    assert fitted.histories() == {f"fold{k}": [{"epoch": 1, "loss": 0.5}] for k in range(4)}


def test_a_model_without_pool_is_fitted_too(tmp_path):
    model = crossfit(tmp_path, pool=POOL[:0]).fit(given)
    assert model.pool_soft_labels().empty
    assert len(model.out_of_fold()) == N


def test_stacked_tables_come_apart_again():
    tables = {-1: random_probabilities(TOY, uids(3)), 2: random_probabilities(TOY, uids(2), 1)}
    stacked = stack(tables)
    assert stacked.index.names == ["uid", "held_out_fold"]
    for fold, table in tables.items():
        pd.testing.assert_frame_equal(for_fold(stacked, fold), table)


def told(labels: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Texts that state each code as a word, in a share of the cells another one."""
    other = random_labels(TOY, len(labels), seed=8).set_axis(labels.index)
    heard = labels.where(np.random.default_rng(9).random(labels.shape) > noise, other)
    words = pd.DataFrame({name: f"{name}code" + heard[name].astype(str) for name in heard})
    return words.agg(" ".join, axis=1).to_frame("First").assign(Second="")


def cheap(folder, labels: pd.DataFrame, texts: pd.DataFrame, folds: pd.Series) -> CrossFit:
    """The baseline, fitted on these labels."""
    study = Study(Run(folder, "01_test"), TOY, texts, folds, TEST, labels)
    return CrossFit(study, "tfidf", TfidfLearner(TOY)).fit(given_labels(study))


@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_of_the_labels_may_be_missing(tmp_path, seed):
    """Out of fold, against all labels, it scores within the interval of the model that had them all."""
    labels = random_labels(TOY, 320, seed)
    texts, folds = told(labels, 0.4), pd.Series(np.arange(320) % 4, labels.index, name="fold")
    partly = with_holes(labels, 0.2, seed)
    partly.iloc[:10] = pd.NA
    whole = cheap(tmp_path / "whole", labels, texts, folds)
    found = score(whole.study, cheap(tmp_path / "partly", partly, texts, folds).out_of_fold())
    full = score_interval(score(whole.study, whole.out_of_fold()).counts)
    assert 0.5 < full.value < 0.9
    assert full.low < found.average_f1 < full.high


@pytest.mark.parametrize("texts", ["words", "empty", "numbers"])
def test_labels_that_a_folds_rest_lacks_end_nothing(tmp_path, texts):
    """Of one class, of none at all, and of a case or two."""
    labels = LABELS.astype("Int64").assign(Sad=pd.NA, Place=3, Tool=0)
    first = FOLDS.index[FOLDS.eq(0)]
    labels.loc[first, "Sad"], labels.loc[first[:1], ["Place", "Tool"]] = 1, [1, 5]
    said = {
        "words": TEXTS,
        "empty": TEXTS.assign(First="", Second=""),
        "numbers": TEXTS.assign(First="1", Second="2"),
    }
    model = cheap(tmp_path, labels, said[texts], FOLDS)
    table = TOY.check_probabilities(model.out_of_fold())
    assert (table.loc[first, "Sad"] == 0.5).all() and (table.drop(first)["Sad"] > 0.99).all()
    assert (table.loc[first, "Place_3"] > 0.99).all()
    model.publish("baseline")
