"""Which notebooks a rerun may skip, decided by content and never by dates.

A stage's key covers its notebook's cells, its parameters, the modules of the package that the
notebook imports (`sources`), the data, and what every earlier stage wrote. When the stage ends it
is recorded with the digest of each artefact (`data.stages`).
A stage is skipped if its key is the same and its artefacts still stand as they were recorded.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from narrutils.data.files import digest, write_json
from narrutils.data.run import Run
from narrutils.data.sources import source_digests
from narrutils.data.stages import RECORD, recorded
from narrutils.pipeline.parameters import imported_by, read_cells
from narrutils.pipeline.profiles import Profile


@dataclass(frozen=True)
class Inputs:
    """Digests of what a stage reads from outside the run folder, by parameter name."""

    by_stage: dict[str, dict[str, str]]

    def of(self, stage: str) -> dict[str, str]:
        return self.by_stage.get(stage, {})


def key_parts(profile: Profile, stage: str, notebook: Path, inputs: Inputs, run: Run) -> dict:
    """What the stage's result depends on; two equal mappings mean that it may be skipped.

    Paths are replaced by the digest of what they lead to, so a moved folder changes nothing.
    """
    cells = [[c["cell_type"], c["source"]] for c in read_cells(notebook)]
    earlier = profile.stages[: profile.stages.index(stage)]
    parts = {
        "notebook": digest(cells),
        "parameters": profile.parameters[stage] | inputs.of(stage),
        "package": source_digests(imported_by(cells)),
        "earlier": {s: digest(recorded(run, s)["files"]) for s in earlier},
    }
    return json.loads(json.dumps(parts, default=str))  # as it will read from its file


def reason_to_run(profile: Profile, stage: str, parts: dict, run: Run) -> str:
    """Why the stage must run again, or "" if it may be skipped."""
    old = recorded(run, stage)
    if not old["parts"]:
        return "stopped half-way" if old["files"] or run.written_by(stage) else "not run yet"
    if old["parts"] != parts:
        return _difference(old["parts"], parts)
    for name in (*old["files"], f"{stage}.ipynb"):
        if not run.has(name):
            return f"{name} is missing"
    for name in old["files"]:
        if digest(run.path(name)) != _last_recorded(profile, run, name):
            return f"{name} was changed"
    return ""


def _difference(old: dict, new: dict) -> str:
    if old.get("notebook") != new["notebook"]:
        return "the notebook changed"
    before, after = old.get("parameters", {}), new["parameters"]
    changed = [n for n in {**before, **after} if before.get(n, ...) != after.get(n, ...)]
    if changed:
        return f"changed: {', '.join(changed)}"
    before, after = old.get("package", {}), new["package"]
    if before != after:
        return f"changed: {min(n for n in {**before, **after} if before.get(n) != after.get(n))}"
    moved = [s for s, d in new["earlier"].items() if old.get("earlier", {}).get(s) != d]
    return f"{moved[0]} wrote other artefacts" if moved else "the earlier notebooks changed"


def _last_recorded(profile: Profile, run: Run, name: str) -> str:
    """A file's digest as recorded by the last stage that wrote it."""
    files = [recorded(run, stage)["files"] for stage in profile.stages]
    return [f[name] for f in files if name in f][-1]


def begin(run: Run, stage: str, remake: bool) -> None:
    """Open a stage: nothing counts as done until `end`; `remake` voids its trained folders too."""
    names = {**recorded(run, stage)["files"], **dict.fromkeys(run.written_by(stage), "")}
    write_json(run.path(f".stages/{stage}{RECORD}"), {"parts": {}, "files": names})
    if remake:
        for name in names:
            if Path(name).name == "key.json":
                run.path(name).unlink(missing_ok=True)
    run.forget(stage)


def end(run: Run, stage: str, parts: dict, profile: Profile) -> None:
    """Close a stage: record what it wrote, and remove the tables that it wrote before and no longer does."""
    written = run.written_by(stage)
    others = {n for s in profile.stages if s != stage for n in recorded(run, s)["files"]}
    for name in set(recorded(run, stage)["files"]) - set(written) - others:
        if Path(name).name != "key.json":  # a trained folder is worth keeping: its own key guards it
            run.path(name).unlink(missing_ok=True)
    files = {name: digest(run.path(name)) for name in written}
    write_json(run.path(f".stages/{stage}{RECORD}"), {"parts": parts, "files": files})
