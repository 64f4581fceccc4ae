"""The gauntlet: damaged files and run folders, each read right or refused in one line.

    python -m benchmarks.gauntlet --files 1000 --folders 300 --seed 0

Valid files of a toy task are cut, doubled, flipped, shuffled and encoded anew by hypothesis, and go through
the doors that users have: data, schema, profile, review file, human codes, cases to code. In a run folder
one file is damaged, and it is predicted with, bundled, reported and run again. `read` counts what went in:
where the damage changes no meaning, and for codes always, it must give what the whole file gives. `refused`
is one line that holds no narrative and leaves every output as it was. All else is `failed`, and listed.
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from narrutils.bundle import bundle
from narrutils.data.cases import load_data
from narrutils.data.intake.incoming import Incoming
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.outputs import Outputs
from narrutils.errors import InputError
from narrutils.findings.estimates.human_codes import read_human_codes
from narrutils.labels.review import check_review, read_review
from narrutils.pipeline.preflight import forecast, preflight
from narrutils.pipeline.profiles import load_profile
from narrutils.predict import predict
from narrutils.report.build import build_report

from .damage import BINARY, CSV, HARMLESS, NEARLY, TEXT, damaged
from .toy_task import SENTINEL, Task

BEFORE = b"what stood here before\n"


@dataclass
class Tally:
    """How often each kind of damage was `read`, `refused` or `failed`, and what failed."""

    counts: Counter = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        kinds = dict.fromkeys(kind for kind, _ in self.counts)
        rows = [[kind, *(self.counts[kind, how] for how in ("read", "refused", "failed"))] for kind in kinds]
        return pd.DataFrame(rows, columns=["kind", "read", "refused", "failed"])

    def judge(self, kind: str, name: str, door: Callable[[], str], must_read: bool = False) -> None:
        """Go through a door, which gives "" or what it read wrongly, and note how it ended."""
        said, fault, how = io.StringIO(), "", "read"
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                fault = door()
        except InputError as error:
            how, line = "refused", str(error)
            fault = "more than a line" if "\n" in line or len(line) > 1000 else ""
            fault = f"refused: {line}" if must_read else fault
            said.write(line)
        except Exception as error:
            fault = f"{type(error).__name__} at {_place(error)}"
        if SENTINEL in said.getvalue():
            fault = f"a narrative is told ({fault or how})"
        self.counts[kind, "failed" if fault else how] += 1
        if fault:
            self.failures.append((kind, name, fault))


def _place(error: Exception) -> str:
    """The line of the package where an exception came from."""
    places, trace = [], error.__traceback__
    while trace:
        name = trace.tb_frame.f_code.co_filename
        places += [f"{Path(name).name}:{trace.tb_lineno}"] if "narrutils" in Path(name).parts else []
        trace = trace.tb_next
    return places[-1] if places else "?"


def _data(task: Task, folder: Path, damage: str) -> str:
    """Through `load_data`: a label stays its case's own, or the file is refused."""
    found, whole = load_data(folder / "data", task.schema), load_data(task.data, task.schema)
    if damage in HARMLESS and not found.train.equals(whole.train):
        return "other cases were read"
    names, shared = task.schema.names, found.train.index.intersection(whole.train.index)
    if damage in NEARLY and not found.train.loc[shared, names].equals(whole.train.loc[shared, names]):
        return "other labels were read"
    return ""


def _cases(task: Task, folder: Path, damage: str) -> str:
    """Through `predict`: what is written is whole and as long as the file, else what stood there stays."""
    out = folder / "codes.csv"
    out.write_bytes(BEFORE)
    try:
        outputs = Outputs(out, overwrite=True)
        counts = predict(task.run.folder, folder / "data" / task.features.name, outputs, progress=False)
    except Exception:
        if out.read_bytes() != BEFORE:
            return "an output was changed"
        raise
    written = out.read_bytes()
    codes = pd.read_csv(out, dtype=str, keep_default_na=False)
    if SENTINEL.encode() in written or len(codes) != counts["rows"]:
        return "the output holds text, or other rows"
    whole = task.run.path("submission.csv").read_bytes()
    return "other codes" if damage in HARMLESS and written != whole else ""


def _incoming(task: Task, folder: Path, damage: str) -> str:
    incoming = Incoming.check(folder / "data" / task.features.name, task.schema, part_rows=7)
    found = sum(len(incoming.part(n)) for n in range(len(incoming.places)))
    return "" if found == incoming.rows else "checked and read differ"


def _schema(task: Task, folder: Path, damage: str) -> str:
    found = load_schema(folder / "schema.yaml")
    exact = damage in HARMLESS or damage == "line ends"
    return "another schema was read" if exact and found != task.schema else ""


def _profile(task: Task, folder: Path, damage: str) -> str:
    found = load_profile(folder / "toy.yaml", notebooks=task.notebooks)
    exact = damage in HARMLESS or damage in NEARLY
    whole = load_profile(task.profile, notebooks=task.notebooks)
    return "another profile was read" if exact and found.parameters != whole.parameters else ""


def _review(task: Task, folder: Path, damage: str) -> str:
    labels = task.run.labels(task.schema)
    texts = task.run.cases("train")
    decided, told = check_review(read_review(folder / "review.csv"), task.schema, labels, texts)
    if any("\n" in line for line in told):
        return "more than a line"
    strange = [row for row in decided.itertuples() if labels.at[row.uid, row.variable] != row.label_before]
    return "a decision on another label" if strange else ""


def _human(task: Task, folder: Path, damage: str) -> str:
    """Through `read_human_codes`: a code stays its case's own, or the file is refused."""
    whole = task.run.labels(task.schema, "test").astype("Int64")
    found, _ = read_human_codes(folder / "data/test_labels.csv", task.schema, whole.index, "the test cases")
    if damage in HARMLESS and not found.equals(whole):
        return "other codes were read"
    return "a code of another case" if damage in NEARLY and (found != whole).any(axis=None) else ""


#: Kind of file -> its names, how it may be damaged, and the doors that it goes through.
FILES = {
    "data": (("data/train_features.csv", "data/train_labels.csv", "data/test_labels.csv"), CSV, (_data,)),
    "cases": (("data/test_features.csv",), CSV, (_incoming, _cases)),
    "schema": (("schema.yaml",), TEXT, (_schema,)),
    "profile": (("toy.yaml",), TEXT, (_profile,)),
    "review": (("review.csv",), CSV, (_review,)),
    "human codes": (("data/test_labels.csv",), CSV, (_human,)),
}


def _repeat(examples: int, seed: int, strategy: st.SearchStrategy, test: Callable) -> None:
    """Call a test with so many examples; nothing is kept of them, and nothing is made smaller."""
    how = settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    def once(example) -> None:
        test(example)

    seeded(seed)(how(given(strategy)(once)))()


def try_files(task: Task, examples: int, seed: int, tally: Tally) -> None:
    """Damage the files of a task, an equal share of each kind."""
    for kind, (names, ways, _) in FILES.items():
        each = [st.tuples(st.just(n), damaged((task.folder / n).read_bytes(), ways)) for n in names]
        _repeat(examples // len(FILES), seed, st.one_of(each), partial(_try_file, task, tally, kind))


def _try_file(task: Task, tally: Tally, kind: str, example: tuple[str, tuple[str, bytes]]) -> None:
    name, (damage, content) = example
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(task.data, folder / "data")
        (folder / name).write_bytes(content)
        for door in FILES[kind][2]:
            through = partial(door, task, folder, damage)
            tally.judge(f"{kind}: {damage}", name, through, must_read=damage in HARMLESS)


def _predicted(task: Task, outputs: Path) -> str:
    out = outputs / "codes.csv"
    out.write_bytes(BEFORE)
    try:
        predict(outputs / "toy", task.features, Outputs(out, overwrite=True), progress=False)
    except Exception:
        if out.read_bytes() != BEFORE:
            return "an output was changed"
        raise
    return "" if out.read_bytes() == task.run.path("submission.csv").read_bytes() else "other codes"


def _bundled(task: Task, outputs: Path) -> str:
    bundle(outputs / "toy", outputs / "made.zip")
    return ""


def _reported(task: Task, outputs: Path) -> str:
    page = build_report(outputs / "toy")
    return "a narrative is shown" if SENTINEL in page.read_text(encoding="utf-8") else ""


def _planned(task: Task, outputs: Path) -> str:
    """The dry run: what was damaged would be made again, or is named."""
    forecast(preflight(load_profile(task.profile, notebooks=task.notebooks), task.notebooks, outputs))
    return ""


DOORS = {"predict": _predicted, "bundle": _bundled, "report": _reported, "dry run": _planned}


def try_folders(task: Task, examples: int, seed: int, tally: Tally) -> None:
    """Damage one file of a finished run at a time, and use the run."""
    run = task.run.folder
    names = sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and p.stat().st_size)
    gone = st.sampled_from(names).map(lambda name: (name, ("gone", None)))
    strategy = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), damaged((run / name).read_bytes(), BINARY))
    )

    def test(example, door) -> None:
        name, (damage, content) = example
        with tempfile.TemporaryDirectory(dir=task.folder) as scratch:  # links stay on their disk
            outputs = Path(scratch)
            shutil.copytree(run, outputs / "toy", copy_function=os.link)
            (outputs / "toy" / name).unlink()
            if content is not None:
                (outputs / "toy" / name).write_bytes(content)
            tally.judge(f"run, {door}: {damage}", name, partial(DOORS[door], task, outputs))

    either = st.one_of(strategy, strategy, strategy, gone)
    _repeat(examples, seed, st.tuples(either, st.sampled_from(sorted(DOORS))), lambda both: test(*both))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--folders", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given_words = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        task = Task.make(Path(scratch) / "task")
        task.carry_out()
        try_files(task, given_words.files, given_words.seed, tally)
        try_folders(task, given_words.folders, given_words.seed, tally)
    table = tally.table()
    print(table.to_string(index=False))
    print(f"\n{table[['read', 'refused', 'failed']].sum().to_dict()}")
    for (kind, name, fault), times in Counter(tally.failures).most_common():
        print(f"failed {times} times: {kind}, {name}: {fault}")


if __name__ == "__main__":
    main()
