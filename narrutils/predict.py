"""Scoring new narratives: a table of any kind in, the competition's format out, in one pass of pieces.

    narrutils predict --run outputs/demo --features new.csv --out submission.csv

However many rows there are, one piece of the file is in memory, and what is written goes
to disk with it. Outputs appear whole, or not at all. They hold uids, names of variables and
numbers; text only where `show_text` asks for it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from tqdm import tqdm

from narrutils.crossfit.deployed import Deployed
from narrutils.data.intake.incoming import Incoming, blank
from narrutils.data.intake.sheets import read_sheet
from narrutils.data.tables import by_uid, table_writer
from narrutils.errors import InputError
from narrutils.evaluation.evidence import leave_one_out
from narrutils.models.precision import fastest, slow

#: Rows of a piece where all models stay loaded. `reading.BLOCK` divides it, so the pieces change no batch.
PIECE = 1024
#: Rows of a piece where every model is loaded anew for each: fewer loads, and more rows in memory.
LARGE_PIECE = 16 * PIECE
#: Sentences that are written for each positive code, and cases whose evidence is sought together.
SENTENCES, EVIDENCE_ROWS = 3, 64


@dataclass(frozen=True)
class Outputs:
    """Where results go; None is not wanted.

    Attributes:
        codes: CSV in the competition's format.
        probabilities: Parquet or CSV: `uid`, `flag` (1 where a person should decide), `doubt`
            (expected number of wrong codes), and calibrated probabilities.
        evidence: CSV: the sentences that moved each positive code most.
        show_text: whether the evidence quotes its sentences.
        overwrite: whether files that are there may be replaced: a result looks like labels of a person.
    """

    codes: Path
    probabilities: Path | None = None
    evidence: Path | None = None
    show_text: bool = False
    overwrite: bool = False

    def check(self, features: Path) -> "Outputs":
        """These outputs, if each can be written.

        Raises:
            InputError: one is a folder, the features themselves, there already, given twice, or of an
                unknown kind.
        """
        files = [file for file in self.files if file is not None]
        for file in files:
            if file.is_dir():
                raise InputError(f"{file}: is a folder; name a file in it")
            if file.resolve() == features.resolve():
                raise InputError(f"{file}: is the features file; name another for the result")
            kinds = (".csv", ".parquet") if file is self.probabilities else (".csv",)
            if file.suffix not in kinds:
                raise InputError(f"{file}: unknown kind of file; name it {' or '.join(kinds)}")
            if file.exists() and file.stat().st_size and not self.overwrite:
                raise InputError(f"{file}: is there already; name another file, or add --overwrite")
        if len({file.resolve() for file in files}) < len(files):
            raise InputError("two results would go to one file; name different files")
        return self

    @property
    def files(self) -> tuple[Path | None, ...]:
        return self.codes, self.probabilities, self.evidence


def predict(
    run: str | Path, features: str | Path, outputs: Outputs, progress: bool = True, precision: str = ""
) -> dict[str, int]:
    """Code every case of a file, in its order.

    The same file gives the same bytes in the same precision and with the same number of threads.

    Args:
        precision: in which neural models read, or `auto` for what is fastest here; empty: that of the run.

    Returns:
        `rows`, `mended` (narratives with characters that were made harmless), `blank` (cases without
        a word) and, where the run knows calibration and flags, `flagged`, the blank ones among them.

    Raises:
        InputError: the run folder, the features or an output is not what it must be; nothing is written.
    """
    features = Path(features)
    outputs.check(features)
    deployed = Deployed.open(run, precision)
    if outputs.probabilities is not None and not deployed.can_flag:
        raise InputError(
            f"{run}: has no calibration and flags; run its 06_ensemble, or leave probabilities out"
        )
    incoming = Incoming.check(features, deployed.schema)
    for note in incoming.notes:
        print(note, flush=True)
    _settle(deployed)
    _tell_slow(deployed)
    counts = {"rows": incoming.rows, "mended": incoming.mended, "blank": 0}
    with ExitStack() as stack:
        write = _writer(outputs, stack)
        bar = stack.enter_context(_bar(incoming.rows, disable=not progress))
        for texts in incoming.chunks(PIECE if deployed.all_fit else LARGE_PIECE):
            without_words = blank(texts)
            counts["blank"] += int(without_words.sum())
            codes, flags = code(
                deployed, texts, without_words, lambda share, texts=texts: bar.update(share * len(texts))
            )
            write("codes", deployed.schema.in_file(codes))
            if flags is not None:
                write("probabilities", flags.rename_axis(deployed.schema.uid).reset_index())
                counts["flagged"] = counts.get("flagged", 0) + int(flags["flag"].sum())
            if outputs.evidence is not None:
                for table in _evidence(deployed, texts, codes, outputs.show_text):
                    write("evidence", table)
    return counts


def summary(counts: dict[str, int], outputs: Outputs) -> str:
    """What a person is told after `predict`."""
    rows, lines = counts["rows"], [f"{counts['rows']} cases coded: {outputs.codes}"]
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


def code(
    deployed: Deployed, texts: pd.DataFrame, flagged: pd.Series, after: Callable[[float], object]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Codes by uid and, if the run knows them, `flag` (1 for those `flagged` already, too), `doubt` and
    calibrated probabilities.
    """
    probabilities = deployed.read(texts, after)
    codes = deployed.decide(probabilities)
    if not deployed.can_flag:
        return codes, None
    calibrated = deployed.calibration.apply(probabilities)
    flags = deployed.flagging.of(codes, calibrated)
    flags.loc[flagged, "flag"] = 1
    return codes, flags.join(calibrated)


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


def _writer(outputs: Outputs, stack: ExitStack) -> Callable[[str, pd.DataFrame], None]:
    """A function that appends a table to an output by its name, and drops what is not wanted."""
    wanted = {"codes": outputs.codes, "probabilities": outputs.probabilities, "evidence": outputs.evidence}
    writers = {
        name: stack.enter_context(table_writer(path, private=name == "evidence" and outputs.show_text))
        for name, path in wanted.items()
        if path is not None
    }
    return lambda name, table: writers[name](table) if name in writers else None


def _evidence(
    deployed: Deployed, texts: pd.DataFrame, codes: pd.DataFrame, show_text: bool
) -> Iterator[pd.DataFrame]:
    """The strongest sentences of each positive code of a binary variable, some cases at a time."""
    schema, names = deployed.schema, [v.name for v in deployed.schema.binary]
    for start in range(0, len(texts), EVIDENCE_ROWS):
        part = texts.iloc[start : start + EVIDENCE_ROWS]
        positive = codes.loc[part.index, names].stack()
        pairs = positive.index[positive == 1]
        wanted = pd.DataFrame({"uid": pairs.get_level_values(0), "column": pairs.get_level_values(1)})
        found = leave_one_out(deployed.read, part, wanted, schema)
        found = found.groupby(["uid", "column"], sort=False).head(SENTENCES)
        if show_text:
            quotes = zip(found["uid"], found["text"], found["start"], found["end"])
            found = found.assign(sentence=[inert(part.at[u, t][start:end]) for u, t, start, end in quotes])
        yield found.rename(columns={"uid": schema.uid, "column": "variable"})


def inert(text: str) -> str:
    """The text, marked as such where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


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
