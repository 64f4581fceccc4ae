"""Whether neural members earn their place in a finished run: alone, and in whose company.

    python -m benchmarks.members outputs/osha [--without gemma gemma_round1]
    python -m benchmarks.members outputs/osha outputs/osha_seed1 …

Each model's paired gain over TF-IDF; then the ensembles of linear members, of these with the
frozen ones, and of these with every trained one, each against the company before it. All as
the run's own 06 forms and cuts them, out of fold and, where its labels are known, on the test. Of several
runs, which `narrutils run --seeds` made, means with intervals over cases and seeds.
"""

import argparse
from dataclasses import astuple
from pathlib import Path

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.ladder import Step, decisions, read_steps
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.seeds import mean_gain, mean_score
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named
from narrutils.report.tables import with_interval

from .demo_corpus import show

LINEAR = ("tfidf", "nb", "lasso", "chars")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--without", nargs="*", default=[], help="models that stay out of every company")
    given = parser.parse_args()
    found = [read(Run(folder), given.without) for folder in given.runs]
    alone, together = ([tables[n] for tables in found] for n in (0, 1))
    rows = {name: row(alone, name, next(iter(alone[0]))) for name in alone[0]}
    show("Each model, and its gain over TF-IDF", pd.DataFrame(rows).T)
    rows = {
        name: row(together, name, "and frozen" if n > 1 else "linear") for n, name in enumerate(together[0])
    }
    show(
        "Ensembles, and their gain over linear members; of trained ones, over linear and frozen",
        pd.DataFrame(rows).T,
    )


def read(run: Run, without: list[str]) -> tuple[dict, dict]:
    """Counts by split, of each model and of each company, of one run."""
    schema, chosen = (
        Schema.from_dict(run.read("schema.json")),
        run.read("run.json")["parameters"]["06_ensemble"],
    )
    steps = read_steps(Study.open(Run(run.folder, stage="06_ensemble")))
    steps = [step for step in steps if step.model not in without]
    labels = {"out of fold": run.labels(schema), "test": run.labels(schema, "test")}
    alone = {step.model: counts(schema, step, run, labels) for step in steps}
    trained = [step.model for step in steps if step.model not in LINEAR and not is_frozen(step)]
    frozen = [step.model for step in steps if is_frozen(step)]
    companies = {"linear": LINEAR, "and frozen": (*LINEAR, *frozen)}
    companies |= {f"and {name}": (*LINEAR, *frozen, name) for name in trained}
    if len(trained) > 1:
        companies["and all trained"] = (*LINEAR, *frozen, *trained)
    together = {}
    for name, members in companies.items():
        made = form(
            schema,
            steps,
            {step.model: 1.0 for step in steps if step.model in members},
            labels["out of fold"],
            run.folds(),
            chosen["weighting"],
            calibrate=chosen["calibrate"],
            way=search_named(chosen["threshold_search"]),
        )
        together[name] = counts(schema, made.step(), run, labels)
    return alone, together


def is_frozen(step: Step) -> bool:
    return step.model.startswith("frozen")


def counts(schema: Schema, step: Step, run: Run, labels: dict[str, pd.DataFrame | None]) -> dict[str, Counts]:
    """What a step gets right, by split; thresholds cross-fitted."""
    decided = decisions(schema, step, labels["out of fold"], run.folds())
    codes = {"out of fold": decided["oof", "cross_fitted"], "test": decided["test", "cross_fitted"]}
    return {name: count(schema, given, codes[name]) for name, given in labels.items() if given is not None}


def row(runs: list[dict], name: str, before: str) -> dict[str, str]:
    """Average F1 and paired gain over another of the same run, of each split, means over the runs."""
    found = {}
    for split in runs[0][name]:
        has, had = ([run[which][split] for run in runs] for which in (name, before))
        found[split] = f"{mean_score(has).value:.3f}"
        found[f"{split}, gain"] = with_interval(*astuple(mean_gain(has, had)), "+")
    return found


if __name__ == "__main__":
    main()
