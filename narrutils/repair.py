"""The space that is often missing after a full stop: `home.The` read as `home. The`.

The tokenizers of DeBERTa-v3, Gemma and their like cut `home.The` otherwise than
`home. The`, and such a model was pretrained on the second. Those of BERT and MiniLM cut at
every stop and read the same tokens either way, as TF-IDF reads the same words. The repair
is made where text becomes token ids and nowhere else: stored cases stay as given, and with
them the offsets of evidence and what prompts show.
"""

import re

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
