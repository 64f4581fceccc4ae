"""Two published rules of correction: the author's, and confident learning.

The author looks for positives that the abstractor missed.

For a binary variable with cross-validated F1 of F, a rate
r = 0.2 · (1 − (F − F_min) / (F_max − F_min)) is set, F_min and F_max taken over
the binary variables. Among the rows labelled 0, those whose probability lies
above the (1 − r) quantile of that group take the label [p > 0.5]. Only 0 → 1;
categorical codes stay.

Both look, variable by variable, at the cases that have a label there.
"""

import numpy as np
import pandas as pd
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

from narrutils.data.schema import Schema
from narrutils.evaluation.metrics import per_variable

MAX_RATE = 0.2  # the author's: the worst variable's share of zeros that is looked at


def correction_rates(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.Series:
    """The author's rate r of each binary variable, in [0, 0.2], from F1 at threshold 0.5."""
    scores = per_variable(schema, labels, schema.to_labels(probabilities))
    f1 = scores[[v.name for v in schema.binary]]
    spread = f1.max() - f1.min() if len(f1) else 0.0
    return MAX_RATE * (1 - (f1 - f1.min()) / spread) if spread > 0 else f1 * 0.0


def missed_positives(labels: pd.Series, probability: pd.Series, rate: float) -> pd.Index:
    """uids labelled 0 that the rule turns to 1."""
    zeros = probability[labels.eq(0) & labels.notna()]
    if rate <= 0 or zeros.empty:
        return zeros.index[:0]
    return zeros.index[(zeros > zeros.quantile(1 - rate)) & (zeros > 0.5)]


def author(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """The changes that the rule makes: `uid`, `variable`, `before`, `after`, `probability`.

    Args:
        labels: given codes, indexed by uid; null where there is none.
        probabilities: a teacher's readings of the same rows, in the same order; the
            `probability` of a change is the teacher's that the variable is 1.
    """
    rows = []
    for name, rate in correction_rates(schema, labels, probabilities).items():
        for uid in missed_positives(labels[name], probabilities[name], rate):
            rows.append((uid, name, 0, 1, probabilities.at[uid, name]))
    return pd.DataFrame(rows, columns=["uid", "variable", "before", "after", "probability"])


def confident_learning(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """Labels that the filter finds wrong: `uid`, `variable`, `before`, `after`, `probability`.

    Args:
        labels: given codes, indexed by uid; null where there is none.
        probabilities: out-of-sample readings of the same rows, in the same order; the
            `probability` of a change is the reading's of the new code.
    """
    names = [v.name for v in schema.binary if labels[v.name].nunique() == 2]  # one code alone tells nothing
    given = labels[names].to_numpy(dtype=float, na_value=np.nan)
    read = probabilities[names].to_numpy(dtype=float)
    wrong = np.zeros(given.shape, dtype=bool)
    for n in range(len(names)):
        known = ~np.isnan(given[:, n])
        positive = [[0] if code else [] for code in given[known, n]]
        wrong[known, n] = find_multilabel_issues_per_class(positive, read[known, n : n + 1], n_jobs=1)[:, 0]
    rows, columns = np.nonzero(wrong)
    before = given[rows, columns].astype(int)
    return pd.DataFrame(
        {
            "uid": labels.index[rows],
            "variable": np.array(names, dtype=object)[columns],
            "before": before,
            "after": 1 - before,
            "probability": np.where(before == 1, 1 - read[rows, columns], read[rows, columns]),
        }
    )
