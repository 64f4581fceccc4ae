"""Label correction: positives that the abstractor missed, by the author's rule.

For a binary variable with cross-validated F1 of F, a rate
r = 0.2 · (1 − (F − F_min) / (F_max − F_min)) is set, F_min and F_max taken over
the binary variables. Among the rows labelled 0, those whose probability lies
above the (1 − r) quantile of that group take the label [p > 0.5]. Only 0 → 1;
categorical codes stay; validation always keeps the given labels.
"""

from dataclasses import dataclass

import pandas as pd

from narrutils.artifacts import by_uid
from narrutils.crossfit import PLAIN, for_fold, stack
from narrutils.metrics import per_variable
from narrutils.schema import Schema

MAX_RATE = 0.2  # the author's: the worst variable's share of zeros that is looked at


@dataclass(frozen=True)
class Correction:
    """Targets after correction, and one row for each changed label.

    `targets` is indexed by (`uid`, `held_out_fold`); `flips` has the columns
    `uid`, `variable`, `before`, `after`, `probability`, `held_out_fold`.
    """

    targets: pd.DataFrame
    flips: pd.DataFrame


def correction_rates(schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame) -> pd.Series:
    """The author's rate r of each binary variable, in [0, 0.2], from F1 at threshold 0.5."""
    scores = per_variable(schema, labels, schema.to_labels(probabilities))
    f1 = scores[[v.name for v in schema.binary]]
    spread = f1.max() - f1.min() if len(f1) else 0.0
    return MAX_RATE * (1 - (f1 - f1.min()) / spread) if spread > 0 else f1 * 0.0


def missed_positives(labels: pd.Series, probability: pd.Series, rate: float) -> pd.Index:
    """uids labelled 0 that the rule turns to 1."""
    zeros = probability[labels == 0]
    if rate <= 0 or zeros.empty:
        return zeros.index[:0]
    return zeros.index[(zeros > zeros.quantile(1 - rate)) & (zeros > 0.5)]


def correct(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Corrected targets and flips of one set of rows.

    Args:
        labels: given codes, indexed by uid.
        probabilities: a teacher's readings of the same rows; matched by uid.
    """
    table = by_uid(probabilities, labels.index, "teacher's readings")
    columns = ["uid", "variable", "before", "after", "probability"]
    targets, flips = schema.to_targets(labels), [pd.DataFrame(columns=columns)]
    for name, rate in correction_rates(schema, labels, table).items():
        uids = missed_positives(labels[name], table[name], rate)
        targets.loc[uids, name] = 1.0
        flips.append(
            pd.DataFrame({"uid": uids, "variable": name, "probability": table.loc[uids, name].to_numpy()})
        )
    changed = pd.concat(flips, ignore_index=True).assign(before=0, after=1)
    return targets, changed.astype({"probability": float})[columns]


def correct_by_fold(schema: Schema, labels: pd.DataFrame, readings: pd.DataFrame) -> Correction:
    """The rule applied once for each held-out fold k, on readings that never learned from k.

    The rates, too, come from the rows and readings outside fold k alone.

    Args:
        labels: given codes of all official rows.
        readings: a teacher's `official_soft_labels`, indexed by (`uid`, `held_out_fold`).
    """
    targets, flips = {}, []
    for fold in sorted(readings.index.unique("held_out_fold")):
        table = for_fold(readings, fold)
        targets[fold], changed = correct(schema, labels.loc[table.index], table)
        flips.append(changed.assign(held_out_fold=fold))
    return Correction(stack(targets), pd.concat(flips, ignore_index=True))


def flip_table(schema: Schema, flips: pd.DataFrame, given: pd.DataFrame, truth: pd.DataFrame | None = None):
    """How many labels of each variable changed and, where the truth is known, how well.

    Counts the plain version (`held_out_fold` −1). With `truth`, `precision` is the
    share of changes that agree with it and `recall` the share of missed positives
    that were changed; both are null where their denominator is 0.
    """
    plain = flips[flips["held_out_fold"] == PLAIN]
    names = [v.name for v in schema.binary]
    table = pd.DataFrame(index=pd.Index(names, name="variable"))
    table["positives given"] = given[names].sum()
    table["changed"] = plain["variable"].value_counts().reindex(names).fillna(0).astype(int)
    if truth is not None:
        missed = (given[names] == 0) & (truth.loc[given.index, names] == 1)
        right = pd.Series({n: missed.loc[plain.loc[plain["variable"] == n, "uid"], n].sum() for n in names})
        table["missed"] = missed.sum()
        table["found"] = right
        table["precision"] = right / table["changed"].where(table["changed"] > 0)
        table["recall"] = right / table["missed"].where(table["missed"] > 0)
    return table


def flip_totals(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `flip_table` as one: counts summed, precision and recall over all changes."""
    total = table.drop(columns=["precision", "recall"], errors="ignore").sum().astype(float)
    if "found" in table.columns:
        total["precision"] = total["found"] / total["changed"] if total["changed"] else float("nan")
        total["recall"] = total["found"] / total["missed"] if total["missed"] else float("nan")
    return total.to_frame("all variables").T
