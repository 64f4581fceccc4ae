"""What a failed notebook may still say where narratives are not to be shown.

The package's own errors never quote a narrative, but a library's may: a key that was not
found, a value that could not be converted. What stays says which lines of code failed, and of the
last one the code itself, which names what kind of thing was wrong.
"""

import re
from itertools import takewhile
from pathlib import Path

from narrutils.data.files import atomic

NOT_SHOWN = "message not shown, it may quote a narrative; to see it: -p show_text true"
PLACE = re.compile(r"File (?P<file>.+):(?P<line>\d+), in .+|Cell In\[\d+\], line \d+")
#: The line of a frame that failed, and one that follows it.
CODE, NEXT = re.compile(r"-+> *\d+ (.*\S)"), re.compile(r" *\d+ (.*\S)")
#: Any line of a frame's code. Compiled code has none: there the message follows, which may look like some.
NUMBERED = re.compile(r"(-+>)? *\d+( .*)?")
LIBRARY = re.compile(r".*(?:site|dist)-packages[/\\](.+)")
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
    places = [n for n, line in enumerate(lines) if PLACE.fullmatch(line)]
    said = "; ".join([_place(lines[places[-1] :]), NOT_SHOWN] if places else [NOT_SHOWN])
    return said, [*(lines[n] for n in places), f"{ename}: {said}"]


def _place(frame: list[str]) -> str:
    """Where an error was raised, and by which code: `in sklearn/svm.py, line 7: raise ValueError(…)`."""
    place = PLACE.fullmatch(frame[0])
    if not place["file"]:
        return f"in {frame[0]}"
    library = LIBRARY.fullmatch(place["file"])
    told = f"in {library[1] if library else place['file']}, line {place['line']}"
    code = ""
    for line in takewhile(NUMBERED.fullmatch, frame[1:]):
        found = (NEXT if code else CODE).fullmatch(line)
        code += f" {found[1].strip()}" if found else ""
        if code and (not found or code.count("(") == code.count(")")):
            break
    return told + (code and f":{code}")


def redact_notebook(path: Path) -> None:
    """Redact every error that an executed notebook holds."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    errors = [output for output in outputs if output.output_type == "error"]
    for error in errors:
        error.evalue, error.traceback = redact(error.ename, error.evalue, error.traceback)
    if errors:
        with atomic(path) as part:
            nbformat.write(book, part)
