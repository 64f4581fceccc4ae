"""Whether a text says what was asked for, as a teacher reads it.

A label-conditioned row carries the codes that its prompt requested. A screening teacher
reads the row, and the codes must fit what it reads better than they fit the average
case. The teacher's folds join the row's `seen_folds`, since its reading decides.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid
from narrutils.errors import InputError

#: Probabilities are kept this far from 0 and 1, so that no single variable decides.
CAUTION = 0.01


@dataclass(frozen=True, eq=False)  # a teacher equals itself alone
class ScreeningTeacher:
    """Who reads generated rows, and what it learned from."""

    read: Callable[[pd.DataFrame], pd.DataFrame]  # texts by uid -> probabilities, `schema.columns` wide
    learned_from: tuple[int, ...]  # every fold whose texts or labels it learned from
    prior: pd.Series  # its mean reading of cases of these folds, indexed by `schema.columns`


def choose(
    teachers: Sequence[ScreeningTeacher], uid: str, seen: Sequence[int], folds: set[int]
) -> ScreeningTeacher | None:
    """The teacher that reads a row; None if each would make it know all of `folds`.

    Of those that add the fewest folds to `seen`, the row's number picks one, so that no
    teacher reads all rows. The number is the trailing digits of the uid (0 without),
    hence the choice is the same however rows are divided into chunks.
    """
    able = [t for t in teachers if folds - {*seen, *t.learned_from}]
    added = [len(set(t.learned_from) - set(seen)) for t in able]
    nearest = [t for t, count in zip(able, added) if count == min(added)]
    digits = re.search(r"\d*$", uid).group()
    return nearest[int(digits or 0) % len(nearest)] if nearest else None


def agreement(schema: Schema, requested: pd.DataFrame, reading: pd.DataFrame, prior: pd.Series) -> np.ndarray:
    """How much better the requested codes fit the reading than the average case, `[n]`.

    The mean over the variables of log p(requested | reading) − log p(requested | prior):
    above 0 where the reading speaks for them.

    Args:
        requested: codes, one column a variable, indexed by uid.
        reading: probabilities, `schema.columns` wide, of the same uids in any order.

    Raises:
        InputError: a requested code is missing or not one of the variable's.
    """
    lacking = requested[schema.names].isna().stack()
    if lacking.any():
        uid, name = lacking.index[lacking][0]
        raise InputError(f"{name} of case {uid} was not asked for; ask for every variable, or for none")
    targets = schema.to_targets(requested).to_numpy()
    average = np.broadcast_to(prior[schema.columns].to_numpy(dtype=float), targets.shape)
    read = by_uid(schema.check_probabilities(reading), requested.index, "a screening teacher's reading")
    read = read.to_numpy(dtype=float)
    return (_log_likelihood(schema, targets, read) - _log_likelihood(schema, targets, average)).mean(axis=1)


def _log_likelihood(schema: Schema, targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Log probability `[n, variables]` of the code that `targets` hold, by variable."""
    given = []
    for v in schema.variables:
        t, p = targets[:, schema.slices[v.name]], probabilities[:, schema.slices[v.name]]
        given.append((t * p).sum(axis=1) + ((1 - t) * (1 - p))[:, 0] * v.is_binary)
    return np.log(np.clip(np.stack(given, axis=1), CAUTION, 1 - CAUTION))
