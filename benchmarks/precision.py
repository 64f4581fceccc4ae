"""bfloat16 against float32 on this machine: training, reading, frozen states, generation, in one run.

    python -m benchmarks.precision [--vllm]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.precision    as without AMX, AVX-512

MiniLM trained whole, and LoRA adapters on the first 6 layers of Gemma 3 270M, on a few made cases;
Gemma writes with all its layers. `ratio` is how many times as fast bfloat16 is. What `auto` chooses,
and the probe that it goes by, are told first. Loading is not timed.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pandas as pd
import torch

from narrutils.generation.engines import Sampling, render
from narrutils.generation.generate import open_backend
from narrutils.generation.prompts import Examples
from narrutils.models.backbones import config_of, load_body, load_tokenizer, resolve
from narrutils.models.frozen import Reader
from narrutils.models.learner import Phase
from narrutils.models.precision import fastest, weights_dtype
from narrutils.models.settings import Body, Lora
from narrutils.models.speed import measured, processor
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

from .demo_corpus import show
from .tokens import demo_examples, load, short, timed

RECIPE = Recipe(max_tokens=128, batch_size=8, learning_rate=1e-4)
#: Name -> body, adapters and recipe of a classifier.
CLASSIFIERS = {
    "MiniLM": (Body("minilm", dropout=0.0), Lora(), RECIPE),
    "Gemma 3 270M": (Body("gemma3-270m", layers=6), Lora(16, 32), replace(RECIPE, max_tokens=96)),
}
BOTH = ("float32", "bfloat16")


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", type=int, default=8, help="made cases; frozen states and generation take half as many"
    )
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--vllm", action="store_true", help="its engine too")
    given = parser.parse_args()
    print(f"{processor()}; {measured()} GFLOP/s a thread; auto is {fastest()}", flush=True)
    lines = []
    for line in measure(demo_examples(), given):
        lines.append(line | {"ratio": line["float32"] / line["bfloat16"]})
        print(lines[-1], flush=True)
    table = pd.DataFrame(lines).set_index(["what", "model"])
    show(f"{torch.get_num_threads()} threads, seconds", table.round(2))


def measure(examples: Examples, given: argparse.Namespace) -> Iterator[dict]:
    """All lines: `what`, `model`, and seconds by precision."""
    yield from classifying(examples, given.rows)
    yield from freezing(examples, given.rows // 2)
    for engine in ("transformers", "vllm") if given.vllm else ("transformers",):
        yield generating(examples, engine, given.rows // 2, given.new_tokens)


def classifying(examples: Examples, rows: int) -> Iterator[dict]:
    """A line of training and one of reading for each classifier."""
    texts = cases(examples).head(rows)
    targets = examples.schema.to_targets(examples.labels.loc[texts.index])
    for name, (body, lora, recipe) in CLASSIFIERS.items():
        training, reading = {}, {}
        for each in BOTH:
            learner = NeuralLearner(examples.schema, body, lora, recipe).varied(precision=each)
            model = learner.fit([Phase(texts, targets, 2)], f"{name}, {each}")
            first, second = (epoch["seconds"] for epoch in model.history)
            training[each] = second - first  # the first is with what is made once
            reading[each] = seconds(lambda model=model: model.predict(texts))
        yield {"what": "training", "model": name} | training
        yield {"what": "reading", "model": name} | reading


def freezing(examples: Examples, rows: int) -> Iterator[dict]:
    """A line of frozen states for each backbone, its narratives read whole."""
    texts = cases(examples)
    for name, (body, *_) in CLASSIFIERS.items():
        backbone, line = resolve(body.backbone), {}
        for each in BOTH:
            model = load_body(backbone, weights_dtype(each, config_of(backbone)), layers=body.layers or None)
            reader = Reader(model.eval(), load_tokenizer(backbone), window=126)
            reader.states(texts.tail(1))
            line[each] = seconds(lambda reader=reader: reader.states(texts.head(rows)))
        yield {"what": "frozen states", "model": name} | line


def generating(examples: Examples, engine: str, rows: int, new_tokens: int) -> dict:
    """A line of an engine that goes on with instructions."""
    backbone, line = resolve("gemma3-270m"), {}
    for each in BOTH:
        with open_backend(engine, backbone, Sampling(new_tokens, precision=each)) as backend:
            asked = [render(short(examples, n, backend.form), backend.tokenizer) for n in range(rows)]
            ids = backend.tokenizer(asked)["input_ids"]
            load(backend, ids[0])
            found = timed(backend, [ids])
            line[each] = found["seconds"] / found["new tokens"] * new_tokens  # answers may end before
    return {"what": f"generation, {engine}", "model": "Gemma 3 270M"} | line


def cases(examples: Examples) -> pd.DataFrame:
    """The narratives, indexed by uid."""
    return pd.DataFrame.from_dict(examples.parts, orient="index", columns=examples.schema.text_columns)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
