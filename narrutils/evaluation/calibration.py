"""Calibrated probabilities: of the cases read at p, a share of about p carry the label.

A binary probability p becomes sigmoid(a · logit(p) + b), a ≥ 0 (Platt, 1999); the
row q of a categorical variable becomes q^a divided by its sum, which is temperature
scaling with temperature 1 / a (Guo et al., 2017). The identity is a = 1, b = 0, and
the fit is pulled towards it by a normal prior: its weight is fixed, while that of the
data grows with the number of positives, so a rare variable is hardly changed. The
order of the cases within a variable never turns around. A variable is fitted on the
cases that have a label of it; without any it stays as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, logit

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid

SPREAD = 0.5  # standard deviation of the prior on a and on b
LEAST = 1e-6  # probabilities are held this far from 0 and 1 before a logarithm


@dataclass(frozen=True)
class Scale:
    """How one variable is calibrated: its probability columns, slope a ≥ 0 and shift b.

    One column is a binary variable; several are the classes of a categorical one, whose b is 0.
    """

    columns: tuple[str, ...]
    slope: float = 1.0
    shift: float = 0.0

    def apply(self, p: np.ndarray) -> np.ndarray:
        """Calibrated `[n, columns]` of uncalibrated `[n, columns]`."""
        if len(self.columns) == 1:
            return expit(self.slope * _logit(p) + self.shift)
        return np.exp(log_softmax(self.slope * _log(p), axis=1))

    def at(self, p: float) -> float:
        """A probability of a binary variable, such as a threshold, calibrated."""
        return float(self.apply(np.array([[p]]))[0, 0])


@dataclass(frozen=True)
class Calibration:
    """The scale of every variable, by its name."""

    scales: Mapping[str, Scale]

    def apply(self, probabilities: pd.DataFrame) -> pd.DataFrame:
        """Calibrated probabilities, with the same index and columns, whatever the index is."""
        values = np.array(probabilities, dtype=float, order="F")
        place = {column: n for n, column in enumerate(probabilities.columns)}
        for scale in self.scales.values():
            columns = [place[column] for column in scale.columns]
            values[:, columns] = scale.apply(values[:, columns])
        return pd.DataFrame(values, probabilities.index, probabilities.columns)

    def to_dict(self) -> dict[str, dict]:
        """Variable -> `columns`, `slope`, `shift`, as JSON can hold them."""
        return {name: asdict(scale) for name, scale in self.scales.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Mapping]) -> "Calibration":
        """What `to_dict` gave, also after it went through JSON."""
        return cls({n: Scale(tuple(v["columns"]), v["slope"], v["shift"]) for n, v in values.items()})


def fit_calibration(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> Calibration:
    """The most probable scale of each variable.

    Args:
        labels: integer codes, indexed by uid, null where none is given.
        probabilities: of these cases, `schema.columns` wide, by models that did not
            learn from them; matched by uid.
    """
    table = by_uid(probabilities, labels.index, "probabilities")
    targets, read = schema.to_targets(labels).to_numpy(), table[schema.columns].to_numpy(dtype=float)
    scales = {}
    for v in schema.variables:
        columns = schema.slices[v.name]
        fit = _fit_binary if v.is_binary else _fit_categorical
        given = ~np.isnan(targets[:, columns.start])
        # The order in memory decides the last digit of a sum: where all are labelled nothing is copied.
        y, p = (m[:, columns] if given.all() else m[given, columns] for m in (targets, read))
        slope, shift = fit(y, p)
        scales[v.name] = Scale(v.columns, slope, shift)
    return Calibration(scales)


def cross_fitted_calibration(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, folds: pd.Series
) -> pd.DataFrame:
    """Each fold calibrated by what the other folds say, in the order of `probabilities`.

    Args:
        labels: integer codes of the cases of `probabilities`, indexed by uid.
        probabilities: out-of-fold, indexed by uid.
        folds: fold of each case, indexed by uid.
    """
    folds, parts = by_uid(folds, probabilities.index, "folds"), []
    labels = by_uid(labels, probabilities.index, "labels")
    for k in sorted(folds.unique()):
        others = folds.ne(k)
        calibration = fit_calibration(schema, labels[others], probabilities[others])
        parts.append(calibration.apply(probabilities[~others]))
    return pd.concat(parts).loc[probabilities.index]


def _fit_binary(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Slope and shift of least loss; `y` and `p` are `[n, 1]`."""
    signs, z = np.where(y == 1, 1.0, -1.0), _logit(p)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        u = signs * (x[0] * z + x[1])
        by_logit = -signs * expit(-u)
        slopes = np.array([(by_logit * z).sum(), by_logit.sum()]) + _pull_slope(x - (1, 0))
        return -log_expit(u).sum() + _pull(*(x - (1, 0))), slopes

    slope, shift = _least(loss, (1.0, 0.0), [(0, None), (None, None)])
    return float(slope), float(shift)


def _fit_categorical(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Slope of least loss, and a shift of 0; `y` and `p` are `[n, classes]`."""
    z = _log(p)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(x[0] * z, axis=1)
        by_slope = ((np.exp(logs) * y.sum(axis=1, keepdims=True) - y) * z).sum()
        return -(y * logs).sum() + _pull(x[0] - 1), by_slope + _pull_slope(x - 1)

    return float(_least(loss, (1.0,), [(0, None)])[0]), 0.0


def _least(loss: Callable, start: tuple[float, ...], bounds: list[tuple]) -> np.ndarray:
    """The parameters of least loss; `loss` gives its slopes beside it."""
    return minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def _pull(*deviations: float) -> float:
    """The prior's share of the loss: minus the logarithm of its density, less a constant."""
    return sum(d**2 for d in deviations) / (2 * SPREAD**2)


def _pull_slope(deviations: np.ndarray) -> np.ndarray:
    return deviations / SPREAD**2


def _logit(p: np.ndarray) -> np.ndarray:
    return logit(np.clip(p, LEAST, 1 - LEAST))


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, LEAST, None))
