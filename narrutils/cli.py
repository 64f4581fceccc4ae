"""Run the notebooks, score new narratives with a finished run, and see what this machine can do.

Exit codes: 0 done, 1 a notebook failed (`doctor`: the profile cannot run here), 2 something
given is wrong or the system refuses it, 128 and the signal's number where one stopped it: 130
interrupted, 143 SIGTERM.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from narrutils.commands import COMMANDS
from narrutils.errors import InputError, Stopped, refusal


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. A mistake of the user is one line on stderr."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed is None
        stream.reconfigure(errors="replace")  # into a file, Windows writes code pages that lack some signs
    given = _parser().parse_args(words)
    try:
        with _stopping_by_exception():
            code = given.command(given) or 0
            print(end="", flush=True)
            return code
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt as stop:
        return _fail("interrupted", Stopped.code_of(stop))
    except OSError as error:
        return _fail(refusal(error), 2)


def _fail(line: str, code: int) -> int:
    try:
        print(f"narrutils: {line}", file=sys.stderr)
        print(end="", flush=True)
    except OSError:  # nobody reads it any more, or its disk is full: Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


@contextmanager
def _stopping_by_exception() -> Iterator[None]:
    """A request to end unwinds as an interrupt does: state is written, children are ended."""

    def stop(number: int, _) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise Stopped(number)

    found = {getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")} - {None}  # Windows has no SIGHUP
    ours = [number for number in found if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores one
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="narrutils", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (action, about, options) in COMMANDS.items():
        one = commands.add_parser(name, help=about, description=action.__doc__)
        one.set_defaults(command=action)
        for names, settings in options:
            one.add_argument(*names, **settings)
    return parser
