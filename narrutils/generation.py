"""Generated cases: prompts in, a pool of rows out, in chunks that survive a killed run.

A chunk is a fixed range of prompt numbers with a seed of its own. It is stored as soon
as it is done, under a key of everything that decides its rows, so a run that was
killed goes on with the next chunk and ends with the same pool.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils import backends, prompts
from narrutils.artifacts import Run, digest, read_table, write_table
from narrutils.backbones import resolve
from narrutils.backends import Backend, TransformersBackend
from narrutils.prompts import Prompt, few_shot, split_story
from narrutils.schema import Schema

#: What `kept` being false means until `screening` has looked at a row.
UNSCREENED = "not screened"


def generate_pool(
    run: Run,
    schema: Schema,
    pool: str,
    backbone_name: str,
    cases: pd.DataFrame,
    folds: pd.Series,
    rows: int,
    seed: int,
    chunk_size: int = 16,
    max_examples: int = 7,
    max_words: int = 2000,
    backend: Backend | None = None,
    **settings,
) -> pd.DataFrame:
    """Write `generated/<pool>.parquet`: `rows` generated cases, none of them screened yet.

    Prompt i shows cases of fold i mod K only, so every fold gets an equal share.

    Args:
        cases: the training cases' text columns, indexed by uid.
        folds: fold numbers, indexed by uid.
        chunk_size: prompts a chunk: the unit that is stored, and that can be remade.
        backend: instead of transformers with `backbone_name`; `settings` go to the latter.

    Returns:
        The table that was written: `uid`, the text columns, `pool`, `model`, `backend`,
        `seed`, `chunk`, `seen_folds`, `example_uids`, `kept` (false), `reason`.
    """
    backend = backend or TransformersBackend(resolve(backbone_name), **settings)
    texts, progress = cases[schema.text_columns].sort_index(), Progress(pool, rows)
    limits = {"seed": seed, "max_examples": max_examples, "max_words": max_words}
    key = _key(schema, pool, backbone_name, backend, limits, texts, folds)
    numbers = sorted(folds.unique().tolist())

    def make(wanted: range, chunk: int) -> pd.DataFrame:
        shown = [(i, numbers[i % len(numbers)]) for i in wanted]
        asked = [few_shot(texts, folds, k, schema, index=i, form=backend.form, **limits) for i, k in shown]
        answers = backend.generate(asked, chunk_seed(seed, chunk))
        progress.tokens += backend.count_tokens(answers)
        table = _table(schema, pool, wanted, asked, answers)
        return table.assign(model=backbone_name, backend=backend.name, seed=seed, chunk=chunk)

    chunks = []
    for chunk, start in enumerate(range(0, rows, chunk_size)):
        wanted = range(start, min(start + chunk_size, rows))
        name = f"generated/.{pool}/chunk{chunk:05d}-{digest(key, list(wanted))}.parquet"
        chunks.append(_stored(run.path(name), partial(make, wanted, chunk), progress, len(wanted)))
    order = ["uid", *schema.text_columns, "pool", "model", "backend", "seed", "chunk"]
    table = pd.concat(chunks, ignore_index=True)[[*order, "seen_folds", "example_uids", "kept", "reason"]]
    run.write(f"generated/{pool}.parquet", table)
    return table


def _key(
    schema: Schema,
    pool: str,
    model: str,
    backend: Backend,
    limits: dict,
    texts: pd.DataFrame,
    folds: pd.Series,
) -> str:
    """Content key of everything that decides a pool's rows."""
    return digest(
        *(pool, model, backend.name, backend.settings, limits),
        *(schema.title, schema.caution, [t.title for t in schema.text]),
        *(texts, folds.sort_index().to_frame("fold")),
        *(Path(module) for module in (backends.__file__, prompts.__file__, __file__)),
    )


def chunk_seed(seed: int, chunk: int) -> int:
    """A seed of its own for every chunk, in 0..2**32-1."""
    return int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0])


def _stored(path: Path, make, progress: "Progress", rows: int) -> pd.DataFrame:
    """The chunk at `path`, made if it is not there; chunks of an older key give way to it."""
    if path.exists():
        progress.found(rows)
        return read_table(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    table = make()
    for stale in path.parent.glob(f"{path.name.split('-')[0]}-*.parquet"):
        stale.unlink()
    write_table(path, table, private=True)
    progress.made(rows)
    return read_table(path)


def _table(
    schema: Schema, pool: str, numbers: range, asked: list[Prompt], answers: list[str]
) -> pd.DataFrame:
    rows = []
    for number, prompt, answer in zip(numbers, asked, answers, strict=True):
        rows.append(
            {
                "uid": f"{pool}-{number:06d}",
                **split_story(answer, schema, prompt.form),
                "pool": pool,
                "seen_folds": list(prompt.seen_folds),
                "example_uids": list(prompt.example_uids),
                "kept": False,
                "reason": UNSCREENED,
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(schema.text_columns, "string"))


class Progress:
    """Plain lines of how far a pool is: papermill forwards them, and a log keeps them readable."""

    def __init__(self, pool: str, rows: int):
        self.pool, self.rows = pool, rows
        self.done = self.fresh = self.tokens = 0
        self.start = time.monotonic()

    def found(self, rows: int) -> None:
        self.done += rows
        print(f"{self.pool}: {self.done}/{self.rows} rows, stored by an earlier run", flush=True)

    def made(self, rows: int) -> None:
        self.done += rows
        self.fresh += rows
        spent = time.monotonic() - self.start
        left = (self.rows - self.done) * spent / self.fresh
        speed = self.tokens / max(spent, 1e-9)
        print(
            f"{self.pool}: {self.done}/{self.rows} rows, {speed:.0f} tokens/s, about {left:.0f} s left",
            flush=True,
        )
