"""Shared runs and near-duplicates, against what brute force finds."""

import numpy as np
import pytest

from narrutils.generation.repeats import Copies, NearDuplicates


def brute_force(query, texts, uid):
    """Length of the longest run that `query` shares with a text of another uid."""
    best = 0
    for owner, text in texts:
        for i in range(len(query) if owner != uid else 0):
            for j in range(len(text)):
                run = 0
                while i + run < len(query) and j + run < len(text) and query[i + run] == text[j + run]:
                    run += 1
                best = max(best, run)
    return best


def test_the_longest_shared_run_is_found():
    known = Copies([("u", list("abcdef")), ("v", list("xabc"))], shortest=3)
    assert known.longest(list("zabcdq")) == (4, "u")
    assert known.longest(list("zabcdq"), other_than="u") == (3, "v")
    assert known.longest(list("abzcd")) is None
    assert known.longest([]) is None


def test_a_run_ends_where_a_text_ends():
    known = Copies([("u", list("abcd")), ("u", list("efgh"))], shortest=3)
    assert known.longest(list("abcdefgh")) == (4, "u")
    assert known.longest(list("bcdef")) == (3, "u")
    assert known.longest(list("cdef")) is None


def test_the_first_of_equal_sources_is_named():
    known = Copies([("u", list("xxabc")), ("v", list("abc"))], shortest=2)
    assert known.longest(list("abc")) == (3, "u")


@pytest.mark.parametrize("shortest", [1, 2, 3, 7, 8])
def test_it_agrees_with_brute_force(shortest):
    rng = np.random.default_rng(shortest)
    texts = [(f"u{n // 2}", list(rng.choice(list("abc"), rng.integers(0, 40)))) for n in range(12)]
    known = Copies(texts, shortest)
    for uid, text in texts:
        expected = brute_force(text, texts, uid)
        found = known.longest(text, other_than=uid)
        assert (found or (0,))[0] == (expected if expected >= shortest else 0)


def test_nothing_is_found_among_no_texts():
    for texts in ([], [("u", [])], [("u", ["a"])]):
        assert Copies(texts, shortest=2).longest(["a", "b"]) is None


TEXT = [f"w{n}" for n in range(60)]


def test_near_duplicates_are_found_by_their_word_triples():
    known = NearDuplicates(similarity=0.7)
    known.add("u", known.mark(TEXT))
    assert known.find(known.mark([*TEXT[:58], "new"])) == "u"
    assert known.find(known.mark(TEXT), other_than="u") is None
    assert known.find(known.mark(TEXT[::-1])) is None


def test_of_equal_twins_the_first_is_named_and_a_uid_keeps_its_first_text():
    known = NearDuplicates(similarity=0.7)
    for uid in ("z", "a", "m"):
        known.add(uid, known.mark(TEXT))
    assert known.find(known.mark(TEXT)) == "z"
    assert known.find(known.mark(TEXT), other_than="z") == "a"
    known.add("z", known.mark(TEXT[::-1]))
    assert known.find(known.mark(TEXT[::-1])) is None


def test_a_remembered_text_takes_half_a_kilobyte_of_hash_values():
    known = NearDuplicates(similarity=0.7)
    assert known.mark(TEXT * 50).hashvalues.nbytes == 512
    assert not hasattr(known.mark(TEXT), "permutations")
