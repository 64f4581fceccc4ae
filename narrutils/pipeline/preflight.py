"""What is checked before a model loads or a file under outputs/ is touched, and the dry run.

`preflight` turns a checked profile into a `Job`; `forecast` tells what it would do.
"""

import shlex
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pandas as pd

from narrutils.data.cases import Dataset, embedded_data, load_data
from narrutils.data.files import digest
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole, content, has_ended, of_profile, recorded, unfinished
from narrutils.data.unlabelled import check_unlabelled
from narrutils.errors import InputError, concerning
from narrutils.generation.pools import Pool, read_pools
from narrutils.labels.review import read_review
from narrutils.models.precision import kept_by, resolved
from narrutils.paths import OUTPUTS, locate, shown
from narrutils.pipeline import skipping
from narrutils.pipeline.consistency import check_cases, check_settings, check_teachers
from narrutils.pipeline.estimates import cost
from narrutils.pipeline.parameters import INJECTED
from narrutils.pipeline.profiles import Profile, find_stage

PREVIOUS = "previous_run"  # the parameter that names the finished run whose models a stage starts from


@dataclass(frozen=True)
class Job:
    """One call of the runner: the profile, where it reads and writes, which stages it may run."""

    profile: Profile
    notebooks: Path
    outputs: Path
    chosen: list[str]
    force: bool
    inputs: skipping.Inputs
    data: dict
    previous: dict[str, Path] = field(default_factory=dict)  # stage -> folder of the run it starts from

    @property
    def run(self) -> Run:
        return Run(self.outputs / self.profile.run)

    def notebook(self, stage: str) -> Path:
        return self.notebooks / f"{stage}.ipynb"

    def injected(self, stage: str) -> dict[str, object]:
        """What the notebook is given besides its own defaults; every path is absolute."""
        given = self.profile.injected(stage) | {INJECTED: str(self.run.folder)}
        return given | ({PREVIOUS: str(self.previous[stage])} if stage in self.previous else {})

    def parts(self, stage: str) -> dict:
        return skipping.key_parts(self.profile, stage, self.notebook(stage), self.inputs, self.run)

    def resume(self, stage: str) -> str:
        """The command that goes on where `stage` stopped."""
        alone = self.chosen == [stage] and len(self.profile.stages) > 1
        words = ["--only" if alone else "--from", stage[:2]]
        words += [] if self.outputs == OUTPUTS else ["--outputs", shown(self.outputs)]
        return f"{self.profile.command} {shlex.join(words)}"


def preflight(profile, notebooks, outputs, start=None, only=None, force=False) -> Job:
    """Check choice of stages, run folder, previous run, schema and data; nothing under `outputs` is touched.

    Raises:
        InputError: a stage or the precision is unknown, settings cannot hold together, an earlier stage
            has not ended, the run folder holds something else, the previous run is not there, not
            finished or cannot teach, or schema or data are faulty.
    """
    chosen, outputs, notebooks = _choose(profile, start, only), Path(outputs).resolve(), Path(notebooks)
    run = Run(outputs / profile.run)
    check_folder(run.folder)
    check_shown(profile)
    check_left_out(run, profile)
    check_earlier(run, profile.stages[: profile.stages.index(chosen[0])])
    profile = settled(profile, run.folder)
    previous = previous_runs(profile, outputs)
    check_settings(profile, previous, notebooks, chosen, run)
    check_teachers(profile, previous)
    inputs, data = check_inputs(profile)
    check_data(run, data)
    for stage, folder in previous.items():
        inputs.by_stage[stage][PREVIOUS] = content(Run(folder), of_profile(Run(folder)))
    return Job(profile, notebooks, outputs, chosen, force, inputs, data, previous)


def settled(profile: Profile, folder: Path) -> Profile:
    """The profile with each notebook's precision in place of `auto`: the run folder's, else this machine's.

    Raises:
        InputError: there is no such precision, or not here.
    """
    known = {
        stage: {"precision": resolved(values["precision"], kept_by(Run(folder), stage))}
        for stage, values in profile.parameters.items()
        if "precision" in values
    }
    return replace(profile, parameters={s: v | known.get(s, {}) for s, v in profile.parameters.items()})


def check_folder(folder: Path) -> None:
    """Refuse to run where something lies that no run made.

    Raises:
        InputError: it is a file, or a folder that is no run's and not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{shown(folder)}: is a file; choose another name with `-p run NAME`")
    if folder.is_dir() and not any((folder / name).exists() for name in ("run.json", ".stages")):
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others:
            mend = "choose another name with `-p run NAME`"
            raise InputError(f"{shown(folder)}: is no run folder and holds {others[0]}; {mend}")


def check_left_out(run: Run, profile: Profile) -> None:
    """Refuse a run folder where a notebook has run that the profile leaves out: its models would count.

    Raises:
        InputError: one has.
    """
    for stage in profile.left_out:
        if recorded(run, stage)["files"]:
            mend = "give this run a name of its own, `-p run NAME`"
            raise InputError(f"{shown(run.folder)}: {stage}, which leave_out names, has run here; {mend}")


def check_earlier(run: Run, stages: list[str]) -> None:
    """Check that these stages, which are not to run, have ended in this folder.

    Raises:
        InputError: one has not.
    """
    for stage in stages:
        if not has_ended(run, stage):
            raise InputError(
                f"{shown(run.folder)}: {stage} has not run to its end here; run with --from {stage[:2]}"
            )


def check_data(run: Run, data: dict) -> None:
    """Refuse to go on in a run folder that was made of other data; changed files of the same are no such.

    Args:
        data: what `run.json` is to say of them; see `check_inputs`.

    Raises:
        InputError: the one is made and the other is not, or the schemas differ.
    """
    before = run.record().get("data") or data
    if data and any(before.get(name, data[name]) != data[name] for name in ("embedded", "schema")):
        was, now = (
            f"{'the made corpus' if d['embedded'] else 'data of your own'} ({d['schema']})"
            for d in (data | before, data)
        )
        mend = "give this run a name of its own, `-p run NAME`"
        raise InputError(f"{shown(run.folder)}: was made of {was}, and this is {now}; {mend}")


def check_shown(profile: Profile) -> None:
    """Refuse to show narratives of data that only the command line names because a profile says so.

    Raises:
        InputError: the profile sets `show_text`, perhaps for made cases, and `-p` gives `data_dir` alone.
    """
    values, given = profile.parameters.values(), {key.split(".")[-1] for key, _ in profile.overrides}
    shows = any(v.get("show_text") for v in values) and any(v.get("data_dir") for v in values)
    if shows and "data_dir" in given and "show_text" not in given:
        mend = "say `-p show_text true` or `-p show_text false`"
        raise InputError(f"{shown(profile.path)}: sets show_text, and `-p` gives other cases; {mend}")


def _choose(profile: Profile, start: str | None, only: str | None) -> list[str]:
    if start and only:
        raise InputError("--from and --only exclude each other; give one")
    if only:
        return [find_stage(only, profile.stages, "--only")]
    first = find_stage(start, profile.stages, "--from") if start else profile.stages[0]
    return profile.stages[profile.stages.index(first) :]


def previous_runs(profile: Profile, outputs: Path) -> dict[str, Path]:
    """Absolute folder of the finished run that a stage starts from, for the stages that name one.

    A name is a run beside this one in `outputs`; else it is a path.

    Raises:
        InputError: it is not there, has not finished, or is this run itself.
    """
    named = {stage: values.get(PREVIOUS) for stage, values in profile.parameters.items()}
    return {stage: _previous(name, profile, outputs) for stage, name in named.items() if name}


def _previous(name: str, profile: Profile, outputs: Path) -> Path:
    beside = outputs / name
    folder = (beside if beside.is_dir() else locate(name)).resolve()
    if folder == (outputs / profile.run).resolve():
        raise InputError(f"{PREVIOUS} is {name}, this run itself; give this run another name with `run`")
    if not folder.is_dir():
        raise InputError(
            f"{PREVIOUS} is {name}; there is no such run in {shown(outputs)}, and no such folder"
        )
    stage = unfinished(Run(folder), of_profile(Run(folder)) or profile.stages)
    if stage:
        raise InputError(f"{PREVIOUS} is {name}; {stage} is not finished there, or older than what it reads")
    with concerning(PREVIOUS):
        check_whole(Run(folder))
    return folder


def check_inputs(profile: Profile) -> tuple[skipping.Inputs, dict]:
    """Read schema and data once; their digests, and what `run.json` says of them.

    A stage that declares `schema`, `data_dir`, `unlabelled` or `review_file` depends on their content;
    the schema is that of the first one that declares it. `data_dir: ""` is the embedded corpus of
    `demo_cases` cases from `seed`.
    """
    by_stage, seen, about = {}, {}, {}
    named = next((values["schema"] for values in profile.parameters.values() if values.get("schema")), None)
    schema = load_schema(named) if named else None
    for stage, values in profile.parameters.items():
        found = {}
        if values.get("schema"):
            found["schema"] = digest(repr(load_schema(values["schema"])))
        if schema:
            limits = {f.name: values[f.name] for f in fields(Pool) if f.name in values}
            read_pools(values.get("pools", []), schema, **limits)  # names and values, before anything runs
        if schema and "data_dir" in values:
            place = _data_place(values)
            known = tuple(place.values())
            seen[known] = seen.get(known) or _load(place, schema)
            with concerning(stage):
                check_cases(values, len(seen[known].train))
            found["data_dir"] = digest(seen[known].hashes)
            about = about or {
                "schema": schema.name,
                "title": schema.title,
                **place,
                "rows": _rows(seen[known], values.get("train_cases", 0)),
                "hashes": seen[known].hashes,
            }
        if schema and values.get("unlabelled"):
            found["unlabelled"] = digest(*check_unlabelled(values["unlabelled"], schema))
        if values.get("review_file"):
            read_review(locate(values["review_file"]))  # that it is there and such a table
            found["review_file"] = digest(locate(values["review_file"]))
        by_stage[stage] = found
    return skipping.Inputs(by_stage), about


def _rows(data: Dataset, train_cases: int) -> int:
    """Cases of a run: those for training, all or so many, and those of the test."""
    return (train_cases or len(data.train)) + len(data.test)


def _data_place(values: dict) -> dict:
    if values["data_dir"]:
        return {"embedded": False, "folder": values["data_dir"]}
    return {"embedded": True, "cases": values.get("demo_cases", 1000), "seed": values.get("seed", 0)}


def _load(place: dict, schema: Schema) -> Dataset:
    """The cases; how their files were read is printed."""
    own = not place["embedded"]
    data = load_data(locate(place["folder"]) if own else embedded_data(place["cases"], place["seed"]), schema)
    for note in data.notes:
        print(note, flush=True)
    return data


def forecast(job: Job) -> pd.DataFrame:
    """What a run would do, a row a stage: `stage`, `would`, `because`, `seconds`, `gigabytes`.

    Time and memory are those of this machine (`estimates.cost`), null where they are not known; a
    skipped stage takes none.
    """
    rows, running = [], None
    for stage in job.profile.stages:
        because = _because(job, stage, running)
        running = running or (because and stage)
        spent = cost(job.profile, job.run.folder, stage) if because else {}
        rows.append({"stage": stage, "would": "run" if because else "skip", "because": because, **spent})
    return pd.DataFrame(rows, columns=["stage", "would", "because", "seconds", "gigabytes"])


def _because(job: Job, stage: str, running: str | None) -> str:
    """Why a stage would run; "" if it would not."""
    if stage not in job.chosen:
        return ""
    if job.force:
        return "forced"
    reason = skipping.reason_to_run(job.profile, stage, job.parts(stage), job.run)
    return reason or (f"unless {running} writes what it wrote before" if running else "")
