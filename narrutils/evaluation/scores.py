"""The scores of a model, variable by variable."""

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.evaluation.intervals import variable_intervals
from narrutils.evaluation.metrics import count


def score_table(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """A row a variable: positives, score with its 95 % interval, precision and recall of class 1."""
    intervals = variable_intervals(count(schema, labels, predicted))
    rows = []
    for v, interval in zip(schema.variables, intervals):
        truth, guess = labels[v.name], predicted.loc[labels.index, v.name]
        row = {"variable": v.name, "metric": "F1" if v.is_binary else "accuracy"}
        row |= {"score": interval.value, "low": interval.low, "high": interval.high}
        if v.is_binary:
            hits = int(((truth == 1) & (guess == 1)).sum())
            positives, called = int((truth == 1).sum()), int((guess == 1).sum())
            row |= {"positives": positives, "called": called}
            row["precision"] = hits / called if called else float("nan")
            row["recall"] = hits / positives if positives else float("nan")
        rows.append(row)
    counts = {"positives": "Int64", "called": "Int64"} if schema.binary else {}
    return pd.DataFrame(rows).set_index("variable").astype(counts)
