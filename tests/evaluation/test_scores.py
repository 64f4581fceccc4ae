"""A table of scores, on codes few enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, uids

from narrutils.evaluation.scores import score_table

LABELS = pd.DataFrame(
    {"Sad": [1, 1, 0, 0], "Place": [1, 1, 1, 3], "Note": [1, 1, 0, 0], "Tool": [0, 0, 5, 5]}, index=uids(4)
)


def test_scores_come_with_intervals_precision_and_recall():
    guess = LABELS.assign(Sad=[1, 0, 0, 0], Note=0, Place=1).iloc[::-1]
    table = score_table(TOY, LABELS, guess)
    assert table.loc["Sad", ["score", "precision", "recall"]].tolist() == pytest.approx([2 / 3, 1, 0.5])
    assert table.loc["Sad", ["positives", "called"]].tolist() == [2, 1]
    assert np.isnan(table.loc["Note", "precision"])
    assert table.loc["Note", "recall"] == 0
    assert table.loc["Place", "score"] == 0.75
    assert table.loc["Place", "metric"] == "accuracy"
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()
