"""How good an order of doubts is, where the truth is known: ours beside cleanlab's and random order.

An order names labels by `uid` and `variable`, the most doubtful first. Its precision at n
is the share of its first n labels that are wrong. cleanlab ranks by its label quality
scores (self-confidence), which compare within a variable; here as there, one list holds
all variables.
"""

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid

RANKS = (50, 100, 200)


def compare_orders(
    schema: Schema,
    labels: pd.DataFrame,
    probabilities: pd.DataFrame,
    doubts: pd.DataFrame,
    truth: pd.DataFrame | None,
    ranks: tuple[int, ...] = RANKS,
) -> pd.DataFrame:
    """Precision of three orders of the same labels; an empty table where the truth is not known.

    Args:
        labels: given codes, indexed by uid.
        probabilities: what cleanlab ranks by, out of fold.
        doubts: the review queue.
        truth: true codes of at least these cases.

    Returns:
        One row for each of `ranks`; missing where an order is shorter. `its proposals` is the share
        of the queue's proposed codes that are the true ones.
    """
    columns = ["review queue", "its proposals", "cleanlab", "random order"]
    if truth is None:
        return pd.DataFrame(columns=columns)
    true = by_uid(truth, labels.index, "truth")
    theirs = cleanlab_order(schema, labels, probabilities)
    proposed = doubts["label_after"].to_numpy() == _at(true, doubts)
    rows = {
        n: [
            _share(is_wrong(labels, true, doubts), n),
            _share(proposed, n),
            _share(is_wrong(labels, true, theirs), n),
            (labels[schema.names] != true[schema.names]).to_numpy().mean(),
        ]
        for n in ranks
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("first")


def cleanlab_order(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """All labels, `uid` and `variable`, those of the lowest quality score first."""
    from cleanlab.rank import get_label_quality_scores

    table, scores = by_uid(probabilities, labels.index, "probabilities"), {}
    for v in schema.variables:
        places = pd.Index(v.codes).get_indexer(labels[v.name])
        scores[v.name] = get_label_quality_scores(places, v.by_code(table))
    ranked = pd.DataFrame(scores, index=labels.index.rename("uid")).stack().sort_values(kind="stable")
    return ranked.index.to_frame(index=False, name=["uid", "variable"])


def is_wrong(labels: pd.DataFrame, truth: pd.DataFrame, order: pd.DataFrame) -> np.ndarray:
    """Whether each label of an order is wrong, `[n]` of booleans."""
    return _at(labels, order) != _at(truth, order)


def _at(codes: pd.DataFrame, order: pd.DataFrame) -> np.ndarray:
    rows, columns = codes.index.get_indexer(order["uid"]), codes.columns.get_indexer(order["variable"])
    return codes.to_numpy()[rows, columns]


def _share(values: np.ndarray, n: int) -> float:
    return float(values[:n].mean()) if len(values) >= n else np.nan
