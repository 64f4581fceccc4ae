"""What a ladder asks for many times is found once, for the rows and the way that are asked for."""

from dataclasses import replace

import numpy as np
import pytest
from test_stacking import LABELS, STEPS
from toys import TOY

from narrutils.evaluation.intervals import resample
from narrutils.evaluation.ladder import Step
from narrutils.evaluation.thresholds import search, search_half


def test_thresholds_are_searched_once_for_each_set_of_rows_and_way():
    asked = []

    def find(labels, way):
        asked.append((len(labels), way))
        return {"Sad": len(labels) / 100}

    step = Step("A", "a", STEPS[0].out_of_fold, STEPS[0].test, find)
    for _ in range(2):
        assert step.thresholds(TOY, LABELS) == {"Sad": len(LABELS) / 100}
        assert step.thresholds(TOY, LABELS[:-5]) == {"Sad": (len(LABELS) - 5) / 100}
        replace(step, way=search_half).thresholds(TOY, LABELS)
    assert asked == [(len(LABELS), search), (len(LABELS) - 5, search), (len(LABELS), search_half)]


def test_other_labels_of_the_same_rows_are_searched_anew():
    step = replace(STEPS[0], _known={})
    before = step.thresholds(TOY, LABELS)
    other = LABELS.assign(Sad=1 - LABELS["Sad"])
    assert step.thresholds(TOY, other) == search(TOY, other, step.out_of_fold) != before


def test_draws_are_shared_and_cannot_be_written_to():
    assert resample(7, 5, 1) is resample(7, 5, 1)
    assert not np.array_equal(resample(7, 5, 1), resample(7, 5, 2))
    with pytest.raises(ValueError, match="read-only"):
        resample(7, 5, 1)[0, 0] = 1
