"""What a model is shown, in which order: phases of texts and targets.

The prize-winning curriculum has two phases under one learning-rate curve: an
epoch on everything (generated rows and official ones) with soft labels, then
epochs on the official rows alone with corrected hard labels. A plain supervised
training has one phase.
"""

import pandas as pd

from narrutils.data.folds import HeldOut, allowed, learns_from
from narrutils.data.tables import by_uid
from narrutils.models.learner import Phase


def official_phase(
    texts: pd.DataFrame, targets: pd.DataFrame, folds: pd.Series, held_out: HeldOut, epochs: int, soft=False
) -> Phase:
    """The official rows outside the held-out folds, targets joined by uid."""
    uids = learns_from(folds, held_out)
    return Phase(texts.loc[uids], by_uid(targets, uids, "official targets"), epochs, soft)


def generated_phase(
    pool: pd.DataFrame, targets: pd.DataFrame, held_out: HeldOut, columns: list[str], epochs: int
) -> Phase:
    """The generated rows that saw none of the held-out folds, with soft labels."""
    rows = allowed(pool, held_out)
    return Phase(rows[columns], by_uid(targets, rows.index, "soft labels"), epochs, soft=True)


def together(*phases: Phase) -> Phase:
    """Several sets of soft-labelled rows as one phase, so that an epoch mixes them."""
    if any(not p.soft or p.epochs != phases[0].epochs for p in phases):
        raise ValueError("only soft phases of equal length can be mixed")
    texts = pd.concat([p.texts for p in phases])
    if texts.index.has_duplicates:
        raise ValueError(f"uid {texts.index[texts.index.duplicated()][0]} stands in two phases")
    return Phase(texts, pd.concat([p.targets for p in phases]), phases[0].epochs, soft=True)
