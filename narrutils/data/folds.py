"""Folds, drawn once and looked up by uid; and who may learn from what.

The rule: a model tested on fold k learns from nothing that learned from fold k's
text or labels. A model is therefore named by its `held_out` folds: `(k,)` for the
model that is scored on fold k, and `(j, k)` for a teacher that reads fold j on
behalf of model k (and fold k on behalf of model j). `()` is a refit, which learned from
all official rows: it reads new cases alone, and its score is that of the models `(k,)`.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError

HeldOut = tuple[int, ...]
REFIT: HeldOut = ()


def draw_folds(
    schema: Schema, labels: pd.DataFrame, n_folds: int, seed: int, clusters: pd.Series | None = None
) -> pd.Series:
    """A fold in 0..n_folds − 1 for every case, stratified over all scored variables at once.

    An auxiliary variable has no say, so that to add one moves no case. On the one-hot target matrix, so
    that categorical variables count class by class, and a missing label as a class of its own: iterative
    stratification (Sechidis, Tsoumakas and Vlahavas 2011), or, where cases belong together, `_draw_sets`.

    Args:
        clusters: number of the set of cases that each case stays in one fold with; None: it stays alone.

    Raises:
        InputError: fewer cases, or sets of them, than folds.
    """
    if len(labels) < n_folds:
        raise InputError(f"{len(labels)} training cases cannot fill {n_folds} folds")
    states = _states(schema.scored, labels)
    if clusters is not None and clusters.loc[labels.index].duplicated().any():
        folds = _draw_sets(states, pd.factorize(clusters.loc[labels.index])[0], n_folds, seed)
        return pd.Series(folds, index=labels.index, name="fold")
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # reading new cases does without it

    if states.shape[1] == 1:  # the splitter wants two columns or more
        states = np.hstack([states, 1 - states])
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(labels), dtype=int)
    for k, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), states)):
        folds[held_out] = k
    return pd.Series(folds, index=labels.index, name="fold")


def _states(schema: Schema, labels: pd.DataFrame) -> np.ndarray:
    """Targets as 0 and 1, and a column for each variable that lacks labels, 1 where it does."""
    targets = schema.to_targets(labels).fillna(0)
    missing = labels[schema.names].isna()
    return np.hstack([targets, missing.loc[:, missing.any()]]).astype(int)


def _draw_sets(states: np.ndarray, sets: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """A fold for each case, whole sets of cases in one.

    Greedy, as scikit-learn's StratifiedGroupKFold: the sets that weigh most first, those of like weight
    (within a power of two) in random order, and each into the fold where the squared differences between
    the folds' shares of each state, and of the cases, grow least. Those are least where the sum of the
    folds' squared counts is, so to add a set costs the product of its counts and those of the fold.

    Args:
        states: `[n_cases, n_states]`, 0 or 1; `sets`: number of each case's set, from 0 on.
    """
    n_sets = sets.max() + 1
    if n_sets < n_folds:
        raise InputError(f"{n_sets} sets of training cases that belong together cannot fill {n_folds} folds")
    states = np.column_stack([states, np.ones(len(states))])  # the cases themselves
    held, counts = np.zeros((n_sets, states.shape[1])), np.zeros((n_folds, states.shape[1]))
    np.add.at(held, sets, states)
    weighted = held / np.maximum(states.sum(axis=0), 1) ** 2
    order = np.random.default_rng(seed).permutation(n_sets)
    weight = np.floor(np.log2((held * weighted).sum(axis=1)))
    folds = np.empty(n_sets, dtype=int)
    for one in order[np.argsort(-weight[order], kind="stable")]:
        folds[one] = (counts @ weighted[one]).argmin()  # an empty fold costs nothing, so none stays empty
        counts[folds[one]] += held[one]
    return folds[sets]


def singles(folds: pd.Series) -> list[HeldOut]:
    """One held-out set a fold: the models that are scored."""
    return [(int(k),) for k in sorted(folds.unique())]


def pairs(folds: pd.Series) -> list[HeldOut]:
    """All K(K − 1)/2 pairs of folds: the teachers that label official rows."""
    return [(int(j), int(k)) for j, k in combinations(sorted(folds.unique()), 2)]


def learns_from(folds: pd.Series, held_out: HeldOut) -> pd.Index:
    """uids of the official rows that a model with these held-out folds may learn from."""
    return folds.index[~folds.isin(held_out)]


def allowed(rows: pd.DataFrame, held_out: HeldOut) -> pd.DataFrame:
    """The generated rows whose `seen_folds` hold none of the held-out folds."""
    clean = [not set(map(int, seen)) & set(held_out) for seen in rows["seen_folds"]]
    return rows[np.array(clean, dtype=bool)]


PLAIN = -1  # held_out_fold of the plain out-of-fold version: for people, and for a refit


def folder_name(held_out: HeldOut) -> str:
    """`fold2` for a scored model, `pair0_2` for a nested teacher, `all` for a refit."""
    return {0: "all", 1: "fold"}.get(len(held_out), "pair") + "_".join(map(str, held_out))


def told_as(held_out: HeldOut) -> int:
    """The `held_out_fold` under which labels lie that a scored model, or a refit, may learn from."""
    (fold,) = held_out or (PLAIN,)
    return fold


def stack(tables: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Tables by held-out fold as one, indexed by (`uid`, `held_out_fold`)."""
    stacked = pd.concat(tables, names=["held_out_fold", "uid"])
    return stacked.reorder_levels(["uid", "held_out_fold"])


def for_fold(stacked: pd.DataFrame, fold: int) -> pd.DataFrame:
    """The rows of one held-out fold, indexed by uid; none where nothing was said of it."""
    rows = stacked[stacked.index.get_level_values("held_out_fold") == fold]
    return rows.droplevel("held_out_fold")
