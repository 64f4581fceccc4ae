"""Tokens per second of vLLM on a CPU: alone, and beside another process that computes, in one run.

    python -m benchmarks.shared_machine [--models smollm2-135m] [--rows 16] [--new-tokens 64]

Two engines hold the same model: `before` has OpenMP's threads as libgomp has them when it is left
alone, `now` as `vllm_engine` sets them. They are asked by turns, so that what else happens on
the machine meets both, and a figure is the median of its rounds. `spinning` is a process that
counts for ever on one thread, `training` one that trains a small network with torch on all cores;
neither is bound to a core. `ratio` is to `before` alone. `same texts` says whether an engine said
the same every time. Run it with nothing beside it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from narrutils.generation.engines import Answer, Sampling
from narrutils.generation.vllm_engine import VllmBackend, openmp
from narrutils.models.backbones import resolve
from narrutils.paths import environment

from .demo_corpus import show

#: What libgomp takes where nothing is set, and what the backend sets.
ENGINES = {"before": {"GOMP_SPINCOUNT": "300000", "OMP_PROC_BIND": "false"}, "now": openmp()}
BUSY = {
    "spinning": "while True: pass",
    "training": """
import torch
net = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 512))
step, rows = torch.optim.SGD(net.parameters(), 1e-3), torch.randn(256, 512)
while True:
    step.zero_grad()
    (net(rows) - rows).square().mean().backward()
    step.step()
""",
}


def main() -> None:
    """Print one table a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["smollm2-135m"], help="also gemma3-270m")
    parser.add_argument("--busy", nargs="+", choices=BUSY, default=["spinning"])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="of each engine, alone and beside a process")
    given = parser.parse_args()
    for model in given.models:
        title = f"{model}, {given.rows} rows of {given.new_tokens} new tokens, {os.cpu_count()} cores"
        show(title, measure(model, given.busy, given.rows, given.new_tokens, given.rounds))


def measure(model: str, busy: list[str], rows: int, new_tokens: int, rounds: int) -> pd.DataFrame:
    """Tokens per second of each engine in each company."""
    sampling = Sampling(max_new_tokens=new_tokens, temperature=1.0, engine={"max_model_len": 1024})
    engines = {name: VllmBackend(resolve(model), sampling) for name in ENGINES}
    with engines["before"], engines["now"]:
        texts = [f"Report {n} of the office says that" for n in range(rows)]
        asked = engines["before"].tokenizer(texts)["input_ids"]
        lines = []
        for name, engine in engines.items():
            with environment(ENGINES[name]):  # read by the process that the first call starts
                lines.append({"beside": "starting", "engine": name} | timed(engine, asked))
        lines += in_turn(engines, asked, "nothing", rounds)
        for kind in busy:
            with computing(BUSY[kind]):
                lines += in_turn(engines, asked, kind, rounds)
    return summary(pd.DataFrame(lines))


def in_turn(engines: dict[str, VllmBackend], asked: list[list[int]], kind: str, rounds: int) -> list[dict]:
    """A line a call."""
    turns = list(engines.items()) * rounds
    return [{"beside": kind, "engine": name} | timed(engine, asked) for name, engine in turns]


def timed(engine: VllmBackend, asked: list[list[int]]) -> dict[str, object]:
    """New tokens per second over the whole call, and what was said."""
    engine.forget()
    start = time.perf_counter()
    answers: list[Answer] = engine.sample(asked, list(range(len(asked))), (), [""] * len(asked))
    seconds = time.perf_counter() - start
    return {"tokens/s": sum(a.tokens for a in answers) / seconds, "said": tuple(a.text for a in answers)}


def summary(lines: pd.DataFrame) -> pd.DataFrame:
    """Medians, their ratio to `before` alone, and whether an engine's texts were always the same."""
    same = lines.groupby("engine")["said"].nunique() == 1
    lines = lines[lines["beside"] != "starting"]
    table = lines.groupby(["beside", "engine"], sort=False)[["tokens/s"]].median()
    table["ratio"] = table["tokens/s"] / table.loc[("nothing", "before"), "tokens/s"]
    return table.assign(**{"same texts": same.reindex(table.index, level="engine")})


@contextmanager
def computing(code: str) -> Iterator[None]:
    """A process that computes for the length of the block."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(5)  # until it has imported what it needs
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
