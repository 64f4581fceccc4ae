"""What a failed notebook may still say where narratives are not to be shown.

The package's own errors never quote a narrative, but a library's may: a key that was not
found, a value that could not be converted. What stays says which lines of code failed.
"""

import re
from pathlib import Path

from narrutils.data.files import atomic

NOT_SHOWN = "message not shown, it may quote a narrative; to see it: -p show_text true"
PLACE = re.compile(r"File .+:\d+, in .+|Cell In\[\d+\], line \d+")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def redact(ename: str, evalue: str, traceback: list[str]) -> tuple[str, list[str]]:
    """Message and traceback of an error without any value; a plain `InputError` stays as it is.

    Args:
        ename: the exception's class; `evalue`: its message.
        traceback: what IPython printed, of every exception of the chain.
    """
    lines = COLOUR.sub("", "\n".join(traceback)).splitlines()
    chained = sum("Traceback (most recent call last)" in line for line in lines) > 1
    if ename == "InputError" and not chained:
        return evalue, traceback
    return NOT_SHOWN, [*(line for line in lines if PLACE.fullmatch(line)), f"{ename}: {NOT_SHOWN}"]


def redact_notebook(path: Path) -> None:
    """Redact every error that an executed notebook holds."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                said = redact(output.ename, output.evalue, output.traceback)
                output.evalue, output.traceback = said
    with atomic(path) as part:
        nbformat.write(book, part)
