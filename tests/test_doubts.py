"""Precision of the first n doubts: counted by hand, and cleanlab's order as cleanlab gives it."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.rank import get_label_quality_scores
from toys import TOY, random_labels, random_probabilities, uids

from benchmarks.doubts import at, cleanlab_order, compare_orders

N = 30
LABELS = random_labels(TOY, N)
READ = random_probabilities(TOY, uids(N))


def made_truth(order, wrong):
    """The labels, those at these places of an order changed to the proposed code."""
    truth = LABELS.copy()
    for row in order.iloc[wrong].to_dict("records"):
        truth.at[row["uid"], row["variable"]] = row["label_after"]
    return truth


def doubts():
    rows = [("u003", "Sad"), ("u001", "Place"), ("u000", "Note"), ("u007", "Tool")]
    table = pd.DataFrame(rows, columns=["uid", "variable"])
    other = {"Sad": {0: 1, 1: 0}, "Note": {0: 1, 1: 0}, "Place": {1: 2, 2: 3, 3: 1}, "Tool": {0: 5, 5: 0}}
    table["label_after"] = [other[name][LABELS.at[uid, name]] for uid, name in rows]
    return table


def test_precision_is_the_share_of_wrong_labels_among_the_first():
    order = doubts()
    truth = made_truth(order, [0, 3])
    table = compare_orders(TOY, LABELS, READ, order, truth.sample(frac=1, random_state=1), ranks=(1, 2, 4, 5))
    assert table["review queue"].tolist()[:3] == [1.0, 0.5, 0.5]
    assert np.isnan(table.loc[5, "review queue"])
    assert (table["random order"] == 2 / (4 * N)).all()
    assert not table["cleanlab"].isna().any()


def test_a_label_may_be_wrong_and_the_proposal_too():
    order = doubts()
    truth = made_truth(order, [0, 1])
    order.loc[1, "label_after"] = LABELS.at["u001", "Place"] % 3 + 1
    truth.at["u001", "Place"] = {1, 2, 3}.difference(
        [order.loc[1, "label_after"], LABELS.at["u001", "Place"]]
    ).pop()
    table = compare_orders(TOY, LABELS, READ, order, truth, ranks=(2,))
    assert table.loc[2, ["review queue", "its proposals"]].tolist() == [1.0, 0.5]


def test_cleanlab_ranks_all_labels_by_its_own_scores():
    order = cleanlab_order(TOY, LABELS, READ.sample(frac=1, random_state=0))
    assert len(order) == N * 4
    assert not order.duplicated().any()
    p = READ["Sad"].to_numpy()
    scores = pd.Series(
        get_label_quality_scores(LABELS["Sad"].to_numpy(), np.stack([1 - p, p], 1)), LABELS.index
    )
    assert (
        order.query("variable == 'Sad'")["uid"].tolist() == scores.sort_values(kind="stable").index.tolist()
    )
    codes = LABELS["Tool"].map({0: 0, 5: 1}).to_numpy()
    tool = pd.Series(READ[["Tool_0", "Tool_5"]].to_numpy()[np.arange(N), codes], LABELS.index)
    assert order.query("variable == 'Tool'")["uid"].iloc[0] == tool.idxmin()


def test_wrong_labels_are_looked_up_by_uid_and_variable():
    order = doubts()
    truth = made_truth(order, [1]).sample(frac=1, random_state=2)[TOY.names[::-1]]
    wrong = at(LABELS, order) != at(truth, order)
    assert wrong.tolist() == [False, True, False, False]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_queue_shorter_than_the_rank_gives_no_figure(rows):
    table = compare_orders(TOY, LABELS, READ, doubts().head(rows), LABELS, ranks=(3,))
    assert np.isnan(table.loc[3, "review queue"])
