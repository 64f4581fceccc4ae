"""People's decisions on single labels, handed back as a CSV file: the `review_file`.

A row accepts a changed label or refuses to change one: `uid`, `variable`, `decision`
(`accept` or `refuse`), `label_before`, `label_after`. It holds no text. A row that does
not fit the data at hand is passed over with one line that says why; a file that is no
such table is an error.
"""

import re
from pathlib import Path

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.sheets import open_records, shown
from narrutils.errors import InputError

COLUMNS = ["uid", "variable", "decision", "label_before", "label_after"]
ACCEPT, REFUSE = "accept", "refuse"
METHOD = "review"  # who changed a label, in `labels/flips.parquet`
#: The apostrophe that the review page writes before a uid that a spreadsheet would run as a formula.
GUARD = re.compile(r"^'(?='*[=+\-@\t\r])")


def read_review(path: str | Path) -> pd.DataFrame:
    """The rows of a review file as text: `COLUMNS`, and `line`, where each row begins.

    Raises:
        InputError: there is no such file, it is not UTF-8 CSV, or its columns are not `COLUMNS`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"review_file is {path}; there is no such file")
    records = open_records(path, COLUMNS)
    rows = [[line, *map(str.strip, cells)] for line, cells in records.rows]
    table = pd.DataFrame(rows, columns=["line", *records.header]).astype(dict.fromkeys(COLUMNS, str))
    return table.assign(uid=[GUARD.sub("", uid) for uid in table["uid"]])[[*COLUMNS, "line"]]


def check_review(rows: pd.DataFrame, schema: Schema, labels: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The decisions that fit the given labels, and a line for each row that does not.

    Args:
        rows: of `read_review`.
        labels: given codes of the training cases, indexed by uid.

    Returns:
        `COLUMNS` with integer labels, one row a label at most; and what was passed over.
    """
    faults = {row["line"]: _fault(row, schema, labels) for row in rows.to_dict("records")}
    faults |= _contradictions(rows[~rows["line"].map(faults).astype(bool)])
    good = rows[~rows["line"].map(faults).astype(bool)].drop_duplicates(["uid", "variable"])
    decisions = good[COLUMNS].astype({"label_before": int, "label_after": int}).reset_index(drop=True)
    return decisions, [f"line {line}: {fault}; passed over" for line, fault in faults.items() if fault]


def load_decisions(path: str | Path, schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    """The decisions of a review file, none where `path` is empty; prints what is passed over.

    Raises:
        InputError: see `read_review`.
    """
    if not str(path):
        return pd.DataFrame(columns=COLUMNS)
    decisions, lines = check_review(read_review(path), schema, labels)
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


def _fault(row: dict, schema: Schema, labels: pd.DataFrame) -> str:
    """What is wrong with one row by itself; "" if nothing."""
    uid, name = row["uid"], row["variable"]
    if uid not in labels.index:
        return f"uid {shown(uid)} is not a training case"
    if name not in schema.names:
        return f"{shown(name)} is not a variable of schema {schema.name}"
    if row["decision"] not in (ACCEPT, REFUSE):
        return f"decision is {shown(row['decision'])}; it takes {ACCEPT} or {REFUSE}"
    codes = {str(code) for code in schema[name].codes}
    for column in ("label_before", "label_after"):
        if row[column] not in codes:
            return f"{column} is {shown(row[column])}; {name} takes {', '.join(sorted(codes, key=int))}"
    given = int(labels.at[uid, name])
    if int(row["label_before"]) != given:
        return f"stale: {name} of case {uid} is {given} now, not {row['label_before']}"
    if row["label_after"] == row["label_before"]:
        return f"label_after of {name} of case {uid} is label_before; nothing to decide"
    return ""


def _contradictions(rows: pd.DataFrame) -> dict[int, str]:
    """Line -> fault, for rows that decide one label in two ways; repeated rows do no harm."""
    faults = {}
    for (uid, name), same in rows.groupby(["uid", "variable"], sort=False):
        if len(same[["decision", "label_after"]].drop_duplicates()) > 1:
            lines = ", ".join(map(str, same["line"]))
            fault = f"lines {lines} contradict each other on {name} of case {uid}"
            faults |= dict.fromkeys(same["line"], fault)
    return faults
