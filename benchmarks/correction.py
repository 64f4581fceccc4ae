"""Label correction three ways on the same readings, against errors that were planted.

    python -m benchmarks.correction [--osha path/to/osha_abstracts] [--cases 4000] [--seeds 0 1 2]

The made corpus with its own errors (missed at each variable's rate, more often where a fact
is hard to see; few false ones), the made corpus and OSHA with errors at one rate for all
binary variables. OSHA's own codes then count as the truth, their faults included. The
teacher is TF-IDF with logistic regression, read out of fold; of each method the plain
version is judged, which people read.

Prints, over all seeds, each method at its own number of changes; at the number that the
author's rule makes; and how many errors it finds at the author's precision. Then precision
and recall of each variable, at the author's number. Methods are cut by their probability.
Models are kept in the folder, so that a stopped benchmark goes on where it was.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import embedded_data, load_data
from narrutils.data.folds import PLAIN, draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.labels import noise
from narrutils.labels.changes import flip_table, flip_totals, with_shares
from narrutils.labels.correction import METHODS, correct
from narrutils.models.tfidf import TfidfLearner

from .demo_corpus import show

FOLDS = 4
AUTHOR = "author"


@dataclass(frozen=True)
class Setting:
    """Cases with known errors: whose, and at which rates; no rates keeps the corpus's own errors."""

    title: str
    key: str
    osha: bool = False
    missed: float | None = None  # share of true positives coded 0
    added: float = 0.0  # share of true negatives coded 1


SETTINGS = (
    Setting("made corpus, its own errors", "made"),
    Setting("made corpus, 25 % missed and 3 % added", "made_flipped", missed=0.25, added=0.03),
    Setting("OSHA, 15 % missed and 2 % added", "osha_flipped", osha=True, missed=0.15, added=0.02),
)


@dataclass(frozen=True)
class Judged:
    """One seed of a setting: labels, truth, and each method's changes, the most probable first."""

    schema: Schema
    given: pd.DataFrame
    truth: pd.DataFrame
    flips: dict[str, pd.DataFrame]  # as many as the method makes
    ranked: dict[str, pd.DataFrame]  # as many as the method can put in order

    def table(self, flips: pd.DataFrame) -> pd.DataFrame:
        return flip_table(self.schema, flips.assign(held_out_fold=PLAIN), self.given, self.truth)

    @property
    def at_author(self) -> dict[str, pd.DataFrame]:
        """Method -> `flip_table` of as many changes as the author's rule makes."""
        number = len(self.flips[AUTHOR])
        return {name: self.table(ranked.head(number)) for name, ranked in self.ranked.items()}

    def found_at_author_precision(self, name: str) -> int:
        """Errors among the longest run of first changes whose precision is at least the author's."""
        right = hits(self.ranked[name], self.truth)
        shares = right.cumsum() / np.arange(1, len(right) + 1)
        enough = np.flatnonzero(shares >= hits(self.flips[AUTHOR], self.truth).mean())
        return int(right[: enough[-1] + 1].sum()) if len(enough) else 0


def main() -> None:
    """Judge every method in every setting and seed, a setting at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--osha", type=Path, help="folder of the OSHA abstracts; left out without it")
    parser.add_argument("--cases", type=int, default=4000, help="for training, of the made corpus")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", default="outputs/benchmark_correction")
    given = parser.parse_args()
    run = Run(given.folder, "01_correction")
    for setting in SETTINGS:
        if setting.osha and given.osha is None:
            print(f"{setting.title}: left out, name its folder with --osha")
            continue
        judged = [judge(run, setting, given.cases, seed, given.osha) for seed in given.seeds]
        show(f"{setting.title}: {len(judged[0].given)} cases, {len(judged)} seeds", totals(judged))
        show(f"{setting.title}: a variable, at the author's number", by_variable(judged))


def judge(run: Run, setting: Setting, cases: int, seed: int, osha: Path | None) -> Judged:
    """Plant the errors, read the cases out of fold, and let every method propose."""
    schema = load_schema(f"params/schemas/{'osha' if setting.osha else 'nvdrs'}.yaml")
    data = load_data(osha if setting.osha else embedded_data(cases * 5 // 4, seed), schema)
    labels = data.train[schema.names].astype(int)
    truth = labels if setting.osha else data.truth.loc[labels.index].astype(int)
    given = labels if setting.missed is None else flip(schema, truth, setting, seed)
    folds = draw_folds(schema, given, FOLDS, seed=0)
    name = f"{setting.key}_{len(given)}_{seed}"
    reader = CrossFit(Study(run, schema, data.train, folds, data.train.iloc[:0]), name, TfidfLearner(schema))
    read = reader.fit(given_labels(reader.study, 1, labels=given)).out_of_fold()
    flips = {m: ordered(correct(schema, given, read, folds, m)[1]) for m in METHODS}
    everything = noise.propose(schema, given, read, folds, least=0.0)
    return Judged(schema, given, truth, flips, flips | {"noise_model": ordered(everything)})


def flip(schema: Schema, truth: pd.DataFrame, setting: Setting, seed: int) -> pd.DataFrame:
    """The truth with every binary label turned around at the setting's rates."""
    rng, given = np.random.default_rng(seed), truth.copy()
    for v in schema.binary:
        rate = np.where(truth[v.name] == 1, setting.missed, setting.added)
        given[v.name] = (truth[v.name] - (rng.random(len(truth)) < rate)).abs()
    return given


def ordered(flips: pd.DataFrame) -> pd.DataFrame:
    return flips.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def hits(flips: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Whether each change agrees with the truth, `[flips]`."""
    return np.array([row.after == truth.at[row.uid, row.variable] for row in flips.itertuples()])


def totals(judged: list[Judged]) -> pd.DataFrame:
    """Each method, its counts the mean over the seeds and its shares from the sums; precision by seed."""
    rows = {}
    for name in METHODS:
        own = [flip_totals(one.table(one.flips[name])) for one in judged]
        cut = [flip_totals(one.at_author[name]) for one in judged]
        found = [one.found_at_author_precision(name) for one in judged]
        for number, tables in (("its own", own), ("the author's", cut)):
            added = sum(table[["changed", "wrong", "found"]] for table in tables)
            row = (added.iloc[0] / len(judged)).to_dict() | with_shares(added).iloc[0, 3:].to_dict()
            row["precision by seed"] = " ".join(f"{table['precision'].iloc[0]:.3f}" for table in tables)
            row["found at the author's precision"] = np.mean(found)
            rows[name, number] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "number"])


def by_variable(judged: list[Judged]) -> pd.DataFrame:
    """Precision and recall of each method and variable, from the counts of all seeds together."""
    parts = {}
    for name in METHODS:
        added = sum(one.at_author[name][["changed", "wrong", "found"]] for one in judged)
        parts[name] = with_shares(added)[["changed", "precision", "recall"]]
    return pd.concat({"errors": added[["wrong"]]} | parts, axis=1)


if __name__ == "__main__":
    main()
