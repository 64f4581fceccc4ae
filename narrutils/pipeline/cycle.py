"""Cycles: generate, screen, soft-label and train again, each from the last run that was kept.

Cycle 0 is the run `<run>` of a profile; cycle n is the linear run `<run>_cycle<n>`, whose
`previous_run` is the last kept one. A cycle is kept if its deciding model gained on the
out-of-fold rows. The test split takes no part in that choice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from narrutils.crossfit.rounds import gain_over
from narrutils.data.files import read_json, write_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.evaluation.intervals import columns_of, in_columns, in_table
from narrutils.evaluation.scores import score_stored
from narrutils.paths import OUTPUTS
from narrutils.pipeline import runner
from narrutils.pipeline.profiles import NOTEBOOKS, Profile, load_profile
from narrutils.report.tables import as_text, figure


@dataclass(frozen=True)
class Plan:
    """What the command was asked: the profile of cycle 0, and how many more there are to be."""

    first: Profile
    cycles: int
    overrides: tuple[tuple[str, str], ...]
    notebooks: Path
    outputs: Path

    def name(self, cycle: int) -> str:
        """The run of a cycle."""
        return f"{self.first.run}_cycle{cycle}" if cycle else self.first.run

    def profile(self, cycle: int, previous: str) -> Profile:
        """The same profile as the run of a later cycle, started from the run `previous`."""
        further = {"run": self.name(cycle), "previous_run": previous, "cycle": str(cycle)}
        return load_profile(self.first.path, [*self.overrides, *further.items()], self.notebooks)

    def run(self, cycle: int) -> Run:
        return Run(self.outputs / self.name(cycle))

    @property
    def journal(self) -> Path:
        """`cycles.json`, in the folder of cycle 0."""
        return self.run(0).path("cycles.json")


def plan_cycles(
    params: str | Path,
    cycles: int,
    overrides: Iterable[tuple[str, str]] = (),
    outputs: str | Path = OUTPUTS,
    notebooks: str | Path = NOTEBOOKS,
) -> Plan:
    """Check the profile, and that its notebooks take `previous_run` and `cycle`; nothing is run.

    Raises:
        InputError: fewer cycles than one, or the profile or an override does not fit.
    """
    if cycles < 1:
        raise InputError(f"--cycles is {cycles}; give 1 or more, the number of cycles after the first run")
    overrides = tuple(overrides)
    first = load_profile(params, overrides, notebooks)
    plan = Plan(first, cycles, overrides, Path(notebooks), Path(outputs).resolve())
    plan.profile(1, first.run)
    return plan


def run_cycles(plan: Plan, model: str = ENSEMBLE) -> list[dict]:
    """Run what is not finished yet, keep or leave each cycle by its gain, print one table.

    A run that finished is skipped by content, so the same command goes on where it stopped.

    Args:
        model: the deciding one, whose out-of-fold rows are compared.

    Returns:
        The content of `cycles.json`: one record a cycle, see `describe`; cycle 0 without gain.

    Raises:
        InputError: something that the user gave is wrong, or there is no such model.
        RunFailed: a notebook failed, or the run was interrupted.
    """
    runner.run_profile(plan.first, plan.notebooks, plan.outputs)
    records = [describe(plan, 0, None, model)]
    write_json(plan.journal, records)
    for cycle in range(1, plan.cycles + 1):
        kept = last_kept(records)
        runner.run_profile(plan.profile(cycle, kept["run"]), plan.notebooks, plan.outputs)
        records.append(describe(plan, cycle, kept["cycle"], model))
        write_json(plan.run(cycle).path("cycle.json"), records[-1])
        write_json(plan.journal, records)
    print(tell(records), flush=True)
    return records


def dry_run(plan: Plan) -> None:
    """Print what would run in cycle 0, and what is on record of the later ones; touch nothing.

    Raises:
        InputError: something that the user gave is wrong.
    """
    runner.dry_run(plan.first, plan.notebooks, plan.outputs)
    known = {r["cycle"]: r for r in read_json(plan.journal)} if plan.journal.exists() else {}
    for cycle in range(1, plan.cycles + 1):
        record = known.get(cycle)
        said = "not run yet: all its notebooks, from the last run kept, in about the time of a whole run"
        if record:
            said = f"on record: gain {figure(record['gain'], '+')}, {'' if record['kept'] else 'not '}kept"
            said += "; it runs again where something changed"
        print(f"{plan.name(cycle)}: {said}")


def describe(plan: Plan, cycle: int, previous: int | None, model: str) -> dict:
    """A finished cycle's record.

    Returns:
        `cycle`, `run`, `previous_run` (names), `model`, `average_f1` (out of fold, thresholds
        cross-fitted), `gain` over the same model of `previous_run` with the bounds of its 95 %
        interval `gain_low` and `gain_high`, `kept`, `generated_rows` (those that screening
        kept), `optimistic` (whether a teacher crossed the folds).
    """
    run, study = plan.run(cycle), Study.open(plan.run(cycle))
    before = None if previous is None else plan.run(previous)
    gain = None if before is None else gain_over(study, Study.open(before), model)
    return {
        "cycle": cycle,
        "run": run.folder.name,
        "previous_run": before and before.folder.name,
        "model": model,
        "average_f1": score_stored(study, model).average_f1,
        **in_columns("gain", gain),
        "kept": gain is None or gain.value > 0,
        "generated_rows": len(run.pools(study.schema)),
        "optimistic": is_optimistic(run, model),
    }


def last_kept(records: list[dict]) -> dict:
    """The record of the run that the next cycle starts from."""
    return [record for record in records if record["kept"]][-1]


def tell(records: list[dict]) -> str:
    """The cycles as one table, and a sentence on what their choice means."""
    columns = ["run", "previous_run", "generated_rows", "average_f1", *columns_of("gain")]
    table = as_text(in_table(records, [*columns, "kept", "optimistic"]))
    title = f"Cycles, {records[0]['model']}, out of fold, against the given labels, thresholds cross-fitted:"
    sentence = (
        f"{last_kept(records)['run']} is the one to use. It was chosen among {len(records)} runs by their "
        "out-of-fold rows, which makes its out-of-fold score a little optimistic; the test split took no "
        "part in the choice."
    )
    return f"\n{title}\n{table.to_string(index=False)}\n\n{sentence}"


def is_optimistic(run: Run, model: str) -> bool:
    """Whether the ladder of a run marks the model's cross-fitted score as one that flatters."""
    entries = run.read("ladder.json") if run.has("ladder.json") else []
    place = ("oof", "cross_fitted", model)
    return any(e.get("optimistic") for e in entries if (e["split"], e["thresholds"], e["model"]) == place)
