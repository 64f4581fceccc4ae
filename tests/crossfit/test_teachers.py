"""A finished run's models as teachers of the next: the right one reads, and nothing of fold k leaks."""

import shutil
import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from teaching import (
    FOLDS,
    LABELS,
    POOL,
    TEST,
    TEXTS,
    K,
    begun,
    close,
    disturbed,
    finished,
    other_folds,
    series,
    taught_by_an_ensemble,
)
from toys import TOY, HashLearner, HashModel, random_probabilities, uids

from narrutils.crossfit import stored, teachers
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.soft_labels import SoftLabels
from narrutils.crossfit.teachers import Teachers
from narrutils.data.files import digest, note_contents, read_json, write_json
from narrutils.data.folds import PLAIN, allowed, for_fold, learns_from, singles
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.data.tables import read_table, write_table
from narrutils.errors import InputError
from narrutils.models.settings import Body, Lora
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tfidf(tmp_path_factory):
    """A finished run with TF-IDF models; only read."""
    return finished(tmp_path_factory.mktemp("runs") / "demo", TfidfLearner(TOY, min_df=1), pool=POOL)


@pytest.fixture
def copy(tfidf, tmp_path):
    """The same run to spoil."""
    return Run(shutil.copytree(tfidf.study.run.folder, tmp_path / "demo"), "06_test")


def test_a_teacher_reads_as_the_model_did_when_it_was_trained(tfidf):
    taught = Teachers(tfidf.study.run, "tfidf", TOY).check(TEXTS, FOLDS)
    for k in range(K):
        close(taught.read(k, TEST), tfidf.fold_on_test(k))
    assert not np.allclose(taught.read(0, TEST), tfidf.fold_on_test(1))
    assert taught.read(0, TEST[::-1]).index.equals(TEST.index[::-1])
    assert taught.read(0, TEST[:0]).shape == (0, TOY.width)
    assert taught.learned_from(2) == (0, 1, 3)
    assert not taught.optimistic


@pytest.mark.parametrize("kind", ["encoder", "adapters"])
def test_a_neural_teacher_keeps_length_truncation_and_precision(kind, tiny_bert, tiny_gemma_folder, tmp_path):
    """The test texts are longer than `max_tokens`, so another length or end would read otherwise."""
    recipe = Recipe(max_tokens=12, truncation="right", learning_rate=1e-2, batch_size=4, precision="float32")
    bodies = {"encoder": (Body(tiny_bert), Lora()), "adapters": (Body(tiny_gemma_folder), Lora(4, 8))}
    learner = NeuralLearner(TOY, *bodies[kind], recipe)
    model = CrossFit(Study(begun(tmp_path), TOY, TEXTS, FOLDS, TEST), "model", learner)
    model.fit(given_labels(model.study, labels=LABELS), [(1,)])
    if learner.base:
        learner.save_base(tmp_path / "models/base" / learner.base)
    close(Teachers(model.study.run, "model", TOY).read(1, TEST), model.fold_on_test(1))
    note = tmp_path / "models/model/fold1/training.json"
    known = read_json(note)
    for spoilt in ({"lora": {"rank": 4}}, {"body": {"engine": "steam"}}, {"recipe": {}}):
        write_json(note, known | {"config": known["config"] | spoilt})
        note_contents(note.parent)  # as that version would have
        with pytest.raises(InputError, match="stored by another version"):
            Teachers(model.study.run, "model", TOY).read(1, TEST)


def test_soft_labels_are_those_that_the_run_itself_would_give(tfidf):
    taught = Teachers(tfidf.study.run, "tfidf", TOY)
    close(taught.pool_soft_labels(POOL), tfidf.pool_soft_labels())
    close(taught.official_soft_labels(), tfidf.official_soft_labels())
    assert taught.pool_soft_labels(POOL[:0]).empty
    soft = taught.soft_labels(POOL, "deberta")
    assert isinstance(soft, SoftLabels)
    assert soft.nested == "deberta"
    close(soft.pool, tfidf.pool_soft_labels())


def test_stored_soft_labels_go_before_nested_readings(copy, tfidf):
    given = tfidf.official_soft_labels()
    stored_ones = random_probabilities(TOY, given.index)
    SoftLabels(stored_ones, tfidf.pool_soft_labels(), "tfidf").save(copy, "tfidf", TOY)
    close(Teachers(copy, "tfidf", TOY).official_soft_labels(), stored_ones)


def test_an_ensemble_teaches_as_the_weighted_mean_of_its_members(copy, tfidf):
    """A member without nested teachers of its own is refused: the others would teach as if they were all."""
    other = CrossFit(Study(copy, TOY, TEXTS, FOLDS, TEST), "other", TfidfLearner(TOY, 0.5, min_df=1), POOL)
    other.fit(given_labels(other.study, labels=LABELS)).publish("other")
    copy.write("ensemble.json", {"weights": {"tfidf": 3.0, "other": 1.0, "unused": 0.0}})
    taught = Teachers(copy, "ensemble", TOY).check(TEXTS, FOLDS)
    assert taught.members == {"tfidf": 0.75, "other": 0.25}
    expected = 0.75 * tfidf.fold_on_test(2) + 0.25 * other.fold_on_test(2)
    close(taught.read(2, TEST), expected)
    with pytest.raises(
        InputError, match="demo: other has no nested teachers.* run its 06_test .*`nested: true`"
    ):
        taught.soft_labels(POOL, "deberta")
    other.stored.write_about(other.stored.about | {"stage": "05_gemma_lora"})
    with pytest.raises(InputError, match="run its 05_gemma_lora there with `may_teach: true` in `teaching`"):
        taught.official_soft_labels()
    other.fit_pairs(given_labels(other.study, labels=LABELS))
    both = 0.75 * tfidf.official_soft_labels() + 0.25 * other.official_soft_labels()
    close(taught.official_soft_labels(), both)
    close(taught.pool_soft_labels(POOL), 0.75 * tfidf.pool_soft_labels() + 0.25 * other.pool_soft_labels())


def test_one_model_is_held_at_a_time(copy, monkeypatch):
    held = []

    def load(folder, schema):
        assert all(model() is None for model in held)
        model = stored.load_model(folder, schema)
        held.append(weakref.ref(model))
        return model

    monkeypatch.setattr(teachers, "load_model", load)
    Teachers(copy, "tfidf", TOY).pool_soft_labels(POOL)
    assert len(held) == K


def test_without_official_soft_labels_the_mend_is_named(tmp_path):
    model = finished(tmp_path / "bare", HashLearner(TOY), "deberta", nested=False)
    with pytest.raises(InputError, match="bare: deberta has no nested teachers, .*nested: true"):
        Teachers(model.study.run, "deberta", TOY).official_soft_labels()


def test_soft_labels_of_other_folds_are_refused(copy, tfidf):
    folds = FOLDS.sample(frac=1, random_state=1).set_axis(FOLDS.index)
    copy.write("folds.parquet", folds.reset_index())
    with pytest.raises(InputError, match="nested teachers of tfidf left out other rows"):
        Teachers(copy, "tfidf", TOY).official_soft_labels()
    official = tfidf.official_soft_labels()
    copy.write("folds.parquet", FOLDS.reset_index())
    for fold, whom in ((0, "fold 0"), (-1, "a refit")):
        lacking = official[official.index != ("u005", fold)]
        SoftLabels(lacking, tfidf.pool_soft_labels(), "tfidf").save(copy, "tfidf", TOY)
        with pytest.raises(InputError, match=f"by tfidf for {whom} are not those of its folds"):
            Teachers(copy, "tfidf", TOY).official_soft_labels()


@pytest.mark.parametrize("note", ["models/tfidf/about.json", "labels/soft/tfidf.json"])
def test_a_teacher_that_crossed_the_folds_says_so(copy, note):
    known = copy.read(note) if copy.has(note) else {}
    copy.write(note, known | {"optimistic": True, "nested": False})
    assert Teachers(copy, "tfidf", TOY).optimistic


@pytest.mark.parametrize(
    ("texts", "folds", "line"),
    [
        (TEXTS[1:], FOLDS[1:], "uid u000 is in only one"),
        (TEXTS.assign(Second=TEXTS["First"]), FOLDS, "demo: Second of uid u000 differs"),
        (TEXTS, other_folds(), "uid u000 is in fold 0 there and 1 here"),
        (TEXTS, FOLDS.replace({3: 2}), "uid u003 is in fold 3 there and 2 here"),
    ],
)
def test_other_cases_texts_or_folds_are_refused(tfidf, texts, folds, line):
    with pytest.raises(InputError, match=line) as caught:
        Teachers(tfidf.study.run, "tfidf", TOY).check(texts, folds)
    assert "\n" not in str(caught.value)
    assert not set(TEXTS.loc["u000", "Second"].split()) & set(str(caught.value).split())


def test_rows_in_another_order_are_the_same_rows(tfidf):
    Teachers(tfidf.study.run, "tfidf", TOY).check(TEXTS[::-1], FOLDS.sample(frac=1, random_state=2))


def test_a_missing_model_another_schema_and_a_stale_model_are_refused(copy):
    taught = Teachers(copy, "tfidf", TOY)
    path = copy.path("models/tfidf/fold2/predictions.parquet")
    table = read_table(path)
    write_table(path, table.drop(columns="Sad"))
    with pytest.raises(InputError, match="models/tfidf/fold2 was trained for another schema"):
        taught.check(TEXTS, FOLDS)
    write_table(path, table[table["uid"] != "u002"])
    with pytest.raises(InputError, match="fold2 left out other rows than those of fold 2"):
        taught.check(TEXTS, FOLDS)
    shutil.rmtree(path.parent)
    with pytest.raises(InputError, match="demo: models/tfidf/fold2 is missing"):
        taught.check(TEXTS, FOLDS)
    with pytest.raises(InputError, match="models/gemma/fold0 is missing"):
        Teachers(copy, "gemma", TOY).check(TEXTS, FOLDS)
    with pytest.raises(InputError, match="holds no stored model"):
        taught.read(2, TEST)


def test_screening_gets_each_teacher_with_its_folds_and_its_average(tfidf):
    taught = Teachers(tfidf.study.run, "tfidf", TOY)
    for k, teacher in enumerate(taught.for_screening(TEXTS, FOLDS)):
        assert teacher.learned_from == tuple(j for j in range(K) if j != k)
        close(teacher.read(TEST), taught.read(k, TEST))
        own = TEXTS.loc[learns_from(FOLDS, (k,))]
        pd.testing.assert_series_equal(teacher.prior, taught.read(k, own).mean())
    with pytest.raises(InputError, match="its folds differ"):
        taught.for_screening(TEXTS, other_folds())


# The proof over runs: `HashLearner` answers otherwise as soon as one letter of what it learned
# from is another, so a student that stays the same has learned nothing of the changed fold.


def load_hashed(folder, schema):
    return HashModel(schema, read_json(folder / "state.json"))


@pytest.fixture
def hashed(monkeypatch):
    """Stored models are `HashModel`s."""
    monkeypatch.setattr(teachers, "load_model", load_hashed)


@pytest.mark.parametrize("k", [0, 3])
def test_nothing_of_fold_k_reaches_its_model_over_a_series_of_runs(k, hashed, tmp_path):
    plain = series(tmp_path / "a", TEXTS, LABELS)
    others = series(tmp_path / "b", *disturbed(k))
    for one, other in zip(plain, others, strict=True):
        states = [
            [s.study.run.read(f"models/student/fold{j}/state.json") for j in range(K)] for s in (one, other)
        ]
        assert states[0][k] == states[1][k]
        for j in set(range(K)) - {k}:  # the proof has teeth: everyone else did learn from fold k
            assert states[0][j] != states[1][j]
    taught = [Teachers(students[-1].study.run, "student", TOY) for students in (plain, others)]
    priors = [t.for_screening(t.run.cases("train"), FOLDS)[k].prior for t in taught]
    pd.testing.assert_series_equal(*priors)


@pytest.fixture(scope="module")
def by_an_ensemble(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teachers, "load_model", load_hashed)
        return taught_by_an_ensemble(tmp_path_factory.mktemp("runs") / "plain", TEXTS, LABELS)


@pytest.mark.parametrize("k", [1, 3])
def test_nothing_of_fold_k_reaches_the_student_of_an_ensemble(k, by_an_ensemble, hashed, tmp_path):
    """Neither by who reads, nor by the calibration and the weights with which the readings become one."""
    plain, soft, _ = by_an_ensemble
    other, changed, _ = taught_by_an_ensemble(tmp_path / "b", *disturbed(k))
    for kind in ("official", "pool"):
        one, another = (for_fold(getattr(made, kind), k) for made in (soft, changed))
        pd.testing.assert_frame_equal(one, another, check_exact=True)
    assert [held_out for held_out in plain if plain[held_out] == other[held_out]] == [(k,)]


def test_nothing_of_fold_k_reaches_who_screens_for_its_model(by_an_ensemble, hashed, tmp_path):
    """Neither through its readings nor through the mean that they are held against."""
    runs, said = [by_an_ensemble[2], taught_by_an_ensemble(tmp_path / "b", *disturbed(1))[2]], []
    for run in runs:
        screening = Teachers(run, "ensemble", TOY).for_screening(run.cases("train"), FOLDS)
        said.append([digest(t.read(POOL[TOY.text_columns]), t.prior.to_frame()) for t in screening])
    assert [k for k, (one, other) in enumerate(zip(*said)) if one == other] == [1]


def test_a_refit_learns_what_the_deployed_models_read_of_generated_rows(by_an_ensemble, tmp_path):
    """Rows of every fold, and each official row by a teacher that left its own fold out."""
    plain, soft, _ = by_an_ensemble
    assert len(plain[()]) == 2
    told, made = soft.told(TOY, PLAIN)
    assert set(told.index) == set(TEXTS.index) and set(made.index) == set(uids(2 * K, "g"))


def test_the_plain_version_is_the_mean_of_all_fold_models_and_changes_no_other(tfidf, monkeypatch):
    read = []

    def load(folder, schema):
        model = stored.load_model(folder, schema)
        noted = lambda texts: read.extend((folder, uid) for uid in texts.index) or model.predict(texts)  # noqa: E731
        return SimpleNamespace(predict=noted)

    taught = Teachers(tfidf.study.run, "tfidf", TOY)
    without = taught.pool_soft_labels(POOL)
    monkeypatch.setattr(teachers, "load_model", load)
    found = taught.pool_soft_labels(POOL, plain=True)
    assert len(read) == len(set(read)) == K * len(POOL)  # each model reads each row once
    rows = found.index.get_level_values("held_out_fold") != PLAIN
    pd.testing.assert_frame_equal(found[rows], without, check_exact=True)
    mean = sum(taught.read(k, POOL) for k in range(K)) / K
    close(for_fold(found, PLAIN), mean)


def test_a_nested_teacher_that_left_out_other_folds_is_refused(copy):
    """As one would be that saw the fold on whose behalf it reads."""
    note = copy.path("models/tfidf/pair1_2/training.json")
    write_json(note, read_json(note) | {"held_out": [1]})
    with pytest.raises(InputError, match="nested teachers of tfidf left out other rows"):
        Teachers(copy, "tfidf", TOY).official_soft_labels()
    write_json(note, read_json(note) | {"held_out": [1, 2]})
    Teachers(copy, "tfidf", TOY).official_soft_labels()
    path = note.parent / "predictions.parquet"
    table = read_table(path)
    write_table(path, pd.concat([table, table.assign(uid=table["uid"].replace("u001", "u000"))[:1]]))
    with pytest.raises(InputError, match="nested teachers of tfidf left out other rows"):
        Teachers(copy, "tfidf", TOY).official_soft_labels()


def test_soft_labels_that_another_model_made_are_not_a_members_own(copy, tfidf):
    """As of a round that keeps the first teacher's labels of the official rows."""
    shutil.copytree(copy.path("models/tfidf"), copy.path("models/gemma"))
    other = random_probabilities(TOY, tfidf.official_soft_labels().index)
    SoftLabels(other, tfidf.pool_soft_labels(), "deberta").save(copy, "gemma", TOY)
    close(Teachers(copy, "gemma", TOY).official_soft_labels(), tfidf.official_soft_labels())


def test_rows_that_saw_a_fold_are_not_read_for_it(tfidf):
    labels = Teachers(tfidf.study.run, "tfidf", TOY).pool_soft_labels(POOL)
    for (k,) in singles(FOLDS):
        assert set(for_fold(labels, k).index) == set(allowed(POOL, (k,)).index)
    official = Teachers(tfidf.study.run, "tfidf", TOY).official_soft_labels()
    for k in range(K):
        assert set(for_fold(official, k).index) == set(learns_from(FOLDS, (k,)))
    assert set(for_fold(official, PLAIN).index) == set(TEXTS.index)


def test_tfidf_teachers_of_a_fold_do_not_depend_on_its_data(tmp_path):
    readings = []
    for name, (texts, labels) in {"a": (TEXTS, LABELS), "b": disturbed(1)}.items():
        model = CrossFit(
            Study(begun(tmp_path / name, texts, labels), TOY, texts, FOLDS, TEST),
            "tfidf",
            TfidfLearner(TOY, min_df=1),
        )
        model.fit(given_labels(model.study, labels=labels))
        readings.append(Teachers(model.study.run, "tfidf", TOY).check(texts, FOLDS).pool_soft_labels(POOL))
    one, other = readings
    pd.testing.assert_frame_equal(for_fold(one, 1), for_fold(other, 1))
    assert not for_fold(one, 0).equals(for_fold(other, 0))
