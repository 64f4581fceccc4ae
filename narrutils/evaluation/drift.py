"""Whether new narratives are like those of the run: a few numbers of each case, none of which needs a label.

- `words NAME`: words of a narrative, 0 where it is empty;
- `unknown`: share of a case's words that the vocabulary of a linear model lacks, in [0, 1];
- `doubt`: expected number of wrong codes of the case;
- `probability NAME`: calibrated probability, of each column of the schema.

The distribution of each over some cases of the run is kept as counts in bins at their deciles; new cases are
counted in the same bins, part by part, so their number does not matter. The two differ by the two-sample
Kolmogorov–Smirnov distance: the largest difference of their shares up to a bin's edge, in [0, 1]. There is an
alarm where it is both significant, by Holm's method over all numbers, and large: with a million cases
everything is significant, and with thirty a large distance is chance.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import kolmogorov

from narrutils.data.schema import Schema

#: Where the bins end: shares of the cases of the run.
SHARES = np.linspace(0.1, 0.9, 9)
#: Fewer cases of the run say nothing of new ones.
LEAST_CASES = 50
#: Chance of an alarm about a file of the same kind, at most.
LEVEL = 0.05
#: A distance that matters: one case in ten has moved from one side of an edge to the other.
LARGE = 0.1
#: What scikit-learn takes for a word.
WORD = re.compile(r"\b\w\w+\b")


def of_texts(schema: Schema, texts: pd.DataFrame, known: frozenset[str] | None) -> pd.DataFrame:
    """What can be told of the text columns alone, indexed as `texts`.

    Args:
        known: words of a vocabulary, in lower case; None: `unknown` is left out.
    """
    words = {c: [WORD.findall(text.lower()) for text in texts[c]] for c in schema.text_columns}
    table = pd.DataFrame({f"words {c}": [len(w) for w in told] for c, told in words.items()}, texts.index)
    if known is not None:
        total = table.sum(axis=1).to_numpy()
        new = [[sum(w not in known for w in case) for case in told] for told in words.values()]
        unknown = np.sum(new, axis=0)
        table["unknown"] = np.divide(unknown, total, out=np.full(len(total), np.nan), where=total > 0)
    return table.astype(float)


def of_readings(doubt: pd.Series, calibrated: pd.DataFrame) -> pd.DataFrame:
    """Doubt and calibrated probabilities, indexed as they are."""
    return pd.concat([doubt.rename("doubt"), calibrated.add_prefix("probability ")], axis=1)


def reference(table: pd.DataFrame) -> dict[str, dict]:
    """Number -> `edges` of its bins, ascending, and `counts`, one more: the last bin is above all edges.

    Args:
        table: a row a case; what is NaN is not counted. Edges are nobody's values: of words they lie
            between whole numbers; others have three digits, or more where a case has that value.
    """
    found = {}
    for name, values in table.items():
        values = values.dropna().to_numpy()
        edges = np.quantile(values, SHARES) if len(values) else []
        if name.startswith("words "):
            edges = {0.5, *(float(np.floor(edge)) + 0.5 for edge in edges)}  # below the first are empty ones
        else:
            edges = {_beside(float(f"{edge:.3g}"), values) for edge in edges}
        edges = sorted(edges)
        found[name] = {"edges": edges, "counts": _counted(values, edges)}
    return found


def _beside(edge: float, values: np.ndarray) -> float:
    """The edge, or a number a little above it that no case has."""
    step = abs(edge) / 1000 or 0.0005
    while np.isin(edge, values):
        edge, step = edge + step, step / 2
    return edge


def counted(kept: Mapping[str, Mapping], table: pd.DataFrame) -> dict[str, list[int]]:
    """Number -> how many of these cases lie in each bin of the reference; of numbers that both have."""
    names = [name for name in kept if name in table]
    return {name: _counted(table[name].dropna().to_numpy(), kept[name]["edges"]) for name in names}


def added(one: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Counts of both; where one knows nothing yet, those of the other."""
    return {name: np.add(one.get(name, 0), counts).tolist() for name, counts in other.items()}


def compare(kept: Mapping[str, Mapping], counts: Mapping[str, list[int]]) -> pd.DataFrame:
    """A row a number: how far new cases lie from those of the run, the farthest first.

    Returns:
        `number`; `distance`, in [−1, 1], positive where the new values are higher; `at`, the edge where
        it is largest; `before`, `now`: share of the cases up to there; `p`, by the asymptotic distribution,
        which few bins make cautious; `p_holm`; `alarm`: whether significant and large.
    """
    rows = [{"number": name} | _difference(kept[name], found) for name, found in counts.items()]
    table = pd.DataFrame(rows, columns=["number", "distance", "at", "before", "now", "p"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    table["alarm"] = (table["p_holm"] <= LEVEL) & (table["distance"].abs() >= LARGE)
    order = table["distance"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _difference(kept: Mapping, found: list[int]) -> dict[str, float]:
    old, new = sum(kept["counts"]), sum(found)
    if not (old and new and kept["edges"]):
        return {"distance": 0.0, "at": np.nan, "before": np.nan, "now": np.nan, "p": 1.0}
    before, now = (np.cumsum(counts)[:-1] / sum(counts) for counts in (kept["counts"], found))
    place = np.abs(now - before).argmax()
    distance = before[place] - now[place]
    p = kolmogorov(abs(distance) * (old * new / (old + new)) ** 0.5)
    told = {"distance": distance, "at": kept["edges"][place], "before": before[place], "now": now[place]}
    return {name: float(value) for name, value in (told | {"p": p}).items()}


def holm(p: np.ndarray) -> np.ndarray:
    """P values that hold for all tests together (Holm 1979)."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(steps, 1)
    return found


def _counted(values: np.ndarray, edges: list[float]) -> list[int]:
    """How many values lie in each bin, an edge with those below it."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1).tolist()
