"""Whether what the stages of a run folder wrote belongs together, told from their records alone.

`.stages/<stage>.key.json` holds what a stage's last run depended on (`parts`; empty until it
ends) and the digest of each artefact that it wrote (`files`). `pipeline.skipping` writes it.
Notebooks that people run by hand leave no such record, and nothing to check.
"""

import shlex
from collections.abc import Sequence

from narrutils.data.files import digest, read_json
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.paths import OUTPUTS, shown

RECORD = ".key.json"


def recorded(run: Run, stage: str) -> dict:
    """`parts` and `files` (name -> digest) of a stage's last run; both are empty where none can be read."""
    path = run.path(f".stages/{stage}{RECORD}")
    try:
        found = read_json(path) if path.exists() else {}
        parts, files = found["parts"], found["files"]
        if all(isinstance(part, dict) for part in (parts, files, parts.get("earlier", {}))):
            return {"parts": parts, "files": files}
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: the stage runs again
        pass
    return {"parts": {}, "files": {}}


def has_ended(run: Run, stage: str) -> bool:
    """Whether the stage once ran to its end and its artefacts are still there."""
    record = recorded(run, stage)
    return bool(record["parts"]) and all(run.has(n) for n in (*record["files"], f"{stage}.ipynb"))


def of_profile(run: Run) -> list[str]:
    """The stages of the profile that a run was made with, in order, run or not; none without `run.json`."""
    return sorted(run.record().get("parameters", {}))


def unfinished(run: Run, stages: Sequence[str]) -> str:
    """The first stage that did not end, or ended before an earlier one wrote something else; "" if none."""
    for n, stage in enumerate(stages):
        earlier = {s: digest(recorded(run, s)["files"]) for s in stages[:n]}
        if not has_ended(run, stage) or recorded(run, stage)["parts"].get("earlier") != earlier:
            return stage
    return ""


def content(run: Run, stages: Sequence[str]) -> str:
    """One digest of everything that the stages of a run wrote, as recorded when they ended."""
    return digest({stage: recorded(run, stage)["files"] for stage in stages})


def check_whole(run: Run, finished: bool = False) -> None:
    """Refuse a run folder whose stages do not belong together; the line gives the command that mends it.

    Args:
        finished: whether every stage must have ended; else the last ones may be under way for
            the first time.

    Raises:
        InputError: see `fault`.
    """
    found = fault(run, finished)
    if found:
        stage, said = found
        raise InputError(f"{shown(run.folder)}: {said}; to mend it: {mend(run, stage)}")


def fault(run: Run, finished: bool = False) -> tuple[str, str] | None:
    """The first stage whose part of a run does not belong to the rest, and why; None if there is none.

    It did not end though later ones did, or though it had ended before; it ended before an earlier
    one wrote something else; or a file is not what it was when it was last written. A file
    that is gone is told by who needs it.
    """
    records = {stage: recorded(run, stage) for stage in _ran(run)}
    last = {name: stage for stage, record in records.items() for name in record["files"]}
    ended = [stage for stage, record in records.items() if record["parts"]]
    for stage, record in records.items():
        if not record["parts"] and (finished or record["files"] or (ended and ended[-1] > stage)):
            return stage, f"{stage} did not run to its end"
        for before, wrote in record["parts"].get("earlier", {}).items():
            if before in records and digest(records[before]["files"]) != wrote:
                return stage, f"{stage} ran before {before} wrote something else"
        for name in (n for n in record["files"] if last[n] == stage and run.path(n).is_file()):
            if digest(run.path(name)) != record["files"][name]:
                return stage, f"{name} is not as {stage} wrote it"
    return None


def _ran(run: Run) -> list[str]:
    """The stages that were run by the runner, in order; those of notebooks that are no more left out."""
    found = {path.name.removesuffix(RECORD) for path in run.path(".stages").glob(f"*{RECORD}")}
    known = run.record()
    ran = found and found | set(known["stages"])
    return sorted(ran & set(known.get("parameters") or ran))


def mend(run: Run, stage: str) -> str:
    """The command that runs a stage of a run and the later ones again."""
    known, name = run.record(), run.folder.resolve().name
    words = [] if known.get("run", name) == name else ["-p", "run", name]
    beside = run.folder.resolve().parent
    words += [] if beside == OUTPUTS else ["--outputs", shown(beside)]
    return f"{known.get('command', 'narrutils run PROFILE')} {shlex.join(['--from', stage[:2], *words])}"
