"""Corpora of known truth, read by models: what `benchmarks.coverage` estimates from, made once and kept.

The generating process is a population of made cases that is drawn once; a corpus is cases of it, drawn
with replacement and told anew, so that the population's own shares and ratios are the true ones.
"""

from calendar import month_name
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import load_data
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
from narrutils.findings.estimates.population import Population, of_run
from narrutils.models.learner import Learner
from narrutils.models.tfidf import LINEAR, TfidfLearner

NVDRS = load_schema("params/schemas/nvdrs.yaml")
#: What is estimated; models that are trained anew in each draw learn these alone.
VARIABLES = ("SchoolProblem", "DepressedMood", "IntimatePartnerProblem", "RecentCriminalLegalProblem")
FEW = replace(NVDRS, variables=tuple(NVDRS[name] for name in VARIABLES))
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
    uids = _uids(cases)
    people, truth = people.iloc[rows].set_axis(uids), truth.iloc[rows].set_axis(uids)
    pairs = zip(people.itertuples(), truth.to_dict("records"), strict=True)
    made = [Case(int(person.age), bool(person.male), codes, in_test=False) for person, codes in pairs]
    outlines = [outline(case, Random(f"coverage {number} {n}")) for n, case in enumerate(made)]
    texts, _ = tell_corpus(NVDRS, Drawn(made, outlines, truth, truth), 15_000_000 + number)
    return texts, truth, groups_of(people)


def trained(
    folder: Path,
    schema: Schema,
    train: pd.DataFrame,
    labels: pd.DataFrame,
    test: pd.DataFrame,
    learners: Mapping[str, Learner] | None = None,
) -> Run:
    """A finished run, calibrated, its weights fitted, as the notebooks leave one.

    Args:
        learners: of its members, by name; two kinds of linear models unless given.
    """
    learners = learners or {name: TfidfLearner(schema, **LINEAR[name][1]) for name in MEMBERS}
    run = Run(folder, "06_ensemble")
    folds = draw_folds(schema, labels, FOLDS, seed=0)
    run.write("schema.json", schema.to_dict())
    splits = [train.join(labels).assign(split="train"), test.assign(split="test")]
    run.write("cases.parquet", pd.concat(splits).rename_axis("uid"))
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study(Run(folder, "01_eda"), schema, train, folds, test, labels)
    for order, (name, learner) in enumerate(learners.items()):
        model = CrossFit(study, name, learner)
        model.fit(given_labels(study)).publish(name, order)
    steps, weights = read_steps(replace(study, run=run)), dict.fromkeys(learners, 1.0)
    made = form(schema, steps, weights, labels, folds, "fitted", calibrate=True)
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
        texts, _ = tell_corpus(NVDRS, drawn, seed=15)
        trained(run.folder, NVDRS, texts, drawn.given, texts[:0])
    return Deployed.open(run.folder)


def read_by_fixed(folder: Path, draws: int, cases: int) -> Iterator[dict]:
    """Corpora as the fixed models read them, one after the other, each a mapping of tables.

    `number`, `truth` and `codes` (codes), `calibrated` (probabilities), `groups`, indexed by uid.
    """
    deployed = fixed_models(folder)

    def read(number: int) -> dict[str, np.ndarray]:
        texts, truth, groups = corpus(number, cases)
        found = deployed.read(texts)
        calibrated, codes = deployed.calibration.apply(found), deployed.decide(found)
        return _arrays(truth, calibrated, codes) | {"groups": _flags(groups)}

    for number, found in _kept(folder, f"fixed_{cases}", draws, CHUNK, read):
        yield _tables(NVDRS, number, found) | {"groups": _words(found["groups"], cases)}


def _flags(groups: pd.DataFrame) -> np.ndarray:
    return np.column_stack([groups["age_group"] == "under 18", groups["sex"] == "male"])


def _words(flags: np.ndarray, cases: int) -> pd.DataFrame:
    people = pd.DataFrame(flags, _uids(cases), ["minor", "male"])
    return groups_of(people)


def _arrays(truth: pd.DataFrame, calibrated: pd.DataFrame, codes: pd.DataFrame) -> dict[str, np.ndarray]:
    small = {"truth": truth.to_numpy(np.int8), "codes": codes.to_numpy(np.int8)}
    return small | {"calibrated": calibrated.to_numpy(np.float32)}


def _tables(schema: Schema, number: int, found: dict[str, np.ndarray]) -> dict:
    uids = _uids(len(found["truth"]))
    tables = {name: pd.DataFrame(found[name], uids, schema.names) for name in ("truth", "codes")}
    return {"number": number, "calibrated": pd.DataFrame(found["calibrated"], uids, schema.columns), **tables}


def _uids(cases: int) -> pd.Index:
    return pd.Index([f"c{n:04d}" for n in range(cases)], name="uid")


def _kept(folder: Path, name: str, draws: int, chunk: int, read: Callable) -> Iterator[tuple[int, dict]]:
    """Number and arrays of each draw; what is in the folder is not made again."""
    for first in range(0, draws, chunk):
        path = folder / f"{name}_{first:05d}.npz"
        if not path.exists():
            parts = [read(number) for number in range(first, first + chunk)]
            with atomic(path) as part, part.open("wb") as file:
                np.savez(file, **{key: np.stack([p[key] for p in parts]) for key in parts[0]})
        with np.load(path) as stored:
            arrays = dict(stored)
        yield from ((first + n, {key: a[n] for key, a in arrays.items()}) for n in range(chunk))


def read_by_retrained(folder: Path, draws: int, cases: int, coded: int) -> Iterator[Population]:
    """Corpora whose human-coded part trained the models, all read as `findings.estimates.population` says."""

    def read(number: int) -> dict[str, np.ndarray]:
        texts, truth, groups = corpus(1_000_000 + number, cases)
        train = texts.index[:coded]  # the cases of a corpus are in no order
        with TemporaryDirectory() as scratch, redirect_stdout(None):
            run = trained(
                Path(scratch), FEW, texts.loc[train], truth.loc[train, FEW.names], texts.drop(index=train)
            )
            run.write("groups.parquet", groups)
            found = of_run(run, FEW)
        found = {
            name: getattr(found, name).loc[texts.index].to_numpy(np.float32) for name in ("machine", "codes")
        }
        return found | {"truth": truth[FEW.names].to_numpy(np.int8), "groups": _flags(groups)}

    uids = _uids(cases)
    for _, found in _kept(folder, f"retrained_{cases}_{coded}", draws, 10, read):
        human = pd.DataFrame(found["truth"], uids, FEW.names).astype("Int64")
        human.iloc[coded:] = pd.NA
        machine, codes = (pd.DataFrame(found[name], uids, FEW.columns) for name in ("machine", "codes"))
        groups, own = _words(found["groups"], cases), pd.Series(range(cases), uids)
        yield Population(FEW, human, machine, codes, groups, pd.Series(1.0, uids), own)


def osha(folder: Path) -> tuple[Schema, pd.DataFrame, pd.DataFrame]:
    """Schema, human codes and groups of OSHA's cases beyond the first 600, by which models are trained.

    Groups are of what stands in the abstract: whether it is longer than most, and the half of the year.
    """
    schema, rest = load_schema("params/schemas/osha.yaml"), _osha_cases(folder)[600:]
    return schema, rest[schema.names].astype(int), _osha_groups(rest)


def _osha_cases(folder: Path) -> pd.DataFrame:
    """Those whose abstract names a month, in random order."""
    data = load_data(folder, load_schema("params/schemas/osha.yaml"))
    cases = pd.concat([data.train, data.test]).dropna().sample(frac=1, random_state=0)
    return cases[_osha_groups(cases)["season"] != ""]


def _osha_groups(cases: pd.DataFrame) -> pd.DataFrame:
    months = cases["Narrative"].str.extract(f"({'|'.join(month_name[1:])})")[0]
    season = np.select([months.isin(month_name[4:10]), months.notna()], ["summer", "winter"], "")
    sizes = cases["Narrative"].str.len()
    length = np.where(sizes > sizes.median(), "long", "short")
    return pd.DataFrame({"season": season, "length": length}, cases.index)


def read_osha(folder: Path, data: Path, draws: int, cases: int) -> Iterator[dict]:
    """Draws, with replacement, of the cases beyond the first 600, as models trained on those read them."""
    schema, truth, groups = osha(data)
    run, all_ = Run(folder / "osha"), _osha_cases(data)
    if not run.has("flags.json"):
        first = all_[:600]
        texts = first[schema.text_columns]
        trained(run.folder, schema, texts, first[schema.names].astype(int), texts[:0])
    deployed = Deployed.open(run.folder)
    read = deployed.read(all_.loc[truth.index, schema.text_columns])
    calibrated, codes = deployed.calibration.apply(read), deployed.decide(read)
    for number in range(draws):
        rows = np.random.default_rng([15, number]).integers(0, len(truth), cases)
        tables = {"truth": truth, "calibrated": calibrated, "codes": codes, "groups": groups}
        yield {"number": number, **{name: t.iloc[rows].set_axis(_uids(cases)) for name, t in tables.items()}}
