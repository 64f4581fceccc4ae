"""Rounds: kept if they gain out of fold, by a comparison that the test split cannot reach."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities

from narrutils.crossfit.rounds import judge
from narrutils.crossfit.soft_labels import SoftLabels, soften
from narrutils.data.study import Study
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.metrics import count
from narrutils.evaluation.thresholds import decide_cross_fitted, search_shrunk

LABELS = random_labels(TOY, 90)
FOLDS = pd.Series(np.arange(90) % 3, index=LABELS.index)


class Fitted:
    """What `judge` asks of a fitted model; one that is asked for test readings fails."""

    study = Study(None, TOY, None, FOLDS, None, LABELS)

    def __init__(self, name: str, skill: float):
        noise = random_probabilities(TOY, LABELS.index, 3)
        self.name, self.table = name, (1 - skill) * noise + skill * TOY.to_targets(LABELS)

    def out_of_fold(self) -> pd.DataFrame:
        return self.table


WEAK, STRONG = Fitted("gemma", 0.2), Fitted("gemma_round1", 0.4)


def test_round_0_is_kept_for_want_of_another():
    record = judge(WEAK, None)
    assert (record["model"], record["against"], record["gain"], record["kept"]) == ("gemma", None, None, True)


@pytest.mark.parametrize(("student", "kept", "verdict"), [(STRONG, WEAK, True), (WEAK, STRONG, False)])
def test_a_round_is_kept_if_it_gains(student, kept, verdict):
    record = judge(student, kept)
    assert record["kept"] is verdict
    counts = [
        count(TOY, LABELS, decide_cross_fitted(TOY, LABELS, m.table, FOLDS, search_shrunk))
        for m in (student, kept)
    ]
    gain = paired_gain(*counts)
    assert (record["gain"], record["gain_low"], record["gain_high"]) == (gain.value, gain.low, gain.high)


def test_a_round_that_changes_nothing_is_not_kept():
    assert judge(STRONG, STRONG)["kept"] is False


def test_every_round_is_kept_where_the_author_s_way_is_asked_for():
    record = judge(WEAK, STRONG, gaining_only=False)
    assert record["kept"] is True and record["gain"] < 0


def test_a_temperature_softens_and_keeps_the_order():
    """By hand: 0.8 at 2 is 2 / 3; classes 0.7, 0.2, 0.1 at 0.5 are 49, 4, 1 of 54."""
    table = random_probabilities(TOY, LABELS.index)
    table.loc["u000", ["Sad", "Place_1", "Place_2", "Place_3"]] = [0.8, 0.7, 0.2, 0.1]
    assert soften(TOY, table, 2.0).loc["u000", "Sad"] == pytest.approx(2 / 3)
    hard = soften(TOY, table, 0.5).loc["u000", ["Place_1", "Place_2", "Place_3"]]
    assert hard.tolist() == pytest.approx([49 / 54, 4 / 54, 1 / 54])
    for temperature in (0.5, 1.0, 3.0):
        soft = TOY.check_probabilities(soften(TOY, table, temperature))
        assert (soft["Sad"].rank() == table["Sad"].rank()).all()
    assert soften(TOY, table, 1.0) is table


def test_students_are_told_at_the_temperature_and_the_file_keeps_the_readings():
    table = random_probabilities(TOY, LABELS.index).assign(held_out_fold=1)
    table = table.set_index("held_out_fold", append=True)
    labels = SoftLabels(table[:60], table[60:], "gemma", temperature=2.0)
    official, pool = labels.told(TOY, 1)
    plain = table.droplevel("held_out_fold")
    pd.testing.assert_frame_equal(official, soften(TOY, plain[:60], 2.0))
    pd.testing.assert_frame_equal(pool, soften(TOY, plain[60:], 2.0))
    pd.testing.assert_frame_equal(labels.official, table[:60])
