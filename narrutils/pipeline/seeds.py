"""A profile under several seeds: how far its results swing with the seeds of what is trained.

The run `<run>` of a profile comes first; `<run>_seed1` … are copies of it in which notebooks that train
are given other seeds. Cases, folds and generated rows stay as they are, and whatever no seed touches is
skipped, so only what depends on one trains again.
"""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from narrutils.data.files import atomic, read_json, write_json
from narrutils.data.run import Run
from narrutils.data.stages import content
from narrutils.data.study import Study, same_cases
from narrutils.errors import InputError
from narrutils.evaluation.seeds import over_seeds, read_counts
from narrutils.paths import OUTPUTS, shown
from narrutils.pipeline import runner
from narrutils.pipeline.estimates import cost, in_words
from narrutils.pipeline.profiles import NOTEBOOKS, Profile, find_stage, load_profile
from narrutils.report.ladder_view import seeds_table, seeds_told
from narrutils.report.tables import as_text

SEED, FINALS = "seed", "finals"
#: Between the seeds of two runs: further attempts of a training take the next seeds, and `finals` others.
STEP = 1_000_000
#: Whoever draws cases or folds or writes pools by a seed keeps it: all runs have the same of them.
DRAWS = ("data_dir", "folds", "pools")
MARK = "seed.json"  # in the folder of a further run: whose copy it is
#: What a copy leaves out: what only the first run is told of, and what is made anew.
OWN = ("report", "states", "tuning*", "seeds.json", "cycle*.json", MARK, "*.lock", "*.part")
MODELS = "models"


@dataclass(frozen=True)
class Plan:
    """What the command was asked: the profile of the first run, how many runs, which stages vary."""

    first: Profile
    seeds: int
    varied: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...]
    notebooks: Path
    outputs: Path

    def name(self, number: int) -> str:
        """The run of a seed, numbered from 0."""
        return f"{self.first.run}_seed{number}" if number else self.first.run

    def seeds_of(self, number: int) -> dict[str, int]:
        """Stage -> its seed in a run."""
        return {stage: self._shifted(self.first.parameters[stage][SEED], number) for stage in self.varied}

    def profile(self, number: int) -> Profile:
        """The same profile under other seeds; `finals` that have seeds of their own move by as much."""
        if not number:
            return self.first
        further = {"run": self.name(number)}
        for stage, seed in self.seeds_of(number).items():
            further[f"{stage}.{SEED}"] = str(seed)
            finals = self.first.parameters[stage].get("teaching", {}).get(FINALS, [])
            if any(SEED in final for final in finals):
                moved = [
                    final | ({SEED: self._shifted(final[SEED], number)} if SEED in final else {})
                    for final in finals
                ]
                further[f"{stage}.{FINALS}"] = json.dumps(moved)
        return load_profile(self.first.path, [*self.overrides, *further.items()], self.notebooks)

    def run(self, number: int) -> Run:
        return Run(self.outputs / self.name(number))

    @staticmethod
    def _shifted(seed: int, number: int) -> int:
        return (seed + number * STEP) % 2**32


def plan_seeds(
    params: str | Path,
    seeds: int,
    vary: Sequence[str] = (),
    overrides: Iterable[tuple[str, str]] = (),
    outputs: str | Path = OUTPUTS,
    notebooks: str | Path = NOTEBOOKS,
) -> Plan:
    """Check the profile, which stages may vary, and that no further run has the name of another.

    Args:
        seeds: runs in all.
        vary: stages whose seeds differ (`04` or the full name); every one that trains by a seed unless given.

    Raises:
        InputError: fewer runs than two; the profile, an override or a stage does not fit; or a folder
            is in the way.
    """
    if seeds < 2:
        raise InputError(f"--seeds is {seeds}; give 2 or more, the number of runs, the first one among them")
    overrides = tuple(overrides)
    first = load_profile(params, overrides, notebooks)
    plan = Plan(first, seeds, _varied(first, vary), overrides, Path(notebooks), Path(outputs).resolve())
    for number in range(1, seeds):
        plan.profile(number)
        _check_place(plan, number)
    return plan


def _varied(profile: Profile, vary: Sequence[str]) -> tuple[str, ...]:
    """The stages whose seed is one of trainings, or those of them that are named."""
    train = [
        stage
        for stage, values in profile.parameters.items()
        if SEED in values and not any(name in values for name in DRAWS)
    ]
    named = {find_stage(word, profile.stages, "--vary") for word in vary}
    other = sorted(named.difference(train))
    if other or not train:
        lacks = f"{other[0]} has no seed of a training" if other else "no notebook has a seed of a training"
        raise InputError(f"{shown(profile.path)}: {lacks}; those that have: {', '.join(train) or 'none'}")
    return tuple(stage for stage in train if stage in named or not named)


def _check_place(plan: Plan, number: int) -> None:
    """Refuse a folder that is no copy of this run under another seed."""
    folder = plan.run(number).folder
    mark = folder / MARK
    if folder.exists() and not (mark.is_file() and read_json(mark) == _mark(plan, number)):
        mend = "move it away, or give this run another name with `-p run NAME`"
        raise InputError(
            f"{shown(folder)}: is not run {number} of {plan.first.run} under other seeds; {mend}"
        )


def _mark(plan: Plan, number: int) -> dict:
    return {"of": plan.first.run, "number": number}


def run_seeds(plan: Plan) -> dict:
    """Run what is not finished yet under every seed, and print one table and a sentence.

    Runs that are finished are skipped by content, so the same command goes on where it stopped.

    Returns:
        The content of `seeds.json` of the first run, see `describe`; its report shows it.

    Raises:
        InputError: something that the user gave is wrong, or no notebook writes a ladder.
        RunFailed: a notebook failed, or the run was interrupted.
    """
    from narrutils.report.build import build_report  # slow to import

    runner.run_profile(plan.first, plan.notebooks, plan.outputs, keep_states=True)
    if not plan.run(0).has("ladder.json"):
        raise InputError(
            f"{shown(plan.run(0).folder)}: has no ladder.json, whose steps --seeds would compare"
        )
    for number in range(1, plan.seeds):
        _copy(plan, number)
        _hand_on(plan.run(number - 1), plan.run(number))
        last = number == plan.seeds - 1
        runner.run_profile(plan.profile(number), plan.notebooks, plan.outputs, keep_states=not last)
    found = describe(plan)
    write_json(plan.run(0).path("seeds.json"), found)
    report = build_report(plan.run(0).folder)
    print(f"\n{tell(found)}\nreport: {shown(report)}", flush=True)
    return found


def dry_run(plan: Plan) -> None:
    """Print what would run first, and then again under each further seed, with its cost; touch nothing.

    Raises:
        InputError: something that the user gave is wrong.
    """
    runner.dry_run(plan.first, plan.notebooks, plan.outputs)
    for number in range(1, plan.seeds):
        seeds = ", ".join(f"{stage} {seed}" for stage, seed in plan.seeds_of(number).items())
        print(f"\n{plan.name(number)}, seeds {seeds}:", flush=True)
        if plan.run(number).folder.exists():
            runner.dry_run(plan.profile(number), plan.notebooks, plan.outputs)
        else:
            print(in_words(_forecast(plan)))


def _forecast(plan: Plan) -> pd.DataFrame:
    """What a copy would do, as `preflight.forecast` tells it: all from the first stage that varies."""
    rows = []
    for stage in plan.first.stages:
        because = "" if stage < plan.varied[0] else f"unless {plan.varied[0]} writes what it wrote before"
        because = "another seed" if stage in plan.varied else because
        spent = cost(plan.first, plan.run(0).folder, stage) if because else {}
        rows.append({"stage": stage, "would": "run" if because else "skip", "because": because, **spent})
    return pd.DataFrame(rows, columns=["stage", "would", "because", "seconds", "gigabytes"])


def _copy(plan: Plan, number: int) -> None:
    """Begin a further run as a copy of the finished first one, unless it was begun.

    Models are linked where the disk allows it: they are replaced and never written into.
    """
    source, target = plan.run(0).folder, plan.run(number).folder
    if target.exists():
        return
    with atomic(target) as part:
        shutil.copytree(source, part, ignore=shutil.ignore_patterns(*OWN, MODELS))
        if (source / MODELS).is_dir():
            shutil.copytree(source / MODELS, part / MODELS, copy_function=_link)
        write_json(part / MARK, _mark(plan, number))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk that knows no links
        shutil.copy2(source, target)


def _hand_on(before: Run, after: Run) -> None:
    """Let the next run have what frozen layers gave of the cases, which no seed changes."""
    if before.states.is_dir() and not after.states.exists():
        before.states.rename(after.states)
    before.drop_states()


def describe(plan: Plan) -> dict:
    """The finished runs together.

    Returns:
        `runs`: `run`, its `seeds` by stage, `content` (digest of what its `stages` wrote); `stages`;
        `entries` as of `over_seeds`.

    Raises:
        InputError: a run differs in cases or folds.
    """
    runs = [plan.run(number) for number in range(plan.seeds)]
    studies = [Study.open(run) for run in runs]
    for run in runs[1:]:
        same_cases(run, runs[0].cases("train"), studies[0].folds, studies[0].schema)
    known = {*runs[0].models()}  # a teacher on the ladder of its student is a model of another run
    ladder = [e for e in runs[0].read("ladder.json") if e["model"] in known]
    records = [
        {"run": run.folder.name, "seeds": plan.seeds_of(n), "content": content(run, plan.first.stages)}
        for n, run in enumerate(runs)
    ]
    entries = over_seeds(ladder, [read_counts(study) for study in studies])
    return {"stages": plan.first.stages, "runs": records, "entries": entries}


def tell(found: dict) -> str:
    """Out of fold and on the test, as tables, and a sentence on what is certain."""
    said = []
    for split, title in (("oof", "out of fold"), ("test", "test")):
        table = as_text(seeds_table(found["entries"], split))
        if len(table):
            title = f"Over {len(found['runs'])} seeds, {title}, against the given labels, cross-fitted:"
            said += [title, table.to_string(index=False), "", seeds_told(found["entries"], split), ""]
    return "\n".join(said)
