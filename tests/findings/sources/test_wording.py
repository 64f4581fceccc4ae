"""The wording of sentences: learned over all variables, and words that deny."""

import numpy as np
from sklearn.feature_extraction import DictVectorizer

from narrutils.findings.settings import DENIALS
from narrutils.findings.sources.wording import EFFECT, Wording, deny

TOPICS = ("rash", "fall", "burn")


def told(n: int, seed: int = 0):
    """Sentences on one of three variables, half of them denials; the last variable is never denied."""
    rng, words, labels = np.random.default_rng(seed), [], []
    effects = np.zeros((n, 3))
    for row in range(n):
        topic, yes = int(rng.integers(0, 3)), int(rng.integers(0, 2))
        yes = yes if topic < 2 else 1
        near = rng.choice(["then", "by", "day", "was"], 2).tolist()
        words.append([*(["v", "had"] if yes else ["there", "was", "no"]), TOPICS[topic], *near])
        effects[row, topic] = 1.0
        labels.append([yes if v == topic else 0 for v in range(3)])
    return words, effects, effects > 0, np.array(labels, dtype=float)


def test_a_denial_is_heard_of_a_variable_that_nobody_denied():
    model = Wording.fit(*told(300))
    words = [["there", "was", "no", "burn", "then"], ["v", "had", "burn", "then"]]
    effects = np.array([[0, 0, 1.0], [0, 0, 1.0]])
    p = model.read(words, effects, effects > 0)
    assert p[0, 2] < 0.5 < 0.6 < p[1, 2]
    assert np.isnan(p[:, :2]).all()


def test_a_word_counts_by_its_place_beside_the_term():
    """The same words tell of the one and deny the other: only their order says which."""
    words, effects, on, labels = told(60)
    one, other = (["v", "had", a, "and", "no", b] for a, b in (("rash", "fall"), ("fall", "rash")))
    words += [one, other] * 60
    effects = np.vstack([effects, [[1.0, 1.0, 0.0]] * 120])
    labels = np.vstack([labels, [[1, 0, 0], [0, 1, 0]] * 60])
    both = [one, other]
    p = Wording.fit(words, effects, effects > 0, labels).read(both, effects[-2:], effects[-2:] > 0)
    assert p[0, 0] > 0.5 > p[0, 1]
    assert p[1, 1] > 0.5 > p[1, 0]


def test_features_are_counted_as_scikit_learn_counts_them_one_by_one():
    """`DictVectorizer` is plainer and takes several times as long."""
    words, effects, on, labels = told(80)
    model = Wording.fit(words, effects, on, labels)
    rows, columns = np.nonzero(on)
    table = model._table(model.features.transform, words, effects, rows, columns)
    described = [dict.fromkeys(of_row, 1.0) for of_row in model._described(words, rows, columns)]
    plain = DictVectorizer().fit_transform(
        [d | {EFFECT: effects[n, v]} for d, n, v in zip(described, rows, columns)]
    )
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(table, name), getattr(plain, name))


def test_missing_labels_take_no_part_and_one_label_alone_is_no_model():
    words, effects, on, labels = told(40)
    gone = np.where(labels == 0, np.nan, labels)
    model = Wording.fit(words, effects, on, gone)
    assert model.model is None
    p = model.read(words, effects, on)
    assert (p[on] == model.share).all() and 0.9 < model.share < 1
    nothing = Wording.fit([], np.zeros((0, 3)), np.zeros((0, 3), dtype=bool), np.zeros((0, 3)))
    assert nothing.share == 0.5
    assert np.isnan(nothing.read(words, effects, np.zeros_like(on))).all()


def test_words_that_deny_are_whole_words_or_runs_of_them():
    words = [["no", "rash"], ["notes", "of", "a", "rash"], ["free", "of", "it"], ["free", "for", "all"]]
    assert deny(words, DENIALS).tolist() == [True, False, True, False]
    assert deny(words, "kein, keine").tolist() == [False] * 4
    assert deny(words, " ").all()
