"""What makes a pool's chunks, here or in a worker: a row's prompt, its answer, a chunk's file."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import read_table, write_table
from narrutils.errors import InputError
from narrutils.generation.answers import UNMADE, split_story
from narrutils.generation.chunks import Bar, Chunks
from narrutils.generation.conditioning import draw_labels, rates
from narrutils.generation.engines import Answer, Backend
from narrutils.generation.pools import Pool
from narrutils.generation.prompts import Examples, Prompt, few_shot

#: What `kept` being false means until `screening` has looked at a row.
UNSCREENED = "not screened"
#: What stands for the prompt of a row where no case can be shown.
NOTHING_SHOWN = Prompt("", (), ())


@dataclass(frozen=True)
class Request:
    """What decides a pool's prompts: number i shows cases of fold i mod K only.

    Args:
        adapters: fold -> folder of the adapter that learned from it; empty without.
        form: that of the backend.
    """

    pool: Pool
    examples: Examples
    adapters: Mapping[int, Path]
    form: str

    def prompt(self, number: int, max_words: int | None = None) -> Prompt | None:
        """The prompt of a row, in the pool's words or in so many; None where no case can be shown."""
        pool, folds = self.pool, sorted(self.examples.uids)
        if not folds:
            return None
        fold = folds[number % len(folds)]
        prompt = few_shot(
            self.examples,
            fold,
            pool.seed,
            number,
            form=self.form,
            max_examples=pool.max_examples,
            max_words=max_words or pool.max_words,
            requested=self._labels(fold, number) if pool.labelled else None,
        )
        if not self.adapters:
            return prompt
        return replace(prompt, adapter=str(self.adapters[fold]))

    @cached_property
    def rates(self) -> dict[int, dict[str, float]]:
        """Rate of each binary variable among the cases of each fold that may be shown."""
        own, labels = self.examples, self.examples.labels
        return {fold: rates(own.schema, labels.loc[own.of(fold)]) for fold in own.uids}

    def _labels(self, fold: int, number: int) -> dict[str, int]:
        """Labels to ask for, at the rates of the prompt's own fold: other folds stay unseen."""
        schema, pool = self.examples.schema, self.pool
        rng = np.random.default_rng([pool.seed, number, 2])
        return draw_labels(schema, self.rates[fold], rng, pool.floor, pool.floors)


@dataclass(frozen=True)
class Scribe:
    """What a worker is told to make chunks; the cases that prompts show lie in a file beside the chunks."""

    pool: Pool
    schema: Schema
    adapters: Mapping[int, Path]
    backend: Backend
    chunks: Chunks

    @property
    def shown(self) -> Path:
        return self.chunks.folder / "shown.parquet"

    def __call__(self) -> Callable[[int], int]:
        model = self.backend.backbone
        if model.kind != "hub" and not Path(model.path_or_id).is_dir():
            raise InputError(
                f"{model.path_or_id}: a worker on {platform.node()} does not see the model {model.name}; let "
                "NARRUTILS_CACHE, or the pool's backbone, name a folder that all machines see"
            )
        if not self.shown.exists():
            raise InputError(f"{self.shown}: a worker does not see it; its machine must see the run folder")
        cases = read_table(self.shown).set_index("uid")
        folds = cases["fold"].dropna().astype(int)
        examples = Examples(cases, folds, self.schema, cases[self.schema.names])
        request = Request(self.pool, examples, self.adapters, self.backend.form)
        return partial(store, request, self.backend, self.chunks, None)


def chunk_seed(seed: int, chunk: int) -> int:
    """A seed of its own for every chunk, in 0..2**32-1."""
    return int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0])


def store(request: Request, backend: Backend, chunks: Chunks, bar: Bar | None, chunk: int) -> int:
    """Make a chunk and store it; the tokens that it took. The bar moves while its rows are written."""
    backend.watch = bar.during(chunk) if bar else Backend.watch
    table, tokens = _make(request, backend, chunks.numbers(chunk), chunk)
    write_table(chunks.path(chunk), table, private=True)
    return tokens


def _make(request: Request, backend: Backend, numbers: range, chunk: int) -> tuple[pd.DataFrame, int]:
    """The rows of a chunk, and the tokens that they took."""
    pool = request.pool
    prompts = {number: _fitting(request, backend, number) for number in numbers}
    asked = [prompt for prompt in prompts.values() if prompt]
    written = iter(backend.generate(asked, chunk_seed(pool.seed, chunk)) if asked else [])
    answers = {number: next(written) if prompt else None for number, prompt in prompts.items()}
    rows = [_row(request, number, prompts[number], answer) for number, answer in answers.items()]
    about = {"model": pool.backbone, "backend": backend.name, "seed": pool.seed, "chunk": chunk}
    texts = dict.fromkeys(request.examples.schema.text_columns, "string")
    table = pd.DataFrame(rows).astype(texts).assign(**about)
    return table[_columns(request)], sum(answer.tokens for answer in answers.values() if answer)


def _fitting(request: Request, backend: Backend, number: int) -> Prompt | None:
    """The prompt of a row, its cases shortened until the model's window holds it; None if it never does."""
    words = request.pool.max_words
    while words:
        prompt = request.prompt(number, words)
        filled = backend.filled(prompt) if prompt else 0.0
        if filled <= 1:
            return prompt
        words = min(int(words / filled), words - 1)
    return None


def _columns(request: Request) -> list[str]:
    schema = request.examples.schema
    order = ["uid", *schema.text_columns, "pool", "model", "backend", "seed", "chunk", "seen_folds"]
    order += ["example_uids", "finished", "kept", "reason"]
    return [*order, *(schema.names if request.pool.labelled else [])]


def _row(request: Request, number: int, prompt: Prompt | None, answer: Answer | None) -> dict:
    """A row as it was answered; without an answer it holds what was asked, and why it was not written."""
    schema, reason = request.examples.schema, UNSCREENED
    if answer is None:
        prompt = request.prompt(number, 1)
        why = "the model's window is too short for its prompt" if prompt else "no case has all its narratives"
        reason, prompt = UNMADE + why, prompt or NOTHING_SHOWN
    texts = split_story(answer.text, schema, prompt.form) if answer else dict.fromkeys(schema.text_columns)
    asked = prompt.requested or (dict.fromkeys(schema.names) if request.pool.labelled else {})
    return {
        "uid": f"{request.pool.pool}-{number:06d}",
        **texts,
        "pool": request.pool.pool,
        "seen_folds": list(prompt.seen_folds),
        "example_uids": list(prompt.example_uids),
        "finished": answer is not None and answer.finished,
        "kept": False,
        "reason": reason,
        **asked,
    }
