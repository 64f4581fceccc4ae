"""What auxiliary variables are worth: an encoder taught four more variables, scored on the others.

    python -m benchmarks.auxiliary FOLDER [--cases 600] [--seeds 0 1 2] [--out outputs/benchmark_auxiliary]

FOLDER holds the OSHA abstracts. Four of the schema's eighteen variables are made auxiliary. They were named
before anything was trained, by what the schema says of them: plain facts of an accident that the text tells
nearly always, and on which what is harder to code depends.

- `EventType`: a fall, a blow, being caught: what the environmental factors are about (a working surface, an
  overhead object, a pinch point) and which part of the body it can be;
- `InjuryNature`: fracture, amputation, head trauma: the part of the body that was injured;
- `ConstructionSite`: without one there is no new construction project;
- `Fatal`: how grave it was, which the human factors are judged by.

Arm `auxiliary` learns them and the other fourteen; arm `without` has a schema of the fourteen alone. Both are
the encoder of `params/osha.yaml` with MiniLM in place of mpnet: the top two layers, over stored states, for
three epochs on the given labels. Cases and folds are those of its `01_eda`, and the same in both arms, as is
each seed of training. The probe that starts a head is fitted to each variable by itself, so what the four
can give goes through the two layers that all variables share.

Score: average F1 of the fourteen, out of fold, thresholds cross-fitted. `gain` is `auxiliary` − `without`: of
a seed with its 95 % interval over cases; of the mean over cases and seeds (`evaluation.seeds`). The second
table has the mean over seeds of each variable's score, without intervals: it shows where a gain lies.

A fold's model is kept in the run folder: the same command goes on where it was stopped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import load_data, stack_splits
from narrutils.data.clusters import Together
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.metrics import Counts
from narrutils.evaluation.scores import score
from narrutils.evaluation.seeds import mean_gain
from narrutils.models.precision import fastest
from narrutils.models.settings import Body
from narrutils.paths import PROJECT
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

from .demo_corpus import show

AUXILIARY = ("EventType", "InjuryNature", "ConstructionSite", "Fatal")
FOLDS, ALIKE = 3, 0.7  # of params/osha.yaml and 01_eda
EPOCHS = 3
RECIPE = Recipe(
    max_tokens=160,
    batch_size=8,
    smoothing=0.02,
    learning_rate=5e-5,
    head_learning_rate=2e-4,
    head_start="probe",
    precision=fastest(),
)


def main() -> None:
    """Train both arms under every seed, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the OSHA abstracts")
    parser.add_argument("--cases", type=int, default=600, help="training cases; 0 is all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training")
    parser.add_argument("--out", default="outputs/benchmark_auxiliary", help="run folder; it resumes there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = begin(Run(given.out, stage="benchmark"), given.folder, given.cases)
    arms = {"without": study.scored, "auxiliary": study}
    counts: dict[str, list[Counts]] = {name: [] for name in arms}
    for seed in given.seeds:
        for name, arm in arms.items():
            counts[name].append(learn(arm, f"{name}_seed{seed}", seed))
    title = f"{len(study.train)} cases, {FOLDS} folds, {len(study.scored.schema.names)} variables scored"
    show(title, by_seed(counts, given.seeds))
    show("each variable, mean over the seeds", by_variable(study.scored.schema, counts))


def begin(run: Run, folder: Path, cases: int) -> Study:
    """The study of the arm with auxiliary variables, its cases and folds drawn as in `01_eda`."""
    whole = load_schema(PROJECT / "params/schemas/osha.yaml")
    schema = replace(
        whole, variables=tuple(replace(v, auxiliary=v.name in AUXILIARY) for v in whole.variables)
    )
    data = load_data(folder, schema)
    together = Together(data, schema, ALIKE)
    table = stack_splits(data, cases, 0, together.clusters)
    run.write("schema.json", schema.to_dict())
    run.write("cases.parquet", table)
    clusters = together.table(table, FOLDS)["cluster"]
    folds = draw_folds(schema, run.labels(schema), FOLDS, 0, clusters)
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study.open(run, "shrunk")
    return replace(study, test=study.test[:0], test_labels=None)


def learn(study: Study, name: str, seed: int) -> Counts:
    """Train one arm's encoder on each fold; its out-of-fold counts of the scored variables."""
    body = Body("minilm", top_layers=2, dropout=0.0, precision=RECIPE.precision)
    recipe = replace(RECIPE, seed=seed)
    learner = NeuralLearner(study.schema, body, recipe=recipe, states=study.run.states)
    return score(study, CrossFit(study, name, learner).fit(given_labels(study, EPOCHS)).out_of_fold()).counts


def by_seed(counts: dict[str, list[Counts]], seeds: list[int]) -> pd.DataFrame:
    """A row a seed and one of their mean: each arm's score, and the gain with its interval."""
    gains = [paired_gain(one, other) for one, other in zip(counts["auxiliary"], counts["without"])]
    rows = {f"seed {seed}": {name: own[n].average_f1 for name, own in counts.items()}
            for n, seed in enumerate(seeds)}  # fmt: skip
    if len(seeds) > 1:
        gains.append(mean_gain(counts["auxiliary"], counts["without"]))
        rows["mean"] = pd.DataFrame(rows).T.mean().to_dict()
    table = pd.DataFrame(rows).T
    return table.assign(
        gain=[g.value for g in gains], low=[g.low for g in gains], high=[g.high for g in gains]
    )


def by_variable(schema: Schema, counts: dict[str, list[Counts]]) -> pd.DataFrame:
    """A row a variable: each arm's score, mean over the seeds, and their difference."""
    table = pd.DataFrame(
        {name: sum(one.scores() for one in own) / len(own) for name, own in counts.items()}, schema.names
    )
    return table.assign(gain=table["auxiliary"] - table["without"])


if __name__ == "__main__":
    main()
