"""Narratives cut into sentences, each known by its place in the text as it was written.

Narratives are typed in haste: a space is often missing after a full stop, and names are
masked `XX`. A cut in the wrong place does no harm to a reader, so the rules are few.
"""

import re

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
