"""Phases: texts and targets belong together by uid, whatever order they came in."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, word_texts

from narrutils.crossfit.phases import (
    Corrected,
    Teaching,
    draw_rows,
    generated_phase,
    is_labelled,
    official_phase,
    read_corrected,
    together,
    with_requested,
)
from narrutils.crossfit.soft_labels import SoftLabels, two_phases
from narrutils.data.folds import stack
from narrutils.data.run import Run
from narrutils.data.study import Study
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


def without(*gone: str) -> pd.DataFrame:
    """Targets without any label of these rows, and without one label of another."""
    targets = TARGETS.copy()
    targets.loc[list(gone)] = np.nan
    targets.loc["u005", "Sad"] = np.nan
    return targets


def test_a_row_without_any_label_serves_the_soft_phase_alone(tmp_path):
    study = Study(Run(tmp_path), TOY, TEXTS, FOLDS, TEXTS[:0])
    read = stack({k: TARGETS[FOLDS.ne(k).to_numpy()] for k in range(3)})
    teacher, corrected = SoftLabels(read, read[:0], "m"), Corrected(stack({0: without("u001", "u002")}))
    soft, hard = two_phases(study, POOL[:0], teacher, corrected, (1, 2))((0,))
    assert (soft.soft, hard.soft) == (True, False)
    assert set(soft.texts.index) - set(hard.texts.index) == {"u001", "u002"}
    assert not soft.targets.isna().any(axis=None)
    assert hard.targets.isna().sum().sum() == 1 and "u005" in hard.texts.index


def test_where_no_row_has_a_label_all_stay():
    targets = TARGETS * np.nan
    assert len(official_phase(TEXTS, targets, FOLDS, (0,), 1).texts) == 6


def test_corrected_targets_keep_what_is_not_given(tmp_path):
    run, targets = Run(tmp_path, "03_test"), stack({-1: without("u001"), 2: without("u001", "u003")})
    run.write_probabilities("labels/corrected.parquet", targets, TOY, partial=True)
    run.write("labels/correction.json", {"nested": True})
    pd.testing.assert_frame_equal(read_corrected(run).targets, targets)


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


CASES = word_texts(TOY, 4)
HARD = Phase(CASES, TOY.to_targets(random_labels(TOY, 4)), 3)
ROWS = uids(6, "g")
ASKED = random_labels(TOY, 6, seed=3).set_axis(ROWS).astype("Int64")
ASKED.iloc[4:] = pd.NA  # the last two were written without labels
WRITTEN = word_texts(TOY, 6, seed=2).set_axis(ROWS).join(ASKED)
WRITTEN = WRITTEN.assign(seen_folds=[[0], [1], [2], [0, 1], [1], [2]])


def phases_of(held_out):
    return [HARD]


def test_the_labels_asked_for_are_the_targets_of_the_first_epochs():
    first, later = with_requested(phases_of, WRITTEN, TOY, 2)((1,))
    assert later is HARD
    assert list(first.texts.index) == ["g000", "g002", *CASES.index]
    assert (first.epochs, first.soft) == (2, False)
    wanted = TOY.to_targets(ASKED.loc[["g000", "g002"]].astype(int))
    pd.testing.assert_frame_equal(first.targets.iloc[:2], wanted)
    pd.testing.assert_frame_equal(first.targets.iloc[2:], HARD.targets)


@pytest.mark.parametrize("held_out", [(0,), (1,), (0, 2), (1, 2)])
def test_no_row_that_saw_a_held_out_fold_is_learned_from(held_out):
    for phase in with_requested(phases_of, WRITTEN, TOY, 1)(held_out):
        learned = WRITTEN.loc[WRITTEN.index.intersection(phase.texts.index), "seen_folds"]
        assert not any(set(seen) & set(held_out) for seen in learned)


def test_without_epochs_or_rows_nothing_is_added():
    assert with_requested(phases_of, WRITTEN, TOY, 0) is phases_of
    for pool in (WRITTEN.iloc[4:], WRITTEN[[*TOY.text_columns, "seen_folds"]], WRITTEN.iloc[:0]):
        first, _ = with_requested(phases_of, pool, TOY, 2)((1,))
        pd.testing.assert_frame_equal(first.texts, CASES)
    assert not is_labelled(WRITTEN[[*TOY.text_columns]], TOY).any()


def test_rows_are_drawn_by_kind_and_anew_for_each_model():
    rows = pd.concat([WRITTEN.set_axis([f"{n}-{uid}" for uid in WRITTEN.index]) for n in range(20)])
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


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"soft_rows": {"labeled": 3}}, "soft_rows.*did you mean labelled"),
        ({"soft_rows": {"labelled": -1}}, "soft_rows.* is -1"),
        ({"soft_rows": {"labelled": 2.5}}, "soft_rows.* is 2.5"),
        ({"soft_temperature": 0}, "soft_temperature is 0"),
        ({"rounds": 2, "round_pools": [["p0"], ["p1"]]}, "round_pools has 2 lists"),
    ],
)
def test_a_teaching_that_cannot_be_is_told_in_one_line(settings, line):
    with pytest.raises(InputError, match=line):
        Teaching(**settings)
