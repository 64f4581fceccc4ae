"""Do probabilities mean what they say: reliability curves, calibration error, Brier score.

A binary variable is judged by the probability of class 1; a categorical one by that
of its most probable class, against whether this class is right (Guo et al., 2017).
Bins hold equally many cases (Nguyen and O'Connor, 2015), since rare variables have
nearly all their probabilities close to zero. Only cases with a label of the variable are looked at.
"""

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema, Variable
from narrutils.data.tables import by_uid

BINS, LEAST = 10, 25  # bins of a curve, and cases that a bin should hold


def reliability(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """How often each variable came true where it was said to a certain probability.

    Args:
        labels: integer codes, indexed by uid, null where none is given.
        probabilities: of these cases, by models that did not learn from them; matched by uid.

    Returns:
        A row a variable and bin, in rising order of probability: `variable`; `said`, the mean
        probability, and `came`, the share that came true, each in [0, 1]; `cases`. None of a
        variable without labels.
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    scored = [v for v in schema.variables if labels[v.name].notna().any()]
    curves = [_curve(*claims(v, labels, table)).assign(variable=v.name) for v in scored]
    return pd.concat(curves, ignore_index=True)[["variable", "said", "came", "cases"]]


def claims(v: Variable, labels: pd.DataFrame, probabilities: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What is claimed of each labelled case, `[n]` in [0, 1], and whether it is so, `[n]` of 0.0 and 1.0."""
    given = labels[v.name].dropna()
    values = probabilities.loc[given.index, list(v.columns)].to_numpy(dtype=float)
    codes = given.to_numpy(dtype=int)
    if v.is_binary:
        return values[:, 0], (codes == 1).astype(float)
    return values.max(axis=1), (np.array(v.codes)[values.argmax(axis=1)] == codes).astype(float)


def _curve(said: np.ndarray, came: np.ndarray) -> pd.DataFrame:
    bins = int(np.clip(len(said) // LEAST, 1, BINS))
    parts = np.array_split(np.argsort(said, kind="stable"), bins)
    rows = [{"said": said[p].mean(), "came": came[p].mean(), "cases": len(p)} for p in parts if len(p)]
    return pd.DataFrame(rows, columns=["said", "came", "cases"])


def calibration_error(curves: pd.DataFrame) -> pd.Series:
    """Expected calibration error of each variable of `reliability`, in [0, 1]; 0 is best.

    The mean over cases of |came − said| of their bin (Naeini et al., 2015). With few
    cases in a bin it is above zero by chance alone.
    """
    gap = (curves["came"] - curves["said"]).abs() * curves["cases"]
    sums = curves.assign(gap=gap).groupby("variable", sort=False)[["gap", "cases"]].sum()
    return sums["gap"] / sums["cases"]


def brier_score(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.Series:
    """Brier score of each variable, in [0, 1]: the mean squared distance of claim and outcome.

    NaN for a variable without labels.
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    pairs = {v.name: claims(v, labels, table) for v in schema.variables}
    return pd.Series({name: _mean((said - came) ** 2) for name, (said, came) in pairs.items()})


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
