"""Which codes a person should decide for a promise."""

import numpy as np
import pandas as pd
from toys import TOY, random_labels, random_probabilities

from narrutils.evaluation.bands import Bands, in_words

CODES = random_labels(TOY, 200)
READ = random_probabilities(TOY, CODES.index)
BANDS = Bands(TOY, {"Sad": ("recall", 0.8), "Note": ("precision", 0.6), "Place": ("accuracy", 0.5)})


def test_each_kind_reviews_the_codes_that_can_break_it_up_to_its_cut():
    found = BANDS.of(CODES, READ[::-1])  # joined by uid
    assert list(found.columns) == ["Sad", "Note", "Place"]
    for uid in CODES.index:
        place = READ.at[uid, f"Place_{CODES.at[uid, 'Place']}"]
        assert found.at[uid, "Sad"] == (CODES.at[uid, "Sad"] == 0 and 1 - READ.at[uid, "Sad"] <= 0.8)
        assert found.at[uid, "Note"] == (CODES.at[uid, "Note"] == 1 and READ.at[uid, "Note"] <= 0.6)
        assert found.at[uid, "Place"] == (place <= 0.5)
    assert found.any().all() and not found.all().any()


def test_at_a_cut_of_one_all_are_reviewed_and_at_zero_none():
    for cut, share in ((1.0, 1), (0.0, 0)):
        found = Bands(TOY, {"Sad": ("recall", cut)}).of(CODES, READ)["Sad"]
        assert found[CODES["Sad"] == 0].eq(share).all() and not found[CODES["Sad"] == 1].any()


def test_only_promises_that_stand_ask_for_review():
    stored = {"outcome": "promised", "kind": "recall", "cut": 0.8}
    variables = {
        "Sad": stored,
        "Note": stored | {"outcome": "not reached"},
        "Tool": stored | {"outcome": "too few"},
    }
    assert Bands.from_dict(TOY, {"variables": variables}).cuts == {"Sad": ("recall", 0.8)}


def test_the_variables_of_a_case_are_named_in_order():
    table = pd.DataFrame({"Sad": [True, False, True], "Note": [True, False, False]})
    assert in_words(table).tolist() == ["Sad; Note", "", "Sad"]
    assert in_words(table[:0]).tolist() == [] and in_words(table[:0]).dtype == in_words(table).dtype
    assert np.array_equal(in_words(table).index, table.index)
