"""Trainings in a row against trainings side by side, on this machine's cores, in one run.

    python -m benchmarks.side_by_side [--cases 120] [--folds 3]

The demo's encoder and its Gemma, on cases of the made corpus, one epoch, with the folds' own
readings. `first` is the first call with processes, which have yet to start and to import torch;
`again` is one that finds them there, as the later trainings of a notebook do. `ratio` is in a row
over again, with a process for each core. Run it with nothing beside it.
"""

import argparse
import time
from dataclasses import replace
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.folds import draw_folds
from narrutils.data.study import Study
from narrutils.models.settings import Body, Lora
from narrutils.training.neural import NeuralLearner

from .demo_corpus import RECIPE, show
from .world import World

GEMMA = replace(RECIPE, max_tokens=160, batch_size=4, head_learning_rate=3e-4)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=120, help="of the made corpus, four fifths for training")
    parser.add_argument("--folds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        world = World.open(folder, given.cases)
        folds = draw_folds(world.schema, world.labels, given.folds, 0)
        world = replace(world, folds=folds)
        learners = {
            "MiniLM": NeuralLearner(world.schema, Body("minilm", dropout=0.0), recipe=RECIPE),
            "Gemma 3 270M, 6 layers": NeuralLearner(
                world.schema, Body("gemma3-270m", layers=6, precision=RECIPE.precision), Lora(16, 32), GEMMA
            ),
        }
        lines = {name: measure(world, learner) for name, learner in learners.items()}
    title = f"{given.folds} models of {given.cases} cases, {torch.get_num_threads()} cores, seconds"
    show(title, pd.DataFrame(lines).T.round(2))


def measure(world: World, learner: NeuralLearner) -> dict[str, float]:
    """Seconds of the same trainings in a row and side by side."""
    line, cores = {}, torch.get_num_threads()
    for n, (name, at_once) in enumerate([("in a row", 1), ("first", cores), ("again", cores)]):
        model = CrossFit(
            Study(world.run, world.schema, world.texts, world.folds, world.texts[:0]),
            f"{learner.body.backbone}_{n}",
            learner,
            at_once=at_once,
        )
        start = time.perf_counter()
        model.fit(given_labels(model.study, 1, labels=world.labels))
        line[name] = time.perf_counter() - start
    return line | {"ratio": line["in a row"] / line["again"]}


if __name__ == "__main__":
    main()
