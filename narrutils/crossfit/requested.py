"""Label-conditioned rows: generated cases whose labels were asked for before they were written.

The author's first encoder learns from them in its first epochs, their targets being the
labels that were asked for. Those were drawn at the rates of the fold that the prompt
shows, which `seen_folds` holds, so that no label of a held-out fold speaks through them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from narrutils.data.folds import HeldOut, allowed
from narrutils.data.schema import Schema
from narrutils.data.settings import Count, RowKind, fitting
from narrutils.models.learner import Phase

Phases = Callable[[HeldOut], list[Phase]]


def is_labelled(pool: pd.DataFrame, schema: Schema) -> pd.Series:
    """Which generated rows were asked for with labels, of every variable."""
    return pool.reindex(columns=schema.names).notna().all(axis=1)


def requested_rows(pool: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The generated rows that were asked for with labels."""
    return pool[is_labelled(pool, schema)]


def with_requested(phases_of: Phases, pool: pd.DataFrame, schema: Schema, epochs: int) -> Phases:
    """`phases_of` after so many epochs over the official rows of its last phase and labelled ones.

    Args:
        pool: generated rows, of which those are taken that were asked for with labels.
        epochs: 0 leaves `phases_of` as it is.
    """
    if not epochs:
        return phases_of
    rows = requested_rows(pool, schema)
    targets = schema.to_targets(rows[schema.names].astype(int)) if len(rows) else pd.DataFrame()

    def phases(held_out: HeldOut) -> list[Phase]:
        later = phases_of(held_out)
        made, official = allowed(rows, held_out), replace(later[-1], epochs=epochs)
        if made.empty:
            return [official, *later]
        texts = pd.concat([made[schema.text_columns], official.texts])
        asked = pd.concat([targets.loc[made.index], official.targets])
        return [replace(official, texts=texts, targets=asked), *later]

    return phases


def draw_rows(
    pool: pd.DataFrame, schema: Schema, held_out: HeldOut, most: Mapping[str, int], seed: int = 0
) -> pd.DataFrame:
    """The rows that one model may learn from, drawn anew for each held-out set of folds.

    Args:
        most: at most so many of a kind, `labelled` or `unlabelled`; a kind left out keeps all.

    Raises:
        InputError: an unknown kind, or a number that is none.
    """
    fitting(most, dict[RowKind, Count], "soft_rows")
    rows = allowed(pool, held_out)
    labelled = is_labelled(rows, schema).to_numpy(dtype=bool)
    rng, keep = np.random.default_rng([seed, *held_out]), np.ones(len(rows), dtype=bool)
    for kind, of_kind in (("labelled", labelled), ("unlabelled", ~labelled)):
        numbers = np.flatnonzero(of_kind)
        keep[rng.permutation(numbers)[most.get(kind, len(numbers)) :]] = False
    return rows[keep]
