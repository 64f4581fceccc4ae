"""Test cases with a twin in training, scored apart: whole score, both parts, nothing where there is none."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.evaluation.apart import score_apart
from narrutils.evaluation.intervals import score_interval
from narrutils.evaluation.ladder import Ladder, Step, answers_of
from narrutils.evaluation.metrics import average_f1, count

LABELS, FOLDS = random_labels(TOY, 40), pd.Series(np.arange(40) % 4, index=uids(40))
TEST = random_labels(TOY, 30, 5).set_axis(uids(30, "t"))
TWINS = pd.Series(["u000", "u001", *[""] * 28], TEST.index)[::-1]  # in another order


def rungs(*names: str, test=TEST) -> Ladder:
    read = {n: [random_probabilities(TOY, t.index, len(n)) for t in (LABELS, TEST)] for n in names}
    steps = [Step(name, name, *tables) for name, tables in read.items()]
    return Ladder(TOY, steps, LABELS, FOLDS, answers_of(LABELS, test, None))


def test_the_parts_are_scored_for_the_first_and_the_last_step():
    ladder = rungs("a", "bb", "ccc")
    table = score_apart(ladder, TWINS)
    assert table["step"].tolist() == ["a"] * 3 + ["ccc"] * 3
    assert table["part"].tolist() == ["all", "without a twin", "with a twin"] * 2
    assert table["n"].tolist() == [30, 28, 2] * 2
    codes = ladder.decided[-1]["test", "cross_fitted"]
    expected = [average_f1(TOY, part, codes.loc[part.index]) for part in (TEST, TEST[2:], TEST[:2])]
    assert table["average_f1"][3:].tolist() == pytest.approx(expected)
    known = score_interval(count(TOY, TEST[2:], codes[2:]))
    assert table.loc[4, ["average_f1_low", "average_f1_high"]].tolist() == [known.low, known.high]


def test_a_single_step_stands_once_and_a_part_without_cases_not_at_all():
    assert score_apart(rungs("a"), TWINS)["n"].tolist() == [30, 28, 2]
    assert score_apart(rungs("a"), TWINS.mask(TWINS == "", "u002"))["part"].tolist() == ["all", "with a twin"]


def test_nothing_is_told_without_twins_or_labels():
    for table in (
        score_apart(rungs("a"), TWINS.mask(TWINS != "", "")),
        score_apart(rungs("a", test=None), TWINS),
    ):
        assert table.empty and "average_f1_low" in table
