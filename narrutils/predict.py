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
from collections.abc import Iterator
from contextlib import contextmanager
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
from narrutils.evaluation import drift
from narrutils.findings.alarm import alarm
from narrutils.models.precision import fastest, has_gpu, slow
from narrutils.versions import versions

if TYPE_CHECKING:
    from narrutils.workers import Workers

#: The rows that were left out, beside the parts.
FAULTS = "faults.csv"


def predict(
    run: str | Path,
    features: str | Path,
    outputs: Outputs,
    progress: bool = True,
    precision: str = "",
    workers: "Workers | None" = None,
) -> dict:
    """Code every case of a file, or of the tables of a folder, in its order.

    The same input gives the same bytes in the same precision and with the same number of threads,
    killed and gone on with or not, by one process or by many.

    Args:
        precision: in which neural models read, or `auto` for what is fastest here; empty: that of the run.
        workers: who codes the parts; None: this process.

    Returns:
        `rows`, `mended` (narratives with characters that were made harmless), `blank` (cases without
        a word), `faults` (rows left out) and, where the run knows calibration and flags, `flagged`, the
        blank ones among them. Where it makes promises `promised`, of how many variables, and `reviewed`, how
        many codes of these a person should decide. Where it knows how its own cases are distributed
        `differs`: a record of each number by which these are others, see `drift.compare`.

    Raises:
        InputError: the run folder, the features or an output is not what it must be, or parts of another
            prediction are there; nothing is written.
    """
    features = Path(features)
    outputs.check(features)
    deployed = Deployed.open(run, precision)
    if outputs.probabilities is not None and not deployed.can_flag:
        raise InputError(
            f"{run}: has no calibration and flags; run its 06_ensemble, or leave probabilities out"
        )
    _settle(deployed)
    parts = Parts.beside(outputs.codes)
    with parts.held():
        if not parts.begun:
            outputs.check_free()
        parts, incoming = _begin(parts, deployed, features, outputs, precision, workers)
        deployed = _as_begun(parts, deployed)
        if parts.missing(len(incoming.places)):
            outputs.check_free()
            _tell_slow(deployed)
        with _bar(incoming.rows, disable=not progress) as bar:
            _do(_coding(parts, deployed, incoming, outputs), deployed, incoming, workers, bar)
        _put_all(parts, incoming, outputs)
        counts = _counts(parts, incoming, deployed)
        parts.end()
    return counts


def summary(counts: dict, outputs: Outputs) -> str:
    """What a person is told after `predict`."""
    rows, lines = counts["rows"], [f"{counts['rows']} cases coded: {outputs.codes}"]
    if outputs.faults is not None:
        left = counts["faults"]
        lines = [f"{rows + left} rows: {rows} coded: {outputs.codes}, {left} left out: {outputs.faults}"]
    if "flagged" in counts:
        share = counts["flagged"] / rows
        lines.append(f"a person should decide {counts['flagged']} of them ({share:.0%})")
        lines[-1] += f": flag in {outputs.probabilities}" if outputs.probabilities else ""
    if counts.get("promised"):
        lines.append(_kept(counts, outputs))
    if counts.get("blank"):
        done = "flagged" if "flagged" in counts else "coded all the same"
        lines.append(f"cases without any text: {counts['blank']}, {done}")
    if counts["mended"]:
        lines.append(
            f"{counts['mended']} narratives held NUL characters or halves of surrogate pairs, "
            "which were read as spaces and as U+FFFD"
        )
    if counts.get("differs"):
        lines.append(alarm(counts["differs"]))
    return "\n".join(lines)


def _kept(counts: dict, outputs: Outputs) -> str:
    """What the run's promises ask of people."""
    several, share = counts["promised"], counts["reviewed"] / (counts["rows"] * counts["promised"])
    of = "one variable" if several == 1 else f"{several} variables"
    place = f": review in {outputs.probabilities}" if outputs.probabilities else ""
    codes = f"{counts['reviewed']} of their codes ({share:.0%})"
    return f"promises stand for {of} if a person decides {codes}{place}"


def predict_format(run: str | Path, features: Path, submission_format: Path, out: Path) -> None:
    """Code the cases of a submission format, in its order of rows and columns; joined by uid.

    Where there is no such file: all cases of the features, in their order.

    Raises:
        InputError: a file is faulty, or the format asks for a case that has no features.
    """
    if not submission_format.exists():
        print(f"{predict(run, features, Outputs(out, overwrite=True))['rows']} cases coded", flush=True)
        return
    deployed = Deployed.open(run)
    schema = deployed.schema
    columns = [schema.uid, *(v.heading for v in schema.variables)]
    auxiliary = [v.heading for v in deployed.run.schema.variables if v.auxiliary]
    sheet = read_sheet(submission_format, columns, schema.uid, auxiliary)
    with TemporaryDirectory() as scratch:  # as coded, in the order of the features
        unordered = Path(scratch) / "codes.csv"
        counts = predict(run, features, Outputs(unordered), progress=True)
        codes = pd.read_csv(unordered, dtype={schema.uid: str}, keep_default_na=False).set_index(schema.uid)
    ordered = by_uid(codes, list(sheet.uids), features.name).reset_index()
    with table_writer(out) as write:
        write(ordered[[heading for heading in sheet.header if heading in columns]])
    print(f"{counts['rows']} cases coded, {len(ordered)} written", flush=True)


def _begin(
    parts: Parts,
    deployed: Deployed,
    features: Path,
    outputs: Outputs,
    precision: str,
    workers: "Workers | None",
) -> tuple[Parts, Incoming]:
    """The parts and the cases, checked now or when the parts were begun.

    Raises:
        InputError: there are parts of other work, or the features are faulty.
    """
    files, asked = tables_in(features, deployed.schema), workers.threads if workers else 0
    of = _decides(deployed, files, outputs)
    settled = {"--precision": sorted(deployed.precisions), "--threads": _threads(deployed, workers)}
    if parts.begun:
        # What was left to the machine is as the first one had it.
        given = {"--precision": settled["--precision"] if precision != "auto" else None}
        other = parts.differ(of | given | {"--threads": asked if asked and deployed.precisions else None})
        if not other:
            parts = parts.known()
            incoming = Incoming.restored(files, deployed.schema, parts.manifest["found"])
            count = len(incoming.places)
            done = count - len(parts.missing(count))
            print(f"{parts.folder}: {done} of {count} parts are done; going on", flush=True)
            return parts, incoming
        said = f"{parts.folder}: holds an unfinished prediction that differs in {', '.join(other)}"
        if not outputs.overwrite:
            raise InputError(f"{said}; finish that one, or add --overwrite to give it up")
        print(f"{said}; it is given up", flush=True)
        parts.give_up()
    incoming = Incoming.check(features, deployed.schema, part_rows(deployed), outputs.faults is not None)
    for note in incoming.notes:
        print(note, flush=True)
    faults = pd.DataFrame(incoming.faults, columns=["file", "line", "reason"])
    write_table(parts.folder / FAULTS, faults)
    return parts.begin(of | settled, incoming.found), incoming


def _decides(deployed: Deployed, files: tuple[Path, ...], outputs: Outputs) -> dict[str, object]:
    """All that decides the bytes of the parts but precision and threads, by the names that people know."""
    return {
        "the run": content(deployed),
        **versions(),
        "a GPU": bool(deployed.precisions) and has_gpu(),
        "--probabilities": outputs.probabilities is not None,
        "--evidence": outputs.evidence is not None,
        "--show-text": outputs.show_text,
        "--faults": outputs.faults is not None,
        **{f"the features {path.name}": digest(path) for path in files},
    }


def _threads(deployed: Deployed, workers: "Workers | None") -> int | None:
    """Threads of whoever reads: as asked for, or as suits this machine; None where a cluster decides."""
    if not deployed.precisions:
        return 0  # they change nothing
    if workers and not workers.alone:
        return workers.threads or (None if workers.ray else workers.each)
    import torch

    return torch.get_num_threads()


def _as_begun(parts: Parts, deployed: Deployed) -> Deployed:
    """The ensemble in the precision in which its parts were begun."""
    begun = parts.manifest["of"]["--precision"]
    if begun == sorted(deployed.precisions):
        return deployed
    return Deployed.open(deployed.run.folder, begun[0] if len(begun) == 1 else "")


def _coding(parts: Parts, deployed: Deployed, incoming: Incoming, outputs: Outputs) -> Coding:
    files = tuple(path.absolute() for path in incoming.files)
    own = replace(parts, folder=parts.folder.absolute())
    run = deployed.run.folder.absolute()
    return Coding(run, files, own, tuple(outputs.tables), outputs.show_text, deployed.precision)


def _do(work: Coding, deployed: Deployed, incoming: Incoming, workers: "Workers | None", bar: tqdm) -> None:
    """Code the parts that are missing, here or by workers."""
    missing = work.parts.missing(len(incoming.places))
    bar.update(sum(map(incoming.rows_of, set(range(len(incoming.places))) - set(missing))))
    threads = work.parts.manifest["of"]["--threads"] or 0
    if workers is None or workers.alone:
        if threads and missing:
            import torch

            torch.set_num_threads(threads)
        code_part = work.coder(deployed, incoming, bar.update)
        for number in missing:
            code_part(number)
        return
    from narrutils.workers import spread

    def settled(found: int) -> None:
        if deployed.precisions and not threads:
            work.parts.settle("--threads", found)

    who = replace(workers, threads=workers.threads or threads)
    for number, _ in spread(work, missing, who, bool(deployed.precisions), settled):
        bar.update(incoming.rows_of(number))


def _put_all(parts: Parts, incoming: Incoming, outputs: Outputs) -> None:
    """Make one result of the parts, and give it its place."""
    made, numbers = parts.folder / "results", range(len(incoming.places))
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    if outputs.faults is not None:
        put(parts.folder / FAULTS, outputs.faults, outputs.overwrite)
    for name, place in outputs.tables.items():
        private, result = name == "evidence" and outputs.show_text, made / f"{name}{place.suffix}"
        if place.suffix:
            with table_writer(result, private) as write:
                for number in numbers:
                    with _part(parts, number) as folder:
                        for table in row_groups(folder / f"{name}.parquet"):
                            write(table)
        else:
            result.mkdir(mode=0o700 if private else 0o755)
            for number in numbers:
                link(parts.path(number) / f"{name}.parquet", result / f"part{number:06d}.parquet")
        put(result, place, outputs.overwrite)


def _counts(parts: Parts, incoming: Incoming, deployed: Deployed) -> dict:
    """What all parts come to."""
    total, like = Counter(), {}
    for number in range(len(incoming.places)):
        with _part(parts, number) as folder:
            told = read_json(folder / COUNTS)
        like = drift.added(like, told.pop("likeness", {})) or like
        total.update(told)
    counts = dict(total) | {"mended": incoming.mended, "faults": incoming.left_out}
    if "reviewed" in counts:
        counts["promised"] = len(deployed.bands.cuts)
    if like:
        found = drift.compare(deployed.reference, like)
        counts["differs"] = found[found["alarm"]].to_dict("records")
    return counts


@contextmanager
def _part(parts: Parts, number: int) -> Iterator[Path]:
    """The folder of a part, around its reading."""
    folder = parts.path(number)
    try:
        yield folder
    except InputError:
        raise InputError(f"{folder}: is damaged; remove it and give the same command again") from None


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
