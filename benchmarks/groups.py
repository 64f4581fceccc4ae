"""How often a site that misses positives is found, and how often one is named where nothing is amiss.

    python -m benchmarks.groups [--cases 450] [--draws 100] [--compared 20] [--missed 0.5] [--variables 5]

The made corpus, coded out of fold by TF-IDF with logistic regression. Four sites are drawn at random, so
that nothing distinguishes them; then, in a copy of the labels, the abstractor of the site `d` misses a share
of the positives of some variables, models are trained on these labels, and the tests are asked. `site`:
share of the draws in which a mean of site d differs after Holm's correction; `least p`: in which of all such
means its own has the least p; `a variable`: in which a planted variable of site d differs; `another`: in
which one that was not planted does. `compared`: in which the comparison by training, of so many draws
alone, names site d; its gain on its own cases and elsewhere.

Where nothing is planted: `p below 0.05`, over all tests of a kind; `any … named`, the share of the draws in
which any mean or any variable differs after correction, with the standard error of such a share at 5 %. In
`sets` each case stands up to three times, with the same codes, and each copy has its set's site but for one
in five, drawn anew; `sets unheeded` are the same cases tested as if each stood alone. In `rarer` half of the
cases of site d with many positives are left out, which moves F1 and calibration in truth; so only
sensitivity and specificity are shown.
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd

from narrutils.data.cases import embedded_data, load_data
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.calibration import cross_fitted_calibration
from narrutils.evaluation.flags import doubt, flagged
from narrutils.evaluation.scores import score
from narrutils.findings.groups import TESTED, Coded, differences
from narrutils.findings.permutation import ALPHA
from narrutils.findings.sites import compare
from narrutils.models.learner import Phase
from narrutils.models.tfidf import TfidfLearner

from .demo_corpus import show

FOLDS = 3
NVDRS = "params/schemas/nvdrs.yaml"
SITES, PLANTED = np.array(list("abcd")), "d"
EACH = 10  # draws of sites on one corpus, where nothing is planted


def main() -> None:
    """Print what was found where something is planted, and what was named where nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=450, help="of the corpus, four fifths for training")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument(
        "--compared", type=int, default=20, help="draws in which sites are compared by training"
    )
    parser.add_argument("--missed", type=float, default=0.5, help="share of the positives that are missed")
    parser.add_argument("--variables", type=int, default=5, help="variables whose positives are missed")
    given = parser.parse_args()
    rows = [found(given, seed) for seed in range(given.draws)]
    title = f"{given.missed:g} of the positives of {given.variables} variables missed at one of four sites"
    show(title, pd.DataFrame(rows).agg(["mean", "count"]).T)
    several = {name: [] for name in ("cases alone", "sets", "sets unheeded", "rarer")}
    for seed in range(given.draws // EACH):
        for name, tables in named(given.cases, seed).items():
            several[name] += tables
    table = pd.DataFrame({name: rates(tables) for name, tables in several.items()})
    table["rarer"] = table["rarer"].where(table.index.str.match("sensitivity|specificity"))
    show("nothing planted", table)
    rows = [compared(coded_corpus(given.cases, seed), seed) for seed in range(given.compared)]
    show("nothing planted, sites compared by training", pd.DataFrame(rows).mean())


def corpus(cases: int, seed: int) -> Study:
    """The training cases of a made corpus, and three folds."""
    schema = load_schema(NVDRS)
    data = load_data(embedded_data(cases, seed), schema)
    labels = data.train[schema.names].astype(int)
    folds, texts = draw_folds(schema, labels, FOLDS, seed), data.train[schema.text_columns]
    return Study(Run("."), schema, texts, folds, texts[:0], labels)


def coded_by(study: Study, site: pd.Series) -> Coded:
    """The cases as models code them that learned from the study's labels, and their site."""
    schema, labels, folds = study.schema, study.labels, study.folds
    targets, learner, parts = schema.to_targets(labels), TfidfLearner(schema), []
    for k in range(FOLDS):
        learned, read = folds.index[folds != k], folds.index[folds == k]
        model = learner.fit([Phase(study.train.loc[learned], targets.loc[learned])])
        parts.append(model.predict(study.train.loc[read]))
    table = pd.concat(parts).loc[labels.index]
    codes, calibrated = score(study, table).codes, cross_fitted_calibration(schema, labels, table, folds)
    doubts = doubt(schema, codes, calibrated)
    flags = pd.Series(flagged(doubts, folds, 0.25), labels.index)
    queue = pd.DataFrame(columns=["uid", "variable", "label_before"])
    alone = pd.Series(range(len(labels)), labels.index)
    return Coded(schema, labels, codes, calibrated, flags, queue, site.to_frame("site"), alone)


def sites_of(study: Study, seed: int) -> pd.Series:
    """A site for each case, at random."""
    drawn = np.random.default_rng([seed, 1]).choice(SITES, len(study.labels))
    return pd.Series(drawn, study.labels.index, name="site")


def coded_corpus(cases: int, seed: int) -> tuple[Study, Coded]:
    """A corpus in which nothing is planted."""
    study = corpus(cases, seed)
    return study, coded_by(study, sites_of(study, seed))


def plant(study: Study, own: pd.Series, missed: float, variables: int, seed: int) -> tuple[Study, list[str]]:
    """A study whose labels miss a share of the positives of some variables at one site, and which ones."""
    rng, labels = np.random.default_rng([seed, 2]), study.labels.copy()
    often = [v.name for v in study.schema.binary if labels[v.name].mean() > 0.1]
    names = list(rng.choice(often, variables, replace=False))
    for name in names:
        gone = own & (labels[name] == 1) & (rng.random(len(labels)) < missed)
        labels.loc[gone, name] = 0
    return replace(study, labels=labels), names


def found(given: argparse.Namespace, seed: int) -> dict:
    """Whether the planted site is found in one draw."""
    study = corpus(given.cases, seed)
    site = sites_of(study, seed)
    study, names = plant(study, site == PLANTED, given.missed, given.variables, seed)
    coded = coded_by(study, site)
    means, each = differences(coded)
    own, sure = means[means["level"] == PLANTED], each[(each["level"] == PLANTED) & (each["p_holm"] < ALPHA)]
    row = {
        "site": (own["p_holm"] < ALPHA).any(),
        "least p": means.loc[means["p"].idxmin(), "level"] == PLANTED,
    }
    row |= {f"by {m}": (own.loc[own["measure"] == m, "p_holm"] < ALPHA).any() for m in TESTED}
    row |= {
        "a variable": sure["variable"].isin(names).any(),
        "another": (~sure["variable"].isin(names)).any(),
    }
    return {k: float(v) for k, v in row.items()} | (
        compared((study, coded), seed) if seed < given.compared else {}
    )


def compared(world: tuple[Study, Coded], seed: int) -> dict:
    """What the comparison by training says of site d, and of the others."""
    study, coded = world
    table = compare(study, coded.groups["site"], coded.sets).set_index("level")
    own, others = table.loc[PLANTED], table.drop(PLANTED)
    row = {"compared": own["p_holm"] < ALPHA, "another compared": (others["p_holm"] < ALPHA).any()}
    row |= {f"compared, {name}": own[name] < ALPHA for name in ("p", "own_p", "elsewhere_p")}
    return {name: float(value) for name, value in row.items()} | {
        "gain on its own cases": own["own"],
        "gain elsewhere": own["elsewhere"],
    }


def named(cases: int, seed: int) -> dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]]:
    """Of one corpus without anything planted, the tests of some draws of sites, plain and in sets."""
    _, coded = coded_corpus(cases, seed)
    tables = {name: [] for name in ("cases alone", "sets", "sets unheeded", "rarer")}
    for n in range(EACH):
        rng = np.random.default_rng([seed, 3, n])
        of_each = pd.Series(rng.choice(SITES, len(coded.labels)), coded.labels.index, name="site")
        plain = replace(coded, groups=of_each.to_frame())
        repeated = copies(plain, rng)
        alone = replace(repeated, sets=pd.Series(range(len(repeated.sets)), repeated.sets.index))
        kinds = (plain, repeated, alone, without_positives(plain, rng))
        for name, kind in zip(tables, kinds, strict=True):
            tables[name].append(differences(kind, seed=n))
    return tables


def copies(coded: Coded, rng: np.random.Generator) -> Coded:
    """Each case one to three times, as a set, one copy in five at a site of its own."""
    rows = np.arange(len(coded.labels)).repeat(rng.integers(1, 4, len(coded.labels)))
    uids = pd.Index([f"{n}" for n in range(len(rows))], name="uid")
    tables = {
        n: getattr(coded, n).iloc[rows].set_axis(uids) for n in ("labels", "codes", "calibrated", "flagged")
    }
    site = coded.groups["site"].iloc[rows].set_axis(uids)
    site = site.where(rng.random(len(rows)) > 0.2, rng.choice(SITES, len(rows)))
    return replace(coded, **tables, groups=site.to_frame(), sets=pd.Series(rows, uids))


def without_positives(coded: Coded, rng: np.random.Generator) -> Coded:
    """At site d half of the cases left out that have more positives than usual."""
    binary = [v.name for v in coded.schema.binary]
    many = coded.labels[binary].sum(axis=1)
    gone = (coded.groups["site"] == PLANTED) & (many > many.median()) & (rng.random(len(many)) < 0.5)
    tables = ("labels", "codes", "calibrated", "flagged", "groups", "sets")
    return replace(coded, **{name: getattr(coded, name)[~gone] for name in tables})


def rates(tables: list[tuple[pd.DataFrame, pd.DataFrame]]) -> pd.Series:
    """How often something is named where there is nothing to name."""
    whole = [pd.concat(kind) for kind in zip(*tables)]
    rows = {"draws": float(len(tables))}
    for measure in TESTED:
        rows[f"{measure}: p below 0.05"] = (whole[0].loc[whole[0]["measure"] == measure, "p"] < ALPHA).mean()
    for measure, of_kind in whole[1].groupby("measure"):
        rows[f"{measure} of a variable: p below 0.05"] = (of_kind["p"].dropna() < ALPHA).mean()
    for n, kind in enumerate(("mean", "variable")):
        rows[f"any {kind} named"] = np.mean([(t[n]["p_holm"] < ALPHA).any() for t in tables])
    return pd.Series(rows | {"standard error": (ALPHA * (1 - ALPHA) / len(tables)) ** 0.5})


if __name__ == "__main__":
    main()
