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
    """Share of class 1 of each binary variable among its labels, in [0, 1]; 0 where it has none."""
    given = {v.name: labels[v.name].dropna() for v in schema.binary}
    return {name: float(codes.mean()) if len(codes) else 0.0 for name, codes in given.items()}


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
    """The descriptions that are true of `codes`, positive and categorical ones, shuffled.

    A label that is not given, null, is not spoken of. Where none is left to tell it is `NOTHING`, or,
    as long as a label is not given, no sentence at all: that nothing holds is not known.
    """
    given = [v for v in schema.variables if pd.notna(codes[v.name])]
    told = [v.sentence(codes[v.name]) for v in given if codes[v.name] or not v.is_binary]
    nothing = [NOTHING] if len(given) == len(schema.variables) else []
    return [told[n] for n in rng.permutation(len(told))] or nothing
