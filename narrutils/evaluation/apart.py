"""The test cases that belong to a training case, scored apart from those that do not.

A twin of a training case asks what a model remembers. What it can read shows on the others.
"""

import pandas as pd

from narrutils.evaluation.intervals import columns_of, in_columns, in_table, score_interval
from narrutils.evaluation.ladder import TEST, Ladder
from narrutils.evaluation.metrics import count

ALL = "all"


def score_apart(ladder: Ladder, twins: pd.Series) -> pd.DataFrame:
    """The first and the last step on all test cases, on those without a twin, and on those with one.

    Thresholds cross-fitted, against the given labels. A variable without a positive among the cases of a
    part scores 0 there, so that small parts score low.

    Args:
        twins: for each test case the training case that it belongs to; "" if there is none.

    Returns:
        A row a step and part: `step`, `part`, `average_f1` with its 95 % interval, `n` (cases); none where
        no test case has a twin, or the test's labels are not known.
    """
    answer, rows = ladder.answers.get(TEST[:2]), []
    alike = twins[twins != ""].index
    if answer is not None and len(alike):
        has = answer.index.isin(alike)
        parts = {ALL: answer, "without a twin": answer[~has], "with a twin": answer[has]}
        for number in sorted({0, len(ladder.steps) - 1}):
            step, codes = ladder.steps[number].name, ladder.decided[number]["test", TEST[2]]
            for part, labels in parts.items():
                if len(labels):
                    counts = count(ladder.schema, labels, codes.loc[labels.index])
                    row = {"step": step, "part": part, "n": len(labels)}
                    rows.append(row | in_columns("average_f1", score_interval(counts)))
    return in_table(rows, ["step", "part", *columns_of("average_f1"), "n"])
