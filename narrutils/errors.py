"""The one exception that the package raises for a mistake that its user can mend."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something that the user gave is wrong: one line says what, where, and the mend.

    The command-line tool prints the line alone, without a traceback, and exits
    with 2. A message may name a file, a row, a column, a uid or a parameter; it
    never holds narrative text.
    """


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Whatever mistake is found in the block is told with what it concerns before it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def did_you_mean(word: object, names: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """The mend of a mistyped name: a question with the nearest of `names`, or `otherwise` if none is near.

    Args:
        cutoff: likeness in [0, 1] below which a name is not near (`difflib.get_close_matches`).
    """
    known = {str(name).casefold(): name for name in names}
    near = difflib.get_close_matches(str(word).casefold(), known, n=1, cutoff=cutoff)
    return f"did you mean {known[near[0]]}?" if near else otherwise
