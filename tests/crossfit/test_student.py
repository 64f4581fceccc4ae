"""04's model of its settings: who learns, of whom, what is published, and what of it reads new cases."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids, word_texts

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, Student, given_labels
from narrutils.crossfit.student import (
    asked,
    curriculum,
    first_teacher,
    fit_student,
    hand_on,
    learner,
    make_student,
)
from narrutils.data.folds import PLAIN, learns_from, stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.terms.student import SoftLearner
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner

pytestmark = pytest.mark.slow

N, K = 36, 3
FOLDS = pd.Series(np.arange(N) % K, index=uids(N), name="fold")
TEXTS, LABELS = word_texts(TOY, N, seed=1), random_labels(TOY, N)
TEST = word_texts(TOY, 6, seed=2).set_axis(uids(6, "t"))
POOL = word_texts(TOY, 6, seed=3).set_axis(uids(6, "g")).assign(seen_folds=[[n % K] for n in range(6)])
CORRECTED = Corrected(stack({k: TOY.to_targets(LABELS) for k in (PLAIN, *range(K))}))


def study_in(folder) -> Study:
    run = Run(folder, "04_test")
    cases = [TEXTS.join(LABELS).assign(split="train"), TEST.assign(split="test")]
    run.write("cases.parquet", pd.concat(cases))
    run.write("folds.parquet", FOLDS.rename_axis("uid").reset_index())
    run.write("schema.json", TOY.to_dict())
    return Study(run, TOY, TEXTS, FOLDS, TEST, LABELS, pool=POOL)


def values(soft_epochs=1, epochs=1, requested_epochs=0, previous_run="", **options) -> dict:
    """Parameters of the notebook."""
    passes = {"soft_epochs": soft_epochs, "epochs": epochs, "requested_epochs": requested_epochs}
    passes |= {"previous_run": previous_run, "teacher": "ensemble", "nested": True, "compute": {}}
    return passes | {"options": {"student": "linear"} | options}


@pytest.fixture
def taught(tmp_path):
    """A study whose run has TF-IDF models, with nested teachers."""
    study = study_in(tmp_path)
    given = given_labels(study)
    CrossFit(study, "tfidf", TfidfLearner(TOY, min_df=1)).fit(given).fit_pairs(given).publish("tfidf")
    return study


def first_of(study, given):
    return first_teacher(study, asked(given), given["previous_run"], given["teacher"])


def fitted(study, given):
    return fit_student(study, given, CORRECTED, first_of(study, given))


def test_with_a_refit_it_is_the_student_and_what_ships_is_what_is_published(taught):
    given = values(refit=True)
    made = fitted(taught, given)
    about = taught.run.read("models/student/about.json")
    assert (about["model"], about["refit"], about["folds"]) == ("student", True, [0, 1, 2])
    assert hand_on(made, asked(given), nested=True) is None
    assert sorted(path.name for path in taught.run.path("models/student").iterdir()) == [
        "about.json", "all", "fold0", "fold1", "fold2",
    ]  # fmt: skip
    held_out = made.stored.read((1,), TOY).index
    assert not held_out.intersection(POOL.index).size  # what nobody is told, nobody reads
    made_of = {"members": ["student"], "weights": {"student": 1.0}, "thresholds": {}}
    taught.run.write("ensemble.json", made_of)
    read = Deployed.open(taught.run.folder).read(TEST)
    published = made.stored.predictions("test", TOY, TEST.index)
    pd.testing.assert_frame_equal(read, published, check_names=False, check_exact=True)


def test_without_a_refit_it_hands_soft_labels_on(taught):
    given = values()
    made = fitted(taught, given)
    soft = hand_on(made, asked(given), nested=True)
    assert made.name == "deberta" and not made.stored.has_refit
    assert taught.run.read("labels/soft/deberta.json") == {"teachers": "deberta", "optimistic": False}
    assert set(soft.pool.index.unique("uid")) == set(POOL.index)


def test_phases_without_an_epoch_are_left_out_so_soft_labels_may_be_all(taught):
    other = Corrected(1 - CORRECTED.targets)
    teacher = first_of(taught, values(refit=True))
    for held_out in ((), (1,)):
        (soft,) = curriculum(taught, values(epochs=0, refit=True), CORRECTED, teacher)(held_out)
        assert soft.soft and set(learns_from(FOLDS, held_out)) <= set(soft.texts.index)
        (same,) = curriculum(taught, values(epochs=0, refit=True), other, teacher)(held_out)
        assert soft.key() == same.key()  # a correction has no part in it
    (hard,) = curriculum(taught, values(soft_epochs=0), CORRECTED, None)((1,))
    assert not hard.soft and first_of(taught, values(soft_epochs=0)) is None
    with pytest.raises(InputError, match="set one of them to 1 or more"):
        Student(epochs=0)


def test_a_teacher_is_read_where_somebody_learns_from_it(taught, tmp_path):
    """Without soft epochs 05 still learns from that of a previous run; with a refit nobody does."""
    other = values(soft_epochs=0, previous_run=str(tmp_path)) | {"teacher": "tfidf"}
    assert first_of(taught, other | {"options": {"student": "linear", "refit": True}}) is None
    assert not taught.run.has("labels/soft/before.parquet")
    assert first_of(taught, other).nested == "deberta"
    assert taught.run.has("labels/soft/before.parquet")


def test_the_refit_learns_more_rows_than_any_fold(taught):
    made = fitted(taught, values(refit=True))
    rows = {h: taught.run.read(f"{made.stored.fold(h)}/training.json")["phases"] for h in ((), (0,))}
    assert [phase["rows"] for phase in rows[()]] == [N + len(POOL), N]
    assert [phase["rows"] for phase in rows[(0,)]] == [N * 2 // 3 + 4, N * 2 // 3]


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_rerun_trains_nothing(taught, epochs, capsys):
    fitted(taught, values(refit=True, epochs=epochs))
    capsys.readouterr()
    fitted(taught, values(refit=True, epochs=epochs))
    assert capsys.readouterr().out.count("already trained") == K + 1


def test_settings_make_the_learner(taught, tiny_bert, monkeypatch):
    made = learner(taught, values(linear_c=2.0))
    assert isinstance(made, SoftLearner) and made.inverse_regularisation == 2.0
    encoder = values(student="encoder", refit=True) | {
        "backbone": tiny_bert,
        "batch_size": 4,
        "max_tokens": 12,
    }
    found = make_student(taught, encoder)
    assert isinstance(found.learner, NeuralLearner) and found.learner.recipe.batch_size == 4
    assert (found.name, found.teaches) == ("student", False)
    assert found.learner_of(()) is found.learner
    monkeypatch.setattr("narrutils.training.mlm._check", lambda learner: None)  # a toy has no mask token
    pretrained = encoder | {"options": encoder["options"] | {"mlm_epochs": 1}}
    own = [make_student(taught, pretrained).learner_of(h).start.key for h in ((), (0,))]
    assert len(set(own)) == 2  # each body learned the narratives that its own model may see


def test_an_encoder_with_a_refit_reads_as_it_was_published(taught, tiny_bert):
    given = values(student="encoder", refit=True) | {"backbone": tiny_bert, "batch_size": 4, "max_tokens": 12}
    made = fitted(taught, given | {"precision": "float32"})
    taught.run.write("ensemble.json", {"members": ["student"], "weights": {"student": 1.0}, "thresholds": {}})
    read = Deployed.open(taught.run.folder).read(TEST)
    pd.testing.assert_frame_equal(read, made.on_test(), check_names=False, check_exact=True)
    assert len(made.histories()["fold0"]) == 2
