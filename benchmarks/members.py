"""Whether neural members earn their place in a finished run: alone, and in whose company.

    python -m benchmarks.members outputs/osha [--without gemma gemma_round1]

Each model's paired gain over TF-IDF; then the ensembles of linear members, of these with the
frozen ones, and of these with every trained one, each against the company before it. All as
the run's own 06 forms and cuts them, out of fold and, where its labels are known, on the test.
"""

import argparse
from dataclasses import astuple
from pathlib import Path

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.ladder import Step, decisions, read_steps
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named
from narrutils.report.tables import with_interval

from .demo_corpus import show

LINEAR = ("tfidf", "nb", "lasso", "chars")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="models that stay out of every company")
    given = parser.parse_args()
    run = Run(given.run)
    schema, settings = Schema.from_dict(run.read("schema.json")), run.read("run.json")["parameters"]
    chosen = settings["06_ensemble"]
    way = search_named(chosen["threshold_search"])
    steps = read_steps(Study.open(Run(given.run, stage="06_ensemble")))
    steps = [step for step in steps if step.model not in given.without]
    labels = {"out of fold": run.labels(schema), "test": run.labels(schema, "test")}
    first = counts(schema, steps[0], run, labels)
    alone = {step.model: row(counts(schema, step, run, labels), first) for step in steps}
    show("Each model, and its gain over TF-IDF", pd.DataFrame(alone).T)
    trained = [step.model for step in steps if step.model not in LINEAR and not is_frozen(step)]
    frozen = [step.model for step in steps if is_frozen(step)]
    companies = {"linear": LINEAR, "and frozen": (*LINEAR, *frozen)}
    companies |= {f"and {name}": (*LINEAR, *frozen, name) for name in trained}
    if len(trained) > 1:
        companies["and all trained"] = (*LINEAR, *frozen, *trained)
    rows, before = {}, None
    for name, members in companies.items():
        made = form(
            schema,
            steps,
            {step.model: 1.0 for step in steps if step.model in members},
            labels["out of fold"],
            run.folds(),
            chosen["weighting"],
            calibrate=chosen["calibrate"],
            way=way,
        )
        scored = counts(schema, made.step(), run, labels)
        rows[name] = row(scored, before or scored)
        before = scored if name in ("linear", "and frozen") else before
    show(
        "Ensembles, and their gain over linear members; of trained ones, over linear and frozen",
        pd.DataFrame(rows).T,
    )


def is_frozen(step: Step) -> bool:
    return step.model.startswith("frozen")


def counts(schema: Schema, step: Step, run: Run, labels: dict[str, pd.DataFrame | None]) -> dict[str, Counts]:
    """What a step gets right, by split; thresholds cross-fitted."""
    decided = decisions(schema, step, labels["out of fold"], run.folds())
    codes = {"out of fold": decided["oof", "cross_fitted"], "test": decided["test", "cross_fitted"]}
    return {name: count(schema, given, codes[name]) for name, given in labels.items() if given is not None}


def row(scored: dict[str, Counts], before: dict[str, Counts]) -> dict[str, str]:
    """Average F1 and paired gain of each split."""
    found = {}
    for split, has in scored.items():
        found[split] = f"{has.scores().mean():.3f}"
        found[f"{split}, gain"] = with_interval(*astuple(paired_gain(has, before[split])), "+")
    return found


if __name__ == "__main__":
    main()
