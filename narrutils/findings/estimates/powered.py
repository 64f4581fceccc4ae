"""Human codes of a random part and machine codes of all cases, made one estimate.

The estimate is that of the human codes, moved by how far the machine's reading of all cases differs
from its reading of the part: θ(human) + ω · (θ(machine, all) − θ(machine, part)). Whatever the machine
gets wrong, it gets wrong in both and it cancels; ω, from 0 to 1, is where the variance is least. For a
mean this is prediction-powered inference with its tuned weight (Angelopoulos, Duchi & Zrnic 2023, arXiv
2311.01453, whose machine mean is over the uncoded cases alone: their λ is ω times the share of those),
which survey samplers know as the difference estimator; for coefficients it is predict-then-debias
(arXiv 2501.18577). With ω = 0 it is the classical estimate. Intervals speak of the process that the
cases come from, as those of a regression do, and have no correction for a finite population.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy.special import logit
from scipy.stats import norm, t

from narrutils.evaluation.intervals import Interval
from narrutils.findings.estimates.estimands import logistic, mean

Z = float(norm.ppf(0.975))
#: No interval is wider than so many times that of the human codes alone; ω gives way.
WIDEST = 1.05
#: Shares of the tuned ω that are tried, the classical estimate at the end.
STEPS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)


@cache
def _student(free: int) -> float:
    """Half of a 95 % interval in standard errors, with so many degrees of freedom."""
    return float(t.ppf(0.975, free))


@dataclass(frozen=True)
class Material:
    """A question of yes or no, and what is known of it in every case of a population.

    Attributes:
        human: `[n]`, 1 or 0 as a person coded it, NaN where nobody did.
        machine: `[n]`, calibrated probability of yes.
        codes: `[n]`, the machine's own code; a fraction where several machines code one case.
        inclusion: `[n]` in (0, 1], the chance with which a case was to be coded by a person.
        clusters: `[n]`, whole numbers; cases with the same are not independent.
    """

    human: np.ndarray
    machine: np.ndarray
    codes: np.ndarray
    inclusion: np.ndarray
    clusters: np.ndarray

    @property
    def coded(self) -> np.ndarray:
        return ~np.isnan(self.human)

    @cached_property
    def weights(self) -> np.ndarray:
        """Of the human codes, `[n]`: 0 where there is none."""
        return np.where(self.coded, 1 / self.inclusion, 0.0)

    @property
    def naive(self) -> "Material":
        """The machine's codes taken as if a person had given them, of every case."""
        return replace(self, human=self.codes, machine=self.codes, inclusion=np.ones(len(self.codes)))

    def by_cluster(self, contributions: np.ndarray) -> np.ndarray:
        """Contributions of cases added up: `[clusters]`, in the order of their numbers."""
        return np.bincount(self.clusters, contributions, minlength=self.clusters.max() + 1)


@dataclass(frozen=True)
class Estimate:
    """An estimate at some weight ω of the machine.

    Attributes:
        influence: `[clusters]`, whose squares sum to the variance.
        cases: independent human codes that it stands on, where that cannot be told from the variance.
        reach: half of its interval, in standard errors, where the interval is symmetric.
    """

    value: float
    influence: np.ndarray
    cases: float
    omega: float
    reach: float = Z

    @cached_property
    def variance(self) -> float:
        return float(self.influence @ self.influence)

    @cached_property
    def wilson(self) -> Interval:
        """The interval of a share: Wilson's (1927), of as many cases as would have this variance.

        On the scale of logits it is symmetric (Newcombe 2001).
        """
        squared = self.reach**2
        spread = self.value * (1 - self.value)
        cases = spread / self.variance if self.variance > 0 and spread > 0 else self.cases
        centre = (self.value + squared / (2 * cases)) / (1 + squared / cases)
        half = self.reach / (1 + squared / cases) * np.sqrt(spread / cases + squared / (4 * cases**2))
        return Interval(self.value, max(centre - half, 0.0), min(centre + half, 1.0))

    @property
    def wald(self) -> Interval:
        half = self.reach * np.sqrt(self.variance)
        return Interval(self.value, self.value - half, self.value + half)


@dataclass(frozen=True)
class Powered:
    """One number estimated from both kinds of codes, for any ω.

    Attributes:
        human: its value by the human codes alone.
        shift: its value by the machine's reading of all cases less that of the coded ones.
        own: `[clusters]`, what each cluster contributes to the error of `human`.
        whole, part: likewise, to that of the machine's value of all cases, and of the coded ones.
        cases: independent human codes, by Kish's (1965) formula.
        clusters: how many clusters have a human code.
    """

    human: float
    shift: float
    own: np.ndarray
    whole: np.ndarray
    part: np.ndarray
    cases: float
    clusters: int

    @property
    def other(self) -> np.ndarray:
        """What each cluster contributes to the error of `shift`."""
        return self.whole - self.part

    @cached_property
    def tuned(self) -> float:
        """The ω of least variance, in [0, 1]."""
        least = -(self.own @ self.other) / max(self.other @ self.other, 1e-300)
        return float(np.clip(least, 0, 1))

    def at(self, omega: float) -> Estimate:
        """The estimate at an ω; the classical one at 0.

        A positive ω is paid for as a slope of a regression is: two numbers are fitted to the coded cases,
        so that their residuals are too small, and the quantile is Student's.
        """
        influence = self.own + omega * self.other
        if not omega:
            return Estimate(self.human, influence, self.cases, omega)
        free = max(self.clusters - 2, 1)
        price = np.sqrt(self.clusters / free)
        return Estimate(self.human + omega * self.shift, price * influence, self.cases, omega, _student(free))

    def lasting(self, omega: float) -> float:
        """The part of the variance that further human codes do not lessen: that of the cases themselves."""
        return float(2 * omega * self.own @ self.whole - omega**2 * self.whole @ self.whole)


def share(material: Material, rows: np.ndarray | None = None) -> Powered:
    """The share of yes, among some rows (`[n]`, true or false) or all; one human code at least."""
    whole = np.ones(len(material.human)) if rows is None else rows.astype(float)
    weights = material.weights * whole
    human, own = mean(material.human, weights)
    part, before = mean(material.machine, weights)
    everyone, of_all = mean(material.machine, whole)
    return _powered(material, weights, human, everyone - part, own, of_all, before)


def coefficients(material: Material, design: np.ndarray, rows: np.ndarray) -> list[Powered]:
    """The coefficients of a logistic regression among some rows, each by itself.

    Args:
        design: `[n, k]`, the constant among its columns; `rows`: `[n]`, true or false.

    Raises:
        ValueError: there is no finite estimate.
    """
    whole = rows.astype(float)
    weights = material.weights * whole
    human, own = logistic(material.human, weights, design)
    part, before, everyone, of_all = human, own, human, own  # as it is where all are human codes
    if material.machine is not material.human:
        part, before = logistic(material.machine, weights, design)
        everyone, of_all = logistic(material.machine, whole, design)
    shift = everyone - part
    return [
        _powered(material, weights, human[k], shift[k], own[:, k], of_all[:, k], before[:, k])
        for k in range(len(human))
    ]


def _powered(material: Material, weights: np.ndarray, human, shift, *contributions: np.ndarray) -> Powered:
    """Contributions: `[n]` each, as `own`, `whole` and `part` of `Powered`."""
    weights = material.by_cluster(weights)
    cases, clusters = weights.sum() ** 2 / (weights @ weights), (weights > 0).sum()
    return Powered(
        float(human), float(shift), *map(material.by_cluster, contributions), float(cases), int(clusters)
    )


Make = Callable[[list[Estimate]], Interval | None]


def held(parts: list[Powered], make: Make, ratio: bool = False, omega: float = 1.0) -> tuple:
    """What is made of some shares or coefficients, each at its tuned ω or as near to it as may be.

    ω gives way step by step, to 0 if need be, where nothing can be made of the parts or the interval
    is wider than `WIDEST` times the classical one.

    Args:
        make: the interval of the parts; None where there is none, as of the ratio to a share of 0.
        ratio: whether widths are compared as ratios of the bounds.
        omega: 0 asks for the classical estimate.

    Returns:
        The interval, or None where the human codes alone give none; the mean ω of the parts.
    """
    classical = make([part.at(0.0) for part in parts])
    if classical is None:
        return None, 0.0
    for step in STEPS if omega else ():
        at = [part.at(step * part.tuned) for part in parts]
        found = make(at)
        if found is not None and _width(found, ratio) <= WIDEST * _width(classical, ratio):
            return found, float(np.mean([one.omega for one in at]))
    return classical, 0.0


def _width(interval: Interval, ratio: bool) -> float:
    return np.log(interval.high / interval.low) if ratio else interval.high - interval.low


def prevalence(parts: list[Estimate]) -> Interval | None:
    """A share with its interval; None for a value that no share has."""
    return parts[0].wilson if 0 <= parts[0].value <= 1 else None


def difference(parts: list[Estimate]) -> Interval | None:
    """First share − second, by their Wilson intervals (Newcombe 1998, method 10)."""
    return _apart(parts, lambda p: p) if all(0 <= part.value <= 1 for part in parts) else None


def risk_ratio(parts: list[Estimate]) -> Interval | None:
    """First share / second, by the logarithms of their Wilson intervals."""
    return _exp(_apart(parts, np.log)) if all(0 < part.value <= 1 for part in parts) else None


def odds_ratio(parts: list[Estimate]) -> Interval | None:
    """Odds of the first share / those of the second: e to the coefficient of a logistic regression."""
    return _exp(_apart(parts, logit)) if all(0 < part.value < 1 for part in parts) else None


def adjusted_odds_ratio(parts: list[Estimate]) -> Interval:
    """e to a coefficient."""
    return _exp(parts[0].wald)


def _apart(parts: list[Estimate], scale: Callable[[float], float]) -> Interval:
    """How far two shares are apart on a scale, by the bounds of each (MOVER: Zou & Donner 2008)."""
    one, other = parts
    common = one.influence @ other.influence  # of clusters that have cases in both
    alike = common / np.sqrt(one.variance * other.variance) if common else 0.0
    (low, high), (less, more) = _reach(one.wilson, scale), _reach(other.wilson, scale)
    value = scale(one.value) - scale(other.value)
    down = np.sqrt(low**2 + more**2 - 2 * alike * low * more)
    up = np.sqrt(high**2 + less**2 - 2 * alike * high * less)
    return Interval(float(value), float(value - down), float(value + up))


def _reach(interval: Interval, scale: Callable[[float], float]) -> tuple[float, float]:
    """How far the bounds lie from the value on a scale."""
    with np.errstate(divide="ignore"):
        low, value, high = (scale(x) for x in (interval.low, interval.value, interval.high))
    return value - low, high - value


def _exp(interval: Interval) -> Interval:
    return Interval(*(float(np.exp(x)) for x in (interval.value, interval.low, interval.high)))


def p_value(interval: Interval, null: float) -> float:
    """Of the hypothesis that the value is `null`, two-sided: 0.05 where the interval just reaches it.

    Args:
        null: 0 for a difference, 1 for a ratio, which is looked at by its logarithm.
    """
    value, low, high = interval.value, interval.low, interval.high
    if null == 1:
        value, low, high = np.log(value), np.log(low), np.log(high)
    half = value - low if value > 0 else high - value
    return float(2 * norm.sf(Z * abs(value) / half)) if half > 0 else float("nan")
