"""Label-conditioned rows: who learns from them, with which targets, and how many."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids, word_texts

from narrutils.crossfit.phases import draw_rows, is_labelled, with_requested
from narrutils.errors import InputError
from narrutils.models.learner import Phase

OFFICIAL = word_texts(TOY, 4)
HARD = Phase(OFFICIAL, TOY.to_targets(random_labels(TOY, 4)), 3)
ROWS = uids(6, "g")
LABELS = random_labels(TOY, 6, seed=3).set_axis(ROWS).astype("Int64")
LABELS.iloc[4:] = pd.NA  # the last two were written without labels
POOL = word_texts(TOY, 6, seed=2).set_axis(ROWS).join(LABELS)
POOL = POOL.assign(seen_folds=[[0], [1], [2], [0, 1], [1], [2]])


def phases_of(held_out):
    return [HARD]


def test_the_labels_asked_for_are_the_targets_of_the_first_epochs():
    first, later = with_requested(phases_of, POOL, TOY, 2)((1,))
    assert later is HARD
    assert list(first.texts.index) == ["g000", "g002", *OFFICIAL.index]
    assert (first.epochs, first.soft) == (2, False)
    wanted = TOY.to_targets(LABELS.loc[["g000", "g002"]].astype(int))
    pd.testing.assert_frame_equal(first.targets.iloc[:2], wanted)
    pd.testing.assert_frame_equal(first.targets.iloc[2:], HARD.targets)


@pytest.mark.parametrize("held_out", [(0,), (1,), (0, 2), (1, 2)])
def test_no_row_that_saw_a_held_out_fold_is_learned_from(held_out):
    for phase in with_requested(phases_of, POOL, TOY, 1)(held_out):
        learned = POOL.loc[POOL.index.intersection(phase.texts.index), "seen_folds"]
        assert not any(set(seen) & set(held_out) for seen in learned)


def test_without_epochs_or_rows_nothing_is_added():
    assert with_requested(phases_of, POOL, TOY, 0) is phases_of
    for pool in (POOL.iloc[4:], POOL[[*TOY.text_columns, "seen_folds"]], POOL.iloc[:0]):
        first, _ = with_requested(phases_of, pool, TOY, 2)((1,))
        pd.testing.assert_frame_equal(first.texts, OFFICIAL)
    assert not is_labelled(POOL[[*TOY.text_columns]], TOY).any()


def test_rows_are_drawn_by_kind_and_anew_for_each_model():
    rows = pd.concat([POOL.set_axis([f"{n}-{uid}" for uid in POOL.index]) for n in range(20)])
    assert len(draw_rows(rows, TOY, (0,), {})) == 80
    drawn = [draw_rows(rows, TOY, (k,), {"labelled": 7, "unlabelled": 5}) for k in (0, 1, 2)]
    for k, table in enumerate(drawn):
        assert is_labelled(table, TOY).sum() == 7 and len(table) == 12
        assert all(k not in seen for seen in table["seen_folds"])
    both = set(drawn[0].index) | set(drawn[1].index)
    assert len(both) > 12  # not the same rows in every fold
    again = draw_rows(rows, TOY, (0,), {"labelled": 7, "unlabelled": 5})
    assert np.array_equal(again.index, drawn[0].index)
    assert len(draw_rows(rows, TOY, (0,), {"labelled": 0})) == 40


@pytest.mark.parametrize("most", [{"labeled": 3}, {"labelled": -1}, {"labelled": 2.5}])
def test_an_unknown_kind_or_number_is_refused(most):
    with pytest.raises(InputError, match="soft_rows"):
        draw_rows(POOL, TOY, (0,), most)
