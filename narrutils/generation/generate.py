"""Generated cases: prompts in, chunks of rows out, which survive a killed run.

A chunk is a fixed range of prompt numbers with a seed of its own. It is stored as soon
as it is done, under a key of everything that decides its rows, so a run that was
killed makes the unfinished chunk anew, whole, and ends with the same pool. Chunks are
made here or by several workers, and handed on one at a time, in order: memory does not
grow with the number of rows.
"""

import platform
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from narrutils.data.files import digest
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import Engine, fitting
from narrutils.data.sources import source_digest
from narrutils.data.tables import write_table
from narrutils.errors import InputError
from narrutils.generation.adapters import adapt
from narrutils.generation.chunks import Bar, Chunks
from narrutils.generation.engines import Backend, Sampling
from narrutils.generation.pools import Pool
from narrutils.generation.prompts import Examples
from narrutils.generation.transformers_engine import TransformersBackend
from narrutils.generation.vllm_engine import VllmBackend
from narrutils.generation.writing import Request, Scribe, store
from narrutils.models.backbones import Backbone, resolve
from narrutils.workers import ALONE, Workers, spread


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
        folder = run.path(f"generated/.{pool.pool}").resolve()
        chunks = Chunks(folder, _key(pool, examples, adapters, writer), pool.rows, chunk_size)
        missing = chunks.missing()
        if missing and workers.alone:
            writer.begin()  # and meanwhile read the tokenizer, which tells the form
        request = Request(pool, examples, adapters, writer.form)
        with Bar(chunks, missing) as bar:
            if workers.alone or not missing:
                made = spread(lambda: partial(store, request, writer, chunks, bar), missing, ALONE)
            else:
                shown = cases[schema.text_columns].join(folds.rename("fold")).join(labels[schema.names])
                made = _elsewhere(Scribe(pool, schema, adapters, writer, chunks), shown, missing, workers)
            with closing(made):
                yield from chunks.in_order(made, bar)


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


def _key(pool: Pool, examples: Examples, adapters: dict[int, Path], backend: Backend) -> str:
    """Content key of everything that decides a pool's rows but their number."""
    schema = examples.schema
    asked = {name: value for name, value in vars(pool).items() if name != "rows"}
    codes = examples.labels[schema.names] if pool.labelled else pd.DataFrame()
    adapters = [folder / "key.json" for folder in adapters.values()]
    return digest(
        *(asked | {"adapt": pool.adapt and vars(pool.adapt)}, backend.name, backend.settings),
        *(schema.title, schema.caution, [t.title for t in schema.text], [repr(v) for v in schema.variables]),
        *(examples.parts, examples.uids, codes, *adapters),
        source_digest(__name__, type(backend).__module__),
    )


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
