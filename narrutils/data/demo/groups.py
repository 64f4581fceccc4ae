"""Further columns of the made cases, such as people have them: site, year, sex, age group.

Sites differ in their coding and in nothing else: at one of them true facts are missed more often.
Errors are planted first and sites drawn by them, which comes to the same and leaves codes and words alone.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema

if TYPE_CHECKING:
    from narrutils.data.demo.corpus import Drawn

SITES = {"east": 0.3, "north": 0.3, "south": 0.2, "west": 0.2}  # and their shares
HASTY, TIMES = "west", 2.5  # a true fact is missed so many times as often as at each other site
YEARS = (2019, 2020, 2021, 2022)


def draw_groups(schema: Schema, drawn: "Drawn", seed: int) -> pd.DataFrame:
    """`site`, `year`, `sex`, `age_group` of every case, as text, indexed by uid."""
    rng, cases = np.random.default_rng([seed, 15]), drawn.truth.index
    table = pd.DataFrame({"site": draw_sites(schema, drawn, rng)}, index=cases)
    table["year"] = rng.choice(YEARS, len(cases)).astype(str)
    table["sex"] = ["male" if case.male else "female" for case in drawn.cases]
    table["age_group"] = ["under 18" if case.age < 18 else "18 and over" for case in drawn.cases]
    return table


def draw_sites(schema: Schema, drawn: "Drawn", rng: np.random.Generator) -> np.ndarray:
    """The site of each case, by Bayes' rule from how many of its true facts were missed."""
    binary = [v.name for v in schema.binary]
    true, given = drawn.truth[binary] == 1, drawn.given[binary] == 1
    facts, missed = true.sum(axis=1).to_numpy(), (true & ~given).sum(axis=1).to_numpy()
    shares = np.array(list(SITES.values()))
    times = np.array([TIMES if site == HASTY else 1.0 for site in SITES])
    # The rates of all sites, which together are that of the corpus.
    rates = times * missed.sum() / max(facts.sum(), 1) / (times @ shares)
    likelihood = rates ** missed[:, None] * (1 - rates) ** (facts - missed)[:, None] * shares
    reached = np.cumsum(likelihood / likelihood.sum(axis=1, keepdims=True), axis=1)
    places = (rng.random(len(facts))[:, None] > reached).sum(axis=1)
    return np.array(list(SITES))[np.minimum(places, len(SITES) - 1)]
