"""Which codes a person should decide so that a promise about the others holds.

A promise speaks of the codes of one variable that go out unreviewed. It is of one of three kinds:

- `recall`: of the cases labelled 1, so many are coded 1. Codes 0 may be reviewed: what is missed lies there.
- `precision`: of the cases coded 1, so many are labelled 1. Codes 1 may be reviewed.
- `accuracy`, of a categorical variable: so many codes are the label. Every code may be reviewed.

Of the codes that may be reviewed those are whose calibrated probability, of that very code, is at most the
variable's `cut`. No code is changed: the thresholds stay those of the run. For a binary variable the
reviewed codes are a band of probability that begins at the threshold, below it or above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid

#: Kind of a promise -> the code that may be reviewed; None: every code.
REVIEWED = {"recall": 0, "precision": 1, "accuracy": None}


def may_be_reviewed(kind: str, codes: np.ndarray) -> np.ndarray:
    """Which of these codes `[n]` of a variable a person may be asked for."""
    code = REVIEWED[kind]
    return np.full(len(codes), True) if code is None else codes == code


@dataclass(frozen=True)
class Bands:
    """The codes that go to a person.

    Attributes:
        cuts: variable -> kind of its promise and cut, a probability; variables without a promise left out.
    """

    schema: Schema
    cuts: Mapping[str, tuple[str, float]]

    def of(self, codes: pd.DataFrame, calibrated: pd.DataFrame) -> pd.DataFrame:
        """Whether a person should decide: a column a variable with a promise, in the order of `codes`.

        Args:
            codes: one column a variable, indexed by uid.
            calibrated: calibrated probabilities, `schema.columns` wide; matched by uid.
        """
        table, found = by_uid(calibrated, codes.index, "calibrated probabilities"), {}
        for name, (kind, cut) in self.cuts.items():
            sure = self.schema[name].of_codes(table, codes[name])
            found[name] = may_be_reviewed(kind, codes[name].to_numpy()) & (sure <= cut)
        return pd.DataFrame(found, codes.index, dtype=bool)

    @classmethod
    def from_dict(cls, schema: Schema, stored: Mapping) -> "Bands":
        """Those of `promises.json`, whose `variables` hold `outcome`, `kind` and `cut`."""
        kept = {n: p for n, p in stored["variables"].items() if p["outcome"] == "promised"}
        return cls(schema, {name: (p["kind"], p["cut"]) for name, p in kept.items()})


def in_words(reviewed: pd.DataFrame) -> pd.Series:
    """The variables of each case that a person should decide, as `Sad; Note`; "" for none."""
    names = np.array(reviewed.columns, dtype=object)
    return pd.Series(["; ".join(names[row]) for row in reviewed.to_numpy()], reviewed.index, dtype=str)
