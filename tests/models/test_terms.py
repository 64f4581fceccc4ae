"""Terms are counted as scikit-learn counts them, whatever texts hold and whatever is remembered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from narrutils.models.terms.counts import Letters, Terms, Words

#: Blanks of all kinds, NUL, joiners, marks, letters whose lower case is longer or depends on their place.
LETTERS = "aabbÉßΣΑσİ\u0307Жщ漢👩\u200d٣7_'-.\0 \t\n\r\x1c\x85\xa0\u2003\u2028\u200b\u3000"
WORDS = [
    "the",
    "dog",
    "bicycle",
    "a",
    "of",
    "fell",
    "ΟΔΟΣ",
    "don't",
    "x_1",
    "ДОМ",
    "é",
    "",
    "-",
    "\n\n",
    "dog.",
]
MADE = st.one_of(
    st.text(LETTERS, max_size=40),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.text(max_size=20),
    st.integers(1, 400).map(lambda n: "ab" * n),
)
#: Vocabulary, scikit-learn's analyzer and lengths.
KINDS = {
    "words": (Words, "word", (1, 2)),
    "single words": (Words, "word", (1, 1)),
    "pairs alone": (Words, "word", (2, 2)),
    "one to four words": (Words, "word", (1, 4)),
    "letters": (Letters, "char_wb", (3, 5)),
    "single letters": (Letters, "char_wb", (1, 2)),
    "many letters": (Letters, "char_wb", (6, 9)),
}


def counter(kind: str, texts: list[str]) -> CountVectorizer | None:
    """scikit-learn's, with every second term of some texts and two more; none where they have no term."""
    _, analyzer, ngrams = KINDS[kind]
    counter = CountVectorizer(analyzer=analyzer, ngram_range=ngrams)
    analyze = counter.build_analyzer()
    terms = sorted({term for text in texts for term in analyze(text)})[::2]
    further = {"dog", "the dog fell off the bicycle"}  # too short or too long for some
    return counter.set_params(vocabulary=sorted({*terms, *further})) if terms else None


def assert_same(counts, right) -> None:
    """Equal in numbers, in their order, and in what is stored."""
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(counts, part), getattr(right, part))
    assert counts.shape == right.shape


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(known=st.lists(MADE, min_size=1, max_size=6), further=st.lists(MADE, max_size=6))
def test_counts_are_those_of_scikit_learn(kind, known, further):
    right, texts = counter(kind, known), [*further, *known]
    if right is None:
        return
    terms = Terms([KINDS[kind][0](right.vocabulary, right.ngram_range)])
    assert_same(terms.count(texts)[0], right.transform(texts))
    assert_same(terms.count(texts[::-1])[0], right.transform(texts[::-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_forgotten_changes_no_count(kind):
    texts = [f"dog{n} bites dog{n + 1} and fell, fell off bicycle{n % 3}" for n in range(40)]
    right = counter(kind, texts)
    vocabulary = KINDS[kind][0](right.vocabulary, right.ngram_range)
    terms, most = Terms([vocabulary], remembered=300), 0
    for n in range(0, 40, 4):
        assert_same(terms.count(texts[n : n + 4])[0], right.transform(texts[n : n + 4]))
        most = max(most, len(vocabulary.ends))
    assert 10 < most < 45  # of the 89 pieces of these texts


def test_vocabularies_are_counted_side_by_side():
    texts = ["The dog fell", "", "the the\u3000DOG fell fell off"]
    rights = [counter(kind, texts) for kind in KINDS]
    kinds = zip(KINDS.values(), rights, strict=True)
    found = Terms([kind[0](right.vocabulary, right.ngram_range) for kind, right in kinds]).count(texts)
    for counts, right in zip(found, rights, strict=True):
        assert_same(counts, right.transform(texts))


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_and_no_term_are_counted_too(kind):
    make, _, ngrams = KINDS[kind]
    assert Terms([make(["dog", " dog "], ngrams)]).count([])[0].shape == (0, 2)
    empty = Terms([make([], ngrams)]).count(["the dog fell", ""])[0]
    assert (empty.shape, empty.nnz) == ((2, 0), 0)


def test_a_count_that_was_broken_off_leaves_nothing_half_learned(monkeypatch):
    texts, right = ["the dog fell", "the bicycle fell"], counter("words", ["the dog fell off the bicycle"])
    words = Words(right.vocabulary, (1, 2))
    terms, whole = Terms([words]), words.of

    def stop(piece: str) -> list[int]:
        if piece == "fell":
            raise KeyboardInterrupt
        return whole(piece)

    monkeypatch.setattr(words, "of", stop)
    with pytest.raises(KeyboardInterrupt):
        terms.count(texts)
    monkeypatch.undo()
    assert_same(terms.count(texts)[0], right.transform(texts))
