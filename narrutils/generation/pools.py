"""A pool of generated cases as a profile asks for it: who writes, how many, shown what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

from narrutils.data.schema import Schema
from narrutils.data.values import Parameter, coerce
from narrutils.errors import InputError, did_you_mean
from narrutils.generation.conditioning import check_floors
from narrutils.generation.prompts import FORMS


@dataclass(frozen=True)
class Adapting:
    """How an adapter is trained. `max_tokens` cuts a case's end; `learning_rate` is the peak."""

    rank: int = 16
    alpha: int = 32
    epochs: int = 3
    learning_rate: float = 5e-4
    batch_size: int = 4
    warmup: float = 0.1  # share of all steps
    max_tokens: int = 1024

    @classmethod
    def read(cls, given: Mapping, where: str) -> "Adapting":
        """From a profile's mapping; {} takes every default.

        Raises:
            InputError: a name is unknown, or a value does not fit.
        """
        known = {f.name: f.type.__name__ for f in fields(cls)}
        if not isinstance(given, Mapping) or set(given) - set(known):
            raise InputError(f"{where}: adapt takes {', '.join(known)}; got {given!r}")
        try:
            adapting = cls(**{n: coerce(value, Parameter(n, None, known[n])) for n, value in given.items()})
        except TypeError:
            raise InputError(f"{where}: a value of adapt does not fit; got {dict(given)!r}") from None
        for name, value in vars(adapting).items():
            if value < 0 or (value == 0 and name != "warmup"):
                raise InputError(f"{where}: {name} of adapt is {value}; it must be above 0")
        return adapting


@dataclass(frozen=True)
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
        max_examples, max_words: cases in a prompt, and words of it, its first case always kept.
        max_new_tokens: the longest answer; of a completion, the longest part.
        temperature, top_p: None keeps the model's own.
        form: `chat` or `completion`; empty: chat if the model has a chat template.
        engine: settings of vLLM, such as `tensor_parallel_size` or `quantization`.
    """

    pool: str
    backbone: str
    rows: int
    seed: int
    labelled: bool = False
    floor: float = 0.2
    floors: dict[str, float] = field(default_factory=dict)
    adapt: Adapting | None = None
    max_examples: int = 7
    max_words: int = 2000
    max_new_tokens: int = 3000
    temperature: float | None = None
    top_p: float | None = None
    form: str = ""
    engine: dict = field(default_factory=dict)


def read_pools(entries: list[Mapping], schema: Schema, cycle: int = 0, **defaults: object) -> list[Pool]:
    """The pools that a profile names.

    Args:
        entries: one mapping a pool; `pool`, `backbone`, `rows` and `seed` must be there.
        cycle: number of the run in a series; later ones get names and seeds of their own.
        defaults: values for what an entry leaves out.

    Raises:
        InputError: a key is unknown or missing, a value does not fit, or a name stands twice.
    """
    pools = [_pool(dict(defaults) | dict(entry), schema) for entry in entries]
    names = [p.pool for p in pools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"pools: {twice} stands twice; every pool needs a name of its own")
    return [_of_cycle(p, cycle) for p in pools] if cycle else pools


def _of_cycle(pool: Pool, cycle: int) -> Pool:
    seed = int(np.random.SeedSequence([pool.seed, cycle]).generate_state(1)[0])
    return replace(pool, pool=f"{pool.pool}_c{cycle}", seed=seed)


def _pool(entry: dict, schema: Schema) -> Pool:
    known = [f.name for f in fields(Pool)]
    name = entry.get("pool", "")
    where = f"pools: {name or 'an entry'}"
    for key in entry:
        if key not in known:
            mend = did_you_mean(key, known, f"a pool takes {', '.join(known)}")
            raise InputError(f"{where}: unknown name {key}; {mend}")
    missing = [key for key in ("pool", "backbone", "rows", "seed") if key not in entry]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} must be given")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", str(name)):
        raise InputError(f"{where}: a pool's name takes letters, digits, _ and -")
    entry = {key: _fitting(key, value, where) for key, value in entry.items()}
    for key, least in {"rows": 1, "seed": 0, "max_examples": 0, "max_words": 1, "max_new_tokens": 1}.items():
        if key in entry and (type(entry[key]) is not int or entry[key] < least):
            raise InputError(f"{where}: {key} is {entry[key]!r}; it takes a whole number, {least} or more")
    if entry.get("adapt") is not None:
        entry["adapt"] = Adapting.read(entry["adapt"], where)
    pool = Pool(**entry)
    check_floors(schema, pool.floor, pool.floors)
    if pool.form not in ("", *FORMS):
        raise InputError(f"{where}: form is {pool.form!r}; it takes {' or '.join(FORMS)}")
    if pool.form == "chat" and pool.adapt is not None:
        raise InputError(f"{where}: an adapted generator writes completions; leave form out")
    if not pool.max_examples and pool.adapt is None:
        raise InputError(f"{where}: max_examples 0 needs a generator that was adapted; give adapt")
    return pool


def _fitting(key: str, value: object, where: str) -> object:
    """The value as the field's type; `adapt` has a reader of its own, and whole numbers a range."""
    kind = next(f.type for f in fields(Pool) if f.name == key)
    if kind is int or key == "adapt":
        return value
    kind = kind.__name__ if isinstance(kind, type) else str(kind)
    try:
        return coerce(value, Parameter(key, None, kind))
    except TypeError:
        raise InputError(f"{where}: {key} is {value!r}; it takes {kind}") from None
