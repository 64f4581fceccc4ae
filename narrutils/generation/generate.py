"""Generated cases: prompts in, chunks of rows out, which survive a killed run.

A chunk is a fixed range of prompt numbers with a seed of its own. It is stored as soon
as it is done, under a key of everything that decides its rows, so a run that was
killed makes the unfinished chunk anew, whole, and ends with the same pool. Chunks are
made here or by several workers, and handed on one at a time, in order: memory does not
grow with the number of rows.
"""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.files import digest
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import Engine, fitting
from narrutils.data.sources import source_digest
from narrutils.data.tables import read_table, write_table
from narrutils.errors import InputError
from narrutils.generation.adapters import adapt
from narrutils.generation.answers import split_story
from narrutils.generation.chunks import Bar, Chunks
from narrutils.generation.conditioning import draw_labels, rates
from narrutils.generation.engines import Answer, Backend, Sampling
from narrutils.generation.pools import Pool
from narrutils.generation.prompts import Examples, Prompt, few_shot
from narrutils.generation.reference import UNMADE
from narrutils.generation.transformers_engine import TransformersBackend
from narrutils.generation.vllm_engine import VllmBackend
from narrutils.models.backbones import Backbone, resolve
from narrutils.workers import ALONE, Workers, spread

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


def generate_pool(
    run: Run,
    schema: Schema,
    pool: Pool,
    cases: pd.DataFrame,
    folds: pd.Series,
    labels: pd.DataFrame,
    chunk_size: int = 16,
    engine: str = "auto",
    precision: str = "float32",
    workers: Workers = ALONE,
    backend: Backend | None = None,
) -> Iterator[pd.DataFrame]:
    """Make a pool, a chunk at a time; none of its rows is screened yet.

    Adapters are trained first where the pool asks for them. The generator is loaded
    only if a chunk is missing, by each worker for itself, and freed at the end.

    Args:
        cases: the training cases' text columns, indexed by uid.
        folds: fold numbers; labels: given codes; both indexed by uid.
        chunk_size: prompts a chunk: the unit that is stored, and that can be remade.
        engine: see `engines.open_backend`.
        precision: of generator and adapters; a pool's own `engine: {dtype: …}` stands over it.
        workers: who makes missing chunks. Those of other machines must see the run folder, at its path.
        backend: used instead of the pool's backbone behind `engine`.

    Yields:
        Tables of `uid`, the text columns, `pool`, `model`, `backend`, `seed`, `chunk`,
        `seen_folds`, `example_uids`, `finished`, `kept` (false), `reason`, and the
        schema's variables where labels were asked for.
    """
    examples = Examples(cases, folds, schema, labels)
    adapters = _adapters(run, pool, examples, precision)
    with backend or open_backend(engine, resolve(pool.backbone), _sampling(pool, precision)) as writer:
        request = Request(pool, examples, adapters, writer.form)
        folder = run.path(f"generated/.{pool.pool}").resolve()
        chunks = Chunks(folder, _key(request, writer), pool.rows, chunk_size)
        missing = chunks.missing()
        with Bar(chunks, missing) as bar:
            if workers.alone or not missing:
                made = spread(lambda: partial(_store, request, writer, chunks, bar), missing, ALONE)
            else:
                shown = cases[schema.text_columns].join(folds.rename("fold")).join(labels[schema.names])
                made = _elsewhere(Scribe(pool, schema, adapters, writer, chunks), shown, missing, workers)
            with closing(made):
                yield from chunks.in_order(made, bar)


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
        if not self.shown.exists():
            raise InputError(f"{self.shown}: a worker does not see it; its machine must see the run folder")
        cases = read_table(self.shown).set_index("uid")
        folds = cases["fold"].dropna().astype(int)
        examples = Examples(cases, folds, self.schema, cases[self.schema.names])
        request = Request(self.pool, examples, self.adapters, self.backend.form)
        return partial(_store, request, self.backend, self.chunks, None)


def _elsewhere(
    scribe: Scribe, cases: pd.DataFrame, missing: list[int], workers: Workers
) -> Iterator[tuple[int, int]]:
    """The numbers of chunks that workers made, and their tokens; the cases lie there meanwhile."""
    write_table(scribe.shown, cases.rename_axis("uid"), private=True)
    try:
        yield from spread(scribe, missing, workers)
    finally:
        scribe.shown.unlink(missing_ok=True)


def _adapters(run: Run, pool: Pool, examples: Examples, precision: str) -> dict[int, Path]:
    if pool.adapt is None:
        return {}
    name = f"generator_{pool.pool}"
    backbone, adapting = resolve(pool.backbone), pool.adapt
    made = adapt(run, name, backbone, examples, pool.labelled, adapting, precision, pool.seed)
    return {fold: folder.resolve() for fold, folder in made.items()}


def _sampling(pool: Pool, precision: str) -> Sampling:
    """An adapted generator goes on with the document that it learned, whatever it was before."""
    return Sampling(
        max_new_tokens=pool.max_new_tokens,
        temperature=pool.temperature,
        top_p=pool.top_p,
        form="completion" if pool.adapt else pool.form,
        engine=pool.engine,
        lora_rank=pool.adapt.lora_rank if pool.adapt else 0,
        precision=precision,
    )


def _key(request: Request, backend: Backend) -> str:
    """Content key of everything that decides a pool's rows but their number."""
    examples = request.examples
    schema = examples.schema
    pool = {name: value for name, value in vars(request.pool).items() if name != "rows"}
    codes = examples.labels[schema.names] if request.pool.labelled else pd.DataFrame()
    adapters = [folder / "key.json" for folder in request.adapters.values()]
    return digest(
        *(pool | {"adapt": request.pool.adapt and vars(request.pool.adapt)}, backend.name, backend.settings),
        *(schema.title, schema.caution, [t.title for t in schema.text], [repr(v) for v in schema.variables]),
        *(examples.parts, examples.uids, codes, *adapters),
        source_digest(__name__, type(backend).__module__),
    )


def chunk_seed(seed: int, chunk: int) -> int:
    """A seed of its own for every chunk, in 0..2**32-1."""
    return int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0])


def _store(request: Request, backend: Backend, chunks: Chunks, bar: Bar | None, chunk: int) -> int:
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


def has_vllm() -> bool:
    """Whether vLLM is made for this platform: there it belongs to the environment."""
    return sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


def open_backend(name: str, backbone: Backbone, sampling: Sampling) -> Backend:
    """The backend `vllm`, `transformers`, or with `auto` vLLM wherever the platform has it.

    Raises:
        InputError: an unknown name, or vLLM is wanted and not installed.
    """
    if fitting(name, Engine, "backend") == "auto":
        name = "vllm" if has_vllm() else "transformers"
    kind = {"vllm": VllmBackend, "transformers": TransformersBackend}[name]
    if name == "vllm" and find_spec("vllm") is None:
        raise InputError(
            "vLLM is not installed; `make clean-env` and any make command install it, "
            "or choose backend: transformers"
        )
    return kind(backbone, sampling)
