"""Labels that a generator is asked to write a case for, and how they read as sentences.

Rare variables are asked for more often than they occur: each binary label is drawn
on its own with at least a floor as its rate, each class of a categorical variable is
as probable as any other.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError

#: What stands where no label is positive.
NOTHING = "None of the listed circumstances is known."


def rates(schema: Schema, labels: pd.DataFrame) -> dict[str, float]:
    """Share of class 1 of each binary variable among `labels`, in [0, 1]."""
    return {v.name: float(labels[v.name].mean()) for v in schema.binary}


def check_floors(schema: Schema, floors: Mapping[str, float]) -> None:
    """Raises InputError for a floor of no binary variable."""
    for name in floors:
        if name not in [v.name for v in schema.binary]:
            raise InputError(f"floors names {name}, which is no binary variable of schema {schema.name}")


def draw_labels(
    schema: Schema,
    known: Mapping[str, float],
    rng: np.random.Generator,
    floor: float = 0.2,
    floors: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """Codes to ask for: a binary variable is 1 at max(its known rate, its floor).

    Args:
        known: rate of class 1 by binary variable (`rates`).
        floor: least rate of every binary variable; `floors` holds those that differ.
    """
    least = {v.name: floor for v in schema.binary} | dict(floors or {})
    codes = {}
    for v in schema.variables:
        if v.is_binary:
            codes[v.name] = int(rng.random() < max(known[v.name], least[v.name]))
        else:
            codes[v.name] = int(rng.choice(v.codes))
    return codes


def sentences(schema: Schema, codes: Mapping[str, int], rng: np.random.Generator) -> list[str]:
    """The descriptions that are true of `codes`, positive and categorical ones, shuffled."""
    told = [v.sentence(codes[v.name]) for v in schema.variables if codes[v.name] or not v.is_binary]
    return [told[n] for n in rng.permutation(len(told))] or [NOTHING]
