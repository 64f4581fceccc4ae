"""The domain: near cases are near, each leaves itself out, and unknown words count against a text."""

import numpy as np
import pytest

from narrutils.generation.domain import NEIGHBOURS, Domain

CASES = {
    f"u{n}": f"v was found at home by a friend at {n} and a note w{n} was left".split() for n in range(20)
}


@pytest.fixture(scope="module")
def domain():
    return Domain(CASES)


def test_a_case_does_not_count_itself(domain):
    words = CASES["u3"]
    assert domain.similarity(["u3"], [words])[0] == pytest.approx(domain.own[3])
    # Under another uid the same text finds itself among its neighbours.
    assert domain.similarity(["other"], [words])[0] > domain.own[3] + 0.5 * (1 - domain.own[3]) / NEIGHBOURS


def test_the_figure_is_the_mean_of_the_nearest_cosines(domain):
    vectors = domain.vectorizer.transform(CASES.values()).toarray()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    by_hand = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    assert domain.own == pytest.approx(by_hand)


def test_a_new_text_is_measured_as_a_case_that_is_left_out(domain):
    # Its own words are known to no other case, whether or not it is among the cases.
    left_out = Domain({uid: words for uid, words in CASES.items() if uid != "u3"})
    assert left_out.similarity(["u3"], [CASES["u3"]])[0] == pytest.approx(domain.own[3], abs=0.05)


def test_unknown_words_lower_the_similarity(domain):
    near = CASES["u3"]
    far = [*near, *["the", "forklift", "driver", "was", "unloading", "a", "pallet", "in", "the", "warehouse"]]
    none = ["mix", "flour", "with", "butter"]
    found = domain.similarity(["p-1", "p-2", "p-3"], [near, far, none])
    assert found[0] > found[1] > found[2] == 0
    assert found.min() >= 0 and found.max() <= 1


def test_texts_are_measured_one_by_one(domain):
    texts = [CASES["u1"], ["mix", "flour"], CASES["u7"][:5], []]
    together = domain.similarity(list("abcd"), texts)
    assert together.tolist() == [domain.similarity([u], [t])[0] for u, t in zip("abcd", texts)]


@pytest.mark.parametrize("count", [1, 2, NEIGHBOURS + 1])
def test_few_cases_are_enough(count):
    few = Domain(dict(list(CASES.items())[:count]))
    assert few.own.shape == (count,)
    assert (few.own == 0).all() == (count == 1)
    assert few.similarity(["p-0"], [CASES["u9"]])[0] > 0.5
