"""Logistic regression of a truth that is seen through erring labels.

The truth t of a case follows a logistic regression on its features x. The label misses
a true positive at one rate and invents one at another:

    P(label = 1 | x) = (1 − missed) · t(x) + added · (1 − t(x)).

Weights and both rates are those of highest posterior probability together (Bootkrajang
and Kabán, 2012); Bayes' rule then says how probable it is that a label is wrong.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

RIDGE = 1.0  # weight of ½‖w‖² beside the summed log-likelihood; features have unit spread or are 0/1
LEAST = 1e-5  # probabilities are held this far from 0 and 1


class Rates(NamedTuple):
    """Shares of true positives coded 0, and of true negatives coded 1; each below one half."""

    missed: float
    added: float


#: Where the first pass starts from, in the absence of data: an abstractor misses more than he invents.
PRIOR = Rates(0.1, 0.01)
#: Cases that a prior weighs as much as; the rarer error needs the more.
WEIGHT = Rates(40, 100)


@dataclass(frozen=True)
class NoisyLogistic:
    """A fitted regression of a truth that is seen through erring labels."""

    weights: np.ndarray  # [features]
    bias: float
    rates: Rates

    def truth(self, x: np.ndarray) -> np.ndarray:
        """P(t = 1 | x) `[n]` of features `[n, features]`, before the label is looked at."""
        return expit(x @ self.weights + self.bias)

    def wrong(self, x: np.ndarray, given: np.ndarray) -> np.ndarray:
        """P(t differs from the label | x, label) `[n]`, by Bayes' rule."""
        t, missed, added = self.truth(x), self.rates.missed, self.rates.added
        one = np.where(given == 1, (1 - missed) * t, missed * t)
        none = np.where(given == 1, added * (1 - t), (1 - added) * (1 - t))
        return np.where(given == 1, none, one) / (one + none)


def fit_noisy_logistic(x: np.ndarray, given: np.ndarray, prior: Rates = PRIOR) -> NoisyLogistic:
    """Weights and rates of highest posterior probability.

    Args:
        x: features `[n, features]`.
        given: labels `[n]`, 0 or 1; without any the prior stands.
        prior: rates that the fit is pulled towards, as much as `WEIGHT` cases pull.
    """
    width = x.shape[1]
    share = np.clip(given.mean() if len(given) else 0.5, LEAST, 1 - LEAST)
    start = np.r_[np.zeros(width), logit(share), logit(2 * np.array(prior))]
    found = minimize(
        _loss, start, (x, given == 1, prior), jac=True, method="L-BFGS-B", options={"maxiter": 400}
    ).x
    return NoisyLogistic(found[:width], float(found[width]), Rates(*map(float, expit(found[-2:]) / 2)))


def _loss(parameters: np.ndarray, x: np.ndarray, one: np.ndarray, prior: Rates):
    """Minus the log posterior, and its gradient; a rate is sigmoid(parameter) / 2."""
    weights, bias = parameters[:-3], parameters[-3]
    halves = expit(parameters[-2:])
    missed, added = rates = halves / 2
    t = expit(x @ weights + bias)
    seen = np.clip((1 - missed) * t + added * (1 - t), LEAST, 1 - LEAST)
    gain = np.where(one, 1 / seen, -1 / (1 - seen))  # of the log-likelihood by P(label = 1)
    cases, pull = np.array(WEIGHT), np.array(prior)
    value = np.log(np.where(one, seen, 1 - seen)).sum() - RIDGE / 2 * weights @ weights
    value += (cases * (pull * np.log(rates) + (1 - pull) * np.log1p(-rates))).sum()
    slope = gain * (1 - missed - added) * t * (1 - t)
    by_rate = np.array([-(gain * t).sum(), (gain * (1 - t)).sum()])
    by_rate += cases * (pull / rates - (1 - pull) / (1 - rates))
    gradient = np.r_[x.T @ slope - RIDGE * weights, slope.sum(), by_rate * halves * (1 - halves) / 2]
    return -value, -gradient
