"""Correction by confident learning, as cleanlab's multi-label filter does it.

Each binary variable is looked at by itself. A label is an issue if it is among the
least probable ones of its own code, as many of them as the counts of confident
disagreements say are wrong (Northcutt, Jiang and Chuang, 2021). Both directions.
"""

import numpy as np
import pandas as pd
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

from narrutils.schema import Schema


def propose(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """Labels that the filter finds wrong: `uid`, `variable`, `before`, `after`, `probability`.

    Args:
        labels: given codes, indexed by uid.
        probabilities: out-of-sample readings of the same rows, in the same order; the
            `probability` of a change is the reading's of the new code.
    """
    names = [v.name for v in schema.binary if labels[v.name].nunique() == 2]  # one code alone tells nothing
    given, read = labels[names].to_numpy(dtype=int), probabilities[names].to_numpy(dtype=float)
    wrong = np.zeros(given.shape, dtype=bool)
    if names:
        positives = [np.flatnonzero(row).tolist() for row in given]
        wrong = find_multilabel_issues_per_class(positives, read, n_jobs=1)
    rows, columns = np.nonzero(wrong)
    before = given[rows, columns]
    return pd.DataFrame(
        {
            "uid": labels.index[rows],
            "variable": np.array(names, dtype=object)[columns],
            "before": before,
            "after": 1 - before,
            "probability": np.where(before == 1, 1 - read[rows, columns], read[rows, columns]),
        }
    )
