"""A pool of generated cases as a profile asks for it: who writes, how many, shown what."""

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from narrutils.data.schema import Schema
from narrutils.data.settings import Amount, Count, Fraction, Positive, Seed, Share, Size, checked
from narrutils.errors import InputError, concerning
from narrutils.generation.conditioning import check_floors


@checked
class Adapting:
    """How an adapter is trained. `max_tokens` cuts a case's end; `learning_rate` is the peak."""

    lora_rank: Size = 16
    lora_alpha: Size = 32
    epochs: Size = 3
    learning_rate: Positive = 5e-4
    batch_size: Size = 4
    warmup: Fraction = 0.1  # share of all steps
    max_tokens: Size = 1024


def _adapting(given: object) -> object:
    return Adapting(**given) if isinstance(given, Mapping) else given


@checked
class Pool:
    """One pool.

    Args:
        pool: its name, that of its file and the beginning of its uids.
        backbone: who writes.
        rows: how many cases.
        seed: of examples, requested labels and sampling.
        labelled: whether cases of drawn labels are asked for.
        floor: least rate at which a binary label is asked for; `floors` holds those that differ.
        adapt: settings of LoRA adapters that the model first learns, one on each fold's
            narratives; None leaves it as it is.
        max_examples, max_words: cases in a prompt, and words of it; its first case is cut to so many.
        max_new_tokens: the longest answer; of a completion, the longest part.
        temperature, top_p: None keeps the model's own.
        engine: settings of vLLM, such as `tensor_parallel_size` or `quantization`.
    """

    pool: str
    backbone: str
    rows: Size
    seed: Seed
    labelled: bool = False
    floor: Share = 0.2
    floors: dict[str, Share] = field(default_factory=dict)
    adapt: Annotated[Adapting | None, BeforeValidator(_adapting)] = None
    max_examples: Count = 7
    max_words: Size = 2000
    max_new_tokens: Size = 3000
    temperature: Amount | None = None
    top_p: Share | None = None
    form: Literal["", "chat", "completion"] = ""  # empty: chat if the model has a chat template
    engine: dict = field(default_factory=dict)

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", self.pool):
            raise InputError("a pool's name takes letters, digits, _ and -")
        if self.form == "chat" and self.adapt is not None:
            raise InputError("an adapted generator writes completions; leave form out")
        if not self.max_examples and self.adapt is None:
            raise InputError("max_examples 0 needs a generator that was adapted; give adapt")


def read_pools(entries: list[Mapping], schema: Schema, cycle: int = 0, **defaults: object) -> list[Pool]:
    """The pools that a profile names.

    Args:
        entries: one mapping a pool; `pool`, `backbone`, `rows` and `seed` must be there.
        cycle: number of the run in a series; later ones get names and seeds of their own.
        defaults: values for what an entry leaves out.

    Raises:
        InputError: a key is unknown or missing, a value does not fit, or a name stands twice.
    """
    pools = [_pool(defaults | dict(entry), schema) for entry in entries]
    names = [p.pool for p in pools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"pools: {twice} stands twice; every pool needs a name of its own")
    return [_of_cycle(p, cycle) for p in pools] if cycle else pools


def _of_cycle(pool: Pool, cycle: int) -> Pool:
    seed = int(np.random.SeedSequence([pool.seed, cycle]).generate_state(1)[0])
    return replace(pool, pool=f"{pool.pool}_c{cycle}", seed=seed)


def _pool(entry: dict, schema: Schema) -> Pool:
    with concerning(f"pools: {entry.get('pool') or 'an entry'}"):
        pool = Pool(**entry)
        check_floors(schema, pool.floors)
    return pool
