"""The abstractor's errors: what the given labels get wrong, and the text never shows."""

import numpy as np
import pandas as pd

from narrutils.data.demo.cases import draw
from narrutils.data.demo.phrases import read
from narrutils.data.schema import Schema


def plant_errors(
    schema: Schema, truth: pd.DataFrame, risk: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """The labels that an abstractor gave.

    Args:
        truth: true codes, one column a variable.
        risk: same rows, one column a binary variable: how much likelier than usual
            a true fact is to be overlooked, given how it is told.
    """
    given = truth.copy()
    for v in schema.binary:
        given[v.name] = miss_some(truth[v.name].to_numpy(), risk[v.name].to_numpy(), v.name, rng)
    for v in schema.categorical:
        given[v.name] = mistake_some(truth[v.name].to_numpy(), v.name, rng)
    return given


def miss_some(true: np.ndarray, risk: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """True positives missed at the variable's rate, in proportion to their risk; few false ones."""
    rates = read("rates")
    usual = risk[true == 1].mean() if true.any() else 1.0
    missing = np.minimum(rates["binary"][name]["missed"] * risk / usual, 1.0)
    missed = draw(np.where(true == 1, missing, 0.0), rng)
    added = draw(np.where(true == 1, 0.0, rates["false_positive"]), rng)
    return true - missed + added


def mistake_some(true: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """A few codes replaced by another of the variable's classes."""
    codes = np.array(list(read("rates")["categorical"][name]))
    step = rng.integers(1, len(codes), size=len(true))
    wrong = rng.random(len(true)) < read("rates")["wrong_code"]
    return np.where(wrong, codes[(np.searchsorted(codes, true) + step) % len(codes)], true)
