"""Token ids of a case: the end token is always there, whatever is cut.

The author's truncation dropped the end token and then pooled whatever stood last.
"""

import pandas as pd
import pytest
import torch
from toys import bert_tokenizer, gemma_tokenizer, tokenizer

from narrutils.errors import InputError
from narrutils.models import text
from narrutils.models.text import balanced_lengths, encode, pad, repair_periods, share_cut, special_ids

BERT, GEMMA = bert_tokenizer(), gemma_tokenizer()
TOKENIZERS = pytest.mark.parametrize("tok", [BERT, GEMMA], ids=["bert", "gemma"])
TRUNCATIONS = pytest.mark.parametrize("truncation", ["balanced", "right"])


def words(n: int, start: int = 0) -> str:
    return " ".join(f"w{(start + i) % 40}" for i in range(n))


def case(*narratives: str) -> pd.DataFrame:
    return pd.DataFrame({f"T{n}": [text] for n, text in enumerate(narratives)})


def ids_of(tok, text: str) -> list[int]:
    return tok(text, add_special_tokens=False)["input_ids"]


def only(encoded) -> list[int]:
    (ids,) = encoded.ids
    return ids


@TOKENIZERS
@TRUNCATIONS
@pytest.mark.parametrize(
    "lengths", [(3, 4), (200, 200), (200, 0), (0, 200), (1, 199), (0, 0), (9, 9), (8, 9)]
)
def test_every_case_starts_and_ends_with_its_special_tokens(tok, truncation, lengths):
    start, separator, end = special_ids(tok)
    encoded = encode(case(words(lengths[0]), words(lengths[1], 7)), tok, 20, truncation)
    ids, room = only(encoded), 20 - len(start + separator + end)
    assert ids[-1] == end[0]
    assert ids[: len(start)] == start
    assert len(ids) == 20 - room + min(sum(lengths), room)
    assert encoded.cut == [sum(lengths) > room]


@TOKENIZERS
@TRUNCATIONS
def test_a_case_that_fits_is_untouched(tok, truncation):
    start, separator, end = special_ids(tok)
    first, second = words(5), words(6, 9)
    ids = only(encode(case(first, second), tok, 64, truncation))
    assert ids == start + ids_of(tok, first) + separator + ids_of(tok, second) + end


def test_special_tokens_are_the_models_own():
    assert special_ids(BERT) == ([BERT.cls_token_id], [BERT.sep_token_id], [BERT.sep_token_id])
    newline = GEMMA.convert_tokens_to_ids("\n")
    assert special_ids(GEMMA) == ([GEMMA.bos_token_id], [newline], [GEMMA.eos_token_id])
    with pytest.raises(InputError, match="no end-of-sequence token"):
        special_ids(tokenizer(pad_token="<pad>", bos_token="<bos>"))


@TOKENIZERS
def test_balanced_keeps_the_head_of_both_narratives(tok):
    start, separator, end = special_ids(tok)
    first, second = ids_of(tok, words(300)), ids_of(tok, words(100, 11))
    room = 31 - len(start + separator + end)
    ids = only(encode(case(words(300), words(100, 11)), tok, 31))
    assert ids == start + first[: room // 2] + separator + second[: room - room // 2] + end


@TOKENIZERS
def test_balanced_lets_a_short_narrative_stand_whole(tok):
    ids = only(encode(case(words(300), words(4, 11)), tok, 31))
    second = ids_of(tok, words(4, 11))
    assert ids[-5:-1] == second
    assert len(ids) == 31


@TOKENIZERS
def test_the_right_cut_keeps_the_head_of_the_joined_case(tok):
    start, separator, end = special_ids(tok)
    first, second = ids_of(tok, words(12)), ids_of(tok, words(100, 11))
    room = 31 - len(start + separator + end)
    ids = only(encode(case(words(12), words(100, 11)), tok, 31, "right"))
    assert ids == start + first + separator + second[: room - 12] + end
    long = only(encode(case(words(300), words(5)), tok, 31, "right"))
    assert long[len(start) : len(start) + room] == ids_of(tok, words(300))[:room]
    assert long[-1] == end[0]


@pytest.mark.parametrize(
    ("lengths", "room", "kept"),
    [
        ([300, 40], 100, [60, 40]),
        ([40, 300], 100, [40, 60]),
        ([3, 4], 100, [3, 4]),
        ([50, 50, 50], 10, [3, 3, 4]),
        ([0, 9, 90], 20, [0, 9, 11]),
        ([7], 5, [5]),
    ],
)
def test_room_is_shared_fairly_and_used_up(lengths, room, kept):
    assert balanced_lengths(lengths, room) == kept
    assert sum(kept) == min(sum(lengths), room)


def test_a_narrative_that_is_known_again_has_the_same_ids(monkeypatch):
    """Of its own tokenizer, whoever changed what he was given, and however many came between."""
    monkeypatch.setattr(text, "MOST_KNOWN", 5)
    first, other = pd.Series(["w1 w2", "w3 w3 w3", "w1 w2", ""]), pd.Series([f"w{n}" for n in range(9)])
    for tok in (BERT, GEMMA, BERT, GEMMA):
        for narratives in (first, other, first):
            found = text.token_ids(narratives, tok)
            assert found == [ids_of(tok, one) for one in narratives]
            found[0].append(0)
        assert len(text._KNOWN[tok]) <= 5 + len(other)
    with_spaces = text.token_ids(pd.Series(["w1.W2"]), BERT), text.token_ids(pd.Series(["w1.W2"]), BERT, True)
    assert with_spaces[0] == [ids_of(BERT, "w1.W2")] and with_spaces[1] == [ids_of(BERT, "w1. W2")]


@TRUNCATIONS
def test_one_narrative_or_three_are_encoded_alike(truncation):
    cls, sep = BERT.cls_token_id, BERT.sep_token_id
    assert only(encode(case(words(50)), BERT, 10, truncation)) == [cls, *ids_of(BERT, words(8)), sep]
    ids = only(encode(case(words(50), words(50), words(50)), BERT, 24, truncation))
    assert len(ids) == 24
    assert ids[-1] == sep
    assert ids.count(sep) == 3


def test_too_little_room_is_one_line():
    with pytest.raises(InputError, match="max_tokens is 4; at least 5"):
        encode(case("w1", "w2"), BERT, 4)
    assert len(only(encode(case(words(9), words(9)), BERT, 5))) == 5


def test_the_mask_comes_from_lengths_even_where_the_pad_id_is_a_real_token():
    batch = pad([[5, 2, 2], [5]], pad_id=2)
    assert batch["input_ids"].tolist() == [[5, 2, 2], [5, 2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["input_ids"].dtype == torch.int64


def test_the_share_of_shortened_cases_is_told(tiny_bert):
    texts = pd.DataFrame({"First": [words(n) for n in (2, 50, 50, 3)], "Second": ["w1"] * 4})
    assert encode(texts, BERT, 20).share_cut == 0.5
    table = share_cut(texts, [{"backbone": tiny_bert, "max_tokens": 20}], "balanced")
    assert table.loc[tiny_bert].tolist() == [20, 0.5]
    assert share_cut(texts, [], "balanced").empty


@pytest.mark.parametrize(
    ("given", "repaired"),
    [
        ("V was at home.The door was open.", "V was at home. The door was open."),
        ("one.Two three.Four", "one. Two three. Four"),
        ("was found.V was alone", "was found. V was alone"),
        ("in 2019.She left", "in 2019. She left"),
        ("(his brother).He called", "(his brother). He called"),
        ("spoke with XX.V was calm", "spoke with XX. V was calm"),
        ("at 3 a.m.The call", "at 3 a.m. The call"),
        ("wrote to a@b.Com.Then home.The end", "wrote to a@b.Com.Then home. The end"),
        ("a Ph.D student.The", "a Ph.D student. The"),
    ],
)
def test_a_forgotten_space_is_put(given, repaired):
    assert repair_periods(given) == repaired


@pytest.mark.parametrize(
    "whole",
    [
        "",
        "home. The door",
        "the U.S. Army and the U.S.Army",
        "J.Smith",
        "a Ph.D. and an M.D.",
        "at 3.5 ft, 10 a.m. and 11 p.m.",
        "0.XX per litre",
        "first.last@mail.Example.org",
        "https://site.Org/page.Html",
        "www.site.Org",
        "v1.2 and file.txt",
        "what...then",
    ],
)
def test_a_stop_that_stands_by_right_is_left(whole):
    assert repair_periods(whole) == whole


def test_a_repaired_text_stays_as_it_is():
    text = "one.Two by XX.V at 2 a.m.The (end).Ph.D.Then a@b.Com.The last.V"
    once = repair_periods(text)
    assert once != text
    assert repair_periods(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")  # nothing but spaces
