"""What new narratives are held against."""

import pandas as pd
import pytest
from deployments import FOLDS, LABELS, TEXTS
from toys import TOY, random_probabilities, word_texts

from narrutils.crossfit.stored import words_known
from narrutils.data.study import Study
from narrutils.evaluation import drift
from narrutils.findings.reference import known_in, reference


@pytest.fixture
def study(tfidf_run):
    return Study(tfidf_run, TOY, TEXTS, FOLDS, word_texts(TOY, 60), LABELS)


def of(study):
    read = random_probabilities(TOY, study.test.index)
    return reference(study, ["tfidf"], TOY.to_labels(read), read)


def test_it_is_of_the_test_cases_as_the_deployed_ensemble_reads_them(study):
    found = of(study)
    assert (found["of"], found["cases"]) == ("test", 60)
    assert list(found["numbers"]) == [
        "words First", "words Second", "unknown", "doubt", *(f"probability {c}" for c in TOY.columns)
    ]  # fmt: skip
    assert all(sum(kept["counts"]) == 60 for kept in found["numbers"].values())


def test_it_is_of_the_texts_of_training_cases_where_there_are_too_few_others(study, monkeypatch):
    few = Study(study.run, TOY, TEXTS, FOLDS, study.test[:10], LABELS)
    assert of(few) == {}
    monkeypatch.setattr(drift, "LEAST_CASES", 20)
    found = of(few)
    assert (found["of"], found["cases"]) == ("train", 24)
    assert list(found["numbers"]) == ["words First", "words Second", "unknown"]
    parts = [drift.of_texts(TOY, TEXTS[k == FOLDS], known_in(few, ["tfidf"], k)) for k in range(3)]
    assert found["numbers"] == drift.reference(pd.concat(parts))  # by the model that never saw the case


def test_words_are_known_from_the_first_member_that_has_words(study, tmp_path):
    words = known_in(study, ["nothing", "tfidf"], 0)
    assert words and all(" " not in word for word in words)
    assert known_in(study, ["nothing"], 0) is None


def test_with_a_refit_words_are_those_that_it_knows_and_training_texts_tell_nothing_of_new_words(
    refit_run, monkeypatch
):
    few = Study(refit_run, TOY, TEXTS, FOLDS, TEXTS[:10], LABELS)
    assert known_in(few, ["tfidf"], 0) == words_known([refit_run.path("models/tfidf/all")])
    monkeypatch.setattr(drift, "LEAST_CASES", 20)
    assert list(of(few)["numbers"]) == ["words First", "words Second"]


def test_it_holds_no_text_and_no_value_of_a_single_case(study):
    found = of(study)
    texts = drift.of_texts(TOY, study.test, known_in(study, ["tfidf"], 0))
    read = random_probabilities(TOY, study.test.index).add_prefix("probability ")
    for name, values in texts.join(read).items():
        assert not set(found["numbers"][name]["edges"]) & set(values)
    assert not any(word in str(found) for word in ("w1", "w39"))
