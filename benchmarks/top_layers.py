"""Training the top layers over stored states of the others, against computing all at every step.

    python -m benchmarks.top_layers [--cases 60] [--max-tokens 128] [--epochs 2]

One training of each kind on made cases, in the precision that is fast here and in float32:
seconds of the training, of the one pass of the frozen layers that all trainings of a run
share, and the largest difference of logits between the two models that came out; and seconds to make
a classifier on a base that is loaded for it, and on one that stands in memory.
"""

import argparse
import time
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from narrutils.data.cases import embedded_data, load_data
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.schema import Schema
from narrutils.models.bases import Shared
from narrutils.models.classifier import build
from narrutils.models.learner import Phase
from narrutils.models.precision import resolved
from narrutils.models.reading import read_logits
from narrutils.models.settings import Body, Lora
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

from .demo_corpus import show
from .world import NVDRS


def made_cases(schema: Schema, cases: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and given labels of so many made cases, indexed by uid."""
    train = load_data(embedded_data(2 * cases, 0), schema).train[:cases]
    return train[schema.text_columns], train[schema.names]


def learners(schema: Schema, recipe: Recipe) -> dict[str, NeuralLearner]:
    """An encoder of which two of six layers learn, and adapters on two of Gemma's 18."""
    gemma = Body("gemma3-270m", top_layers=2, pooling="parts", precision=recipe.precision)
    return {
        "minilm, 2 of 6": NeuralLearner(schema, Body("minilm", top_layers=2, dropout=0.0), recipe=recipe),
        "gemma3-270m, 2 of 18": NeuralLearner(schema, gemma, Lora(16, 32), recipe),
    }


def measure(learner: NeuralLearner, phase: Phase, texts: pd.DataFrame) -> dict[str, float]:
    """Seconds of each way, their ratio, and how far the logits of new cases differ at most."""
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        stored = replace(learner, states=Path(folder))
        pass_seconds, _ = timed(lambda: stored.prepare([texts, phase.texts]))
        cached_seconds, cached = timed(lambda: stored.fit([phase]))
        whole_seconds, whole = timed(lambda: learner.fit([phase]))
        logits = [
            read_logits(m.classifier, m.tokenizer, texts, m.learner.recipe, m.lower) for m in (cached, whole)
        ]
    makes = partial(build, learner.body, learner.lora, learner.schema.width, 0.0, False)
    shared: Shared = {}
    loaded = [timed(partial(makes, shared=on))[0] for on in (None, shared, shared)]
    return {
        "all at every step, s": whole_seconds,
        "over stored states, s": cached_seconds,
        "ratio": whole_seconds / cached_seconds,
        "one pass before, s": pass_seconds,
        "largest difference of logits": float(np.abs(logits[0] - logits[1]).max()),
        "on a base of its own, s": loaded[0],
        "on one in memory, s": loaded[2],
    }


def timed(call) -> tuple[float, object]:
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def main() -> None:
    """Print one table a precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    schema = load_schema(NVDRS)
    texts, labels = made_cases(schema, given.cases + 16)
    phase = Phase(texts[16:], schema.to_targets(labels[16:]), given.epochs)
    for precision in dict.fromkeys([resolved("auto"), "float32"]):
        recipe = Recipe(max_tokens=given.max_tokens, head_start="probe", precision=precision)
        rows = {name: measure(one, phase, texts[:16]) for name, one in learners(schema, recipe).items()}
        show(f"{precision}, {given.cases} cases, {given.epochs} epochs", pd.DataFrame(rows).T)


if __name__ == "__main__":
    main()
