"""Phases: texts and targets belong together by uid, whatever order they came in."""

import pandas as pd
import pytest
from toys import TOY, random_probabilities, uids, word_texts

from narrutils.crossfit.phases import generated_phase, official_phase, together
from narrutils.errors import InputError
from narrutils.models.learner import Phase

TEXTS = word_texts(TOY, 9)
TARGETS = random_probabilities(TOY, TEXTS.index)
FOLDS = pd.Series([0, 1, 2] * 3, index=TEXTS.index)
POOL = word_texts(TOY, 3, seed=4).set_axis(uids(3, "g")).assign(seen_folds=[[0], [1], [0, 2]])


def test_an_official_phase_joins_by_uid_and_leaves_the_held_out_folds_out():
    shuffled = TARGETS.sample(frac=1, random_state=1)
    phase = official_phase(TEXTS, shuffled, FOLDS.sample(frac=1, random_state=2), (0, 2), 3)
    assert set(phase.texts.index) == {"u001", "u004", "u007"}
    assert (phase.epochs, phase.soft) == (3, False)
    pd.testing.assert_frame_equal(phase.texts, TEXTS.loc[phase.texts.index])
    pd.testing.assert_frame_equal(phase.targets, TARGETS.loc[phase.texts.index])
    with pytest.raises(InputError, match="u001"):
        official_phase(TEXTS, TARGETS.drop("u001"), FOLDS, (0,), 1)


def test_a_generated_phase_holds_only_rows_that_saw_no_held_out_fold():
    targets = random_probabilities(TOY, POOL.index)
    phase = generated_phase(POOL, targets[::-1], (0,), TOY.text_columns, 1)
    assert phase.texts.index.tolist() == ["g001"]
    assert phase.soft
    assert phase.texts.columns.tolist() == TOY.text_columns
    pd.testing.assert_frame_equal(phase.targets, targets.loc[["g001"]])


def test_a_phase_refuses_targets_of_other_rows():
    with pytest.raises(ValueError, match="same uids in the same order"):
        Phase(TEXTS, TARGETS[::-1])


def test_only_soft_phases_of_equal_length_are_mixed_and_no_uid_twice():
    one = Phase(TEXTS[:3], TARGETS[:3], 2, soft=True)
    two = Phase(TEXTS[3:5], TARGETS[3:5], 2, soft=True)
    mixed = together(one, two)
    assert mixed.texts.index.equals(TEXTS.index[:5])
    assert (mixed.epochs, mixed.soft) == (2, True)
    for other in (Phase(TEXTS[3:5], TARGETS[3:5], 2), Phase(TEXTS[3:5], TARGETS[3:5], 1, soft=True)):
        with pytest.raises(ValueError, match="only soft phases"):
            together(one, other)
    with pytest.raises(ValueError, match="u000 stands in two phases"):
        together(one, one)


def test_the_key_sees_texts_targets_epochs_and_kind():
    phase = Phase(TEXTS, TARGETS)
    others = [
        Phase(TEXTS.assign(First="x"), TARGETS),
        Phase(TEXTS, TARGETS.assign(Sad=0.1)),
        Phase(TEXTS, TARGETS, 2),
        Phase(TEXTS, TARGETS, soft=True),
        Phase(TEXTS[::-1], TARGETS[::-1]),
    ]
    assert len({p.key() for p in [phase, *others]}) == 6
    assert phase.key() == Phase(TEXTS.copy(), TARGETS).key()
