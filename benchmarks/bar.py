"""What frozen encoders add to the linear members, on draws of OSHA's cases that share none.

    python -m benchmarks.bar FOLDER [--draws 1 2 3 4 5] [--backbones mpnet minilm] [--cases 600]

FOLDER holds the abstracts. Draw 0 are the development cases, on which settings are chosen, and is
not read on the test split; each later draw is of the cases that those before it left. Every model
by itself over TF-IDF, and ensembles over that of the linear members: calibrated, weights fitted,
thresholds `shrunk` and cross-fitted. Minutes for the first draw; a text is read once for all of them.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import load_data
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.ladder import read_steps
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named
from narrutils.models.frozen import FrozenLearner, cheap_models
from narrutils.models.precision import fastest
from narrutils.models.settings import Body
from narrutils.paths import PROJECT

from .demo_corpus import show
from .members import LINEAR, counts, row


def main() -> None:
    """Print two tables a draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=[1])
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--backbones", nargs="+", default=["mpnet", "minilm"])
    given = parser.parse_args()
    for draw in given.draws:
        print(f"Draw {draw}\n")
        with TemporaryDirectory() as folder:
            compare(begin(Run(folder, "01_bar"), given.folder, draw, given.cases), given.backbones)


def drawn(train: pd.DataFrame, cases: int, draw: int) -> pd.DataFrame:
    """So many cases at random among those that earlier draws left, in the order of the file."""
    for _ in range(draw):
        train = train.drop(train.sample(cases, random_state=0).index)
    return train.loc[train.index.isin(train.sample(cases, random_state=0).index)]


def begin(run: Run, folder: Path, draw: int, cases: int) -> Study:
    """The study of a draw."""
    schema = load_schema(PROJECT / "params/schemas/osha.yaml")
    data = load_data(folder, schema)
    test = data.test.loc[data.submission_uids if draw else []]
    splits = {"train": drawn(data.train, cases, draw), "test": test}
    both = pd.concat([table.assign(split=name) for name, table in splits.items()])
    run.write("schema.json", schema.to_dict())
    run.write("cases.parquet", both.rename_axis("uid"))
    folds = draw_folds(schema, run.labels(schema), 3, 0)
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    return Study.open(run, "shrunk")


def compare(study: Study, backbones: list[str]) -> None:
    """Train every model, and print what each is worth."""
    schema, precision = study.schema, fastest()
    learners = {name: learner for name, (_, learner) in cheap_models(schema, list(LINEAR), "minilm").items()}
    for name in backbones:
        learners[f"frozen {name}"] = FrozenLearner(schema, Body(name, precision=precision))
    for order, (name, learner) in enumerate(learners.items()):
        CrossFit(study, name, learner).fit(given_labels(study)).publish(name, order)
    steps = read_steps(replace(study, run=Run(study.run.folder, "06_bar")))
    labels = {"out of fold": study.labels, "test": study.test_labels if len(study.test) else None}
    scored = {step.model: counts(schema, step, study.run, labels) for step in steps}
    alone = {name: row([scored], name, "tfidf") for name in scored}
    show("Each model, and its gain over TF-IDF", pd.DataFrame(alone).T)
    frozen = [name for name in learners if name not in LINEAR]
    companies = {"linear": [], **{name: [name] for name in frozen}, "all": frozen}
    found = {}
    for name, members in companies.items():
        weights = dict.fromkeys([*LINEAR, *members], 1.0)
        how = {"calibrate": True, "way": search_named(study.threshold_search)}
        made = form(schema, steps, weights, study.labels, study.folds, "fitted", **how)
        found[name] = counts(schema, made.step(), study.run, labels)
    told = {name: row([found], name, "linear") for name in found}
    show("Ensembles of the linear members and …, and their gain over them", pd.DataFrame(told).T)


if __name__ == "__main__":
    main()
