"""Which generated cases to keep, and why the others are not kept.

The first rule of `screening_rules` that finds something gives the reason. No row is
dropped: one that is not kept stays in its pool, marked.
"""

import pandas as pd

from narrutils.schema import Schema
from narrutils.screening_rules import RULES, Limits, Reference, rows_of

__all__ = ["RULES", "Limits", "screen", "summary"]


def screen(
    rows: pd.DataFrame,
    official: pd.DataFrame,
    folds: pd.Series,
    schema: Schema,
    limits: Limits | None = None,
) -> pd.DataFrame:
    """The rows with `kept` (bool) and `reason` set: empty, or `rule: what it found`.

    Args:
        rows: `uid` (column or index), the text columns, `seen_folds`.
        official: the training cases' text columns, indexed by uid. A row whose uid is
            among them is not held against itself.
        folds: fold numbers of the official cases, indexed by uid.

    Raises:
        InputError: `folds` and `official` disagree, or a row names a fold without cases.
    """
    reference = Reference(official, folds, schema, limits or Limits())
    reasons = []
    for row in rows_of(rows, schema):
        findings = ((name, rule(row, reference)) for name, rule in RULES.items())
        reason = next((f"{name}: {found}" for name, found in findings if found), "")
        if not reason:
            reference.duplicates.add(row.uid, row.all_words)
        reasons.append(reason)
    return rows.assign(kept=[not r for r in reasons], reason=reasons)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows per pool (columns) and reason (index: `kept`, then the rules in order), with a total."""
    rule = rows["reason"].str.split(":").str[0].where(~rows["kept"], "kept")
    counts = pd.crosstab(rule, rows["pool"]).rename_axis(index="reason", columns=None)
    order = [name for name in ["kept", *RULES] if name in counts.index]
    counts = counts.reindex([*order, *counts.index.difference(order)])
    return counts.assign(total=counts.sum(axis=1))
