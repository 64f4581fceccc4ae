"""Tuning: settings of a stage found by trials on a finished run, and the profile that has them.

Cases, labels, folds and schema are those of the run folder; all that is written lies in its
`tuning/<stage>/`, of which neither stages nor skipping know.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from narrutils.crossfit.phases import read_corrected
from narrutils.crossfit.student import asked as asked_of
from narrutils.crossfit.student import learner
from narrutils.data.files import atomic, digest, read_json, write_json
from narrutils.data.intake.yaml_files import load_yaml
from narrutils.data.run import Run
from narrutils.data.sources import source_digest
from narrutils.data.stages import has_ended
from narrutils.data.study import Study
from narrutils.data.tables import write_table
from narrutils.errors import InputError, concerning
from narrutils.labels.review import load_decisions
from narrutils.paths import OUTPUTS, locate, shown
from narrutils.pipeline.consistency import check_models, settings_of
from narrutils.pipeline.estimates import cost
from narrutils.pipeline.preflight import settled
from narrutils.pipeline.profiles import Profile, effective, find_stage, load_profile, varied
from narrutils.pipeline.runner import locked
from narrutils.report.tables import duration
from narrutils.report.tuned.say import told
from narrutils.tuning import frames
from narrutils.tuning.files import FOLDER, RECORD, TRIALS
from narrutils.tuning.search import Search
from narrutils.tuning.space import Space, parse_space
from narrutils.tuning.trials import optuna
from narrutils.tuning.tunable import TUNABLE, default_space

CORRECTION = "03_relabeling"  # the stage whose method corrects labels within inner folds
CODE = ("narrutils.tuning.search", "narrutils.tuning.tunable")  # what decides trials: how, and of what


@dataclass(frozen=True)
class Asked:
    """What was asked for: see the options of the command."""

    profile: Profile
    stage: str
    trials: int
    space: Path | None = None
    outputs: Path = OUTPUTS
    seed: int = 0
    repeats: int = 3

    def __post_init__(self):
        if self.trials < 1:
            raise InputError(f"--trials {self.trials}: at least one is needed")
        if self.repeats < 0 or self.seed < 0:
            raise InputError("--seed and --repeats are 0 or more")
        object.__setattr__(self, "stage", find_stage(self.stage, self.profile.stages, "--stage"))
        if self.stage not in TUNABLE:
            raise InputError(f"--stage {self.stage}: cannot be tuned; {', '.join(TUNABLE)} can be")

    @property
    def run(self) -> Run:
        return Run(self.outputs / self.profile.run)

    @property
    def folder(self) -> Path:
        return self.run.path(f"{FOLDER}/{self.stage}")

    @cached_property
    def settled(self) -> Profile:
        """The profile in the precision of the run."""
        return settled(self.profile, self.run.folder)

    def search_space(self) -> Space:
        """The search space, held against what the stage declares.

        Raises:
            InputError: the file is not there, or something in it does not fit.
        """
        own = self.profile.parameters[self.stage]
        path = locate(self.space or Path("params/spaces") / default_space(self.stage, own))
        if not path.is_file():
            raise InputError(f"{path}: no such search space; name one with --space")

        def check(name: str, value: object) -> object:
            return effective(varied(self.profile, self.stage, {name: value}), self.stage)[name]

        with concerning(shown(path)):
            return parse_space(load_yaml(path), check, effective(self.profile, self.stage))

    def parameters(self, setting: Mapping[str, object]) -> dict[str, object]:
        """The parameters of the stage with a setting laid over them.

        Raises:
            InputError: they cannot hold together.
        """
        values = varied(self.settled, self.stage, setting).parameters[self.stage]
        settings_of(values, self.profile.declared[self.stage])
        return values


def check_ended(asked: Asked) -> None:
    """That the stages before the tuned one have ended in the run folder.

    Raises:
        InputError: one has not; the line has the command.
    """
    stages = asked.profile.stages
    for stage in stages[: stages.index(asked.stage)]:
        if not has_ended(asked.run, stage):
            beside = [] if asked.outputs.resolve() == OUTPUTS else ["--outputs", shown(asked.outputs)]
            command = f"{asked.profile.command} {shlex.join(beside)}".strip()
            raise InputError(
                f"{shown(asked.run.folder)}: {stage} has not run to its end here; first: {command}"
            )


def plan(asked: Asked) -> Search:
    """The search, everything checked; nothing is written.

    Raises:
        InputError: something that was given is wrong, or a library or model is missing.
    """
    optuna()
    if CORRECTION in asked.profile.left_out:
        where = shown(asked.profile.path)
        raise InputError(f"{where}: leave_out names {CORRECTION}, by which every trial corrects; keep it")
    check_ended(asked)
    space, values = asked.search_space(), asked.settled.parameters
    study = Study.open(asked.run, values[asked.stage]["threshold_search"])
    corrects = values[CORRECTION]
    decisions = load_decisions(corrects["review_file"], study.schema, study.labels, study.train)
    correcting = frames.Correcting(corrects["method"], decisions)
    for setting in (space.first, space.proxy):
        check_models({asked.stage: asked.parameters(setting)})
    own = {
        name: value
        for name, value in effective(asked.profile, asked.stage).items()
        if name in space.dimensions
    }
    return Search(
        study=study,
        folder=asked.folder,
        stage=asked.stage,
        space=space,
        own=own if space.holds(own) else None,
        parameters=asked.parameters,
        build=TUNABLE[asked.stage],
        correcting=correcting,
        key=_key(asked, study, space, correcting),
        trials=asked.trials,
        seed=asked.seed,
        repeats=0 if learner(study, values[asked.stage]).seed is None else asked.repeats,
    )


def _key(asked: Asked, study: Study, space: Space, correcting: frames.Correcting) -> str:
    values, code = asked.settled.parameters[asked.stage], source_digest(*CODE)
    read = frames.content(study, correcting)
    return digest(space.to_dict(), values, asked.seed, code, read, study.threshold_search)


def tune(asked: Asked, dry_run: bool = False) -> Path | None:
    """Find settings of a stage, say what they are worth, and write a profile that has them.

    Args:
        dry_run: only say what it would cost.

    Returns:
        The path of the profile.

    Raises:
        InputError: something that was given is wrong.
    """
    search = plan(asked)
    print(costs(asked, search), flush=True)
    if dry_run:
        return None
    with locked(asked.run.folder):
        done = _done(asked, search)
        if not done:
            record, trials = search.carry_out()
            write_table(asked.folder / TRIALS, trials)
            _write_profile(asked, record["chosen"])
            about = {"stage": asked.stage, "space": search.space.to_dict(), "trials": asked.trials}
            about |= {
                "seed": asked.seed,
                "profile": str(_profile_path(asked).name),
                "key": _whole_key(search),
            }
            write_json(asked.folder / RECORD, about | {"trainings": search.trainings()} | record)
        search.finish()  # found done, it may have been killed before
        print("\n".join(told(read_json(asked.folder / RECORD))), flush=True)
        _report(asked)
    return _profile_path(asked)


def costs(asked: Asked, search: Search) -> str:
    """What the search takes at most: trainings, and their time where one was ever timed."""
    parts = {what: n for what, n in search.trainings().items() if n}
    total, studies = sum(parts.values()), len(search.studies)
    lines = [f"{n} for {what}" for what, n in parts.items()]
    how = (
        "on the test cases, which nothing consults" if search.on_test else f"by {studies - 1} further studies"
    )
    each = _seconds(asked, search)
    took = f"about {duration(each * total)}" if each else "told after the first training"
    proxied = " (those of trials by a proxy take less)" if search.space.has_proxy else ""
    return (
        f"at most {total} trainings: {', '.join(lines)}; honest score {how}\n"
        f"time at most: {took}{proxied}; generated rows and a previous run take no part"
    )


def _seconds(asked: Asked, search: Search) -> float | None:
    """Seconds of one training, by what the stage took or is estimated to take; None where that is unknown."""
    values, folds = asked.settled.parameters[asked.stage], search.study.folds.nunique()
    if asked_of(values).student == "linear":
        return None  # estimates are of an encoder
    trained = folds + (folds * (folds - 1) // 2 if values["nested"] else 0)
    known = cost(asked.settled, asked.run.folder, asked.stage).get("seconds")
    return known and known / trained


def _whole_key(search: Search) -> str:
    """What decides the whole record, the honest score too."""
    study, corrected = search.study, read_corrected(search.study.run)
    tested = [study.test, study.test_labels, corrected.targets, corrected.optimistic]
    return digest(search.key, search.trials, search.repeats, *tested)


def _done(asked: Asked, search: Search) -> bool:
    """Whether this very search was carried out to its end."""
    record, trials = asked.folder / RECORD, asked.folder / TRIALS
    found = all(path.exists() for path in (record, trials, _profile_path(asked)))
    return found and read_json(record)["key"] == _whole_key(search)


def _profile_path(asked: Asked) -> Path:
    return asked.folder / f"{asked.profile.run}_tuned.yaml"


def _write_profile(asked: Asked, setting: Mapping[str, object]) -> None:
    """The profile's own content with the overrides and the setting laid into it, as a profile of its own.

    Raises:
        RuntimeError: it does not read as it was meant.
    """
    profile, path = asked.profile, _profile_path(asked)
    meant = varied(profile, asked.stage, setting)
    raw = load_yaml(profile.path) | {"run": f"{profile.run}_tuned"}
    plain = load_profile(profile.path)
    for stage, values in meant.parameters.items():
        section = dict(raw.get(stage) or {})
        for name, value in values.items():
            section |= _changes(name, value, plain.parameters[stage][name])
        raw |= {stage: section} if section else {}
    words = f"# {profile.command} with the settings of {asked.stage} that were found by\n# {command(asked)}\n"
    with atomic(path) as part:
        part.write_text(words + yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if load_profile(path).parameters != meant.parameters:
        raise RuntimeError(f"{path}: does not read as it was meant")


def _changes(name: str, value: object, before: object) -> dict[str, object]:
    """What a section sets so that a parameter becomes this value; the parts of a mapping by their names."""
    if value == before:
        return {}
    if isinstance(value, dict) and isinstance(before, dict) and before.keys() <= value.keys():
        return {inner: part for inner, part in value.items() if inner not in before or before[inner] != part}
    return {name: value}


def command(asked: Asked) -> str:
    """What was asked for, as it can be typed."""
    pairs = [word for key, value in asked.profile.overrides for word in ("-p", key, value)]
    words = ["narrutils", "tune", shown(asked.profile.path), "--stage", asked.stage[:2]]
    words += ["--trials", str(asked.trials), "--seed", str(asked.seed), *pairs]
    return shlex.join(words + (["--space", shown(asked.space)] if asked.space else []))


def _report(asked: Asked) -> None:
    """Build the run's report, which has a page of it."""
    from narrutils.report.build import build_report

    print(f"report: {shown(build_report(asked.run.folder))}", flush=True)
    print(f"profile: {shown(_profile_path(asked))}", flush=True)
