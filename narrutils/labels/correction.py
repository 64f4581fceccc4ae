"""Label correction: which given labels are changed before training, and for whom.

Three methods propose changes from the same readings of a teacher: the `author`'s rule,
`cleanlab`'s filter, and our `noise_model`. A person's decisions override each of them.
A model tested on fold k learns from targets that were corrected without a look at fold
k; validation always keeps the given labels. A missing label stays missing, and one that
its teacher has too few `noise.examples` of stays as it is given, whatever the method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from narrutils.data.folds import PLAIN, for_fold, stack
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import Method, fitting
from narrutils.data.tables import by_uid
from narrutils.labels import noise, rules
from narrutils.labels.changes import by_fold
from narrutils.labels.review import COLUMNS, obey

#: Schema, labels, readings, folds -> `uid`, `variable`, `before`, `after`, `probability`.
METHODS: dict[str, Callable[..., pd.DataFrame]] = {
    "author": lambda schema, labels, read, folds: rules.author(schema, labels, read),
    "cleanlab": lambda schema, labels, read, folds: rules.confident_learning(schema, labels, read),
    "noise_model": noise.propose,
}


@dataclass(frozen=True)
class Correction:
    """Targets after correction, and one row for each changed label.

    `targets` is indexed by (`uid`, `held_out_fold`), NaN without a label; `flips` has the columns `uid`,
    `variable`, `before`, `after`, `probability` (that `after` is right, as the method
    sees it; 1 for a person's decision), `method`, `held_out_fold`.
    """

    targets: pd.DataFrame
    flips: pd.DataFrame

    def save(self, run: Run, schema: Schema, **about) -> None:
        """Write `labels/corrected.parquet`, `flips.parquet` and `correction.json`.

        Args:
            about: how it came to be; `nested` is whether the teachers left out the fold that they
                corrected for.
        """
        run.write_probabilities("labels/corrected.parquet", self.targets, schema, partial=True)
        run.write("labels/flips.parquet", self.flips)
        run.write("labels/correction.json", about | {"changed": by_fold(self.flips)})


def correct(
    schema: Schema,
    labels: pd.DataFrame,
    probabilities: pd.DataFrame,
    folds: pd.Series,
    method: str,
    decisions: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Corrected targets and flips of one set of rows.

    Args:
        labels: given codes, indexed by uid; null where there is none.
        probabilities: a teacher's readings of the same rows; matched by uid.
        folds: fold of each row, in two folds or more.
        method: a name of `METHODS`.
        decisions: of `review.check_review`, on these rows or others.

    Raises:
        InputError: there is no such method.
    """
    read = by_uid(probabilities, labels.index, "teacher's readings")
    folds = by_uid(folds, labels.index, "folds")
    proposed = METHODS[fitting(method, Method, "method")](schema, labels, read, folds)
    most = noise.most_probable(schema, labels, folds)
    known = [most.at[uid, name] > 0.5 for uid, name in zip(proposed["uid"], proposed["variable"])]
    proposed = proposed[pd.Series(known, proposed.index, dtype=bool)]
    decisions = pd.DataFrame(columns=COLUMNS) if decisions is None else decisions
    flips = obey(proposed.assign(method=method), decisions[decisions["uid"].isin(labels.index)])
    flips = flips.astype({"uid": str, "variable": str, "before": int, "after": int, "probability": float})
    return schema.to_targets(_changed(labels, flips)), flips


def correct_by_fold(
    schema: Schema,
    labels: pd.DataFrame,
    readings: pd.DataFrame,
    folds: pd.Series,
    method: str,
    decisions: pd.DataFrame | None = None,
) -> Correction:
    """A method applied once for each held-out fold k, on rows and readings that know nothing of k.

    Rates and noise models, too, come from the rows outside fold k alone. A decision is
    a person's reading of a case and holds for every model that learns from the case.

    Args:
        labels: given codes of all official rows.
        readings: a teacher's `official_soft_labels`, indexed by (`uid`, `held_out_fold`).
        folds: fold of each official row.
        method: a name of `METHODS`.
        decisions: of `review.check_review`.
    """
    targets, flips = {}, []
    for fold in sorted(readings.index.unique("held_out_fold")):
        table = for_fold(readings, fold)
        rows = labels.loc[table.index]
        targets[fold], changed = correct(schema, rows, table, folds, method, decisions)
        flips.append(changed.assign(held_out_fold=fold))
    return Correction(stack(targets), pd.concat(flips, ignore_index=True))


def by_method(
    schema: Schema, labels: pd.DataFrame, readings: pd.DataFrame, folds: pd.Series
) -> dict[str, pd.DataFrame]:
    """Method -> the flips that it proposes on the plain out-of-fold readings, without any decision."""
    table = for_fold(readings, PLAIN)
    flips = {name: correct(schema, labels, table, folds, name)[1] for name in METHODS}
    return {name: changed.assign(held_out_fold=PLAIN) for name, changed in flips.items()}


def _changed(labels: pd.DataFrame, flips: pd.DataFrame) -> pd.DataFrame:
    """The labels with every flip made."""
    changed = labels.copy()
    for name, rows in flips.groupby("variable"):
        changed.loc[rows["uid"], name] = rows["after"].to_numpy()
    return changed
