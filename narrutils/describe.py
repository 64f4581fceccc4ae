"""Tables that describe a set of cases: lengths, overlap, prevalence, co-occurrence."""

import re

import numpy as np
import pandas as pd

from narrutils.folds import allowed
from narrutils.intervals import variable_intervals
from narrutils.metrics import count
from narrutils.schema import Schema


def word_counts(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Words of each narrative, one column a text column, indexed by uid."""
    return cases[schema.text_columns].apply(lambda column: column.str.split().str.len())


def length_summary(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Empty narratives and quantiles of their word counts, a row a text column."""
    words = word_counts(cases, schema)
    rows = {
        title: {
            "cases": len(words),
            "empty": int((words[name] == 0).sum()),
            "median words": words[name].median(),
            "90th percentile": words[name].quantile(0.9),
            "longest": words[name].max(),
        }
        for name, title in ((t.name, t.title) for t in schema.text)
    }
    return pd.DataFrame(rows).T.astype(int)


def overlap(cases: pd.DataFrame, schema: Schema) -> pd.Series:
    """Jaccard similarity in [0, 1] of the word sets of the first two narratives; empty ones left out.

    1 means that both tell the case in the same words. A schema of one narrative gives an empty series.
    """
    if len(schema.text) < 2:
        return pd.Series(dtype=float, index=cases.index[:0])
    first, second = (cases[name].map(_words) for name in schema.text_columns[:2])
    both = [uid for uid in cases.index if first[uid] and second[uid]]
    values = [len(first[u] & second[u]) / len(first[u] | second[u]) for u in both]
    return pd.Series(values, index=pd.Index(both, name=cases.index.name), dtype=float)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def prevalence(schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    """Cases of each binary variable and of each class: columns `variable`, `class`, `cases`, `share`."""
    rows = []
    for v in schema.variables:
        for code in v.codes[-1:] if v.is_binary else v.codes:
            count = int((labels[v.name] == code).sum())
            name = "" if v.is_binary else v.classes[code]
            rows.append({"variable": v.name, "class": name, "cases": count, "share": count / len(labels)})
    return pd.DataFrame(rows)


def co_occurrence(schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    """Phi coefficient in [−1, 1] of each pair of binary variables; null where one never varies."""
    names = [v.name for v in schema.binary]
    return labels[names].astype(float).corr().where(~np.eye(len(names), dtype=bool))


def fold_balance(schema: Schema, labels: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """Cases of each fold, and the widest gap in a column's share between fold and whole."""
    targets = schema.to_targets(labels)
    gaps = (targets.groupby(folds.loc[labels.index]).mean() - targets.mean()).abs()
    table = pd.DataFrame({"cases": folds.value_counts().sort_index()})
    table["widest gap"] = gaps.max(axis=1)
    table["in column"] = gaps.idxmax(axis=1)
    return table


def score_table(schema: Schema, labels: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """A row a variable: positives, score with its 95 % interval, precision and recall of class 1."""
    intervals = variable_intervals(count(schema, labels, predicted))
    rows = []
    for v, interval in zip(schema.variables, intervals):
        truth, guess = labels[v.name], predicted.loc[labels.index, v.name]
        row = {"variable": v.name, "metric": "F1" if v.is_binary else "accuracy"}
        row |= {"score": interval.value, "low": interval.low, "high": interval.high}
        if v.is_binary:
            hits = int(((truth == 1) & (guess == 1)).sum())
            positives, called = int((truth == 1).sum()), int((guess == 1).sum())
            row |= {"positives": positives, "called": called}
            row |= {"precision": _ratio(hits, called), "recall": _ratio(hits, positives)}
        rows.append(row)
    counts = {"positives": "Int64", "called": "Int64"} if schema.binary else {}
    return pd.DataFrame(rows).set_index("variable").astype(counts)


def rows_for_fold(pool: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """Generated rows that the model tested on each fold may learn from."""
    counts = {int(k): len(allowed(pool, (int(k),))) for k in sorted(folds.unique())}
    return pd.Series(counts, name="generated rows").rename_axis("tested on fold").to_frame()


def soft_label_table(schema: Schema, official: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """For each held-out fold, how many rows were soft-labelled and how sure the teacher was.

    Args:
        official, pool: probabilities indexed by (`uid`, `held_out_fold`).

    Returns:
        `official rows`, `generated rows`, and for each the mean over binary variables
        of |p − 0.5|, in [0, 0.5].
    """
    binary, table = [v.name for v in schema.binary], pd.DataFrame()
    for kind, readings in (("official", official), ("generated", pool)):
        readings = readings[readings.index.get_level_values("held_out_fold") >= 0]
        sure = (readings[binary] - 0.5).abs().mean(axis=1).groupby(level="held_out_fold")
        table[f"{kind} rows"], table[f"{kind}, distance from one half"] = sure.size(), sure.mean().round(3)
    return table.fillna({"generated rows": 0})


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
