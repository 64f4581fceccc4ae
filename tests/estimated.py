"""Small finished runs whose training cases are a random part of all, and what people coded of the others."""

import numpy as np
import pandas as pd
from toys import TOY, uids

from benchmarks.coverage_corpora import trained
from narrutils.data.run import Run
from narrutils.models.learner import Learner
from narrutils.models.tfidf import TfidfLearner

#: Words that say yes and no, each a fifth of the time wrongly.
SAYS = {1: "fell", 0: "walked"}


def cases(n: int, seed: int = 0, prefix: str = "u") -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Texts, codes and groups: `Sad` is commoner in the south, and most of it is told."""
    rng, index = np.random.default_rng(seed), uids(n, prefix)
    site = rng.choice(["north", "south"], n)
    sad = (rng.random(n) < np.where(site == "south", 0.55, 0.25)).astype(int)
    told = np.where(rng.random(n) < 0.85, sad, 1 - sad)
    words = [" ".join([SAYS[t], *(f"w{i}" for i in rng.integers(0, 200, 6))]) for t in told]
    texts = pd.DataFrame({"First": words, "Second": [f"case {prefix}{n}" for n in range(n)]}, index)
    codes = {v.name: rng.choice(v.codes, n) for v in TOY.variables} | {"Sad": sad}
    groups = pd.DataFrame({"site": site, "sex": rng.choice(["f", "m"], n)}, index)
    return texts, pd.DataFrame(codes, index), groups


def run_of(
    folder, learner: Learner | None = None, n: int = 600, coded: int = 200
) -> tuple[Run, pd.DataFrame]:
    """A run that was trained on the first cases, the others being its test cases; and codes of all."""
    texts, codes, groups = cases(n)
    learners = {"toy": learner or TfidfLearner(TOY, min_df=1)}
    run = trained(folder, TOY, texts[:coded], codes[:coded], texts[coded:], learners)
    run.write("groups.parquet", groups)
    return run, codes


def features(folder, texts: pd.DataFrame, groups: pd.DataFrame, name: str = "all.csv"):
    """The path of a table of cases with their groups."""
    texts.join(groups).rename_axis("uid").reset_index().to_csv(folder / name, index=False)
    return folder / name
