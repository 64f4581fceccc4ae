"""Toy cases as a model coded them, with groups."""

import numpy as np
import pandas as pd
from toys import TOY, random_labels

from narrutils.findings.coded import Coded


def toy_coded(n: int = 240, seed: int = 0, sets=None, **groups) -> Coded:
    """Labels that a model reads well but for a share of the cases; groups are columns of n values each."""
    rng, labels = np.random.default_rng(seed), random_labels(TOY, n, seed)
    targets = TOY.to_targets(labels)
    noise = TOY.to_targets(random_labels(TOY, n, seed + 1))
    kept = np.repeat(rng.random(n)[:, None] > 0.4, TOY.width, axis=1)
    read = targets.where(kept, noise) * 0.8 + 0.2 / 3
    for v in TOY.categorical:
        read[list(v.columns)] = read[list(v.columns)].div(read[list(v.columns)].sum(axis=1), axis=0)
    queue = pd.DataFrame(
        {"uid": labels.index[:10], "variable": "Sad", "label_before": labels["Sad"][:10].to_numpy()}
    )
    return Coded(
        TOY,
        labels,
        TOY.to_labels(read),
        read,
        pd.Series(rng.random(n) < 0.25, labels.index),
        queue,
        pd.DataFrame(groups, labels.index, dtype=str),
        pd.Series(range(n) if sets is None else sets, labels.index),
    )
