"""Evidence: the sentences of a case that move a probability most, found by leaving each out.

The effect of a sentence is p(case) − p(case without it). A sentence that stands in both
narratives, as it does where one was copied from the other, is left out of both at once:
alone, its twin would hide what it does. Effects do not add up: a model that finds the
same fact in two sentences misses neither, and one that reads so many tokens only reads
on, where a sentence before is gone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid

#: Of a longer case, neighbouring sentences are left out together, so that the reading of
#: one case is bounded; every word of it is left out once all the same.
MOST_PASSAGES = 200
#: How much one call of `read` is given at most, unless a single text is longer.
CHUNK_ROWS, CHUNK_CHARACTERS = 1024, 2_000_000
COLUMNS = ["uid", "column", "text", "start", "end", "effect"]

Place = tuple[str, int, int]  # text column, start, end


@dataclass(frozen=True)
class Variant:
    """A case without the sentences at `places`; without none, it is the case itself."""

    uid: str
    places: tuple[Place, ...]
    texts: tuple[str, ...]


def leave_one_out(
    read: Callable[[pd.DataFrame], pd.DataFrame], texts: pd.DataFrame, wanted: pd.DataFrame, schema: Schema
) -> pd.DataFrame:
    """What each sentence of the wanted cases adds to the wanted probabilities.

    Args:
        read: text columns, indexed by uid -> probabilities, `schema.columns` wide, same index.
            Each case is read whole and once without each of its sentences, many in one call.
        texts: the text columns, indexed by uid; other cases than the wanted are not read.
        wanted: `uid` and `column`, a class column of the schema; one row a probability.

    Returns:
        `uid`, `column`, `text` (the text column), `start` and `end` of the sentence in it, in
        characters, and `effect`, in [−1, 1]: above 0 where the sentence raises the probability.
        In the order of `wanted`, the strongest effect of either sign first. It holds no text.

    Raises:
        InputError: a wanted uid is not among the texts.
    """
    columns = wanted.drop_duplicates(["uid", "column"]).groupby("uid", sort=False)["column"].agg(list)
    cases = by_uid(texts[schema.text_columns], columns.index, "texts").astype(object).fillna("")
    parts, whole = [], None
    told = zip(cases.index, cases.to_dict("records"))
    for chunk in _chunks(v for uid, case in told for v in variants(uid, case)):
        readings = read(_table(chunk, schema)).to_dict("records")
        for variant, reading in zip(chunk, readings, strict=True):
            if not variant.places:
                whole = reading
            for column in columns[variant.uid]:
                effect = whole[column] - reading[column]
                parts += [(variant.uid, column, *place, effect) for place in variant.places]
    return _ordered(pd.DataFrame(parts, columns=COLUMNS), wanted)


def variants(uid: str, case: dict[str, str]) -> Iterator[Variant]:
    """The case itself, and then the case without each of its sentences.

    Args:
        case: text column -> narrative.
    """
    yield Variant(uid, (), tuple(case.values()))
    for places in passages(case):
        yield Variant(uid, places, tuple(_without(text, name, places) for name, text in case.items()))


def passages(case: dict[str, str]) -> list[tuple[Place, ...]]:
    """The places of a case that are left out together, at most `MOST_PASSAGES`, in order."""
    same: dict[str, list[Place]] = {}
    for name, text in case.items():
        for start, end in sentences(text):
            key = re.sub(r"\W+", " ", text[start:end]).strip().lower() or text[start:end]
            same.setdefault(key, []).append((name, start, end))
    groups = list(same.values())
    size = -(-len(groups) // MOST_PASSAGES) or 1
    return [tuple(sum(groups[n : n + size], [])) for n in range(0, len(groups), size)]


def _without(text: str, name: str, places: tuple[Place, ...]) -> str:
    kept, at = [], 0
    for start, end in sorted((start, end) for column, start, end in places if column == name):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])


def _chunks(made: Iterator[Variant]) -> Iterable[list[Variant]]:
    """Variants in chunks that fit into memory, however many there are."""
    chunk, characters = [], 0
    for variant in made:
        size = sum(map(len, variant.texts))
        if chunk and (len(chunk) == CHUNK_ROWS or characters + size > CHUNK_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(variant)
        characters += size
    if chunk:
        yield chunk


def _table(chunk: list[Variant], schema: Schema) -> pd.DataFrame:
    index = pd.Index([f"{n}" for n in range(len(chunk))], name="uid")
    return pd.DataFrame([v.texts for v in chunk], columns=schema.text_columns, index=index, dtype=object)


def _ordered(effects: pd.DataFrame, wanted: pd.DataFrame) -> pd.DataFrame:
    place = {key: n for n, key in enumerate(zip(wanted["uid"], wanted["column"]))}
    order = [place[key] for key in zip(effects["uid"], effects["column"])]
    table = effects.assign(order=order, size=-effects["effect"].astype(float).abs())
    return table.sort_values(["order", "size"], kind="stable")[COLUMNS].reset_index(drop=True)


#: A point after one of these ends no sentence.
ABBREVIATION = re.compile(
    r"dr|mr|mrs|ms|jr|sr|st|ave|rd|blvd|apt|dept|det|sgt|lt|ofc|no|vs|hx|dx|rx|tx|pt|approx|est|etc|inc|co|corp"
    r"|e\.g|i\.e|u\.s|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec",
    re.IGNORECASE,
)
LONGEST = 400  # characters; what has no full stop is cut between words

#: A sentence's end: a line's end, or marks with what closes after them, followed by a space
#: or, with the space forgotten, by a capital.
END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$|[\"'“‘(\[]?[A-Z])|\n+|$")
PIECE = re.compile(rf"\S(?:.{{0,{LONGEST - 2}}}\S)?(?!\S)|\S{{1,{LONGEST}}}", re.DOTALL)
WORD = re.compile(r"[\w.]*$")


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence of a text, in order, without the space around it.

    Together they hold every character that is not white space, each once.

    >>> [("He left.The end."[a:b]) for a, b in sentences("He left.The end.")]
    ['He left.', 'The end.']
    """
    spans, start = [], 0
    for end in END.finditer(text):
        if end.end() < len(text) and _goes_on(text, end):
            continue
        spans += [(start + p.start(), start + p.end()) for p in PIECE.finditer(text[start : end.end()])]
        start = end.end()
    return spans


def _goes_on(text: str, end: re.Match) -> bool:
    """Whether a point belongs to an abbreviation, an initial or a masked number: `Dr.`, `J. XX`, `0.XX`."""
    if not end[0].startswith(".") or len(end[0]) > 1:
        return False
    word = WORD.search(text[max(0, end.start() - 12) : end.start()])[0]
    if word[-1:].isdigit() and text[end.end()].isalpha():
        return True
    initial = len(word) == 1 and word.isalpha() and word.isupper() and word != "V"  # V is the decedent
    later = text[end.end() :].lstrip()[:1]
    inner = bool(re.fullmatch(r"(?:[a-zA-Z]\.)+[a-zA-Z]", word)) and not later.isupper()  # `a.m. and`
    return initial or inner or bool(ABBREVIATION.fullmatch(word))
