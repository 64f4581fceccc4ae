"""The whole ladder, step by step: what each part of the method gains, with paired intervals.

    python -m benchmarks.ladder params/osha.yaml --data-dir FOLDER --cases 0 --until 01
    python -m benchmarks.ladder params/demo.yaml --cases 5000 --until 04
    python -m benchmarks.ladder params/demo.yaml --cases 5000 --until 04 --gemma-cases 450

runs a profile's notebooks up to a stage and reads what they published; up to 04 and later
it also trains the encoder on the labels as given, and with generated rows, beside that on
corrected labels. `--gemma-cases` climbs the whole ladder a second time on a subset of that
size, for a machine where Gemma cannot read everything. All models lie in run folders, so
that the same command, given again, goes on at the next fold.
"""

import argparse
from dataclasses import dataclass

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels, read_corrected
from narrutils.crossfit.soft_labels import two_phases
from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import settings
from narrutils.data.study import Study
from narrutils.evaluation import gains, ladder
from narrutils.evaluation.stacking import Ensemble, form
from narrutils.evaluation.thresholds import search_named
from narrutils.models.precision import precision_of
from narrutils.models.settings import Body
from narrutils.paths import OUTPUTS
from narrutils.pipeline import runner
from narrutils.pipeline.profiles import Profile, find_stage, load_profile
from narrutils.report.tables import as_text
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

GIVEN, GENERATED = "encoder_given", "encoder_generated"
VARIANTS = "04_variants"  # the stage under which the encoders of this command stand


@dataclass(frozen=True)
class Climb:
    """A finished run: its steps in the order of the method, the ensemble last."""

    run: Run
    schema: Schema
    steps: list[ladder.Step]
    ensemble: Ensemble

    @classmethod
    def read(cls, profile: Profile, run: Run) -> "Climb":
        """The published models, and the ensemble of those of the profile's members that there are."""
        values = profile.parameters["06_ensemble"]
        way = search_named(values["threshold_search"])
        study = Study.open(Run(run.folder, stage="06_ensemble"), values["threshold_search"])
        schema, steps = study.schema, ladder.read_steps(study)
        models = [step.model for step in steps]
        if GIVEN in models:
            steps.sort(key=lambda step: _place(models, step.model))
        weights = {m: w for m, w in values["weights"].items() if m in models}
        settings = {name: values[name] for name in ("calibrate", "thresholds_from")}
        given = (weights, study.labels, study.folds, values["weighting"])
        return cls(run, schema, steps, form(schema, steps, *given, way=way, **settings))

    def tell(self) -> None:
        """Print the ladder out of fold and on test, and what thresholds and members are worth."""
        labels, folds = self.run.labels(self.schema), self.run.folds()
        test_labels = self.run.labels(self.schema, "test")
        steps = [*self.steps, self.ensemble.step()]
        answers = ladder.answers_of(labels, test_labels, self.run.truth())
        rungs = ladder.Ladder(self.schema, steps, labels, folds, answers)
        entries, (cuts, last) = rungs.climb(), gains.ways_to_cut(rungs)
        show("Out of fold, against the given labels", ladder.to_table(entries))
        show("Test", ladder.to_table(entries, split="test"))
        show("Gain over the first", rungs.over_first())
        show("Ways to search thresholds", cuts)
        show("The same, the ensemble alone", last)
        show("What each member adds", gains.member_gains(self.ensemble))
        show("Ways to combine", gains.ways_to_combine(self.ensemble))
        show("Test against out of fold", rungs.gaps())


def _place(models: list[str], model: str) -> float:
    """Where a model stands among those published in this order: the given labels come first."""
    return {GIVEN: models.index("deberta") - 0.5}.get(model, models.index(model))


def show(title: str, table: pd.DataFrame) -> None:
    told = f"\n{as_text(table).to_string(index=False)}" if len(table) else ": nothing"
    print(f"\n{title}{told}", flush=True)


def measure(params: str, overrides: list[tuple[str, str]], until: str) -> None:
    """Run what is not there yet, and print all tables."""
    profile = load_profile(params, overrides)
    last = find_stage(until, profile.stages, "--until")
    for stage in profile.stages[: profile.stages.index(last) + 1]:
        runner.run_profile(profile, only=stage)
    run = Run(OUTPUTS / profile.run, stage=VARIANTS)
    if last >= "04":
        train_variants(profile, run)
    climb = Climb.read(profile, run)
    print(f"\n== {profile.run}: {len(climb.ensemble.labels)} training cases, folds {run.folds().nunique()}")
    climb.tell()


def train_variants(profile: Profile, run: Run) -> None:
    """The encoder of 04 on the given labels, and with generated rows before the corrected ones."""
    values = profile.parameters["04_deberta"]
    values = values | {"precision": precision_of(run, values["precision"])}
    study = Study.open(run)
    body, recipe = (settings(kind, values, values["options"]) for kind in (Body, Recipe))
    learner, epochs = NeuralLearner(study.schema, body, recipe=recipe), values["epochs"]
    given = CrossFit(study, GIVEN, learner).fit(given_labels(study, epochs))
    given.publish("encoder on given labels")
    told = Teachers(run, "tfidf", study.schema).soft_labels(study.pool, nested="tfidf")
    more = CrossFit(study, GENERATED, learner, study.pool)
    more.fit(two_phases(study, study.pool, told, read_corrected(run), (1, epochs)))
    more.publish("encoder, generated rows first", order=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile", help="such as params/demo.yaml")
    parser.add_argument(
        "--data-dir", default="", help="folder with the CSV files; the embedded corpus if empty"
    )
    parser.add_argument("--cases", type=int, default=0, help="of the corpus, or training cases; 0 is all")
    parser.add_argument("--gemma-cases", type=int, help="climb the whole ladder again on so many cases")
    parser.add_argument("--until", default="05", help="last stage to run, such as 01 or 04")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), dest="pairs")
    options = parser.parse_args()
    size = "train_cases" if options.data_dir else "demo_cases"
    name = options.profile.split("/")[-1].removesuffix(".yaml")
    for cases, until in [(options.cases, options.until), (options.gemma_cases, "05")]:
        if cases is None:
            continue
        more = [("run", f"ladder_{name}_{cases or 'all'}"), (size, str(cases))]
        more += [("data_dir", options.data_dir)] if options.data_dir else []
        measure(options.profile, [*map(tuple, options.pairs), *more], until)


if __name__ == "__main__":
    main()
