"""Corpora of known truth, read by models: what `benchmarks.coverage` estimates from, made once and kept.

The generating process is a population of made cases that is drawn once; a corpus is cases of it, drawn
with replacement and told anew, so that the population's own shares and ratios are the true ones.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.demo.cases import Case, draw_truth
from narrutils.data.demo.corpus import Drawn, draw_corpus, tell_corpus
from narrutils.data.demo.plan import outline
from narrutils.data.files import atomic
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.calibration import fit_calibration
from narrutils.evaluation.flags import summarise
from narrutils.evaluation.ladder import read_steps
from narrutils.evaluation.stacking import form
from narrutils.models.tfidf import LINEAR, TfidfLearner

NVDRS = load_schema("params/schemas/nvdrs.yaml")
POPULATION = 200_000
MEMBERS = ("nb", "lasso")
FOLDS = 3
CHUNK = 50  # corpora of a file


@cache
def population() -> tuple[pd.DataFrame, pd.DataFrame]:
    """People and true codes of the generating process, one row a case."""
    return draw_truth(NVDRS, POPULATION, np.random.default_rng(15))


def groups_of(people: pd.DataFrame) -> pd.DataFrame:
    """`age_group` and `sex` of people, as `data.demo.groups` names them."""
    ages = np.where(people["minor"], "under 18", "18 and over")
    return pd.DataFrame({"age_group": ages, "sex": np.where(people["male"], "male", "female")}, people.index)


def corpus(number: int, cases: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Texts, true codes and groups of a corpus of its own, indexed by uid."""
    people, truth = population()
    rows = np.random.default_rng([15, number]).integers(0, POPULATION, cases)
    uids = pd.Index([f"c{n:04d}" for n in range(cases)], name="uid")
    people, truth = people.iloc[rows].set_axis(uids), truth.iloc[rows].set_axis(uids)
    pairs = zip(people.itertuples(), truth.to_dict("records"), strict=True)
    made = [Case(int(person.age), bool(person.male), codes, in_test=False) for person, codes in pairs]
    outlines = [outline(case, Random(f"coverage {number} {n}")) for n, case in enumerate(made)]
    texts = tell_corpus(NVDRS, Drawn(made, outlines, truth, truth), 15_000_000 + number)
    return texts, truth, groups_of(people)


def trained(
    folder: Path, schema: Schema, train: pd.DataFrame, labels: pd.DataFrame, test: pd.DataFrame
) -> Run:
    """A finished run of linear members, calibrated, their weights fitted, as the notebooks leave one."""
    run = Run(folder, "06_ensemble")
    folds = draw_folds(schema, labels, FOLDS, seed=0)
    run.write("schema.json", schema.to_dict())
    splits = [train.join(labels).assign(split="train"), test.assign(split="test")]
    run.write("cases.parquet", pd.concat(splits).rename_axis("uid"))
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study(Run(folder, "01_eda"), schema, train, folds, test, labels)
    for order, name in enumerate(MEMBERS):
        title, settings = LINEAR[name]
        model = CrossFit(study, name, TfidfLearner(schema, **settings))
        model.fit(given_labels(study)).publish(title, order)
    made = form(
        schema,
        read_steps(replace(study, run=run)),
        dict.fromkeys(MEMBERS, 1.0),
        labels,
        folds,
        "fitted",
        calibrate=True,
    )
    step = made.step()
    run.write("ensemble.json", made.to_dict())
    run.write_probabilities("predictions/ensemble_oof.parquet", step.out_of_fold, schema)
    run.write_probabilities("predictions/ensemble_test.parquet", step.test, schema)
    calibration = fit_calibration(schema, labels, step.out_of_fold)
    run.write("calibration.json", calibration.to_dict())
    codes = schema.to_labels(step.out_of_fold, made.thresholds(labels))
    flags = summarise(schema, labels, codes, calibration.apply(step.out_of_fold), folds, 0.25)
    run.write("flags.json", flags)
    return run


def fixed_models(folder: Path) -> Deployed:
    """Models trained once, on the given labels of 600 cases of another corpus."""
    run = Run(folder / "fixed")
    if not run.has("flags.json"):
        drawn = draw_corpus(NVDRS, 600, seed=15)
        texts = tell_corpus(NVDRS, drawn, seed=15)
        trained(run.folder, NVDRS, texts, drawn.given, texts[:0])
    return Deployed.open(run.folder)


def read_by_fixed(folder: Path, draws: int, cases: int) -> Iterator[dict[str, np.ndarray]]:
    """Corpora as the fixed models read them: `calibrated`, `codes`, `truth`, `groups`, `[CHUNK, cases, …]`.

    What is in the folder is not made again.
    """
    deployed = fixed_models(folder)
    for first in range(0, draws, CHUNK):
        path = folder / f"fixed_{cases}_{first:05d}.npz"
        if not path.exists():
            parts = [_read(deployed, number, cases) for number in range(first, first + CHUNK)]
            with atomic(path) as part, part.open("wb") as file:
                np.savez(file, **{name: np.stack([p[name] for p in parts]) for name in parts[0]})
        with np.load(path) as stored:
            yield dict(stored)


def _read(deployed: Deployed, number: int, cases: int) -> dict[str, np.ndarray]:
    texts, truth, groups = corpus(number, cases)
    read = deployed.read(texts)
    return {
        "calibrated": deployed.calibration.apply(read).to_numpy(np.float32),
        "codes": deployed.decide(read).to_numpy(np.int8),
        "truth": truth.to_numpy(np.int8),
        "groups": np.column_stack([groups["age_group"] == "under 18", groups["sex"] == "male"]),
    }
