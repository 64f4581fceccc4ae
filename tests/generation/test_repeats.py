"""Shared runs and near-duplicates, against what brute force finds."""

import numpy as np
import pytest
from datasketch import MinHashLSH

from narrutils.data.clusters import PERMUTATIONS, mark, triples
from narrutils.generation import repeats
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
    assert known.mark(TEXT * 50).nbytes == 512


class Plain:
    """The same by datasketch's own index, every text on its own."""

    def __init__(self, similarity):
        self.similarity, self.known = similarity, {}
        self.index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS)

    def add(self, uid, mark):
        if uid not in self.known:
            self.index.insert(uid, mark)
            self.known[uid] = (len(self.known), mark)

    def find(self, mark, other_than=None):
        near = [self.known[uid] + (uid,) for uid in self.index.query(mark) if uid != other_than]
        alike = [(mark.jaccard(other), -number, uid) for number, other, uid in near]
        similarity, _, best = max(alike, default=(0.0, 0, None))
        return best if similarity >= self.similarity else None


@pytest.mark.parametrize("similarity", [0.4, 0.7, 0.9])
def test_verdicts_are_those_of_datasketchs_index_in_every_block(similarity, monkeypatch):
    monkeypatch.setattr(repeats, "BLOCK", 4)
    rng = np.random.default_rng(int(similarity * 10))
    ours, plain, found = NearDuplicates(similarity), Plain(similarity), 0
    texts = [[f"w{n}" for n in rng.integers(300, size=40)] for _ in range(8)]
    for _ in range(150):
        text = list(texts[rng.integers(8)])
        for place in rng.integers(40, size=rng.integers(5)):
            text[place] = "other"
        uid, values = f"u{rng.permutation(120)[0]}", mark(triples(text))
        expected = plain.find(values, other_than=uid)
        assert ours.find(ours.mark(text), other_than=uid) == expected
        found += expected is not None
        plain.add(uid, values), ours.add(uid, ours.mark(text))
    assert found > 15 and len(ours.runs) > 1 and len(ours.uids) == len(plain.known)


def test_halves_that_are_merged_are_the_index_of_all_texts_in_order(monkeypatch):
    monkeypatch.setattr(repeats, "BLOCK", 4)
    rng = np.random.default_rng(3)
    texts = [(f"u{n % 25}", list(np.roll(TEXT, rng.integers(3) * 20 + n % 2))) for n in range(30)]
    whole, first, second = (NearDuplicates(similarity=0.7) for _ in range(3))
    for n, (uid, text) in enumerate(texts):
        whole.add(uid, whole.mark(text))
        (first if n < 17 else second).add(uid, whole.mark(text))
    first.merge(second)
    assert first.uids == whole.uids and len(first.runs) == len(whole.runs) > 1
    for uid, text in texts:
        for other_than in (None, uid):
            found = whole.find(whole.mark(text), other_than)
            assert found and first.find(whole.mark(text), other_than) == found
