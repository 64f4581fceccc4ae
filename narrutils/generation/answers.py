"""How a generator's answer is read: as one text a column, or as what cannot be told apart."""

import re

from narrutils.data.schema import Schema
from narrutils.generation.prompts import SEPARATOR, headings, one_line

#: How the reason of a row begins that nobody could write.
UNMADE = "unmade: "


def split_story(text: str, schema: Schema, form: str) -> dict[str, str | None]:
    """A generated answer as the text columns.

    Where the parts cannot be told apart, the first column holds the whole answer and
    the others None, so that screening can name what is wrong and a person can look.
    """
    if form == "completion":
        text = f"{headings(schema)[0]}\n{text.split(SEPARATOR)[0]}"
        parts = _by_headings(text, schema)
    else:
        parts = _by_headings(text, schema) or _by_paragraphs(text, schema)
    if parts is None:
        whole = one_line(text.removeprefix(headings(schema)[0]))
        parts = [whole] + [None] * (len(schema.text) - 1)
    return dict(zip(schema.text_columns, parts, strict=True))


def _by_headings(text: str, schema: Schema) -> list[str] | None:
    """The text after each heading, if every heading opens a line and they come in order.

    A heading written twice with nothing between counts once. A part ends at its first
    empty line: what a base model adds after it is no part of the case.
    """
    marks = "|".join(re.escape(title.rstrip(":")) for title in headings(schema))
    pieces = re.split(rf"(?im)^[#* ]*({marks})[* ]*:[* ]*", text)
    found = [(title.lower(), part.strip()) for title, part in zip(pieces[1::2], pieces[2::2], strict=True)]
    following = [title for title, _ in found[1:]] + [""]
    found = [(t, part) for (t, part), after in zip(found, following, strict=False) if part or t != after]
    expected = [title.rstrip(":").lower() for title in headings(schema)]
    if pieces[0].strip() or [title for title, _ in found] != expected:
        return None
    return [one_line(re.split(r"\n\s*\n", part)[0]) for _, part in found]


def _by_paragraphs(text: str, schema: Schema) -> list[str] | None:
    """One paragraph a text column: divided by empty lines, or else by single line breaks."""
    for gap in (r"\n\s*\n", r"\n"):
        paragraphs = [one_line(p) for p in re.split(gap, text.strip()) if p.strip()]
        if len(paragraphs) == len(schema.text):
            return paragraphs
    return None
