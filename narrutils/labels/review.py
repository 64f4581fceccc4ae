"""People's decisions on single labels, handed back as a table: the `review_file`.

A row accepts a changed label or refuses to change one: `uid`, `variable`, `decision`
(`accept` or `refuse`), `label_before`, `label_after`. It holds no text. A further column
`case`, which the review page writes, tells by a digest which case was looked at: a
spreadsheet may have made another uid of `007`. A row that does not fit the data at hand
is passed over with one line that says why; a file that is no such table is an error.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from narrutils.data.files import digest
from narrutils.data.intake.sheets import open_records, shown
from narrutils.data.schema import Schema
from narrutils.errors import InputError

COLUMNS = ["uid", "variable", "decision", "label_before", "label_after"]
CASE = "case"  # the column of `case_digest`; older files do without
ACCEPT, REFUSE = "accept", "refuse"
METHOD = "review"  # who changed a label, in `labels/flips.parquet`
#: The apostrophe that the review page writes before a uid that a spreadsheet would run as a formula.
GUARD = re.compile(r"^'(?='*[=+\-@\t\r])")


def read_review(path: str | Path) -> pd.DataFrame:
    """The rows of a review file as text: `COLUMNS`, `case` ("" where unsaid), and `line`, where each begins.

    Blanks around a cell are dropped, but those of a uid belong to it.

    Raises:
        InputError: there is no such file, it is no such table, or a column of `COLUMNS` is not in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"review_file is {path}; there is no such file")
    records = open_records(path, COLUMNS, optional=[CASE], further="ignore")
    rows = [{CASE: "", "line": line} | dict(zip(records.header, cells)) for line, cells in records.rows]
    words = [*COLUMNS, CASE]
    table = pd.DataFrame(rows, columns=[*words, "line"]).astype(dict.fromkeys(words, str))
    for column in words[1:]:
        table[column] = table[column].str.strip()
    uids = [GUARD.sub("", uid) for uid in table["uid"]]
    return table.assign(uid=uids, decision=table["decision"].str.lower())


def case_digest(salt: str, uid: str, texts: Iterable[str | None]) -> str:
    """What tells a case from others without telling its text: a cell that no spreadsheet reads as a number.

    Args:
        salt: a word without hyphens, of the run; it stands in the cell, so that others can check it.
        texts: the narratives of the case, in the order of the schema.
    """
    texts = ["" if pd.isna(text) else text for text in texts]
    return f"sha256-{salt}-{digest(salt, uid, texts)}"


def check_review(
    rows: pd.DataFrame, schema: Schema, labels: pd.DataFrame, texts: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """The decisions that fit the given labels, and a line for each row that does not.

    Args:
        rows: of `read_review`.
        labels: given codes of the training cases, indexed by uid; null where there is none.
        texts: the text columns of the same cases.

    Returns:
        `COLUMNS` with integer labels, one row a label at most; and what was passed over.
    """
    texts = texts[schema.text_columns]
    faults = {row["line"]: _fault(row, schema, labels, texts) for row in rows.to_dict("records")}
    faults |= _contradictions(rows[~rows["line"].map(faults).astype(bool)])
    good = rows[~rows["line"].map(faults).astype(bool)].sort_values("decision", kind="stable")
    good = good.drop_duplicates(["uid", "variable"]).sort_index()  # of a label the accepted class
    decisions = good[COLUMNS].astype({"label_before": int, "label_after": int}).reset_index(drop=True)
    return decisions, [f"line {line}: {fault}; passed over" for line, fault in faults.items() if fault]


def load_decisions(
    path: str | Path, schema: Schema, labels: pd.DataFrame, texts: pd.DataFrame
) -> pd.DataFrame:
    """The decisions of a review file, none where `path` is empty; prints what is passed over.

    Args:
        labels, texts: of the training cases, as `check_review` takes them.

    Raises:
        InputError: see `read_review`.
    """
    if not str(path):
        return pd.DataFrame(columns=COLUMNS)
    decisions, lines = check_review(read_review(path), schema, labels, texts)
    for line in lines:
        print(f"{Path(path).name}: {line}")
    return decisions


def obey(flips: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Flips with the decisions laid over them.

    A decided label is no longer a method's to change: it is changed if accepted, with
    probability 1 and method `review`, and stays as given if refused.

    Args:
        flips: `uid`, `variable`, `before`, `after`, `probability`, `method`.
        decisions: of `check_review`, for cases that may be changed.
    """
    decided = pd.MultiIndex.from_frame(decisions[["uid", "variable"]])
    kept = flips[~pd.MultiIndex.from_frame(flips[["uid", "variable"]]).isin(decided)]
    accepted = decisions[decisions["decision"] == ACCEPT]
    accepted = accepted.rename(columns={"label_before": "before", "label_after": "after"})
    accepted = accepted.assign(probability=1.0, method=METHOD)[flips.columns]
    return pd.concat([part for part in (kept, accepted) if len(part)] or [kept], ignore_index=True)


def _fault(row: dict, schema: Schema, labels: pd.DataFrame, texts: pd.DataFrame) -> str:
    """What is wrong with one row by itself; "" if nothing."""
    uid, name = row["uid"], row["variable"]
    if uid not in labels.index:
        return f"uid {shown(uid)} is not a training case{_nearly(uid, labels.index)}"
    if row[CASE] and row[CASE] != case_digest(_salt(row[CASE]), uid, texts.loc[uid]):
        return (
            f"{CASE} does not fit uid {shown(uid)}: it was decided on another case, or on other narratives; "
            "a spreadsheet may have changed the uid"
        )
    if name not in schema.names:
        return f"{shown(name)} is not a variable of schema {schema.name}"
    if row["decision"] not in (ACCEPT, REFUSE):
        return f"decision is {shown(row['decision'])}; it takes {ACCEPT} or {REFUSE}"
    codes = {str(code) for code in schema[name].codes}
    for column in ("label_before", "label_after"):
        if row[column] not in codes:
            return f"{column} is {shown(row[column])}; {name} takes {', '.join(sorted(codes, key=int))}"
    given = labels.at[uid, name]
    if pd.isna(given) or int(row["label_before"]) != given:
        now = "without a label" if pd.isna(given) else given
        return f"stale: {name} of case {shown(uid)} is {now} now, not {row['label_before']}"
    if row["label_after"] == row["label_before"]:
        return f"label_after of {name} of case {shown(uid)} is label_before; nothing to decide"
    return ""


def _nearly(uid: str, uids: pd.Index) -> str:
    """The case that was meant, if a hand or a spreadsheet may have changed its uid; else ""."""
    changes = {
        "blanks around a uid belong to it": str.strip,
        "a spreadsheet may have taken its zeros": lambda word: word.strip().lstrip("0"),
    }
    for told, plain in changes.items():
        meant = next((other for other in uids if uid.strip() and plain(other) == plain(uid)), None)
        if meant is not None:
            return f", {shown(meant)} is; {told}"
    return ""


def _salt(cell: str) -> str:
    return "-".join(cell.split("-")[1:-1])


def _contradictions(rows: pd.DataFrame) -> dict[int, str]:
    """Line -> fault, for rows that decide one label in two ways.

    Repeated rows do no harm, nor does it to accept one class and refuse another.
    """
    faults = {}
    for (uid, name), same in rows.groupby(["uid", "variable"], sort=False):
        accepted, refused = (set(same.loc[same["decision"] == d, "label_after"]) for d in (ACCEPT, REFUSE))
        if len(accepted) > 1 or accepted & refused:
            lines = ", ".join(map(str, same["line"]))
            fault = f"lines {lines} contradict each other on {name} of case {shown(uid)}"
            faults |= dict.fromkeys(same["line"], fault)
    return faults
