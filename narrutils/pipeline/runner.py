"""The runner: a profile's notebooks, one after the other, through papermill.

Linear on purpose. Everything that can be checked is checked before a model loads or a
file under outputs/ is touched; unchanged stages are skipped; a stage that fails ends
the run with the command that resumes it.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from narrutils.data import stages
from narrutils.errors import InputError, Stopped, quoted_refusal, refusal
from narrutils.models.hub import backbones
from narrutils.models.packaged import PACKAGED, is_ready
from narrutils.models.precision import fastest, slow
from narrutils.paths import OUTPUTS, PROJECT, shown
from narrutils.pipeline import provenance, skipping
from narrutils.pipeline.consistency import check_models
from narrutils.pipeline.estimates import in_words, states_gigabytes
from narrutils.pipeline.forks import Nursery
from narrutils.pipeline.parameters import read_cells
from narrutils.pipeline.preflight import Job, forecast, preflight
from narrutils.pipeline.profiles import NOTEBOOKS, Profile
from narrutils.pipeline.redaction import redact, redact_notebook
from narrutils.report.show import shows_text
from narrutils.report.tables import as_text, duration


class RunFailed(Exception):
    """A notebook failed or was interrupted; the message is what a person should read."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def run_profile(
    profile: Profile,
    notebooks: str | Path = NOTEBOOKS,
    outputs: str | Path = OUTPUTS,
    start: str | None = None,
    only: str | None = None,
    force: bool = False,
    keep_states: bool = False,
) -> Path:
    """Run a profile's notebooks into `outputs/<run>`; build the report and print the ladder.

    Where stages that were not chosen are stale now, one line says so in place of both.

    Args:
        start: first stage (`04` or its full name); the earlier ones must have ended.
        only: the one stage to run.
        force: run the chosen stages although nothing changed, trainings included.
        keep_states: leave what frozen layers gave of cases for a run that follows; see `Run.states`.

    Returns:
        The report's path.

    Raises:
        InputError: something that the user gave is wrong; outputs are as they were.
        RunFailed: a notebook failed, the system refused something, or the run was stopped.
    """
    job = preflight(profile, notebooks, outputs, start, only, force)
    _tell_slow(job)
    packaged = packaged_models(job)
    from narrutils.pipeline.kernels import Kernel  # Jupyter's, which whoever is refused need not wait for

    notebooks = [job.notebook(stage) for stage in job.chosen]
    with locked(job.run.folder), Nursery(notebooks) as Kernel.nursery:
        stage = job.chosen[0]
        try:
            _make_ready(packaged)
            for stage in job.chosen:
                _stage(job, stage)
            return _finish(job, keep_states)
        except KeyboardInterrupt as stop:
            message = f"interrupted in {stage}; to go on:\n  {job.resume(stage)}"
            raise RunFailed(message, Stopped.code_of(stop)) from None
        except OSError as error:
            error.filename = error.filename or shown(job.run.folder)  # papermill's own writing names nothing
            message = f"{stage}: {refusal(error)}\n  when it is mended: {job.resume(stage)}"
            raise RunFailed(message, code=2) from None


def dry_run(
    profile: Profile, notebooks: str | Path = NOTEBOOKS, outputs: str | Path = OUTPUTS, **choice
) -> None:
    """Check everything and print what `run_profile` would do, its time and memory; touch nothing.

    Raises:
        InputError: something that the user gave is wrong.
    """
    job = preflight(profile, notebooks, outputs, **choice)
    _tell_slow(job)
    packaged_models(job)
    print(in_words(forecast(job)))
    kept = states_gigabytes(profile.parameters, job.data.get("rows", 0))
    if kept:
        place = shown(job.run.states)
        print(f"states of frozen layers: at most {kept:.1f} GB in {place}, private, until the run ends")


def _tell_slow(job: Job) -> None:
    """A line where this machine is slow in a precision of the run, as it is if that began elsewhere."""
    parameters = [values for stage, values in job.profile.parameters.items() if stage in job.chosen]
    for name in sorted({values["precision"] for values in parameters if "precision" in values}):
        if slow(name):
            mend = f"`-p precision {fastest()}` changes it, and its notebooks run again"
            print(f"{shown(job.run.folder)} computes in {slow(name)}; {mend}", flush=True)


def packaged_models(job: Job) -> list[str]:
    """The packaged models of the chosen stages.

    Raises:
        InputError: a model that they name cannot be had here.
    """
    parameters = {stage: job.profile.parameters[stage] for stage in job.chosen}
    check_models(parameters)
    return [name for name in backbones(list(parameters.values())) if name in PACKAGED]


def _make_ready(packaged: list[str]) -> None:
    """Unpack models before the first notebook, in a process of its own that gives its memory back."""
    missing = [name for name in packaged if not is_ready(name)]
    if missing:
        done = subprocess.run([sys.executable, "-m", "narrutils", "models", *missing], cwd=PROJECT)
        if done.returncode:
            raise RunFailed(f"{', '.join(missing)} could not be unpacked", done.returncode)


def _stage(job: Job, stage: str) -> None:
    """Run one stage unless it may be skipped."""
    place = f"[{job.profile.stages.index(stage) + 1}/{len(job.profile.stages)}] {stage}"
    parts, run = job.parts(stage), job.run
    reason = "forced" if job.force else skipping.reason_to_run(job.profile, stage, parts, run)
    if not reason:
        print(f"{place}  unchanged, skipped", flush=True)
        return
    print(f"{place}  … ({reason})", flush=True)
    skipping.begin(run, stage, remake=job.force)
    figures = _timed(job, stage)
    skipping.end(run, stage, parts, job.profile)
    provenance.update(run, provenance.describe(job.profile, job.data), stage, figures)
    spent = f"{duration(figures['seconds'])}, {figures['peak_gigabytes']:.1f} GB"
    print(f"{place}  {figures['cells']} cells in {spent}", flush=True)


def _timed(job: Job, stage: str) -> dict:
    meter = provenance.Meter()
    try:
        with meter:
            cells = _execute(job, stage)
    except BaseException as error:
        meter.end_children()
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with suppress(OSError):  # a full disk must not hide what it was that failed
            description = provenance.describe(job.profile, job.data)
            provenance.update(job.run, description, stage, meter.figures(status))
        raise
    return meter.figures("done") | {"cells": cells}


def _execute(job: Job, stage: str) -> int:
    """Execute one notebook; its number of code cells.

    It is written beside its place until it ends, well or badly, so the last finished
    one stays readable meanwhile; and for good, where what was written is no whole notebook.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    from narrutils.pipeline.kernels import QUIET, Kernel, kernel_environment

    logging.getLogger("papermill").setLevel(logging.ERROR)  # names were checked, better, before
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it quotes the cell of an interrupted run
    made, part = job.run.path(f"{stage}.ipynb"), job.run.path(f".stages/{stage}.ipynb")
    try:
        with kernel_environment(job.profile.parameters[stage]):
            done = papermill.execute_notebook(
                _verbatim(job.notebook(stage)),
                _verbatim(part),
                job.injected(stage),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                cwd=str(job.notebooks),
                coalesce_streams=True,
                start_timeout=300,  # a busy machine is slow to import, and slow to answer
                iopub_timeout=300,
                extra_arguments=QUIET,
                kernel_manager_class=Kernel,
            )
        return sum(cell.cell_type == "code" for cell in done.cells)
    except papermill.PapermillExecutionError as error:
        raise _cell_failed(job, stage, part, error) from None
    except RuntimeError as error:  # the kernel, not a cell: it died, or never answered
        died = isinstance(error, DeadKernelError)
        line = "the kernel died; the usual cause is too little memory" if died else str(error)
        raise RunFailed(_failure(job, stage, _started(part), line)) from None
    except KeyboardInterrupt:
        _hide(job, part)
        raise
    finally:
        _take_place(part, made)


def _take_place(part: Path, made: Path) -> None:
    """Put an executed notebook in its place if it is whole; a truncated one, of a full disk, goes."""
    with suppress(FileNotFoundError):
        try:
            read_cells(part)
        except InputError:
            part.unlink()
        else:
            os.replace(part, made)


def _cell_failed(job: Job, stage: str, notebook: Path, error) -> RunFailed:
    """What to say of a cell that raised papermill's `error`; its message goes where text is hidden."""
    said = error.evalue
    if not shows_text(job.profile.parameters):
        said, _ = redact(error.ename, error.evalue, error.traceback)
    _hide(job, notebook)
    refused = quoted_refusal(error.evalue)
    line = refused or (said if error.ename == "InputError" else f"{error.ename}: {said}")
    return RunFailed(_failure(job, stage, error.exec_count, line))


def _hide(job: Job, notebook: Path) -> None:
    """Take the values out of what a notebook says of its errors, where narratives are not to be shown."""
    if not shows_text(job.profile.parameters) and notebook.exists():
        try:
            redact_notebook(notebook)
        except (OSError, ValueError):  # it could not be written: what it says is not kept
            notebook.unlink(missing_ok=True)


def _started(notebook: Path) -> int:
    """How many code cells of a half-executed notebook were begun; 0 where it cannot be read."""
    try:
        notes = [c["metadata"].get("papermill", {}) for c in read_cells(notebook) if c["cell_type"] == "code"]
    except (OSError, InputError):
        return 0
    return sum(bool(note.get("start_time")) for note in notes)


def _failure(job: Job, stage: str, cell: int, line: str) -> str:
    return (
        f"{stage} failed in cell In [{cell}]: {line.strip().splitlines()[0] if line.strip() else ''}\n"
        f"  executed notebook: {shown(job.run.path(f'{stage}.ipynb'))}\n"
        f"  when it is mended: {job.resume(stage)}"
    )


def _verbatim(path: Path) -> str:
    """A path whose braces papermill takes as they are, not as places to fill in."""
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for one runner; the system frees it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"{shown(folder)}: another run is writing there; wait for it to end") from None


def _finish(job: Job, keep_states: bool) -> Path:
    """Build the report; ladder and path are the last lines. Of stale stages there is a line alone."""
    from narrutils.report.build import build_report

    if not keep_states and not stages.unfinished(job.run, job.profile.stages):
        job.run.drop_states()
    stale = stages.fault(job.run)
    if stale:
        _tell_stale(job, *stale)
        return job.run.path("report/index.html")
    report = build_report(job.run.folder)
    if job.run.has("ladder.json"):
        _print_ladder(job.run.read("ladder.json"))
    print(f"report: {shown(report)}", flush=True)
    return report


def _tell_stale(job: Job, first: str, reason: str) -> None:
    """One line: which stages are stale, why, and the command that runs them again."""
    late = [
        stage for stage in job.profile.stages if stage >= first and stages.recorded(job.run, stage)["files"]
    ]
    report = "; the report is of before" if job.run.has("report/index.html") else ""
    print(f"stale: {', '.join(late)} ({reason}){report}; to go on: {job.resume(first)}", flush=True)


def _print_ladder(entries: list[dict]) -> None:
    """The ladder against the given labels with cross-fitted thresholds, out-of-fold and test."""
    from narrutils.evaluation.ladder import to_table

    for split, title in (("oof", "out-of-fold"), ("test", "test")):
        table = as_text(to_table(entries, split))
        if len(table):
            print(f"\nLadder, {title}, against the given labels:\n{table.to_string(index=False)}")
    print()
