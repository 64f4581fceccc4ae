"""Whether the intervals of `narrutils estimate` hold what they promise, on corpora whose truth is known.

    python -m benchmarks.coverage [--draws 2000] [--retrained 200] [--cases 600] [--coded 200] [--folder DIR]
    python -m benchmarks.coverage --osha shared/data/osha_abstracts [--draws 2000] [--folder DIR]

Each draw is a corpus of its own (`coverage_corpora`), in `--coded` of whose cases, drawn at random, the
planted truth stands as human codes. *Fixed*: models were trained once, on 600 other cases with planted
errors, and read all of them. *Retrained*: in each draw models are trained on the human-coded cases, and
all are read as `findings.estimates.population` has it. The truth is that of the process that the corpora
are drawn from. Of OSHA's cases, models are trained on 600; a draw takes `--cases` of the others with
replacement, so that the others are the process, and their human codes stand for the truth.

A row an estimand: `covered` is the share of draws whose interval of 95 % holds the truth, by human codes
alone, corrected machine codes, and machine codes alone, with the binomial interval (Clopper-Pearson) of the
second; `holds` says whether that contains 0.95. `width` is the median, `widest` the largest ratio of the
widths of the second and the first, of ratios that of their logarithms; `none` counts draws without an
estimate, as where a level has no case with it. What was read is kept in the folder: the same command goes on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from narrutils.data.schema import Schema
from narrutils.findings.estimates.estimands import logistic
from narrutils.findings.estimates.population import Population
from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE, RATIOS, estimate_all

from .coverage_corpora import (
    NVDRS,
    VARIABLES,
    groups_of,
    osha,
    population,
    read_by_fixed,
    read_by_retrained,
    read_osha,
)

KEYS = ["variable", "class", "group", "level", "measure"]
BY = {"age_group": "18 and over", "sex": "female"}
OSHA = ("Fatal", "ConstructionSite", "BodyLegFoot", "EnvPinchCatchShearPoint")
OSHA_BY = {"season": "summer", "length": "long"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--retrained", type=int, default=200, help="draws whose models are trained anew")
    parser.add_argument("--cases", type=int, default=600, help="of a corpus")
    parser.add_argument("--coded", type=int, default=200, help="of them by people")
    parser.add_argument("--osha", type=Path, help="folder of the OSHA abstracts; they alone, then")
    parser.add_argument("--folder", type=Path, default=Path("outputs/benchmark_coverage"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.osha:
        schema, truth, groups = osha(given.osha)
        true = truths(schema, truth, groups, OSHA, OSHA_BY)
        draws = read_osha(given.folder, given.osha, given.draws, given.cases)
        tell("OSHA", true, map(lambda d: table_of(d, schema, given.coded, OSHA, OSHA_BY), draws), given.draws)
        return
    people, truth = population()
    true = truths(NVDRS, truth, groups_of(people), VARIABLES, BY)
    fixed = read_by_fixed(given.folder, given.draws, given.cases)
    made = (table_of(draw, NVDRS, given.coded, VARIABLES, BY) for draw in fixed)
    tell("models fixed", true, made, given.draws)
    again = read_by_retrained(given.folder, given.retrained, given.cases, given.coded)
    made = (estimate_all(cases, VARIABLES, BY) for cases in again)
    tell("models retrained, cross-fitted", true, made, given.retrained)


def table_of(draw: dict, schema: Schema, coded: int, variables: tuple, by: dict) -> pd.DataFrame:
    """The estimates of one corpus, of which so many cases are coded by people."""
    uids = draw["truth"].index
    rng = np.random.default_rng([15, draw["number"]])
    human = draw["truth"].astype("Int64")
    human.loc[rng.permutation(uids)[coded:]] = pd.NA
    ones, own = pd.Series(coded / len(uids), uids), pd.Series(range(len(uids)), uids)
    codes = schema.to_targets(draw["codes"])
    cases = Population(schema, human, draw["calibrated"], codes, draw["groups"], ones, own)
    return estimate_all(cases, variables, by)


def truths(schema: Schema, truth: pd.DataFrame, groups: pd.DataFrame, variables, by: dict) -> pd.Series:
    """The true value of every estimand, by `KEYS`."""
    found = {}
    for name in variables:
        y = truth[name].eq(1).to_numpy(dtype=float)
        found[name, "", "", "", "prevalence"] = y.mean()
        for column, reference in by.items():
            shares = pd.Series(y).groupby(groups[column].to_numpy()).mean()
            for level, p in shares.items():
                found[name, "", column, level, "prevalence"] = p
                if level != reference:
                    q = shares[reference]
                    values = p - q, p / q, p / (1 - p) / (q / (1 - q))
                    found |= {(name, "", column, level, m): x for m, x in zip(CONTRASTS, values)}
        places = [(c, x) for c in by for x in sorted(groups[c].unique()) if x != by[c]]
        design = np.column_stack([np.ones(len(y)), *(groups[c].eq(x) for c, x in places)]).astype(float)
        fitted = np.exp(logistic(y, np.ones(len(y)), design)[0][1:])
        found |= {(name, "", c, x, "adjusted_odds_ratio"): b for (c, x), b in zip(places, fitted)}
    return pd.Series(found).rename_axis(KEYS)


CONTRASTS = ("difference", "risk_ratio", "odds_ratio")


def tell(title: str, true: pd.Series, tables: Iterator[pd.DataFrame], draws: int) -> None:
    """Print the table of all draws, and at every fifth of them that of those so far."""
    found = []
    for n, table in enumerate(tables, 1):
        found.append(table.set_index([*KEYS, "way"])[["value", "value_low", "value_high"]])
        if n == draws or n % max(draws // 5, 1) == 0:
            print(f"\n{title}, {n} draws\n{judged(true, found).to_string()}", flush=True)
        if n == draws:
            return


def judged(true: pd.Series, found: list[pd.DataFrame]) -> pd.DataFrame:
    """A row an estimand; see the module."""
    all_ = pd.concat(found, keys=range(len(found)), names=["draw"])
    ways = {way: all_.xs(way, level="way") for way in (HUMAN, BOTH, NAIVE)}
    rows = {}
    for key, value in true.items():
        of = {way: table.xs(key, level=KEYS) for way, table in ways.items()}
        there = of[BOTH]["value"].notna()
        holds = {w: t["value_low"].le(value) & t["value_high"].ge(value) for w, t in of.items()}
        n, hits = int(there.sum()), int(holds[BOTH][there].sum())
        low, high = binomtest(hits, n).proportion_ci() if n else (np.nan, np.nan)
        widths = [_widths(of[way][there], key[-1] in RATIOS) for way in (BOTH, HUMAN)]
        ratio = widths[0] / widths[1]
        rows[key] = {
            "true": round(value, 3),
            **{f"covered {w[:20].strip()}": round(holds[w][of[w]["value"].notna()].mean(), 3) for w in of},
            "interval": f"{low:.3f}–{high:.3f}",
            "holds": "yes" if low <= 0.95 <= high else "NO",
            "width": round(ratio.median(), 2),
            "widest": round(ratio.max(), 2),
            "none": len(found) - n,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(KEYS)


def _widths(table: pd.DataFrame, ratio: bool) -> pd.Series:
    if ratio:
        return np.log(table["value_high"] / table["value_low"])
    return table["value_high"] - table["value_low"]


if __name__ == "__main__":
    main()
