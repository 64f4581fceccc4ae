"""What label correction changed, as tables: by variable, in all, and method beside method."""

from collections.abc import Mapping

import pandas as pd

from narrutils.data.folds import PLAIN
from narrutils.data.schema import Schema


def flip_table(
    schema: Schema, flips: pd.DataFrame, given: pd.DataFrame, truth: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How many labels of each variable changed and, where the truth is known, how well.

    Counts the plain version (`held_out_fold` −1), which holds each label once. `to 1` and
    `to 0` are the changes of a binary variable by direction, null for a categorical one.
    With `truth`, `wrong` counts the given labels that differ from it (a missing one does not),
    `found` the changes that agree with it, `precision` is found / changed and `recall` found / wrong; both
    are null where their denominator is 0, and all four of a variable whose truth is not known.
    """
    plain = flips[flips["held_out_fold"] == PLAIN]
    binary = plain[plain["variable"].isin([v.name for v in schema.binary])]
    table = pd.DataFrame({"changed": _counts(schema, plain)})
    for code in (1, 0):
        table[f"to {code}"] = _counts(schema, binary[binary["after"] == code])
    table.loc[[v.name for v in schema.categorical], ["to 1", "to 0"]] = None
    table[["to 1", "to 0"]] = table[["to 1", "to 0"]].astype("Int64")
    if truth is None:
        return table
    true = truth.loc[given.index, schema.names]
    agrees = [row.after == true.at[row.uid, row.variable] for row in plain.itertuples()]
    right = pd.Series(agrees, plain.index, dtype="boolean").fillna(False)
    given = given[schema.names]
    table["wrong"] = (given.ne(true).fillna(False) & given.notna()).sum().astype(int)
    table["found"] = _counts(schema, plain[right])
    unknown = true.isna().all()  # an auxiliary variable may be in no file of truths
    if unknown.any():
        table[["wrong", "found"]] = table[["wrong", "found"]].astype("Int64").mask(unknown, axis=0)
    return with_shares(table)


def flip_totals(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `flip_table` as one: counts summed, precision and recall over all changes."""
    total = table.drop(columns=["precision", "recall"], errors="ignore").sum().astype(int)
    total = total.to_frame("all variables").T
    return with_shares(total) if "found" in total.columns else total


def compare(
    schema: Schema,
    flips: Mapping[str, pd.DataFrame],
    given: pd.DataFrame,
    truth: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The totals of each method, and how many of its changes each other one makes too.

    Args:
        flips: method -> its flips, with the plain version among them.
    """
    rows = {name: flip_totals(flip_table(schema, table, given, truth)) for name, table in flips.items()}
    table = pd.concat([row.set_axis([name]) for name, row in rows.items()])
    plain = {name: rows[rows["held_out_fold"] == PLAIN] for name, rows in flips.items()}
    made = {name: set(zip(rows["uid"], rows["variable"], rows["after"])) for name, rows in plain.items()}
    shared = {f"with {b}": [len(made[a] & made[b]) for a in made] for b in made}
    return table.join(pd.DataFrame(shared, index=list(made)))


def by_fold(flips: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Changed labels by held-out fold and by who changed them (a method, or `review`)."""
    counts = flips.groupby(["held_out_fold", "method"]).size()
    return {str(k): rows.droplevel(0).to_dict() for k, rows in counts.groupby(level=0)}


def _counts(schema: Schema, flips: pd.DataFrame) -> pd.Series:
    return flips["variable"].value_counts().reindex(schema.names).fillna(0).astype(int)


def with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """`precision` and `recall` beside the counts `changed`, `wrong` and `found`."""
    precision = table["found"] / table["changed"].where(table["changed"] > 0)
    return table.assign(precision=precision, recall=table["found"] / table["wrong"].where(table["wrong"] > 0))
