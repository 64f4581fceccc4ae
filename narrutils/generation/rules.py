"""The rules of screening: each looks at one row and says what is wrong with it, or nothing.

What they say names columns, numbers and uids, never narrative text.
"""

import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations

import numpy as np

from narrutils.generation.reference import Reference, Row, script

#: A share of fewer words than these says little.
MANY_WORDS = 20

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


def unmade(row: Row, reference: Reference) -> str | None:
    """Nobody could write it."""
    return row.unmade or None


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


def unfinished(row: Row, reference: Reference) -> str | None:
    """The generator was stopped at its limit of tokens, in the middle of a sentence."""
    return None if row.finished else "was stopped at the limit of tokens"


def same_parts(row: Row, reference: Reference) -> str | None:
    """Two parts are word for word the same; real parts are often close (some 8 % all but equal)."""
    pairs = combinations(row.words, 2)
    same = next((pair for pair in pairs if row.words[pair[0]] == row.words[pair[1]]), None)
    return f"{same[0]} and {same[1]} are word for word the same" if same else None


def language(row: Row, reference: Reference) -> str | None:
    """Another script than that of the fold's cases, or words that they do not know."""
    view = reference.of_folds(row.folds)
    letters = [c for c in row.everything if c.isalpha()]
    foreign = sum(script(c) not in view.scripts for c in letters) / max(len(letters), 1)
    if view.scripts and foreign > reference.limits.foreign_letters:
        return f"{foreign:.0%} of the letters are not {', '.join(sorted(view.scripts)).title()}"
    vocabulary = view.domain.vocabulary
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
    for column, (low, high) in reference.of_folds(row.folds).bounds.items():
        count = len(row.words[column])
        if not low <= count <= high:
            return f"{column} has {count} words; plausible are {low:.0f} to {high:.0f}"
    return None


def domain(row: Row, reference: Reference) -> str | None:
    """The words are not those that the fold's cases use together."""
    least = reference.of_folds(row.folds).least
    if row.similarity >= least:
        return None
    return (
        f"similarity to the nearest official cases is {row.similarity:.3f}; plausible is {least:.3f} or more"
    )


def copy(row: Row, reference: Reference) -> str | None:
    """A longer run of words stands so in an official case than such cases share with one another."""
    length, source = row.copied
    if length <= reference.copied_limit:
        return None
    return f"{length} words in a row from case {source}; at most {reference.copied_limit} are usual"


def agreement(row: Row, reference: Reference) -> str | None:
    """A teacher does not find the labels that were asked for; rows without labels are let through."""
    if not row.agreement <= reference.limits.agreement:
        return None
    score = f"{row.agreement:+.3f}"
    return f"the reading fits the requested labels no better than it fits the average case ({score})"


def near_duplicate(row: Row, reference: Reference) -> str | None:
    """The whole is nearly an official case, or a row that was kept before it."""
    twin = reference.duplicates.find(row.mark, other_than=row.uid)
    return f"nearly the same as {twin}" if twin else None


#: The rules in order; the first that finds something gives the reason.
RULES: dict[str, Callable[[Row, Reference], str | None]] = {
    "unmade": unmade,
    "refusal": refusal,
    "echo": echo,
    "parts": parts,
    "same parts": same_parts,
    "language": language,
    "repetition": repetition,
    "unfinished": unfinished,
    "length": length,
    "domain": domain,
    "copy": copy,
    "agreement": agreement,
    "near-duplicate": near_duplicate,
}
