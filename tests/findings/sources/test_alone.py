"""Each narrative read alone: the others are blank, and nobody reads a case that he learned from."""

import numpy as np
import pandas as pd
import pytest
from apart import made_run, schema
from scipy.special import logit
from toys import TOY, HashLearner, random_labels, uids, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.findings.settings import LINEAR
from narrutils.findings.sources import alone
from narrutils.findings.sources.alone import LinearTeachers, read_alone, read_test, read_training
from narrutils.models.tfidf import TfidfLearner, TfidfModel

pytestmark = pytest.mark.slow

TASK = schema("First", "Second")


class Listener:
    """Reads by counting words, and remembers what it was given."""

    def __init__(self, task):
        self.task, self.heard = task, []

    def __call__(self, texts):
        self.heard.append(texts)
        n = texts.apply(lambda row: sum(text.lower().count("rash") for text in row), axis=1).to_numpy(
            dtype=float
        )
        logits = np.repeat(n[:, None], self.task.width, axis=1)
        return self.task.from_logits(logits, texts.index)


def texts(**narratives):
    return pd.DataFrame(narratives, index=uids(len(next(iter(narratives.values())))))


def test_all_other_narratives_are_blank():
    read = Listener(TASK)
    read_alone(read, None, texts(First=["A rash. Wet.", ""], Second=["Dry.", "No rash."]), TASK)
    for table in read.heard:
        assert (table.ne("").sum(axis=1) <= 1).all()
        assert list(table.columns) == TASK.text_columns
    assert {text for table in read.heard for text in table.to_numpy().ravel()} == {
        "", "A rash. Wet.", "A rash. ", " Wet.", "Dry.", "No rash."
    }  # fmt: skip


def test_whole_and_effects_are_those_of_the_narrative_alone():
    told = texts(First=["A rash. Wet.", ""], Second=["Dry rash rash.", "No."])
    found = read_alone(Listener(TASK), None, told, TASK)
    assert found.whole.index.tolist() == [("u000", "First"), ("u000", "Second"), ("u001", "Second")]
    np.testing.assert_allclose(logit(found.whole["Rash"]), [1, 2, 0], atol=1e-9)
    spans = [told.at[p.uid, p.source][p.start : p.end] for p in found.places.itertuples()]
    assert spans == ["A rash.", "Wet.", "Dry rash rash.", "No."]
    assert found.words == [["a", "rash"], ["wet"], ["dry", "rash", "rash"], ["no"]]
    np.testing.assert_allclose(found.effects[:, 0], [1, 0, 2, 0], atol=1e-9)


def test_what_is_empty_is_not_read_and_a_sentence_said_twice_is_left_out_at_once():
    found = read_alone(Listener(TASK), None, texts(First=["Rash. Rash.", " "], Second=["", "\n"]), TASK)
    assert found.whole.index.tolist() == [("u000", "First")]
    assert found.places[["start", "end"]].to_numpy().tolist() == [[0, 5]]
    np.testing.assert_allclose(found.effects[:, 0], [2.0], atol=1e-9)
    none = read_alone(Listener(TASK), None, texts(First=[""], Second=[""]), TASK)
    assert len(none.whole) == len(none.places) == len(none.effects) == 0


def test_blocks_change_nothing(monkeypatch):
    told = word_texts(TASK, 7, words=9)
    once = read_alone(Listener(TASK), None, told, TASK)
    monkeypatch.setattr(alone, "CASES", 2)
    again = read_alone(Listener(TASK), None, told, TASK)
    pd.testing.assert_frame_equal(again.whole, once.whole)
    pd.testing.assert_frame_equal(again.places, once.places)
    np.testing.assert_allclose(again.effects, once.effects)
    some = once.of(told.index[3:5])
    assert set(some.places["uid"]) == set(some.whole.index.get_level_values("uid")) == set(told.index[3:5])
    assert len(some.effects) == len(some.words) == len(some.places)


def test_another_model_reads_whole_narratives_and_not_the_sentences():
    whole, sentences = Listener(TASK), Listener(TASK)
    told = texts(First=["A rash. Wet."], Second=["Dry."])
    read_alone(whole, sentences, told, TASK)
    assert [len(table) for table in whole.heard] == [2]
    assert [len(table) for table in sentences.heard] == [5]


def hash_study(folder, texts, labels, folds):
    run = Run(folder, "06_test")
    run.write("schema.json", TOY.to_dict())
    test = word_texts(TOY, 3, seed=9).set_axis(uids(3, "t"))
    split = pd.concat([texts.join(labels).assign(split="train"), test.assign(split="test")])
    run.write("cases.parquet", split)
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study(run, TOY, texts, folds, test, labels)
    return study, CrossFit(study, "hash", HashLearner(TOY)).fit(given_labels(study, labels=labels))


def test_a_case_is_read_by_the_model_that_left_its_fold_out_and_by_no_other(tmp_path, monkeypatch):
    """`HashLearner` depends on every letter and label it learned from: those of fold 1 are changed."""
    texts, labels = word_texts(TOY, 12), random_labels(TOY, 12)
    folds = pd.Series(np.arange(12) % 3, texts.index, name="fold")
    own = folds.index[folds == 1]
    found = []
    for name, change in (("one", False), ("other", True)):
        told = labels.copy()
        if change:
            told.loc[own] = random_labels(TOY, 12, seed=5).loc[own]
        study, fit = hash_study(tmp_path / name, texts, told, folds)
        models = {k: fit.learner.fit(given_labels(study, labels=told)((k,))) for k in (0, 1, 2)}
        monkeypatch.setattr(alone, "teachers_of", lambda run, model, task, models=models: Stored(models))
        found.append((read_training(study, LINEAR), read_test(study, LINEAR)))
    (one, one_test), (other, other_test) = found
    same = (one.whole == other.whole).all(axis=1)
    assert same[same.index.get_level_values("uid").isin(own)].all()
    assert not same[~same.index.get_level_values("uid").isin(own)].any()
    assert not (one_test.whole == other_test.whole).any(axis=None)


class Stored:
    """Teachers whose models are at hand."""

    def __init__(self, models):
        self.models = models

    def read(self, fold, texts):
        return self.models[fold].predict(texts)


def trained(folder) -> Study:
    study = made_run(folder)
    CrossFit(study, "tfidf", TfidfLearner(study.schema, min_df=1)).fit(given_labels(study)).publish("TF-IDF")
    return study


def test_linear_members_read_together_what_each_reads_alone(tmp_path, monkeypatch):
    study = trained(tmp_path / "run")
    pairs = TfidfLearner(study.schema, min_df=1, ngrams=(1, 2), scaled=True)
    CrossFit(study, "nb", pairs).fit(given_labels(study)).publish("scaled")
    made = {"members": ["tfidf", "nb"], "weights": {"tfidf": 0.25, "nb": 0.75}}
    study.run.write("ensemble.json", made)
    plain = Teachers(study.run, "ensemble", study.schema).read(1, study.test)
    asked, together = [], TfidfModel.predict_together

    def counted(models, texts):
        asked.append(len(models))
        return together(models, texts)

    monkeypatch.setattr(TfidfModel, "predict_together", counted)
    found = LinearTeachers(study.run, "ensemble", study.schema).read(1, study.test)
    pd.testing.assert_frame_equal(found, plain, check_exact=True)
    assert asked == [2]


def test_without_an_ensemble_the_baseline_reads_and_with_one_its_linear_members(tmp_path):
    study = trained(tmp_path / "run")
    teachers = LinearTeachers(study.run, "ensemble", study.schema)
    assert teachers.members == {"tfidf": 1.0}
    plain = read_training(study, "tfidf").whole
    pd.testing.assert_frame_equal(read_training(study, LINEAR).whole, plain)
    study.run.write("ensemble.json", {"members": ["tfidf", "gemma"], "weights": {"tfidf": 0.2, "gemma": 0.8}})
    assert LinearTeachers(study.run, "ensemble", study.schema).members == {"tfidf": 0.2}
    pd.testing.assert_frame_equal(read_training(study, LINEAR).whole, plain)


def test_of_the_test_it_is_the_mean_of_all_folds(tmp_path):
    study = trained(tmp_path / "run")
    blank = study.test.assign(Second="")
    parts = [LinearTeachers(study.run, "ensemble", study.schema).read(k, blank) for k in range(3)]
    found = read_test(study, LINEAR).whole.xs("First", level="source")
    pd.testing.assert_frame_equal(found, (sum(parts) / 3).loc[found.index], check_names=False)


@pytest.mark.parametrize("columns", [("Only",), ("First", "Second", "Third")])
def test_schemas_with_one_narrative_or_three(columns):
    task = schema(*columns)
    found = read_alone(Listener(task), None, word_texts(task, 2), task)
    assert len(found.whole) == 2 * len(columns)
