"""What generated rows are held against: the official cases, and the rows kept so far."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd

from narrutils.data.clusters import words
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.generation.answers import UNMADE
from narrutils.generation.domain import Domain
from narrutils.generation.prompts import headings, instructions
from narrutils.generation.repeats import Copies, NearDuplicates

#: The shortest run of words that counts as copied; shorter ones are everyday phrases.
SHORTEST_COPY = 8


@dataclass(frozen=True)
class Limits:
    """Where the rules draw the line; set so that at least 95 % of real cases pass.

    Shares and similarities are in 0..1, lengths in words, percentiles in 0..100.
    """

    foreign_letters: float = 0.05
    known_words: float = 0.5
    distinct_fours: float = 0.75
    loop: int = 4
    length_slack: float = 1.5  # how far a part may go beyond the 1st and 99th percentile of the fold's
    domain_percentile: float = 0.5  # of the official cases' own similarity (see `Domain`)
    domain_slack: float = 1.15  # that is divided by it, since a small fold tells a low percentile poorly
    copied_percentile: float = 99  # of the longest run that an official case shares with another
    copied_floor: int = 12  # the least limit that this sets
    agreement: float = 0.0  # what that of a labelled row has to exceed
    similarity: float = 0.7  # Jaccard's, of word triples, from which two cases count as the same
    told_words: int = 7


#: Of the letters of some texts, the share from which on a script is theirs and no quotation.
OWN_SCRIPT = 0.01


@cache
def script(letter: str) -> str:
    """The script of a letter, by the first word of its Unicode name: LATIN, CYRILLIC, CJK …"""
    return unicodedata.name(letter, "UNNAMED").split()[0] if ord(letter) > 0x24F else "LATIN"


def scripts_of(texts: Iterable[str]) -> frozenset[str]:
    """The scripts in which texts are written."""
    letters = Counter()
    for text in texts:
        letters.update(text)
    counts = Counter()
    for letter, count in letters.items():
        if letter.isalpha():
            counts[script(letter)] += count
    return frozenset(name for name, count in counts.items() if count >= OWN_SCRIPT * counts.total())


@dataclass
class Row:
    """One case as the rules see it; from `copied` on, what `Screener` measures before they look."""

    uid: str
    texts: dict[str, str]  # by column
    folds: tuple[int, ...]  # of its prompt
    finished: bool = True  # false where the generator was stopped at its limit of tokens
    unmade: str = ""  # why nobody could write it
    words: dict[str, list[str]] = field(init=False)
    all_words: list[str] = field(init=False)
    copied: tuple[int, str] = (0, "")  # the longest copied run, and whose it is
    similarity: float = float("nan")  # to the fold's cases
    mark: np.ndarray | None = None  # hash values for near-duplicates
    agreement: float = float("nan")  # with the requested labels; NaN where no teacher read
    seen: tuple[int, ...] = field(init=False)  # the prompt's folds with those of the teacher that read

    def __post_init__(self):
        self.seen = self.folds
        self.words = {column: words(text) for column, text in self.texts.items()}
        self.all_words = [w for part in self.words.values() for w in part]

    @property
    def everything(self) -> str:
        return "\n".join(self.texts.values())


def rows_of(table: pd.DataFrame, schema: Schema) -> Iterator[Row]:
    """A table's rows for the rules; uids are the column `uid` or, without one, the index."""
    uids = table.get("uid", table.index)
    texts = table[schema.text_columns].astype(object).where(table[schema.text_columns].notna(), "")
    folds = table["seen_folds"] if "seen_folds" in table else [()] * len(table)
    ends = table["finished"] if "finished" in table else [True] * len(table)
    told = table["reason"] if "reason" in table else [""] * len(table)
    for uid, values, seen, end, reason in zip(uids, texts.to_numpy(), folds, ends, told, strict=True):
        parts = dict(zip(schema.text_columns, map(str, values)))
        unmade = reason.removeprefix(UNMADE) if reason.startswith(UNMADE) else ""
        yield Row(str(uid), parts, tuple(sorted(map(int, seen))), bool(end), unmade)


@dataclass(frozen=True)
class FoldView:
    """The cases of some folds."""

    bounds: dict[str, tuple[float, float]]  # of each column's length, in words
    scripts: frozenset[str]  # of their letters
    domain: Domain
    least: float  # the lowest similarity to the domain that is plausible


class Reference:
    """The official cases, seen whole or fold by fold, and the rows kept so far.

    Bounds, vocabulary and domain come from the cases of a row's own prompt folds alone.
    Only the rules against copies and near-duplicates look at every official case: they
    can but take a row away that repeats one, never bring in what a case says.

    Args:
        official: the training cases' text columns, indexed by uid.
        folds: their fold numbers, indexed by uid.

    Raises:
        InputError: `folds` name a uid that is no official case.
    """

    def __init__(self, official: pd.DataFrame, folds: pd.Series, schema: Schema, limits: Limits):
        missing = folds.index.difference(official.index)
        if len(missing):
            raise InputError(f"folds name uid {missing[0]}, which is no official case")
        self.schema, self.limits, self.folds = schema, limits, folds
        self.rows = {row.uid: row for row in rows_of(official, schema)}
        self.copies = Copies(
            ((r.uid, p) for r in self.rows.values() for p in r.words.values()), SHORTEST_COPY
        )
        self.official_copied = pd.Series({uid: self.copied(row)[0] for uid, row in self.rows.items()})
        longest = np.percentile(self.official_copied, limits.copied_percentile)
        self.copied_limit = max(limits.copied_floor, int(longest))
        self.duplicates = NearDuplicates(limits.similarity)
        for row in self.rows.values():
            self.remember(row)
        self.told = Copies((("prompt", words(text)) for text in instructions(schema)), limits.told_words)
        titles = [r"\W+".join(words(heading)) for heading in headings(schema)]
        self.heading = re.compile(rf"(^|[.!?]\s*)({'|'.join(titles)})\s*:", re.IGNORECASE)
        self._views: dict[tuple[int, ...], FoldView] = {}

    def remember(self, row: Row) -> None:
        """Hold later rows against this one."""
        self.duplicates.add(row.uid, self.duplicates.mark(row.all_words))

    def copied(self, row: Row) -> tuple[int, str]:
        """The longest run of words that stands so in another official case, and that case's uid."""
        found = [self.copies.longest(part, other_than=row.uid) for part in row.words.values()]
        return max((f for f in found if f), key=lambda f: f[0], default=(0, ""))

    def of_folds(self, folds: tuple[int, ...]) -> FoldView:
        """Bounds and domain of the cases of `folds`, made when first asked for.

        Raises:
            InputError: none of these cases has text.
        """
        if folds not in self._views:
            rows = [self.rows[uid] for uid in self.folds.index[self.folds.isin(folds)]]
            if not any(row.all_words for row in rows):
                raise InputError(
                    f"no official case with text is in fold {', '.join(map(str, folds)) or '(none)'}"
                )
            slack, bounds = self.limits.length_slack, {}
            for column in self.schema.text_columns:
                low, high = np.percentile([len(r.words[column]) for r in rows], [1, 99])
                bounds[column] = (low / slack, high * slack)
            scripts = scripts_of(row.everything for row in rows)
            domain = Domain({row.uid: row.all_words for row in rows})
            least = float(np.percentile(domain.own, self.limits.domain_percentile))
            self._views[folds] = FoldView(bounds, scripts, domain, least / self.limits.domain_slack)
        return self._views[folds]
