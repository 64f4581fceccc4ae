"""The rules of screening: each looks at one row and says what is wrong with it, or nothing.

What they say names columns, numbers and uids, never narrative text.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from narrutils.errors import InputError
from narrutils.overlap import Copies, NearDuplicates
from narrutils.prompts import headings, instructions
from narrutils.schema import Schema

#: A share of fewer words than these says little.
MANY_WORDS = 20


@dataclass(frozen=True)
class Limits:
    """Where the rules draw the line; set so that at least 95 % of real cases pass.

    Shares are in 0..1, lengths in words. `copied_words` is the longest run of words that
    a case may share with an official one, `similarity` the Jaccard similarity of word
    triples from which two cases count as the same, and `length_slack` how far beyond
    the 1st and 99th percentile of the fold's lengths a part may go.
    """

    foreign_letters: float = 0.05
    known_words: float = 0.5
    distinct_fours: float = 0.75
    loop: int = 4
    length_slack: float = 1.5
    copied_words: int = 40
    similarity: float = 0.7
    told_words: int = 7


def words(text: str) -> list[str]:
    """Lower-case words: what the rules count and compare."""
    return re.findall(r"[^\W_]+", text.lower())


@dataclass
class Row:
    """One case as the rules see it: its uid, its texts by column, and the folds of its prompt."""

    uid: str
    texts: dict[str, str]
    folds: tuple[int, ...]
    words: dict[str, list[str]] = field(init=False)

    def __post_init__(self):
        self.words = {column: words(text) for column, text in self.texts.items()}

    @property
    def everything(self) -> str:
        return "\n".join(self.texts.values())

    @property
    def all_words(self) -> list[str]:
        return [w for part in self.words.values() for w in part]


class Reference:
    """What rows are held against: the official cases, and the rows kept so far.

    Bounds and vocabulary come from the cases of a row's own prompt folds alone; only
    the rules against copies look at every official case.
    """

    def __init__(self, official: pd.DataFrame, folds: pd.Series, schema: Schema, limits: Limits):
        missing = folds.index.difference(official.index)
        if len(missing):
            raise InputError(f"folds name uid {missing[0]}, which is no official case")
        self.schema, self.limits, self.folds = schema, limits, folds
        self.rows = {r.uid: r for r in rows_of(official, schema)}
        self.copies = Copies(limits.copied_words + 1)
        self.duplicates = NearDuplicates(limits.similarity)
        for row in self.rows.values():
            for part in row.words.values():
                self.copies.add(row.uid, part)
            self.duplicates.add(row.uid, row.all_words)
        self.told = Copies(limits.told_words)
        for text in instructions(schema):
            self.told.add("prompt", words(text))
        titles = [r"\W+".join(words(heading)) for heading in headings(schema)]
        self.heading = re.compile(rf"(^|[.!?]\s*)({'|'.join(titles)})\s*:", re.IGNORECASE)
        self._by_folds: dict[tuple, tuple[dict, set]] = {}

    def of_folds(self, folds: tuple[int, ...]) -> tuple[dict[str, tuple[float, float]], set[str]]:
        """Bounds of each column's length, and the words in use, among the cases of `folds`."""
        if folds not in self._by_folds:
            rows = [self.rows[uid] for uid in self.folds.index[self.folds.isin(folds)]]
            if not rows:
                raise InputError(f"no official case is in fold {', '.join(map(str, folds)) or '(none)'}")
            slack, bounds = self.limits.length_slack, {}
            for column in self.schema.text_columns:
                low, high = np.percentile([len(r.words[column]) for r in rows], [1, 99])
                bounds[column] = (low / slack, high * slack)
            self._by_folds[folds] = bounds, {w for r in rows for w in r.all_words}
        return self._by_folds[folds]


def rows_of(table: pd.DataFrame, schema: Schema) -> list[Row]:
    """A table's rows for the rules; uids are the column `uid` or, without one, the index."""
    uids = table.get("uid", table.index)
    texts = table[schema.text_columns].astype(object).where(table[schema.text_columns].notna(), "")
    folds = table["seen_folds"] if "seen_folds" in table else [()] * len(table)
    return [
        Row(str(uid), dict(zip(schema.text_columns, map(str, values), strict=True)), tuple(map(int, seen)))
        for uid, values, seen in zip(uids, texts.to_numpy(), folds, strict=True)
    ]


ASSISTANT = re.compile(
    r"\bas an ai\b|\bas a (large )?language model|\bai (language )?(model|assistant)\b"
    r"|\bI('m| am)? ?(cannot|can't|can not|won't|will not|unable to|not able to|not comfortable) "
    r"(write|writing|provide (a|an|the|this|that)\b|create|creating|generate|fulfill?|assist|comply)"
    r"|\blet me know if\b.{0,30}\b(you|chang|adjust)|\bI hope this (helps|meets)",
    re.IGNORECASE,
)
ASSISTANT_OPENING = re.compile(
    r"\W*(I cannot|I can't|I can’t|I'm sorry|I’m sorry|I am sorry|I apologi[sz]e|sorry,|sure\b|certainly\b"
    r"|of course\b|here('s| is| are)\b|as requested)",
    re.IGNORECASE,
)
MARKUP = re.compile(r"(^|\s)#{1,6}\s|\*\*|```|<\|?\w+\|?>|(^|\s)-{3,}(\s|$)|\bExample \d+\s*:|\[INST")


def refusal(row: Row, reference: Reference) -> str | None:
    """The model speaks as an assistant, to whoever asked."""
    talk = ASSISTANT.search(row.everything) or any(ASSISTANT_OPENING.match(t) for t in row.texts.values())
    return "speaks as an assistant" if talk else None


def echo(row: Row, reference: Reference) -> str | None:
    """Headings, markup or instructions of the prompt came back with the answer."""
    for column, text in row.texts.items():
        if MARKUP.search(text):
            return f"{column} holds markup"
        if reference.heading.search(text):
            return f"{column} holds a heading"
        if reference.told.longest(row.words[column]):
            return f"{column} repeats the instructions"
    return None


def parts(row: Row, reference: Reference) -> str | None:
    """A text column is missing or empty."""
    empty = [column for column, found in row.words.items() if not found]
    return f"{', '.join(empty)} is empty" if empty else None


def same_parts(row: Row, reference: Reference) -> str | None:
    """Two parts are word for word the same; real parts are often close (some 8 % all but equal)."""
    columns = list(row.words)
    for n, one in enumerate(columns):
        for other in columns[n + 1 :]:
            if row.words[one] == row.words[other]:
                return f"{one} and {other} are word for word the same"
    return None


def language(row: Row, reference: Reference) -> str | None:
    """Another script, or words that the fold's cases do not know."""
    letters = [c for c in row.everything if c.isalpha()]
    foreign = sum(ord(c) > 0x24F for c in letters) / max(len(letters), 1)
    if foreign > reference.limits.foreign_letters:
        return f"{foreign:.0%} of the letters are not Latin"
    _, vocabulary = reference.of_folds(row.folds)
    longer = [part for part in row.words.values() if len(part) >= MANY_WORDS]
    known = min(np.mean([w in vocabulary for w in part]) for part in [row.all_words, *longer])
    return f"only {known:.0%} of the words are known" if known < reference.limits.known_words else None


def repetition(row: Row, reference: Reference) -> str | None:
    """A part turns in circles: few of its runs of four words are new, or one comes back and back."""
    for column, found in row.words.items():
        fours = Counter(zip(*(found[n:] for n in range(4)), strict=False))
        distinct = len(fours) / max(fours.total(), 1)
        often = max(fours.values(), default=0)
        if fours and (
            distinct < reference.limits.distinct_fours or often > max(reference.limits.loop, len(found) / 40)
        ):
            return f"{column} says one thing {often} times; {distinct:.0%} of it is new"
    return None


def length(row: Row, reference: Reference) -> str | None:
    """A part is much shorter or longer than those of the prompt's fold."""
    bounds, _ = reference.of_folds(row.folds)
    for column, (low, high) in bounds.items():
        count = len(row.words[column])
        if not low <= count <= high:
            return f"{column} has {count} words; plausible are {low:.0f} to {high:.0f}"
    return None


def copy(row: Row, reference: Reference) -> str | None:
    """A long run of words stands so in an official case."""
    runs = [reference.copies.longest(part, other_than=row.uid) for part in row.words.values()]
    longest = max(filter(None, runs), default=None)
    return f"{longest[0]} words in a row from case {longest[1]}" if longest else None


def near_duplicate(row: Row, reference: Reference) -> str | None:
    """The whole is nearly an official case, or a row that was kept before it."""
    twin = reference.duplicates.find(row.all_words, other_than=row.uid)
    return f"nearly the same as {twin}" if twin else None


#: The rules in order; the first that finds something gives the reason.
RULES: dict[str, Callable[[Row, Reference], str | None]] = {
    "refusal": refusal,
    "echo": echo,
    "parts": parts,
    "same parts": same_parts,
    "language": language,
    "repetition": repetition,
    "length": length,
    "copy": copy,
    "near-duplicate": near_duplicate,
}
