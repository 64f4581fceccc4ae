"""Parts of new cases, coded by the deployed ensemble: what one worker does, the only one or one of many."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from narrutils.crossfit.deployed import CALIBRATION, FLAGS, PROMISES, REFERENCE, Deployed
from narrutils.data.files import digest, digest_now, write_json
from narrutils.data.intake.incoming import Incoming, blank
from narrutils.data.parts import Parts
from narrutils.data.tables import table_writer
from narrutils.errors import InputError
from narrutils.evaluation import drift
from narrutils.evaluation.bands import in_words
from narrutils.evaluation.evidence import leave_one_out

#: Rows that are read together where all models stay loaded, and written together. `learner.BLOCK` divides
#: it, so no batch differs.
PIECE = 1024
#: Rows of a part where reading is quick, or loading takes long.
LARGE_PART = 16 * PIECE
#: Sentences that are written for each positive code, and cases whose evidence is sought together.
SENTENCES, EVIDENCE_ROWS = 3, 64
#: Rows of a part, the first ones, whose words are held against those of the run: counting them takes longer
#: than all else that is held.
WORDS_ROWS = PIECE
#: Types of the columns of evidence, also in a part without any.
EVIDENCE = {"uid": str, "column": str, "text": str, "start": int, "end": int, "effect": float}
#: What a part comes to, beside its tables.
COUNTS = "counts.json"

Watch = Callable[[float], object]  # is told how many cases more are read, in fractions too


@dataclass(frozen=True)
class Coding:
    """All that a worker is told: where things are. The manifest of the parts says the rest.

    It can be pickled, and holds no text.

    Attributes:
        run, files: the run folder, and the tables of the cases.
        tables: what is made of every part, of `codes`, `probabilities` and `evidence`.
        show_text: whether evidence quotes its sentences.
        precision: in which neural models read; empty: that of the run.
    """

    run: Path
    files: tuple[Path, ...]
    parts: Parts
    tables: tuple[str, ...]
    show_text: bool
    precision: str

    def __call__(self) -> Callable[[int], dict]:
        """The function that codes a part by its number, on any machine that sees the same files.

        Raises:
            InputError: the run folder is another one here.
        """
        from narrutils.workers import sharers

        deployed = Deployed.open(self.run, self.precision, sharers())
        manifest = self.parts.manifest
        if manifest["of"]["the run"] != content(deployed):
            raise InputError(f"{self.run}: has changed; start again")
        return self.coder(deployed, Incoming.restored(self.files, deployed.schema, manifest["found"]))

    def coder(
        self, deployed: Deployed, incoming: Incoming, watch: Watch = lambda cases: None
    ) -> Callable[[int], dict]:
        """The same with what this process has opened."""

        def code_part(number: int) -> dict:
            texts = incoming.part(number)
            with self.parts.write(number) as folder:
                counts = self._write(deployed, texts, folder, watch)
                write_json(folder / COUNTS, counts)
            return counts

        return code_part

    def _write(self, deployed: Deployed, texts: pd.DataFrame, folder: Path, watch: Watch) -> dict:
        """The tables of some cases, and what they count."""
        counts = {"rows": len(texts), "blank": 0} | ({"flagged": 0} if deployed.can_flag else {})
        counts |= {"reviewed": 0} if deployed.can_flag and deployed.bands.cuts else {}
        with ExitStack() as stack:
            private = {name: name == "evidence" and self.show_text for name in self.tables}
            write = {
                name: stack.enter_context(table_writer(folder / f"{name}.parquet", hidden))
                for name, hidden in private.items()
            }
            together = PIECE if deployed.all_fit else len(texts)
            for start in range(0, len(texts), together):
                some = texts.iloc[start : start + together]
                words = min(max(WORDS_ROWS - start, 0), len(some))
                for name, table in self._tables(deployed, some, counts, watch, words):
                    for row in range(0, max(len(table), 1), PIECE):  # as ever, whatever is read together
                        write[name](table.iloc[row : row + PIECE])
        return counts

    def _tables(
        self, deployed: Deployed, texts: pd.DataFrame, counts: dict, watch: Watch, words: int
    ) -> Iterator[tuple[str, pd.DataFrame]]:
        """Name and rows of what is wanted; what they count is added up, the words of so many of them."""
        without_words = blank(texts)
        counts["blank"] += int(without_words.sum())
        codes, calibrated = code(deployed, texts, watch)
        yield "codes", deployed.schema.in_file(codes)
        if calibrated is not None:
            beside, reviewed = for_people(deployed, codes, calibrated, without_words)
            counts["flagged"] += int(beside["flag"].sum())
            if "reviewed" in counts:
                counts["reviewed"] += reviewed
            if deployed.reference:
                found = likeness(deployed, texts[:words], beside["doubt"], calibrated)
                counts["likeness"] = drift.added(counts.get("likeness", {}), found)
            if "probabilities" in self.tables:
                table = beside.join(calibrated).rename_axis(deployed.schema.uid)
                yield "probabilities", table.reset_index()
        if "evidence" in self.tables:
            yield from (("evidence", table) for table in evidence(deployed, texts, codes, self.show_text))


def part_rows(deployed: Deployed) -> int:
    """Cases of a part: what a kill may cost, and what loading is paid for; the same on every machine."""
    return LARGE_PART if deployed.heavy or not deployed.precisions else PIECE


def content(deployed: Deployed) -> str:
    """One digest of all in a run folder that decides what it says of a case."""
    files = [*deployed.files, *map(deployed.run.path, (CALIBRATION, FLAGS))]
    files += [path for path in map(deployed.run.path, (PROMISES, REFERENCE)) if path.exists()]
    names = {path.relative_to(deployed.run.folder).as_posix(): path for path in files}
    return digest({name: digest_now(path) for name, path in sorted(names.items())})


def code(deployed: Deployed, texts: pd.DataFrame, watch: Watch) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Codes and, if the run knows calibration and flags, calibrated probabilities, both by uid."""
    probabilities = deployed.read(texts, lambda share: watch(share * len(texts)))
    codes = deployed.decide(probabilities)
    return codes, deployed.calibration.apply(probabilities) if deployed.can_flag else None


def for_people(
    deployed: Deployed, codes: pd.DataFrame, calibrated: pd.DataFrame, without_words: pd.Series
) -> tuple[pd.DataFrame, int]:
    """What a person should decide: `flag`, `doubt` and, where the run makes promises, `review`, by uid.

    A case without a word is flagged, and each of its codes with a promise is for review.

    Returns:
        The table, and how many codes are for review.
    """
    table = deployed.flagging.of(codes, calibrated)
    table.loc[without_words, "flag"] = 1
    if not deployed.bands.cuts:
        return table, 0
    reviewed = deployed.bands.of(codes, calibrated)
    reviewed.loc[without_words] = True
    return table.assign(review=in_words(reviewed)), int(reviewed.to_numpy().sum())


def likeness(
    deployed: Deployed, texts: pd.DataFrame, doubt: pd.Series, calibrated: pd.DataFrame
) -> dict[str, list[int]]:
    """How cases are distributed, in the bins of the run's reference.

    Args:
        texts: of some of the cases; `doubt`, `calibrated`: of all.
    """
    known = deployed.known if "unknown" in deployed.reference else None
    told, read = drift.of_texts(deployed.schema, texts, known), drift.of_readings(doubt, calibrated)
    return drift.counted(deployed.reference, told) | drift.counted(deployed.reference, read)


def evidence(
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
        found = found.groupby(["uid", "column"], sort=False).head(SENTENCES).astype(EVIDENCE)
        if show_text:
            quotes = zip(found["uid"], found["text"], found["start"], found["end"])
            found = found.assign(sentence=[inert(part.at[u, t][start:end]) for u, t, start, end in quotes])
            found = found.astype({"sentence": str})
        yield found.rename(columns={"uid": schema.uid, "column": "variable"})


def inert(text: str) -> str:
    """The text, marked as such where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
