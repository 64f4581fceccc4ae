"""The command-line tool: `narrutils run`, `narrutils cycle` and `narrutils demo-data`.

Exit codes: 0 done, 1 a notebook failed, 2 something given is wrong, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from narrutils.errors import InputError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. A mistake of the user is one line on stderr."""
    given = _parser().parse_args(words)
    try:
        return given.command(given)
    except InputError as error:
        print(f"narrutils: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("narrutils: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="narrutils", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run the notebooks with a profile")
    _add_profile(run)
    run.add_argument(
        "--from", dest="start", metavar="04", help="first notebook to run; earlier ones are kept"
    )
    run.add_argument("--only", metavar="06", help="the one notebook to run")
    run.add_argument("--force", action="store_true", help="run although nothing changed, trainings included")
    run.add_argument("--dry-run", action="store_true", help="say what would run, its time and memory")
    run.set_defaults(command=_run)
    cycle = commands.add_parser(
        "cycle", help="run the notebooks again and again, each time from the last run that gained"
    )
    _add_profile(cycle)
    cycle.add_argument(
        "--cycles", type=int, required=True, metavar="N", help="how many runs after the first, at most"
    )
    cycle.add_argument(
        "--model", default="ensemble", help="whose out-of-fold gain decides (default: ensemble)"
    )
    cycle.add_argument("--dry-run", action="store_true", help="say what would run")
    cycle.set_defaults(command=_cycle)
    data = commands.add_parser("demo-data", help="write the made corpus in the competition's file format")
    data.add_argument("folder", metavar="DIR")
    data.add_argument(
        "--cases", type=int, default=5000, help="training and test cases together (default: 5000)"
    )
    data.add_argument("--seed", type=int, default=0)
    data.set_defaults(command=_demo_data)
    return parser


def _add_profile(command: argparse.ArgumentParser) -> None:
    """What every command that runs a profile takes."""
    command.add_argument("params", metavar="PARAMS", help="the profile, such as params/demo.yaml")
    command.add_argument(
        "-p",
        dest="overrides",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="set a parameter (`epochs`, `04.epochs`) or the run's name (`run`)",
    )
    command.add_argument(
        "--outputs", metavar="DIR", help="where run folders go (default: the project's outputs/)"
    )


def _run(given: argparse.Namespace) -> int:
    from narrutils.preflight import OUTPUTS
    from narrutils.profiles import load_profile
    from narrutils.runner import RunFailed, dry_run, run_profile

    profile = load_profile(given.params, [(key, value) for key, value in given.overrides])
    choice = {
        "outputs": given.outputs or OUTPUTS,
        "start": given.start,
        "only": given.only,
        "force": given.force,
    }
    if given.dry_run:
        dry_run(profile, **choice)
        return 0
    try:
        run_profile(profile, **choice)
    except RunFailed as failure:
        print(f"narrutils: {failure}", file=sys.stderr)
        return failure.code
    return 0


def _cycle(given: argparse.Namespace) -> int:
    from narrutils.cycle import dry_run, plan_cycles, run_cycles
    from narrutils.preflight import OUTPUTS
    from narrutils.runner import RunFailed

    overrides = [(key, value) for key, value in given.overrides]
    plan = plan_cycles(given.params, given.cycles, overrides, given.outputs or OUTPUTS)
    if given.dry_run:
        dry_run(plan)
        return 0
    try:
        run_cycles(plan, given.model)
    except RunFailed as failure:
        print(f"narrutils: {failure}\n  or start the same cycles again: they go on here", file=sys.stderr)
        return failure.code
    return 0


def _demo_data(given: argparse.Namespace) -> int:
    from narrutils.demo import write_demo_data

    folder = Path(given.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    write_demo_data(folder, cases=given.cases, seed=given.seed)
    print(f"{given.cases} made cases in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
