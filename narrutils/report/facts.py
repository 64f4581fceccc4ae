"""What the report's first page tells of a run, as tables read from its artefacts.

A function gives None where the run has not written what it needs: one that was stopped still
makes a report.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import content
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation.calibration import cross_fitted_calibration
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.evaluation.reliability import brier_score, calibration_error, reliability
from narrutils.evaluation.scores import score_stored
from narrutils.generation import screening
from narrutils.labels.changes import flip_table


def variables(run: Run, schema: Schema) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """How the ensemble codes each variable out of fold, against the given labels.

    Returns:
        A row a variable: `meaning`, `metric` (F1, accuracy), `cases` (with a label of it), `missing`
        (without), `score`, `low`, `high`, `positives`, `share` (of a categorical variable: of its most
        frequent class, named in `most`), `precision`, `recall`, `threshold`, `brier`, `error` and
        `error_calibrated` (expected calibration error, before and after cross-fitted calibration);
        and the reliability curves of the probabilities as they are. NaN without any label.
    """
    needed = ("cases.parquet", "folds.parquet", "ensemble.json", "predictions/ensemble_oof.parquet")
    if not all(map(run.has, needed)):
        return None
    study = Study.open(run).scored
    labels = study.labels
    probabilities = StoredModel(run, ENSEMBLE).predictions("oof", schema, labels.index)
    table = score_stored(study, ENSEMBLE).table
    of_binary = ["positives", "precision", "recall"]  # absent where a task has no binary variable
    table = table.reindex(columns=table.columns.union(of_binary, sort=False))
    curves = reliability(schema, labels, probabilities)
    calibrated = cross_fitted_calibration(schema, labels, probabilities, study.folds.loc[labels.index])
    table["error"] = calibration_error(curves)
    table["error_calibrated"] = calibration_error(reliability(schema, labels, calibrated))
    table["brier"] = brier_score(schema, labels, probabilities)
    table["threshold"] = pd.Series(run.read("ensemble.json")["thresholds"], dtype=float)
    return table.join(_prevalence(schema, labels)), curves


def _prevalence(schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for v in schema.variables:
        given = labels[v.name].dropna()
        counts = given.value_counts()
        code = 1 if v.is_binary else counts.index[0] if len(given) else None
        most = v.classes[code] if code in (v.classes or {}) else ""
        meaning = re.sub(r"\{class\}\.?", "…", v.description)
        share = counts.get(code, 0) / len(given) if len(given) else np.nan
        missing = len(labels) - len(given)
        rows[v.name] = {"meaning": meaning, "missing": missing, "share": share, "most": most}
    return pd.DataFrame.from_dict(rows, orient="index")


def generated(run: Run, schema: Schema) -> pd.DataFrame | None:
    """What each pool wrote and screening kept.

    Returns:
        A row a pool: `model`, `backend`, `rows`, `kept` (counts), `refused`: reason -> rows,
        the most frequent first.
    """
    rows = run.pools(schema, kept=False)
    if rows.empty:
        return None
    counts = screening.summary(rows).drop(columns="total").T
    table = rows.groupby("pool")[["model", "backend"]].first()
    table["rows"], table["kept"] = counts.sum(axis=1), counts["kept"]
    refused = counts.drop(columns="kept")
    table["refused"] = [
        {reason: int(n) for reason, n in row.sort_values(ascending=False, kind="stable").items() if n}
        for _, row in refused.loc[table.index].iterrows()
    ]
    return table


def changed_labels(run: Run, schema: Schema) -> pd.DataFrame | None:
    """Labels that correction changed, out of fold in the plain way: what people may look at.

    Returns:
        A row a variable and method with any change: `variable`, `method`, and the columns of
        `changes.flip_table`.
    """
    if not run.has("labels/flips.parquet"):
        return None
    flips, labels, truth = run.read("labels/flips.parquet"), run.labels(schema), run.truth()
    tables = [
        flip_table(schema, part, labels, truth).assign(method=method).reset_index(names="variable")
        for method, part in flips.groupby("method")
    ]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True).query("changed > 0")
    order = {name: n for n, name in enumerate(schema.names)}
    return table.sort_values("variable", key=lambda names: names.map(order), kind="stable")


def parameters(record: Mapping) -> list[tuple[str, str, list[str]]]:
    """Name, value and notebooks of each parameter; notebooks that share a value share the line."""
    lines = {}
    for stage, values in record["parameters"].items():
        for name, value in values.items():
            lines.setdefault((name, repr(value)), (value, []))[1].append(stage)
    return [(name, *lines[name, told]) for name, told in sorted(lines, key=lambda key: key[0])]


def seeds(run: Run) -> dict | None:
    """What `narrutils run --seeds` found of this run, its first one, and of those with other seeds.

    Returns:
        The content of `seeds.json`, and `fits`: whether this run, and the others where they still lie beside
        it, are what they were then.
    """
    if not run.has("seeds.json"):
        return None
    found = run.read("seeds.json")
    names = [record["run"] for record in found["runs"]]
    folders = [run.folder, *(run.folder.resolve().parent / name for name in names[1:])]
    now = [content(Run(folder), found["stages"]) for folder in folders if folder.is_dir()]
    then = [record["content"] for record, folder in zip(found["runs"], folders) if folder.is_dir()]
    return found | {"fits": now == then}
