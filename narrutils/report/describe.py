"""Tables that describe a set of cases: lengths, overlap, prevalence, co-occurrence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from narrutils.data.clusters import TEXTS, Together
from narrutils.data.clusters import words as words_of
from narrutils.data.folds import allowed
from narrutils.data.schema import Schema
from narrutils.generation.pools import Pool


def word_counts(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Words of each narrative, one column a text column, indexed by uid."""
    return cases[schema.text_columns].apply(lambda column: column.str.split().str.len())


def length_summary(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Empty narratives and quantiles of their word counts, a row a text column."""
    words = word_counts(cases, schema)
    table = {
        "cases": words.count(),
        "empty": (words == 0).sum(),
        "median words": words.median(),
        "90th percentile": words.quantile(0.9),
        "longest": words.max(),
    }
    return pd.DataFrame(table).astype(int).rename({t.name: t.title for t in schema.text})


def overlap(cases: pd.DataFrame, schema: Schema) -> pd.Series:
    """Jaccard similarity in [0, 1] of the word sets of the first two narratives; empty ones left out.

    1 means that both tell the case in the same words. A schema of one narrative gives an empty series.
    """
    if len(schema.text) < 2:
        return pd.Series(dtype=float, index=cases.index[:0])
    words = cases[schema.text_columns[:2]].map(lambda text: set(words_of(text)))
    told = words[words.map(bool).all(axis=1)]
    values = [len(first & second) / len(first | second) for first, second in told.to_numpy()]
    return pd.Series(values, index=told.index, dtype=float)


def belonging(together: Together, cases: pd.DataFrame) -> pd.DataFrame:
    """Sets of two or more training cases that belong together, a row a reason, all together last.

    Args:
        cases: with `split`, as `cases.parquet` holds them.

    Returns:
        `sets`, `cases` in them, and those of the `largest`.
    """
    train, sizes, reasons = cases.index[cases["split"] == "train"], {}, together.reasons
    if reasons.shape[1] > 1:
        reasons = reasons.assign(**{"in all": together.clusters})
    for reason, values in reasons.loc[train].items():
        of_reason = values.value_counts()
        sizes["nearly the same words" if reason == TEXTS else reason] = of_reason[of_reason > 1]
    table = {name: {"sets": len(s), "cases": s.sum(), "largest": s.max()} for name, s in sizes.items()}
    return pd.DataFrame.from_dict(table, orient="index").fillna(0).astype(int)


def prevalence(schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    """Cases of each binary variable and of each class.

    Returns:
        `variable`, marked if it is auxiliary, `class`, `cases`, `labelled`, the cases that have a label of
        the variable, and `share` of these; NaN where there are none.
    """
    rows = []
    for v in schema.variables:
        given, title = labels[v.name].dropna(), f"{v.name} (auxiliary)" if v.auxiliary else v.name
        for code in v.codes[-1:] if v.is_binary else v.codes:
            count, name = int((given == code).sum()), "" if v.is_binary else v.classes[code]
            share = count / len(given) if len(given) else np.nan
            told = {"variable": title, "class": name, "cases": count, "labelled": len(given), "share": share}
            rows.append(told)
    return pd.DataFrame(rows)


def co_occurrence(schema: Schema, labels: pd.DataFrame) -> pd.DataFrame:
    """Phi coefficient in [−1, 1] of each pair of binary variables; null where one never varies.

    Each is that of the cases that have both labels.
    """
    names = [v.name for v in schema.binary]
    return labels[names].astype(float).corr().where(~np.eye(len(names), dtype=bool))


def fold_balance(schema: Schema, labels: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """Cases of each fold, and the widest gap in a column's share of labelled cases between fold and whole.

    `labels` counts the cells that have a label.
    """
    targets, folds = schema.to_targets(labels), folds.loc[labels.index]
    gaps = (targets.groupby(folds).mean() - targets.mean()).abs().fillna(0)
    table = pd.DataFrame({"cases": folds.value_counts().sort_index()})
    table["labels"] = labels[schema.names].notna().sum(axis=1).groupby(folds).sum()
    table["widest gap"] = gaps.max(axis=1)
    table["in column"] = gaps.idxmax(axis=1)
    return table


def rows_for_fold(pool: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """Generated rows that the model tested on each fold may learn from."""
    counts = {int(k): len(allowed(pool, (int(k),))) for k in sorted(folds.unique())}
    return pd.Series(counts, name="generated rows").rename_axis("tested on fold").to_frame()


def pools_table(pools: Sequence[Pool], models: Sequence[dict]) -> pd.DataFrame:
    """What a run asks of its generators, a row a pool; `models` are their `backbones.stand_in`."""
    rows = [
        {
            "pool": pool.pool,
            "model": model["model"],
            "stands in for": model["stands in for"],
            "licence": model["licence"],
            "rows": pool.rows,
            "labels": "asked for" if pool.labelled else "free",
            "cases shown": pool.max_examples,
            "adapted": "on one fold" if pool.adapt else "no",
        }
        for pool, model in zip(pools, models, strict=True)
    ]
    return pd.DataFrame(rows)


def diversity(
    rows: pd.DataFrame, schema: Schema, official: pd.DataFrame | None = None, most: int = 500
) -> pd.DataFrame:
    """How much the kept rows of each pool repeat one another; a row a pool, `official` last if given.

    Both figures depend on the number of texts, so at most `most` of each group are looked
    at (drawn with a fixed seed); compare groups of like size.

    Args:
        rows: the text columns, `pool`, `kept`; official: the text columns.

    Returns:
        `kept`, `looked at` (counts); `distinct-3`, distinct runs of three words as a share
        of all, in (0, 1]; `nearest similarity`, the mean TF-IDF cosine in [0, 1] of a text
        with the nearest other of its group. Null where there is too little text.
    """
    groups = dict(list(rows[rows["kept"].astype(bool)].groupby("pool")))
    if official is not None:
        groups["official"] = official
    table = {}
    for name, cases in groups.items():
        drawn = cases[schema.text_columns].fillna("").sample(min(most, len(cases)), random_state=0)
        parts = [[words_of(text) for text in row] for row in drawn.to_numpy()]
        table[name] = {"kept": len(cases), "looked at": len(drawn)}
        table[name] |= {"distinct-3": _distinct(parts, 3), "nearest similarity": _nearest(parts)}
    columns = {"kept": int, "looked at": int, "distinct-3": float, "nearest similarity": float}
    return pd.DataFrame.from_dict(table, orient="index", columns=list(columns)).astype(columns)


def _distinct(cases: list[list[list[str]]], n: int) -> float:
    """Distinct runs of n words as a share of all; runs do not cross from one part to the next."""
    runs = [run for parts in cases for part in parts for run in zip(*(part[k:] for k in range(n)))]
    return len(set(runs)) / len(runs) if runs else float("nan")


def _nearest(cases: list[list[list[str]]]) -> float:
    """Mean TF-IDF cosine of each case with the nearest other one."""
    texts = [" ".join(word for part in parts for word in part) for parts in cases]
    if len(texts) < 2 or not any(texts):
        return float("nan")
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+").fit_transform(texts)
    distances, _ = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectors).kneighbors()
    return float(1 - distances.mean())


def landscape(
    rows: pd.DataFrame, official: pd.DataFrame, schema: Schema, most: int = 1500, seed: int = 0
) -> pd.DataFrame:
    """Generated rows and official cases in one plane, for `plots.landscape`.

    TF-IDF over both, reduced to two dimensions by a truncated singular value
    decomposition; like texts lie together, the axes themselves have no unit.

    Args:
        rows: the text columns, `pool`, `kept`; official: the text columns.
        most: of the official cases and of each pool, at most so many are drawn.

    Returns:
        `x`, `y`, `group` (`official` or the pool), `kept` (true of official cases).
    """
    cases = pd.concat([official.assign(group="official", kept=True), rows.assign(group=rows["pool"])])
    drawn = [g.sample(min(most, len(g)), random_state=seed) for _, g in cases.groupby("group")]
    shown = pd.concat(drawn)
    texts = shown[schema.text_columns].fillna("").agg("\n".join, axis=1)
    vectorizer, places = TfidfVectorizer(sublinear_tf=True), np.zeros((len(shown), 2))
    if len(set().union(*map(vectorizer.build_analyzer(), texts))) > 1:  # else all lie in one place
        vectors = vectorizer.fit_transform(texts)
        places = TruncatedSVD(2, random_state=seed).fit_transform(vectors)
    return shown[["group", "kept"]].assign(x=places[:, 0], y=places[:, 1]).astype({"kept": bool})


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
