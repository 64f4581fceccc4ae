"""What other prize-winners have, each switched on against the same encoder with all of it off.

    python -m benchmarks.options [--cases 450] [--option separate mlm] [--pools outputs/demo]
    python -m benchmarks.options --data FOLDER [--schema FILE] [--cases 600] [--max-tokens 160]

The encoder is MiniLM on the given labels of the made corpus or another, three folds, one seed; a
further seed is another run of the command. F1 is out of fold, against the given labels,
with cross-fitted thresholds; the gain, with its 95 % interval, is that over `off` on the
same cases, and covers the sampling of cases alone. `r_drop` needs dropout, so `dropout`
stands beside it. `repair_periods` is not among them: MiniLM's tokenizer cuts at every stop anyway and
reads the same tokens. `mlm_generated` needs the kept generated rows of a run on the same cases
and folds, such as the demo's: `--pools`.

The table is printed anew after every option, and what is trained is not trained again.
"""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.run import Run
from narrutils.data.study import Study, same_cases
from narrutils.evaluation.intervals import paired_gain
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import decide_cross_fitted
from narrutils.models.settings import Body
from narrutils.training.mlm import pretrained
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Pretraining

from .demo_corpus import EPOCHS, RECIPE, show
from .world import World

OFF = "off"


@dataclass(frozen=True)
class Option:
    """Settings of `Body` and `Recipe` that differ from `off`, and how the body is pretrained."""

    changes: dict = field(default_factory=dict)
    pretraining: Pretraining = field(default_factory=Pretraining)


def options(mlm_epochs: int) -> dict[str, Option]:
    """Every option by name, cheap ones first."""
    return {
        "separate": Option({"inputs": "separate"}),
        "ema": Option({"ema": 0.99}),
        "dropout": Option({"dropout": 0.1}),
        "r_drop": Option({"dropout": 0.1, "r_drop": 1.0}),
        "mlm": Option(pretraining=Pretraining(mlm_epochs, precision=RECIPE.precision)),
        "mlm_generated": Option(
            pretraining=Pretraining(mlm_epochs, mlm_generated=True, precision=RECIPE.precision)
        ),
    }


def main() -> None:
    """Train with every option and print one table."""
    names = list(options(1))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="outputs/benchmark_options", help="run folder; it resumes there")
    parser.add_argument(
        "--cases", type=int, default=450, help="of the made corpus; training cases of another"
    )
    parser.add_argument("--data", default="", help="folder of another corpus, in place of the made one")
    parser.add_argument("--schema", default="params/schemas/osha.yaml", help="of the other corpus")
    parser.add_argument("--max-tokens", type=int, default=RECIPE.max_tokens, help="of a case")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each classifier")
    parser.add_argument("--mlm-epochs", type=int, default=10, help="of masked-language pretraining")
    parser.add_argument("--seed", type=int, default=0, help="of training; the corpus keeps its own")
    parser.add_argument(
        "--option", nargs="+", choices=names, default=[n for n in names if n != "mlm_generated"]
    )
    parser.add_argument(
        "--pools", default="", help="finished run whose kept generated rows mlm_generated reads"
    )
    given = parser.parse_args()
    where = {"data": given.data, "schema_file": given.schema} if given.data else {}
    world, known = World.open(given.folder, given.cases, **where), options(given.mlm_epochs)
    pool = pool_of(world, given.pools)
    scores = {OFF: learn(world, OFF, Option(), given, pool)}
    for name in given.option:
        scores[name] = learn(world, name, known[name], given, pool)
        table = scores_table(scores)
        world.run.write(f"options_seed{given.seed}.csv", table.rename_axis("option"))
        show(f"{len(world.texts)} cases, {given.epochs} epochs, seed {given.seed}", table)


def pool_of(world: World, finished: str) -> pd.DataFrame:
    """The kept generated rows of a finished run on the same cases and folds, indexed by uid; none without."""
    if not finished:
        return world.texts[:0].assign(seen_folds=[])
    other = Run(Path(finished))
    same_cases(other, world.texts, world.folds, world.schema)
    return other.pools(world.schema)


def learn(world: World, name: str, option: Option, given: argparse.Namespace, pool: pd.DataFrame) -> Counts:
    """Train one encoder a fold; its out-of-fold counts."""
    body, recipe = Body("minilm", dropout=0.0), replace(RECIPE, seed=given.seed, max_tokens=given.max_tokens)
    learner = NeuralLearner(world.schema, body, recipe=recipe).varied(**option.changes)
    settings = replace(option.pretraining, seed=given.seed)
    study = Study(world.run, world.schema, world.texts, world.folds, world.texts[:0], world.labels, pool=pool)
    learner_of = pretrained(study, learner, settings)
    model = CrossFit(study, f"{name}_seed{given.seed}", learner, learner_of=learner_of)
    model.fit(given_labels(study, given.epochs))
    decided = decide_cross_fitted(world.schema, world.labels, model.out_of_fold(), world.folds)
    return count(world.schema, world.labels, decided)


def scores_table(scores: dict[str, Counts]) -> pd.DataFrame:
    """F1 of each option, its paired gain over `off`, and the bounds of the gain's 95 % interval."""
    rows = {}
    for name, own in scores.items():
        gain = paired_gain(own, scores[OFF])
        rows[name] = {"F1": own.scores().mean(), "gain": gain.value, "low": gain.low, "high": gain.high}
    return pd.DataFrame.from_dict(rows, orient="index")


if __name__ == "__main__":
    main()
