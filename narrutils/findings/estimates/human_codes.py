"""A table of human codes of a random part of the cases, read and checked."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from narrutils.data.intake.cells import read_codes
from narrutils.data.intake.folder import check_known
from narrutils.data.intake.sheets import Sheet, open_records, read_sheet, shown
from narrutils.data.schema import Schema
from narrutils.errors import InputError, did_you_mean
from narrutils.findings.estimates.sampling import INCLUSION

#: Columns by which a file of the review queue is known.
REVIEWED = {"decision", "label_before", "label_after"}


def read_human_codes(
    path: Path,
    schema: Schema,
    uids: pd.Index,
    source: str,
    trained: Collection[str] = (),
    weight: str = "",
    wanted: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.Series]:
    """Human codes of all cases, null where there is none, and the chance with which each was to be coded.

    Args:
        uids: of all cases; `source`: where they stand.
        trained: cases that the models learned from.
        weight: column of inclusion probabilities; empty: `INCLUSION` where it is there, else all alike.
        wanted: variables of which there must be codes; empty: of any.

    Raises:
        InputError: the file is of the review queue or holds no variable, or names a case that is not known
            or that trained models, a label that is no code, or a chance outside (0, 1].
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; --draw makes one for people to fill in")
    if set(open_records(path, [], sorted(REVIEWED), further="ignore").header) >= REVIEWED:
        raise InputError(
            f"{path}: is a file of the review queue, which holds doubtful cases and is no random sample; "
            "draw one with --draw and let people code it"
        )
    headings = [v.heading for v in schema.variables]
    known = [*headings, INCLUSION, *([weight] if weight else [])]
    sheet = read_sheet(path, [schema.uid], schema.uid, known, further="ignore")
    _check_variables(sheet, [schema[name].heading for name in wanted], headings)
    _check_untrained(sheet, trained)
    check_known(sheet, set(uids), source, "remove the row, or name the table of all cases as --features")
    index, codes = pd.Index(list(sheet.uids), dtype=str), {}
    for v in schema.variables:
        there = v.heading in sheet.header
        codes[v.name] = read_codes(sheet, v)[0] if there else pd.array([None] * len(index), dtype="Int64")
    if pd.DataFrame(codes)[list(wanted) or schema.names].isna().all(axis=None):
        raise InputError(f"{path}: no code is filled in; let people code the cases, and hand it back")
    chances = pd.Series(_chances(sheet, weight), index)
    return pd.DataFrame(codes, index).reindex(uids), chances.reindex(uids, fill_value=1.0)


def _check_variables(sheet: Sheet, wanted: list[str], headings: list[str]) -> None:
    """That the columns that are asked about are there; any, if none is asked about."""
    for heading in wanted:
        if heading not in sheet.header:
            near = did_you_mean(heading, sheet.records.further, "add it, or ask about others by --variable")
            raise InputError(f"{sheet.path}: no column {heading}; {near}")
    if not set(headings) & set(sheet.header):
        more = ", …" if len(headings) > 3 else ""
        raise InputError(f"{sheet.path}: no column of a variable; they are {', '.join(headings[:3])}{more}")


def _check_untrained(sheet: Sheet, trained: Collection[str]) -> None:
    for uid in sheet.uids:
        if uid in trained:
            raise InputError(
                f"{sheet.where(uid)}: uid {shown(uid)} is a training case of the run or has the words of "
                "one, so its models know the answer; remove such rows, or leave --human out: then training "
                "labels serve as human codes, and every case is read by models that did not learn from it"
            )


def _chances(sheet: Sheet, weight: str) -> list[float]:
    """Inclusion probabilities in file order; all alike where the file has no such column."""
    column = weight or INCLUSION
    if column not in sheet.header:
        if weight:
            raise InputError(f"{sheet.path}: column {weight} is missing; --weight names it")
        return [1.0] * len(sheet.rows)
    chances = []
    for n, cell in enumerate(sheet.column(column)):
        try:
            chances.append(float(cell))
        except ValueError:
            chances.append(float("nan"))
        if not 0 < chances[-1] <= 1:
            where = sheet.records.at(sheet.lines[n], column)
            raise InputError(f"{where}: an inclusion probability lies above 0 and is 1 at most; correct it")
    return chances
