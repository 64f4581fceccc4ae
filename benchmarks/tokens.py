"""Tokens per second of vLLM, of transformers in batches, and of `generate` for one row at a time.

    python -m benchmarks.tokens [--models smollm2-135m gemma3-270m] [--rows 64] [--new-tokens 128]

Each engine gets the same prompts and samples as the model's own settings say: short ones,
an instruction of about 50 words, and long ones of about 2,000 words, made of demo cases as
pools are. A chat model gets its template, any other a text to go on with. No text stops an
answer, so that it is as long as was asked unless the model ends it; tokens are counted as
they came.

`tokens/s` are new tokens, over the time for reading the prompts and writing the answers.
`loading` is the time to the first 8 tokens of a fresh engine, and is not part of it; in
transformers, the batches and the single rows are the same loaded model. `x alone` is the
ratio to one row at a time, at the same prompts in the same run. One row at a time is
measured on the first few prompts only.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import pandas as pd

from narrutils.data.cases import embedded_data, load_data
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.generation.conditioning import sentences
from narrutils.generation.engines import Backend, Sampling, render
from narrutils.generation.generate import open_backend
from narrutils.generation.prompts import Examples, Prompt, few_shot
from narrutils.models.backbones import resolve
from narrutils.models.precision import fastest

from .demo_corpus import show

ENGINES = ("transformers", "vllm")
INSTRUCTION = (
    "Write one paragraph of an invented case-file abstract, in the factual and neutral tone of an official "
    "record. This holds of it: {} Give the paragraph alone, without a title."
)


def main() -> None:
    """Time every engine on both kinds of prompt and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["smollm2-135m"], help="also gemma3-270m")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--rows", type=int, default=64, help="short prompts")
    parser.add_argument("--long-rows", type=int, default=8, help="long prompts")
    parser.add_argument("--alone", type=int, default=4, help="prompts for one row at a time, at most")
    parser.add_argument("--words", type=int, default=2000, help="of a long prompt, at most")
    parser.add_argument("--new-tokens", type=int, default=128)
    given = parser.parse_args()
    examples, lines = demo_examples(), []
    for model in given.models:
        for engine in given.engines:
            sampling = Sampling(max_new_tokens=given.new_tokens, precision=fastest())
            with open_backend(engine, resolve(model), sampling) as backend:
                asked = {
                    "short": [short(examples, n, backend.form) for n in range(given.rows)],
                    "long": long(examples, given.long_rows, backend.form, given.words),
                }
                lines += measure(backend, asked, given.alone)
    table = (
        pd.DataFrame(lines)
        .set_index(["model", "prompt", "engine"])
        .sort_index(level=[0, 1], sort_remaining=False)
    )
    show(f"{given.new_tokens} new tokens a row", against_alone(table))


def demo_examples() -> Examples:
    """The training cases of the demo, with their labels."""
    schema = load_schema("params/schemas/nvdrs.yaml")
    cases = load_data(embedded_data(450, 0), schema).train
    labels = cases[schema.names].astype(int)
    return Examples(cases, draw_folds(schema, labels, 3, seed=0), schema, labels)


def short(examples: Examples, number: int, form: str) -> Prompt:
    """An instruction that holds one sentence of a training case's labels."""
    rng = np.random.default_rng(number)
    uid = rng.choice(examples.labels.index)
    told = INSTRUCTION.format(sentences(examples.schema, examples.labels.loc[uid], rng)[0])
    if form == "chat":
        return Prompt("chat", (), (), messages=({"role": "user", "content": told},))
    return Prompt("completion", (), (), text=f"{told}\n\n")


def long(examples: Examples, rows: int, form: str, words: int) -> list[Prompt]:
    """Few-shot prompts of at most `words`; of 8 times as many as are wanted, the longest."""
    folds = sorted(examples.uids)
    drawn = [
        few_shot(examples, folds[n % len(folds)], 0, n, form, max_examples=99, max_words=words)
        for n in range(8 * rows)
    ]
    return sorted(drawn, key=lambda p: len(str(p.messages or p.text).split()), reverse=True)[:rows]


def measure(backend: Backend, asked: dict[str, list[Prompt]], alone: int) -> list[dict]:
    """A line for each kind of prompt and each way of calling the engine."""
    told = {kind: [render(p, backend.tokenizer) for p in prompts] for kind, prompts in asked.items()}
    chat = backend.form == "chat"  # a template writes its own special tokens
    ids = {
        kind: backend.tokenizer(texts, add_special_tokens=not chat)["input_ids"]
        for kind, texts in told.items()
    }
    loading = load(backend, ids["short"][0])
    lines = []
    for kind in asked:
        words = [len(text.split()) for text in told[kind]]
        for engine, lots in ways(backend, ids[kind], alone).items():
            rows = sum(map(len, lots))
            line = {"model": backend.backbone.name, "prompt": kind, "engine": engine, "rows": rows}
            line |= {"words": np.mean(words[:rows]).round()}
            line |= {"prompt tokens": np.mean([len(row) for row in ids[kind][:rows]]).round()}
            lines.append(line | timed(backend, lots) | {"loading": loading})
    return lines


def ways(backend: Backend, ids: list[list[int]], alone: int) -> dict[str, list[list[list[int]]]]:
    """The calls of `sample` that are timed together, by the name of the engine."""
    if backend.name == "transformers":
        return {"one at a time": [[row] for row in ids[:alone]], "transformers": [ids]}
    return {backend.name: [ids]}


def load(backend: Backend, row: list[int]) -> float:
    """Seconds until a fresh engine has given 8 tokens; what is timed later is then warm."""
    wanted, start = backend.sampling, time.perf_counter()
    backend.sampling = replace(wanted, max_new_tokens=8)
    backend.sample([row], [0], (), [""])
    backend.sampling = wanted
    return time.perf_counter() - start


def timed(backend: Backend, lots: list[list[list[int]]]) -> dict:
    """New tokens a row, seconds, and tokens per second of all calls together."""
    backend.forget()
    start, answers = time.perf_counter(), []
    for lot in lots:
        answers += backend.sample(lot, list(range(len(lot))), (), [""] * len(lot))
    seconds, tokens = time.perf_counter() - start, sum(a.tokens for a in answers)
    return {"new tokens": round(tokens / len(answers), 1), "seconds": seconds, "tokens/s": tokens / seconds}


def against_alone(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each speed as a multiple of one row at a time, where that was measured."""
    speed = table["tokens/s"]
    alone = speed.xs("one at a time", level="engine") if "one at a time" in speed.index.levels[2] else None
    if alone is not None:
        table["x alone"] = speed / alone.reindex(speed.index.droplevel("engine")).to_numpy()
    return table.round({"seconds": 1, "tokens/s": 1, "x alone": 1, "loading": 1})


if __name__ == "__main__":
    main()
