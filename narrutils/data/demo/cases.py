"""Who died and under which circumstances: the planted truth, drawn before a word is told."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.data.demo.phrases import read
from narrutils.data.schema import Schema

PUBLISHED_CASES = 4000  # the training cases that the published counts refer to


@dataclass(frozen=True)
class Case:
    """One decedent: what is true of the case, and whether only the test part may tell it."""

    age: int
    male: bool
    truth: dict[str, int]
    in_test: bool


def draw_truth(schema: Schema, cases: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People (`age`, `male`, `minor`) and their true codes, one row a case.

    The share of true positives is such that the published share is left once the
    abstractor's errors are planted.
    """
    people = draw_people(cases, rng)
    drawn = people[["male", "minor"]].astype(int)
    for name, circumstance in read("rates")["binary"].items():
        chance = chances(drawn, true_rate(circumstance), circumstance)
        drawn[name] = draw(chance, rng)
    for name, shares in read("rates")["categorical"].items():
        drawn[name] = rng.choice(list(shares), size=cases, p=normalised(shares.values()))
    return people, drawn[schema.names]


def draw_people(cases: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ages from 10 to 24, the older ones likelier; four in five are male."""
    ages = np.arange(10, 25)
    age = rng.choice(ages, size=cases, p=normalised((ages - 8.0) ** 1.3))
    return pd.DataFrame({"age": age, "male": rng.random(cases) < 0.79, "minor": age < 18})


def draw(chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 or 1 for each case, 1 with its chance; as many in all as the chances sum to.

    Systematic sampling in random order: rates come out as asked, not only on average.
    """
    order = rng.permutation(len(chance))
    reached = np.floor(np.append(0, np.cumsum(chance[order])) + rng.random())
    drawn = np.empty(len(chance), dtype=int)
    drawn[order] = np.diff(reached)
    return drawn


def true_rate(circumstance: dict) -> float:
    """The share of true positives that planted errors turn into the published share."""
    published = circumstance["positives"] / PUBLISHED_CASES
    false_positive = read("rates")["false_positive"]
    return (published - false_positive) / (1 - circumstance["missed"] - false_positive)


def chances(drawn: pd.DataFrame, rate: float, circumstance: dict) -> np.ndarray:
    """Each case's chance of the circumstance, given those drawn so far; their mean is `rate`.

    Forced cases have the chance 1; of the others, the log-odds are the sum of what
    their circumstances add and one intercept, found by bisection.
    """
    forced = drawn[circumstance.get("forced_by", [])].any(axis=1).to_numpy()
    raised = circumstance.get("raised_by", {})
    score = drawn[list(raised)].to_numpy() @ np.array(list(raised.values()))

    def at(intercept: float) -> np.ndarray:
        return np.where(forced, 1.0, 1 / (1 + np.exp(-intercept - score)))

    low, high = -15.0, 15.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).mean() < rate else (low, middle)
    return at(low)


def normalised(weights) -> np.ndarray:
    """Weights as shares that sum to 1."""
    weights = np.array(list(weights), dtype=float)
    return weights / weights.sum()
