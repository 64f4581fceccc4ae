"""Narratives to token ids: every part of a case, and the end-of-sequence token, kept.

A case is `start + LE + separator + CME + end`. The end token is always the last
real token, however long the case: the author's truncation cut it off and then
pooled whatever stood last. torch and transformers are loaded where they are needed: an export reads
without them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from narrutils.errors import InputError
from narrutils.models.learner import BLOCK
from narrutils.models.settings import Reading

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


#: Of each tokenizer, narratives -> token ids, and of how many at most beside those that are just asked for.
_KNOWN: WeakKeyDictionary["PreTrainedTokenizerBase", dict[str, np.ndarray]] = WeakKeyDictionary()
MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Encoded:
    """Token ids of each case, whether it had to be shortened, and where each narrative begins and ends."""

    ids: list[list[int]]
    cut: list[bool]
    spans: list[list[tuple[int, int]]]

    @property
    def share_cut(self) -> float:
        """Share of cases that were shortened, in [0, 1]."""
        return sum(self.cut) / max(len(self.cut), 1)


def encode(
    texts: pd.DataFrame,
    tokenizer: "PreTrainedTokenizerBase",
    max_tokens: int,
    truncation: str = "balanced",
    repair: bool = False,
) -> Encoded:
    """Tokenise every case to at most `max_tokens` ids, start, separators and end included.

    Args:
        texts: one column a narrative.
        truncation: `balanced` shortens the longest narratives first, until all fit;
            `right`, the author's, keeps the first tokens of the joined case.
        repair: put the space that is missing after a full stop (`repair_periods`).

    Raises:
        InputError: too few tokens for one of each narrative.
    """
    start, separator, end = special_ids(tokenizer)
    room = max_tokens - len(start) - len(end) - len(separator) * (texts.shape[1] - 1)
    if room < texts.shape[1]:
        raise InputError(
            f"max_tokens is {max_tokens}; at least {max_tokens - room + texts.shape[1]} are needed"
        )
    columns = [token_ids(texts[name], tokenizer, repair) for name in texts.columns]
    ids, cut, spans = [], [], []
    for parts in zip(*columns):
        kept = _fit(parts, room, truncation)
        ids.append(start + _join(kept, separator) + end)
        cut.append(sum(map(len, parts)) > room)
        spans.append(_spans(kept, len(start), len(separator)))
    return Encoded(ids, cut, spans)


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int], list[int]]:
    """Start, separator and end ids: `[CLS] … [SEP] … [SEP]`, or `<bos> … newline … <eos>`."""
    start = [t for t in (tokenizer.cls_token_id, tokenizer.bos_token_id) if t is not None][:1]
    if tokenizer.sep_token_id is not None and tokenizer.cls_token_id is not None:
        return start, [tokenizer.sep_token_id], [tokenizer.sep_token_id]
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer of {tokenizer.name_or_path} has no end-of-sequence token to pool")
    return start, tokenizer("\n", add_special_tokens=False)["input_ids"], [tokenizer.eos_token_id]


def balanced_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens each part keeps: one common cap, as high as `room` allows.

    >>> balanced_lengths([300, 40], 100)
    [60, 40]
    """
    kept, left = [0] * len(lengths), room
    for waiting, n in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        # The shortest part first: what it does not need goes to the longer ones.
        kept[n] = min(lengths[n], left // (len(lengths) - waiting))
        left -= kept[n]
    return kept


def token_ids(
    narratives: pd.Series, tokenizer: "PreTrainedTokenizerBase", repair: bool = False
) -> list[list[int]]:
    """Token ids of each narrative, whole and without special tokens.

    The last ones of a process are known again: each training of a run shows and reads the same cases.
    """
    told = (narratives.map(repair_periods) if repair else narratives).tolist()
    known = _KNOWN.setdefault(tokenizer, {})
    ids = {text: known.get(text) for text in told}
    new = [text for text, found in ids.items() if found is None]
    if new:
        # verbose=False: whoever asks shortens over-long narratives, no warning is due.
        made = tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
        ids |= {text: np.array(found, dtype=np.int32) for text, found in zip(new, made, strict=True)}
        if len(known) > MOST_KNOWN:
            known.clear()
        known |= ids
    return [ids[text].tolist() for text in told]


def _fit(parts: Sequence[list[int]], room: int, truncation: str) -> list[list[int]]:
    if truncation == "balanced":
        return [part[:n] for part, n in zip(parts, balanced_lengths([len(p) for p in parts], room))]
    kept = []
    for part in parts:
        kept.append(part[:room])
        room -= len(kept[-1])
    return kept


def _join(parts: Sequence[list[int]], separator: list[int]) -> list[int]:
    joined = list(parts[0])
    for part in parts[1:]:
        joined += separator + part
    return joined


def _spans(parts: Sequence[list[int]], start: int, gap: int) -> list[tuple[int, int]]:
    """First and last-plus-one position of each part, the first at `start`, `gap` tokens between them."""
    spans = []
    for part in parts:
        spans.append((start, start + len(part)))
        start += len(part) + gap
    return spans


def pad(ids: Sequence[list[int]], pad_id: int) -> "dict[str, Tensor]":
    """The tensors of `padded`."""
    import torch

    return {name: torch.from_numpy(values) for name, values in padded(ids, pad_id).items()}


def padded(ids: Sequence[list[int]], pad_id: int) -> dict[str, np.ndarray]:
    """Right-padded `input_ids` and `attention_mask`, each `[batch, longest]`.

    The mask is made from lengths, never from `pad_id`, which may be a real token.
    """
    longest = max(map(len, ids))
    return {
        "input_ids": np.array([row + [pad_id] * (longest - len(row)) for row in ids], dtype=np.int64),
        "attention_mask": masks([[(0, len(row))] for row in ids], longest)[:, 0],
    }


def masks(spans: Sequence[Sequence[tuple[int, int]]], tokens: int) -> np.ndarray:
    """Which tokens each narrative of a case has, `[cases, narratives, tokens]` of 0 and 1."""
    begin, end = np.moveaxis(np.array(spans), -1, 0)[..., None]
    place = np.arange(tokens)
    return ((place >= begin) & (place < end)).astype(np.int64)


def told(texts: pd.DataFrame) -> np.ndarray:
    """Which narratives have a say, `[cases, narratives]` of bool: those that are not empty, if any."""
    filled = texts.apply(lambda column: column.str.strip() != "").to_numpy(dtype=bool)
    return filled | ~filled.any(axis=1, keepdims=True)


class Cases:
    """Cases, tokenised once and batched on demand.

    Args:
        texts: one column a narrative.
        reading: its `max_tokens` is what a case has, or, read separately, each narrative.

    Raises:
        InputError: what `encode` refuses.
    """

    def __init__(self, texts: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", reading: Reading):
        parts = [texts] if reading.inputs == "joined" else [texts[[name]] for name in texts]
        settings = reading.max_tokens, reading.truncation, reading.repair_periods
        columns = [encode(part, tokenizer, *settings) for part in parts]
        self.cases = list(zip(*(column.ids for column in columns)))  # of each case, its rows of token ids
        self.spans = columns[0].spans  # of each joined case, where its narratives stand
        self.told = None if reading.inputs == "joined" else told(texts)
        self.pad_id = tokenizer.pad_token_id

    @property
    def lengths(self) -> list[int]:
        """Tokens of each case's longest row."""
        return [max(map(len, case)) for case in self.cases]

    def arrays(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """Of the cases of these numbers, what `Classifier.forward` takes."""
        numbers = list(numbers)
        batch = padded([row for n in numbers for row in self.cases[n]], self.pad_id)
        if self.told is None:
            return batch | {"parts": masks([self.spans[n] for n in numbers], batch["input_ids"].shape[1])}
        apart = {name: values.reshape(len(numbers), -1, values.shape[1]) for name, values in batch.items()}
        return apart | {"told": self.told[numbers]}


def batches(texts: pd.DataFrame, lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length; among rows of one length the texts themselves decide."""
    rows_of = list(texts.itertuples(index=False, name=None))
    for first in range(0, len(rows_of), BLOCK):
        rows = range(first, min(first + BLOCK, len(rows_of)))
        order = sorted(rows, key=lambda n: (lengths[n], rows_of[n]))
        for start in range(0, len(order), size):
            yield order[start : start + size]


def share_cut(texts: pd.DataFrame, budgets: list[dict], truncation: str) -> pd.DataFrame:
    """For each backbone and its `max_tokens`, the share of cases that has to be shortened.

    Args:
        texts: one column a narrative.
        budgets: `backbone` and `max_tokens` of each.
    """
    from narrutils.models.backbones import load_tokenizer, resolve

    rows = {}
    for name, max_tokens in ((budget["backbone"], budget["max_tokens"]) for budget in budgets):
        encoded = encode(texts, load_tokenizer(resolve(name, weights=False)), max_tokens, truncation)
        rows[name] = {"tokens read at most": max_tokens, "share shortened": encoded.share_cut}
    columns = {"tokens read at most": int, "share shortened": float}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).astype(columns)


#: What may hold such a stop by right: degrees without their last stop, addresses of mail and web.
WHOLE = r"\b(?:Ph|Ed|Psy|Pharm)\.D\b|\S{0,64}(?:@|://)\S*|\bwww\.\S*"
#: A stop after a small letter, a digit, a bracket or a masked name (XX), before a capital. A capital
#: with a stop of its own is an abbreviation's (`Ph.D.`), and a mask after a digit a number's (`0.XX`).
FORGOTTEN = r"(?:(?<=[a-z0-9)\]])|(?<=\bXX))\.(?=[A-Z](?!\.))(?<!\d\.(?=XX))"
EITHER = re.compile(rf"(?P<whole>{WHOLE})|{FORGOTTEN}")


def repair_periods(text: str) -> str:
    """The text with one space after each full stop that lacks it; a repaired text stays as it is.

    >>> repair_periods("V was at home.The door, 3.5 ft wide, was open at 2 a.m.V left.")
    'V was at home. The door, 3.5 ft wide, was open at 2 a.m. V left.'
    """
    return EITHER.sub(lambda found: found[0] if found["whole"] else ". ", text)
