"""The TF-IDF baseline: it learns, means its probabilities, and is stored without a pickle."""

import gc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids, with_holes

from benchmarks.terms import by_scikit_learn
from narrutils.evaluation.metrics import average_f1
from narrutils.models import tfidf
from narrutils.models.learner import Phase
from narrutils.models.tfidf import LINEAR, TfidfLearner, TfidfModel


def told(labels: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Texts that state each code as a word, half of them in the second narrative."""
    rng = np.random.default_rng(seed)
    first, second = [], []
    for codes in labels.itertuples(index=False):
        words = [f"{name.lower()}{code}" for name, code in zip(labels.columns, codes, strict=True)]
        words += [f"noise{n}" for n in rng.integers(0, 30, 4)]
        rng.shuffle(words)
        first.append(" ".join(words[:4]))
        second.append(" ".join(words[4:]))
    return pd.DataFrame({"First": first, "Second": second}, index=labels.index)


LABELS = random_labels(TOY, 150)
TEXTS, TARGETS = told(LABELS), TOY.to_targets(LABELS)


@pytest.fixture(scope="module")
def model():
    return TfidfLearner(TOY).fit([Phase(TEXTS, TARGETS)])


def test_it_reads_both_narratives_and_learns_every_kind_of_variable(model):
    labels = random_labels(TOY, 60, seed=7)
    table = model.predict(told(labels, 9))
    TOY.check_probabilities(table)
    assert table.index.equals(labels.index)
    assert average_f1(TOY, labels, TOY.to_labels(table)) > 0.95


def test_a_prediction_depends_on_its_own_text_alone(model):
    together, alone = model.predict(TEXTS[:5]), model.predict(TEXTS[3:4])
    pd.testing.assert_frame_equal(together[3:4], alone)


def test_the_last_phase_is_learned_and_corrected_targets_count():
    flipped = TARGETS.assign(Sad=1 - TARGETS["Sad"])
    other = Phase(TEXTS, flipped, soft=True)
    model = TfidfLearner(TOY).fit([other, Phase(TEXTS, TARGETS)])
    assert ((model.predict(TEXTS)["Sad"] > 0.5) == (LABELS["Sad"] == 1)).mean() > 0.95
    assert TfidfLearner(TOY).fit([other]).predict(TEXTS)["Sad"].gt(0.5).eq(LABELS["Sad"] == 0).mean() > 0.95


@pytest.mark.parametrize(
    ("changes", "column", "expected"),
    [
        ({"Sad": 0}, "Sad", 0),
        ({"Sad": 1}, "Sad", 1),
        ({"Place": 2}, "Place_2", 1),
        ({"Tool": 5}, "Tool_5", 1),
    ],
)
def test_a_variable_of_one_code_is_answered_with_it(changes, column, expected):
    targets = TOY.to_targets(LABELS.assign(**changes))
    table = TfidfLearner(TOY).fit([Phase(TEXTS, targets)]).predict(TEXTS)
    TOY.check_probabilities(table)
    assert (table[column] - expected).abs().max() < 1e-6


def test_a_class_never_seen_is_never_expected():
    labels = LABELS.assign(Place=LABELS["Place"].replace(2, 3))
    table = TfidfLearner(TOY).fit([Phase(TEXTS, TOY.to_targets(labels))]).predict(TEXTS)
    assert table["Place_2"].max() < 1e-6
    found = TOY.to_labels(table)["Place"]
    assert (found == labels["Place"]).mean() > 0.95
    assert set(found) == {1, 3}


def test_it_learns_from_the_labels_that_are_given():
    labels = random_labels(TOY, 60, seed=7)
    model = TfidfLearner(TOY).fit([Phase(TEXTS, TOY.to_targets(with_holes(LABELS, 0.3)))])
    assert average_f1(TOY, labels, TOY.to_labels(model.predict(told(labels, 9)))) > 0.95


@pytest.mark.parametrize("kind", LINEAR)
def test_of_a_variable_without_labels_nothing_is_known_and_the_others_stay(kind):
    learner, holes = (
        TfidfLearner(TOY, **LINEAR[kind][1]),
        LABELS.astype("Int64").assign(Sad=pd.NA, Place=pd.NA),
    )
    table = learner.fit([Phase(TEXTS, TOY.to_targets(holes))]).predict(TEXTS)
    unknown = ["Sad", *TOY["Place"].columns]
    np.testing.assert_allclose(table[unknown], [[1 / 2, 1 / 3, 1 / 3, 1 / 3]] * len(table))
    whole = learner.fit([Phase(TEXTS, TARGETS)]).predict(TEXTS)
    pd.testing.assert_frame_equal(table.drop(columns=unknown), whole.drop(columns=unknown), check_exact=True)


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("word", ["", "7"])
def test_texts_that_say_nothing_are_read_at_the_shares_of_the_labels(kind, word, tmp_path):
    texts, labels = TEXTS.assign(First=word, Second=""), with_holes(LABELS.assign(Note=1), 0.2)
    targets = TOY.to_targets(labels)
    model = TfidfLearner(TOY, **LINEAR[kind][1]).fit([Phase(texts, targets)])
    table = TOY.check_probabilities(model.predict(texts))
    shares = targets.mean()
    names = TOY.columns if not model.vocabulary else ["Sad", "Note"]
    np.testing.assert_allclose(table[names], np.tile(shares[names], (len(table), 1)), atol=1e-3)
    model.save(tmp_path)
    pd.testing.assert_frame_equal(TfidfModel.load(tmp_path, TOY).predict(TEXTS), model.predict(TEXTS))


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_cases_than_a_term_needs_are_learned_from(rows):
    for _, how in LINEAR.values():
        model = TfidfLearner(TOY, **how).fit([Phase(TEXTS[:rows], TARGETS[:rows])])
        TOY.check_probabilities(model.predict(TEXTS))


@pytest.mark.parametrize("kind", LINEAR)
def test_a_task_whose_every_case_is_alike_is_answered(kind):
    one = type(TOY)("one", "one", "uid", TOY.text, TOY.variables[:1])
    targets = one.to_targets(LABELS.assign(Sad=0))
    table = TfidfLearner(one, **LINEAR[kind][1]).fit([Phase(TEXTS, targets)]).predict(TEXTS)
    assert table["Sad"].max() < 1e-6


def test_it_is_stored_as_json_and_safetensors(model, tmp_path):
    model.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    back = TfidfModel.load(tmp_path, TOY)
    pd.testing.assert_frame_equal(back.predict(TEXTS), model.predict(TEXTS), atol=1e-5)


def test_its_settings_are_its_key():
    assert TfidfLearner(TOY).config() != TfidfLearner(TOY, min_df=3).config()
    assert "schema" not in TfidfLearner(TOY).config()


def test_uids_play_no_part(model):
    renamed = model.predict(TEXTS.set_axis(uids(150, "z")))
    np.testing.assert_array_equal(renamed.to_numpy(), model.predict(TEXTS).to_numpy())


#: Some that no model knows, longer than a block, and none at all.
ODD = [
    "",
    "\0",
    "wholly unknown",
    "Sad1,sad1 SAD1\u3000noise3\u200bnoise3",
    "noise1 " * 500 + "sad1\x85place2",
    "ΣΑΣ",
]
FURTHER = pd.concat([told(random_labels(TOY, 300, seed=7), 9).iloc[: 300 - len(ODD)], TEXTS[: len(ODD)]])
FURTHER = FURTHER.set_axis(uids(300)).assign(First=[*FURTHER["First"].iloc[: 300 - len(ODD)], *ODD])


@pytest.fixture(scope="module")
def members():
    """Models of each kind on two thirds of the cases each, one of them with a vocabulary of one word."""
    thirds = [[n for n in range(len(TEXTS)) if n % 3 != k] for k in range(3)]
    phases = [Phase(TEXTS.iloc[rows], TARGETS.iloc[rows]) for rows in thirds]
    models = [TfidfLearner(TOY, **how).fit([phase]) for _, how in LINEAR.values() for phase in phases]
    few = replace(models[0], vocabulary={"sad1": 0}, idf=np.ones(1), weights=models[0].weights[:1])
    return [*models, few, TfidfLearner(TOY, ngrams=(2, 3)).fit(phases[:1])]


def test_probabilities_are_those_of_scikit_learn_to_the_last_bit(members):
    for model, table in zip(members, TfidfModel.predict_together(members, FURTHER), strict=True):
        pd.testing.assert_frame_equal(table, by_scikit_learn(model, FURTHER), check_exact=True)


def test_together_they_read_as_alone(members):
    for texts in (FURTHER, FURTHER[::-1], FURTHER[:1], FURTHER[:0]):
        for model, table in zip(members, TfidfModel.predict_together(members, texts), strict=True):
            pd.testing.assert_frame_equal(table, model.predict(texts), check_exact=True)


def test_stored_models_read_as_scikit_learn_reads_with_what_was_stored(members, tmp_path):
    for number, model in enumerate(members):
        half = replace(
            model, **{name: getattr(model, name).astype(np.float32) for name in ("weights", "bias")}
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        half.save(folder)
        back = TfidfModel.load(folder, TOY)
        pd.testing.assert_frame_equal(back.predict(FURTHER), by_scikit_learn(half, FURTHER), check_exact=True)


def test_what_reads_is_made_once_and_goes_with_its_first_model(members):
    one, two, right = replace(members[0]), replace(members[1]), members[2].predict(TEXTS)
    before = len(tfidf._KEPT)
    TfidfModel.predict_together([one, two], TEXTS)
    kept = tfidf._KEPT[one]
    TfidfModel.predict_together([one, two], TEXTS[:3])
    assert tfidf._KEPT[one] is kept
    found = TfidfModel.predict_together([one, members[2]], TEXTS)[1]  # of the same first, another second
    pd.testing.assert_frame_equal(found, right, check_exact=True)
    del one, kept
    gc.collect()
    assert len(tfidf._KEPT) == before
