"""A small phrase language: the YAML files hold the words, this module fills them in.

In a template `<name>` is a slot, filled from the case or from the list of that
name, and `(a|b|)` is a choice between alternatives, one of which may be empty.
Both nest. Lists are drawn with a long tail: the first entries are the common
ones, the last are rare.
"""

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

import yaml

FOLDER = Path(__file__).parent
TOKENS = re.compile(r"<(\w+)>|([(|)])|([^<>(|)]+)")
ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou](?!ne\b|ni|s[eu]|u)|8|11\b|18)")


@dataclass(frozen=True)
class Slot:
    """A place that the case or a list fills."""

    name: str


@dataclass(frozen=True)
class Choice:
    """Alternatives, each a sequence of parts."""

    options: tuple[tuple, ...]


@dataclass(frozen=True)
class Phrase:
    """One template, and the variable that must be true of a case for it to be said."""

    text: str
    needs: str | None = None


@cache
def parse(template: str) -> tuple:
    """A template as a sequence of words, slots and choices.

    Raises:
        ValueError: a bracket is not closed, or closes nothing.
    """
    if TOKENS.sub("", template):
        raise ValueError(f"a slot's bracket has no fellow in: {template}")
    open_choices: list[list[list]] = [[[]]]
    for slot, mark, words in TOKENS.findall(template):
        if mark == "(":
            open_choices.append([[]])
        elif mark == "|":
            open_choices[-1].append([])
        elif mark == ")":
            options = tuple(tuple(option) for option in open_choices.pop())
            if not open_choices:
                raise ValueError(f"a bracket closes nothing in: {template}")
            open_choices[-1][-1].append(Choice(options))
        else:
            open_choices[-1][-1].append(Slot(slot) if slot else words)
    if len(open_choices) != 1 or len(open_choices[0]) != 1:
        raise ValueError(f"a bracket is not closed, or a choice has none, in: {template}")
    return tuple(open_choices[0][0])


@cache
def _tail(length: int) -> list[float]:
    """Cumulative weights that fall with the position, so that late entries are rare."""
    return list(accumulate((position + 1) ** -1.2 for position in range(length)))


def pick(options: Sequence, rng: Random):
    """One of the options, the early ones likelier."""
    weights = _tail(len(options))
    return options[bisect(weights, rng.random() * weights[-1])]


def fill(template: str, slots: Mapping[str, str], rng: Random) -> str:
    """The template in words; `slots` goes before the lists of the same name."""
    return "".join(_words(parse(template), slots, rng))


def _words(parts: tuple, slots: Mapping[str, str], rng: Random):
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Choice):
            yield from _words(rng.choice(part.options), slots, rng)
        elif part.name in slots:
            yield slots[part.name]
        else:
            yield from _words(parse(pick(lists()[part.name], rng)), slots, rng)


def sentence(words: str) -> str:
    """Filled words as a sentence: single spaces, the right article, a capital, a full stop."""
    words = re.sub(r",?\s*([,.;])", r"\1", " ".join(words.split()))
    words = ARTICLE.sub(r"\1n ", words)
    return words[0].upper() + words[1:] + ("" if words[-1] in ".?!" else ".")


@cache
def read(name: str) -> dict:
    """The parsed YAML file `name` of this folder."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def lists() -> dict[str, list[str]]:
    """The lists that any template may draw from."""
    return read("slots")


@cache
def facts() -> dict[str, dict[str, list[Phrase]]]:
    """Variable -> group (`says`, `near` ...) -> its phrases."""
    files = ("history", "diagnoses", "stressors", "disclosure")
    raw = {variable: groups for file in files for variable, groups in read(file).items()}
    return {
        variable: {group: _phrases(entries) for group, entries in groups.items()}
        for variable, groups in raw.items()
    }


def _phrases(entries: list | dict) -> list[Phrase]:
    """A list of templates, or a mapping from the variable that they need to such lists."""
    if isinstance(entries, list):
        return [Phrase(text) for text in entries]
    return [
        Phrase(text, None if needs == "any" else needs) for needs, texts in entries.items() for text in texts
    ]
