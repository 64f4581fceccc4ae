"""Are promises kept as often as they say, and what do they cost in review?

    python -m benchmarks.promises [--draws 200] [--own 200] [--workers 1] [--folder FOLDER]

Linear members on the made corpus, given labels throughout, the ensemble formed as notebook 06 forms it.

- `exact, one run`: one run trained on 1,200 cases; each draw is a labelled test of 1,000 cases out of a
  population of 20,000 like the test's, with replacement. Whether a promise is broken is then known
  exactly: by the recall of the unreviewed in the population.
- `exact, own run`: in each draw members are trained anew, on 600 cases of a corpus of its own, for some of
  the variables; the test is drawn likewise out of 4,000 cases, read by that deployed ensemble.
- `approximate, own run`: promises of the same runs by their training cases alone, held against 4,000 fresh
  cases like those, which leave a standard error of about 0.01 in the recall.
- `approximate, shifted`: the same promises on the 4,000 cases like the test's, which tell some things in
  words that no training case has: what a promise is worth on cases of another kind.

Columns: `made`, in how many draws there was a promise; `broken`, how many were in truth below 90 %, with
`low`, the lower bound of the share's exact 95 % interval, which should be at most 0.05; `true`, the mean true
recall (of a categorical variable accuracy) of the unreviewed; `reviewed`, the mean true share of codes that
go to a person; `precision`, that of the unreviewed. Draws lie in the folder: the same command goes on.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import binomtest

from narrutils.data.demo.corpus import Drawn, draw_corpus, tell_corpus
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.evaluation import calibration, ladder
from narrutils.evaluation.bands import Bands
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import SEARCHES
from narrutils.findings.learn_then_test import Coded
from narrutils.findings.promises import learn
from narrutils.findings.settings import Findings
from narrutils.models.learner import Phase
from narrutils.models.tfidf import LINEAR, TfidfLearner, TfidfModel

FOLDS, TRAIN, TEST, FRESH = 3, 600, 1000, 4000
MEMBERS = ("nb", "lasso")
#: With enough positives among 600 cases for an approximate promise.
SOME = ("DepressedMood", "MentalIllnessTreatmentCurrnt", "SuicideAttemptHistory", "SubstanceAbuseProblem",
        "MentalHealthProblem", "DiagnosisAnxiety", "DiagnosisDepressionDysthymia", "SuicideNote")  # fmt: skip


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200, help="tests of the one run")
    parser.add_argument("--own", type=int, default=200, help="runs with a corpus of their own")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the runs")
    parser.add_argument("--folder", default="outputs/benchmark_promises")
    given = parser.parse_args()
    schema, run = load_schema("params/schemas/nvdrs.yaml"), Run(given.folder, "benchmark")
    rows = [kept(run, "one_run", lambda: pd.DataFrame(one_run(schema, given.draws)))]
    some = replace(schema, variables=tuple(v for v in schema.variables if v.name in SOME))
    fresh = {split: Fresh.of(some, FRESH, 999, split) for split in ("train", "test")}
    of_runs = (delayed(kept)(run, f"own_{n}", partial(own_run, some, fresh, n)) for n in range(given.own))
    rows += Parallel(n_jobs=given.workers)(of_runs)
    print(summary(pd.concat(rows)).to_string())


def kept(run: Run, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table that was made before, or now."""
    if not run.has(f"{name}.parquet"):
        run.write(f"{name}.parquet", make())
    return run.read(f"{name}.parquet")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """The table that is printed."""
    found = []
    for (way, variable), of in rows.groupby(["way", "variable"], sort=False):
        made = of[of["promised"]]
        broken = int((made["true"] < 0.9).sum())
        low = binomtest(broken, len(made)).proportion_ci().low if len(made) else np.nan
        means = made[["true", "reviewed", "precision"]].mean().round(3).to_dict()
        told = {"draws": len(of), "made": len(made), "broken": broken, "share": broken / max(len(made), 1)}
        found.append({"way": way, "variable": variable} | told | {"low": round(low, 3)} | means)
    return pd.DataFrame(found).set_index(["way", "variable"]).round(3)


class Fresh:
    """Cases with their given labels."""

    def __init__(self, texts: pd.DataFrame, labels: pd.DataFrame):
        self.texts, self.labels = texts, labels

    @classmethod
    def of(cls, schema: Schema, cases: int, seed: int, split: str) -> "Fresh":
        """So many cases like the training's, or the test's, with the codes given in a schema's variables."""
        whole = load_schema("params/schemas/nvdrs.yaml")
        drawn = draw_corpus(whole, cases * 5 if split == "test" else cases * 5 // 4, seed)
        part = slice(-cases, None) if split == "test" else slice(0, cases)
        some = Drawn(drawn.cases[part], drawn.outlines[part], drawn.truth[part], drawn.given[part])
        index = pd.Index([f"{split}-{seed}-{n}" for n in range(cases)], name="uid")
        texts, _ = tell_corpus(whole, some, seed)
        return cls(texts.set_axis(index), some.given[schema.names].astype(int).set_axis(index))


class Trained:
    """A run of linear members: what it says of its training cases, and of others."""

    def __init__(self, schema: Schema, train: Fresh, others: Mapping[str, Fresh]):
        self.schema, self.others = schema, others
        labels, targets = train.labels, schema.to_targets(train.labels)
        self.folds = draw_folds(schema, labels, FOLDS, seed=0)
        texts, steps, self.models = pd.concat([other.texts for other in others.values()]), [], []
        for name in MEMBERS:
            learner, models, parts = TfidfLearner(schema, **LINEAR[name][1]), [], []
            for k in range(FOLDS):
                own = self.folds.loc[labels.index].eq(k).to_numpy()
                models.append(learner.fit([Phase(train.texts[~own], targets[~own])]))
                parts.append(models[-1].predict(train.texts[own]))
            self.models += models
            read = TfidfModel.predict_together(models, texts)
            steps.append(ladder.Step(name, name, pd.concat(parts).loc[labels.index], sum(read) / FOLDS))
        made = form(schema, steps, dict.fromkeys(MEMBERS, 1.0), labels, self.folds, "fitted", calibrate=True,
                    way=SEARCHES["shrunk"])  # fmt: skip
        step = made.step()
        codes = ladder.decisions(schema, step, labels, self.folds)
        self.thresholds = made.thresholds(labels)
        own = calibration.cross_fitted_calibration(schema, labels, step.out_of_fold, self.folds)
        self.out_of_fold = Coded(labels, codes["oof", "cross_fitted"], own, each(labels.index))
        self.calibration = calibration.fit_calibration(schema, labels, step.out_of_fold)
        self.codes, self.calibrated = codes["test", "cross_fitted"], self.calibration.apply(step.test)

    def coded(self, name: str) -> Coded:
        """Other cases as the deployed ensemble codes them."""
        labels = self.others[name].labels
        uids = labels.index
        return Coded(labels, self.codes.loc[uids], self.calibrated.loc[uids], each(uids))

    def promise(self, tested: Coded | None) -> dict:
        return learn(
            self.schema, self.out_of_fold, self.folds, tested, self.thresholds, self.calibration, Findings()
        )


def each(uids: pd.Index) -> pd.Series:
    """Every case a set of its own."""
    return pd.Series(range(len(uids)), uids)


def held_against(way: str, schema: Schema, made: dict, basis: str, cases: Coded) -> Iterator[dict]:
    """A row a variable: whether there is a promise of this basis, and what is true of it on other cases."""
    reviewed = Bands.from_dict(schema, made).of(cases.codes, cases.calibrated)
    for v in schema.variables:
        promised = made["variables"][v.name]
        row = {"way": way, "variable": v.name, "promised": False}
        if (promised["outcome"], promised["basis"]) == ("promised", basis):
            out = ~reviewed[v.name]
            truth, codes = cases.labels.loc[out, v.name], cases.codes.loc[out, v.name]
            counts = truth == 1 if v.is_binary else truth.notna()
            row |= {"promised": True, "true": (codes == truth)[counts].mean(), "reviewed": 1 - out.mean()}
            row["precision"] = (truth == 1)[codes == 1].mean() if v.is_binary else np.nan
        yield row


def one_run(schema: Schema, draws: int, cases: int = 20_000) -> Iterator[dict]:
    """Tests drawn out of one population."""
    train, population = Fresh.of(schema, 1200, 1, "train"), Fresh.of(schema, cases, 2, "test")
    trained = Trained(schema, train, {"population": population})
    population = trained.coded("population")
    for n in range(draws):
        made = trained.promise(drawn_from(population, n))
        yield from held_against("exact, one run", schema, made, "exact", population)


def own_run(schema: Schema, fresh: dict[str, Fresh], n: int) -> pd.DataFrame:
    """A run with a corpus of its own."""
    trained = Trained(schema, Fresh.of(schema, TRAIN, 1000 + n, "train"), fresh)
    like_train, like_test = trained.coded("train"), trained.coded("test")
    exact, rough = trained.promise(drawn_from(like_test, n)), trained.promise(None)
    rows = list(held_against("exact, own run", schema, exact, "exact", like_test))
    rows += held_against("approximate, own run", schema, rough, "approximate", like_train)
    rows += held_against("approximate, shifted", schema, rough, "approximate", like_test)
    return pd.DataFrame(rows)


def drawn_from(population: Coded, seed: int) -> Coded:
    """A test out of a population, with replacement."""
    rows = np.random.default_rng(seed).integers(0, len(population.labels), TEST)
    index = pd.Index([f"t{n}" for n in range(TEST)], name="uid")
    parts = (population.labels, population.codes, population.calibrated)
    return Coded(*(part.iloc[rows].set_axis(index) for part in parts), each(index))


if __name__ == "__main__":
    main()
