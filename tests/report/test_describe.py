"""Descriptions of a set of cases, on tables small enough to count by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_probabilities, uids

from narrutils.data.cases import Dataset, stack_splits
from narrutils.data.clusters import Together
from narrutils.data.folds import stack
from narrutils.data.intake.schema_file import parse_schema
from narrutils.report import describe

CASES = pd.DataFrame(
    {"First": ["V was home.", "one two three", "", "A b"], "Second": ["Home was v", "four", "x", "b c"]},
    index=uids(4),
)
LABELS = pd.DataFrame(
    {"Sad": [1, 1, 0, 0], "Place": [1, 1, 1, 3], "Note": [1, 1, 0, 0], "Tool": [0, 0, 5, 5]}, index=uids(4)
)


def test_lengths_are_counted_in_words():
    assert describe.word_counts(CASES, TOY)["First"].tolist() == [3, 3, 0, 2]
    table = describe.length_summary(CASES, TOY)
    assert table.index.tolist() == ["First", "Second"]
    assert table.loc["First", ["cases", "empty", "longest"]].tolist() == [4, 1, 3]
    assert table.loc["Second", "empty"] == 0


def test_identical_texts_overlap_fully_and_empty_ones_are_left_out():
    overlap = describe.overlap(CASES, TOY)
    assert overlap.index.tolist() == ["u000", "u001", "u003"]
    assert overlap.tolist() == pytest.approx([1.0, 0.0, 1 / 3])
    one = parse_schema({"text": [{"name": "First"}], "variables": [{"name": "Sad"}]}, "one.yaml")
    assert describe.overlap(CASES, one).empty


def test_belonging_counts_the_sets_of_each_reason_among_the_cases_of_the_run():
    train, nobody = CASES.join(LABELS), CASES[:0].join(LABELS[:0])
    train["First"] = ["V fell off a bicycle", "V fell off a bicycle", "a dog", "a cat"]
    train["Second"] = ["", "", "bit", "sat"]
    site = pd.DataFrame({"Site": ["a", "b", "b", "c"]}, index=train.index)
    data = Dataset(train, nobody, None, [], groups=site)
    table = describe.belonging(Together(data, replace(TOY, keep_together=("Site",)), 1), stack_splits(data))
    assert table.to_dict("index") == {
        "nearly the same words": {"sets": 1, "cases": 2, "largest": 2},
        "Site": {"sets": 1, "cases": 2, "largest": 2},
        "in all": {"sets": 1, "cases": 3, "largest": 3},
    }
    alone = describe.belonging(Together(data, TOY, 1), stack_splits(data).drop(index="u000"))
    assert alone.to_dict("index") == {"nearly the same words": {"sets": 0, "cases": 0, "largest": 0}}


def test_prevalence_lists_positives_and_every_class():
    table = describe.prevalence(TOY, LABELS).set_index(["variable", "class"])
    assert table.loc[("Sad", ""), "cases"] == 2
    assert table.loc[("Note", ""), "share"] == 0.5
    assert table.loc["Place", "cases"].to_dict() == {"in": 3, "out": 0, "unknown": 1}
    assert len(table) == 2 + 3 + 2
    marked = replace(TOY, variables=(TOY["Sad"], replace(TOY["Note"], auxiliary=True)))
    assert describe.prevalence(marked, LABELS)["variable"].tolist() == ["Sad", "Note (auxiliary)"]


def test_co_occurrence_is_the_phi_coefficient():
    table = describe.co_occurrence(TOY, LABELS)
    assert table.index.tolist() == ["Sad", "Note"]
    assert np.isnan(np.diag(table)).all()
    assert table.loc["Sad", "Note"] == pytest.approx(1)
    assert describe.co_occurrence(TOY, LABELS.assign(Note=[0, 0, 1, 1])).loc["Sad", "Note"] == pytest.approx(
        -1
    )
    assert describe.co_occurrence(TOY, LABELS.assign(Note=1)).isna().all().all()


def test_fold_balance_names_the_widest_gap():
    folds = pd.Series([0, 0, 1, 1], index=LABELS.index).iloc[::-1]
    table = describe.fold_balance(TOY, LABELS.assign(Sad=[1, 0, 1, 0], Tool=[0, 5, 0, 5]), folds)
    assert table["cases"].tolist() == [2, 2]
    assert table["widest gap"].tolist() == [0.5, 0.5]
    assert (table["in column"] == "Note").all()


def test_shares_are_those_of_labelled_cases():
    partly = LABELS.astype("Int64")
    partly.loc["u000", "Sad"], partly.loc[["u000", "u003"], "Place"], partly["Tool"] = pd.NA, pd.NA, pd.NA
    table = describe.prevalence(TOY, partly).set_index(["variable", "class"])
    assert table.loc[("Sad", ""), ["cases", "labelled", "share"]].tolist() == [1, 3, pytest.approx(1 / 3)]
    assert table.loc["Place", "share"].to_dict() == {"in": 1, "out": 0, "unknown": 0}
    assert (table.loc["Tool", "labelled"] == 0).all() and table.loc["Tool", "share"].isna().all()
    assert describe.prevalence(TOY, LABELS)["labelled"].eq(4).all()
    pairs = describe.co_occurrence(TOY, partly)
    assert pairs.loc["Sad", "Note"] == pytest.approx(1)  # of the three that have both


def test_fold_balance_counts_labels_and_compares_labelled_cases():
    partly = LABELS.astype("Int64")
    partly.loc["u000"] = pd.NA
    table = describe.fold_balance(TOY, partly, pd.Series([0, 0, 1, 1], LABELS.index))
    assert table["cases"].tolist() == [2, 2] and table["labels"].tolist() == [4, 8]
    assert table.loc[0, "widest gap"] == pytest.approx(2 / 3)  # Note: 1 of 1, in all 1 of 3
    alone = describe.fold_balance(TOY, partly, pd.Series([0, 1, 1, 1], LABELS.index))
    assert alone.loc[0, ["labels", "widest gap"]].tolist() == [0, 0]  # nothing to compare


def test_each_folds_generated_rows_are_counted():
    pool = pd.DataFrame({"seen_folds": [[0], [0, 1], [2]]})
    folds = pd.Series([0, 1, 2, 0], index=uids(4))
    assert describe.rows_for_fold(pool, folds)["generated rows"].to_dict() == {0: 1, 1: 2, 2: 2}


def test_soft_labels_are_counted_by_held_out_fold():
    official = stack({-1: random_probabilities(TOY, uids(4)), 0: random_probabilities(TOY, uids(2)) * 0 + 1})
    pool = stack({0: random_probabilities(TOY, uids(3, "g")) * 0 + 0.5})
    table = describe.soft_label_table(TOY, official, pool)
    assert table.index.tolist() == [0]
    assert table.loc[0].tolist() == [2, 0.5, 3, 0.0]


WORDS = [f"w{n}" for n in range(40)]


def told(n: int, vocabulary: int, pool: str) -> pd.DataFrame:
    """n kept cases of 12 words a part, out of the first words of `WORDS`."""
    rng = np.random.default_rng(n)
    texts = {c: [" ".join(rng.choice(WORDS[:vocabulary], 12)) for _ in range(n)] for c in TOY.text_columns}
    return pd.DataFrame(texts, index=uids(n, pool)).assign(pool=pool, kept=True)


def test_a_pool_that_repeats_itself_is_less_diverse():
    loop = told(1, 40, "loop").iloc[[0] * 4].set_axis(uids(4, "loop"))
    rows = pd.concat(
        [loop, told(20, 4, "narrow"), told(20, 40, "wide").assign(kept=[True] * 15 + [False] * 5)]
    )
    table = describe.diversity(rows, TOY, official=told(30, 40, "o"), most=18)
    assert table.index.tolist() == ["loop", "narrow", "wide", "official"]
    assert table["kept"].tolist() == [4, 20, 15, 30]
    assert table["looked at"].tolist() == [4, 18, 15, 18]
    assert table.loc["loop", "distinct-3"] == pytest.approx(1 / 4)
    assert table.loc["loop", "nearest similarity"] == pytest.approx(1)
    assert table.loc["narrow", "distinct-3"] < table.loc["wide", "distinct-3"] <= 1
    assert table.loc["narrow", "nearest similarity"] > table.loc["wide", "nearest similarity"]


def test_runs_of_words_do_not_cross_the_parts_of_a_case():
    rows = pd.DataFrame({"First": ["a b c"], "Second": ["d e f"], "pool": "p", "kept": True})
    table = describe.diversity(pd.concat([rows, rows], ignore_index=True), TOY)
    assert table.loc["p", "distinct-3"] == 2 / 4
    alone = describe.diversity(rows.assign(First="a", Second=""), TOY)
    assert alone.loc["p", ["distinct-3", "nearest similarity"]].isna().all()
    assert describe.diversity(rows.head(0), TOY).empty


@pytest.mark.parametrize("text", ["", "7", "word"])
def test_a_landscape_of_texts_that_tell_nothing_apart_is_drawn_all_the_same(text):
    rows, official = told(3, 5, "p"), told(4, 5, "o")
    rows[TOY.text_columns], official[TOY.text_columns] = text, text
    table = describe.landscape(rows, official[TOY.text_columns], TOY)
    assert len(table) == 7 and np.isfinite(table[["x", "y"]]).all(axis=None)


def test_the_landscape_shows_official_kept_and_refused():
    rows = told(20, 40, "p").assign(kept=[True] * 15 + [False] * 5)
    table = describe.landscape(rows, told(30, 40, "o")[TOY.text_columns], TOY, most=18)
    assert table["group"].value_counts().to_dict() == {"official": 18, "p": 18}
    assert table.loc[table["group"] == "official", "kept"].all()
    assert table.loc[table["group"] == "p", "kept"].equals(
        rows.loc[table.index[table["group"] == "p"], "kept"]
    )
    assert np.isfinite(table[["x", "y"]]).all(axis=None)
    again = describe.landscape(rows, told(30, 40, "o")[TOY.text_columns], TOY, most=18)
    pd.testing.assert_frame_equal(table, again)
