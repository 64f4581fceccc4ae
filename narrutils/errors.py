"""The one exception that the package raises for a mistake that its user can mend, and the system's own."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something that the user gave is wrong: one line says what, where, and the mend.

    The command-line tool prints the line alone, without a traceback, and exits
    with 2. A message may name a file, a row, a column, a uid or a parameter; it
    never holds narrative text.
    """


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end; its argument is the signal's number."""

    @staticmethod
    def code_of(stop: KeyboardInterrupt) -> int:
        """The exit code of a process that was stopped so: 130 by the keyboard, 143 by SIGTERM."""
        return 128 + (stop.args[0] if isinstance(stop, Stopped) else 2)


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Whatever mistake is found in the block is told with what it concerns before it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


_FOLDER = "a file stands where a folder is needed; name another place"
_DENIED = "this user may not read or write it; change its permissions, or name another place"
_FULL = "no space is left on its disk; free some and start again, what is finished is kept"
#: What the system refuses, and the mend, by its number.
REFUSED = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file grew beyond what this user may write; raise `ulimit -f` and start again",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "its file system is read-only; name another place",
    errno.ENOTDIR: _FOLDER,
    errno.EEXIST: _FOLDER,
    errno.EISDIR: "is a folder; name a file",
    errno.ENOENT: "no such file or folder; name another place, or restore it",
    errno.ENAMETOOLONG: "a file's name is too long for the file system; choose a shorter one",
    errno.EMFILE: "too many files are open; raise `ulimit -n` and start again",
    errno.EIO: "its disk fails to read or write; copy what is there to another one",
}


def refusal(error: OSError) -> str:
    """What the system refused, in one line: the file, what was wrong, and the mend."""
    said = REFUSED.get(error.errno) or error.strerror or type(error).__name__
    name = "" if error.errno == errno.ENAMETOOLONG else str(error.filename or "")
    return f"{name}: {said}" if name else said


def quoted_refusal(said: str) -> str:
    """`refusal` of the error that printed itself so, as in a notebook; "" for one that is no such error.

    What is no absolute path is no file of a run, and may be text that was taken for one: also "".
    """
    found = re.fullmatch(r"\[Errno (\d+)\] [^:']*(?:: '([^']+)'.*)?", said.strip())
    known = found and int(found[1]) in REFUSED and (found[2] is None or os.path.isabs(found[2]))
    return refusal(OSError(int(found[1]), "", found[2])) if known else ""


def did_you_mean(word: object, names: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """The mend of a mistyped name: a question with the nearest of `names`, or `otherwise` if none is near.

    Args:
        cutoff: likeness in [0, 1] below which a name is not near (`difflib.get_close_matches`).
    """
    known = {str(name).casefold(): name for name in names}
    near = difflib.get_close_matches(str(word).casefold(), known, n=1, cutoff=cutoff)
    return f"did you mean {known[near[0]]}?" if near else otherwise
