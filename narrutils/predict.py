"""Scoring new narratives: tables of any kind in, the competition's format out, in parts.

    narrutils predict --run outputs/demo --features new.csv --out submission.csv

However many rows there are, one part of them is in memory. What is coded lies in parts beside the
result until all are there: killed anywhere, the same command codes what is missing and ends with the
bytes of an undisturbed one. Results appear whole, or not at all. They hold uids, names of variables
and numbers; text only where `show_text` asks for it.
"""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from narrutils.crossfit.coding import COUNTS, Coding, content, part_rows
from narrutils.crossfit.deployed import Deployed
from narrutils.data.files import digest, read_json
from narrutils.data.intake.incoming import Incoming, tables_in
from narrutils.data.intake.sheets import read_sheet
from narrutils.data.outputs import Outputs, link, put
from narrutils.data.parts import Parts
from narrutils.data.tables import by_uid, row_groups, table_writer, write_table
from narrutils.errors import InputError
from narrutils.models.precision import fastest, slow
from narrutils.versions import versions

if TYPE_CHECKING:
    from narrutils.workers import Workers


def predict(
    run: str | Path,
    features: str | Path,
    outputs: Outputs,
    progress: bool = True,
    precision: str = "",
    workers: "Workers | None" = None,
) -> dict[str, int]:
    """Code every case of a file, or of the tables of a folder, in its order.

    The same input gives the same bytes in the same precision and with the same number of threads,
    killed and gone on with or not, by one process or by many.

    Args:
        precision: in which neural models read, or `auto` for what is fastest here; empty: that of the run.
        workers: who codes the parts; None: this process.

    Returns:
        `rows`, `mended` (narratives with characters that were made harmless), `blank` (cases without
        a word), `faults` (rows left out) and, where the run knows calibration and flags, `flagged`, the
        blank ones among them.

    Raises:
        InputError: the run folder, the features or an output is not what it must be, or parts of another
            prediction are there; nothing is written.
    """
    features = Path(features)
    outputs.check(features)
    parts = Parts.beside(outputs.codes)
    if not parts.begun:
        outputs.check_free()
    sharers = workers.count if workers else 1
    deployed = Deployed.open(run, precision, sharers)
    if outputs.probabilities is not None and not deployed.can_flag:
        raise InputError(
            f"{run}: has no calibration and flags; run its 06_ensemble, or leave probabilities out"
        )
    _settle(deployed)
    folder, held, *files = (
        path.absolute() for path in (deployed.run.folder, parts.folder, *tables_in(features, deployed.schema))
    )
    tables = tuple(outputs.tables)
    work = Coding(folder, tuple(files), Parts(held), tables, outputs.show_text, precision, sharers)
    with parts.held():
        threads = _threads(work, deployed, workers)
        incoming = _begin(work, deployed, features, outputs, threads)
        if parts.missing(len(incoming.places)):
            outputs.check_free()
            _tell_slow(deployed)
        with _bar(incoming.rows, disable=not progress) as bar:
            _do(work, deployed, incoming, workers, threads, bar)
        _put_all(work, incoming, outputs)
        counts = _counts(work, incoming)
        parts.end()
    return counts


def summary(counts: dict[str, int], outputs: Outputs) -> str:
    """What a person is told after `predict`."""
    rows, lines = counts["rows"], [f"{counts['rows']} cases coded: {outputs.codes}"]
    if outputs.faults is not None:
        left = counts["faults"]
        lines = [f"{rows + left} rows: {rows} coded: {outputs.codes}, {left} left out: {outputs.faults}"]
    if "flagged" in counts:
        share = counts["flagged"] / rows
        lines.append(f"a person should decide {counts['flagged']} of them ({share:.0%})")
        lines[-1] += f": flag in {outputs.probabilities}" if outputs.probabilities else ""
    if counts.get("blank"):
        done = "flagged" if "flagged" in counts else "coded all the same"
        lines.append(f"cases without any text: {counts['blank']}, {done}")
    if counts["mended"]:
        lines.append(
            f"{counts['mended']} narratives held NUL characters or halves of surrogate pairs, "
            "which were read as spaces and as U+FFFD"
        )
    return "\n".join(lines)


def predict_format(run: str | Path, features: Path, submission_format: Path, out: Path) -> None:
    """Code the cases of a submission format, in its order of rows and columns; joined by uid.

    Where there is no such file: all cases of the features, in their order.

    Raises:
        InputError: a file is faulty, or the format asks for a case that has no features.
    """
    if not submission_format.exists():
        print(f"{predict(run, features, Outputs(out, overwrite=True))['rows']} cases coded", flush=True)
        return
    schema = Deployed.open(run).schema
    columns = [schema.uid, *(v.heading for v in schema.variables)]
    sheet = read_sheet(submission_format, columns, schema.uid)
    with TemporaryDirectory() as scratch:  # as coded, in the order of the features
        unordered = Path(scratch) / "codes.csv"
        counts = predict(run, features, Outputs(unordered), progress=True)
        codes = pd.read_csv(unordered, dtype={schema.uid: str}, keep_default_na=False).set_index(schema.uid)
    ordered = by_uid(codes, list(sheet.uids), features.name).reset_index()
    with table_writer(out) as write:
        write(ordered[sheet.header])
    print(f"{counts['rows']} cases coded, {len(ordered)} written", flush=True)


def _threads(work: Coding, deployed: Deployed, workers: "Workers | None") -> int:
    """Threads of whoever reads: as asked for, as when the parts were begun, or as suits this machine."""
    asked = workers and workers.threads
    if not asked and work.parts.begun:
        asked = work.parts.manifest["of"].get("--threads")
    if workers and not workers.alone:
        return asked or workers.each
    if not deployed.precisions:  # arithmetic of one thread
        return asked or 1
    import torch

    if asked:
        torch.set_num_threads(asked)
    return torch.get_num_threads()


def _begin(work: Coding, deployed: Deployed, features: Path, outputs: Outputs, threads: int) -> Incoming:
    """The cases, checked now or when the parts were begun.

    Raises:
        InputError: there are parts of other work, or the features are faulty.
    """
    of = _decides(work, deployed, outputs.faults is not None) | {"--threads": threads}
    if work.parts.goes_on(of, outputs.overwrite):
        return Incoming.restored(work.files, deployed.schema, work.parts.manifest["found"])
    incoming = Incoming.check(features, deployed.schema, part_rows(deployed), outputs.faults is not None)
    for note in incoming.notes:
        print(note, flush=True)
    work.parts.begin(of, incoming.found)
    return incoming


def _decides(work: Coding, deployed: Deployed, leave_out: bool) -> dict[str, object]:
    """All that decides the bytes of the parts, by the names that people know."""
    return {
        "the run": content(deployed),
        **versions(),
        "--precision": sorted(deployed.precisions),
        "--probabilities": "probabilities" in work.tables,
        "--evidence": "evidence" in work.tables,
        "--show-text": work.show_text,
        "--faults": leave_out,
        **{f"the features {path.name}": digest(path) for path in work.files},
    }


def _do(
    work: Coding,
    deployed: Deployed,
    incoming: Incoming,
    workers: "Workers | None",
    threads: int,
    bar: tqdm,
) -> None:
    """Code the parts that are missing, here or by workers."""
    missing = work.parts.missing(len(incoming.places))
    bar.update(sum(map(incoming.rows_of, set(range(len(incoming.places))) - set(missing))))
    if workers is None or workers.alone:
        for number in missing:
            work.coder(deployed, incoming, bar.update)(number)
        return
    from narrutils.workers import spread

    for number, _ in spread(work, missing, replace(workers, threads=threads)):
        bar.update(incoming.rows_of(number))


def _put_all(work: Coding, incoming: Incoming, outputs: Outputs) -> None:
    """Make one result of the parts, and give it its place."""
    made, count = work.parts.folder / "results", len(incoming.places)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for name, place in outputs.files.items():
        private = name == "evidence" and outputs.show_text
        if name == "faults":
            write_table(
                made / "faults.csv", pd.DataFrame(incoming.faults, columns=["file", "line", "reason"])
            )
            put(made / "faults.csv", place, outputs.overwrite)
        elif place.suffix:
            result = made / f"{name}{place.suffix}"
            with table_writer(result, private) as write:
                for part in work.parts.files(f"{name}.parquet", count):
                    for table in row_groups(part):
                        write(table)
            put(result, place, outputs.overwrite)
        else:
            (made / name).mkdir(mode=0o700 if private else 0o755)
            for part in work.parts.files(f"{name}.parquet", count):
                link(part, made / name / f"{part.parent.name}.parquet")
            put(made / name, place, outputs.overwrite)


def _counts(work: Coding, incoming: Incoming) -> dict[str, int]:
    """What all parts come to."""
    total = Counter()
    for part in work.parts.files(COUNTS, len(incoming.places)):
        total.update(read_json(part))
    return dict(total) | {"mended": incoming.mended, "faults": len(incoming.faults)}


def _settle(deployed: Deployed) -> None:
    """What model libraries find in the environment when they are first imported."""
    wanted = {
        "HF_HUB_OFFLINE": "0" if deployed.needs_hub else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _tell_slow(deployed: Deployed) -> None:
    """A line where the run's precision is slow here."""
    for told in filter(None, map(slow, sorted(deployed.precisions))):
        print(f"reading in {told}; --precision {fastest()} gives nearly the same numbers", flush=True)


def _bar(rows: int, disable: bool) -> tqdm:
    form = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total} rows, {remaining} left"
    return tqdm(total=rows, desc="coding", bar_format=form, disable=disable)
