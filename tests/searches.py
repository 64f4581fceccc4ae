"""A toy run with all that a search for settings reads, and searches over a linear learner on it."""

from pathlib import Path

import numpy as np
import pandas as pd
from toys import TOY, random_labels, uids

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import corrected_labels
from narrutils.data.folds import stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.models.tfidf import TfidfLearner
from narrutils.tuning.frames import Correcting
from narrutils.tuning.search import Search
from narrutils.tuning.space import parse_space

SPACE = {
    "space": {
        "inverse_regularisation": {"low": 0.01, "high": 100.0, "log": True},
        "min_df": {"low": 1, "high": 3},
        "scaled": {"choices": [False, True]},
    },
    "first": {"inverse_regularisation": 0.02, "min_df": 3},
}
OWN = {"inverse_regularisation": 4.0, "min_df": 1, "scaled": False}


def telling(labels: pd.DataFrame, seed: int = 0, noise: int = 5) -> pd.DataFrame:
    """Narratives that hold a word for most codes, among words without meaning."""
    rng, rows = np.random.default_rng(seed), []
    for codes in labels.to_dict("records"):
        words = [f"{name.lower()}{code}" for name, code in codes.items() if rng.random() < 0.7]
        words += [f"w{n}" for n in rng.integers(0, 20, noise)]
        rows.append(" ".join(rng.permutation(words)))
    return pd.DataFrame({"First": rows, "Second": "nothing else"}, index=labels.index)


def toy_run(folder: Path, cases: int = 60, tested: int = 30, labelled: bool = True) -> Run:
    """The folder of a run of cases told by `telling`; its corrected labels are the given ones."""
    run = Run(folder, "03_relabeling")
    labels = random_labels(TOY, cases)
    test = random_labels(TOY, tested, seed=1).set_axis(uids(tested, "t"))
    given = test if labelled else test.astype("Int64").mask(np.ones(test.shape, dtype=bool))
    parts = [telling(labels).join(labels).assign(split="train")]
    parts += [telling(test, seed=1).join(given).assign(split="test")]
    run.write("schema.json", TOY.to_dict())
    run.write("cases.parquet", pd.concat(parts))
    folds = pd.Series([n % 3 for n in range(cases)], index=labels.index, name="fold")
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    targets = TOY.to_targets(labels)
    corrected = stack({-1: targets} | {k: targets[folds != k] for k in range(3)})
    run.write_probabilities("labels/corrected.parquet", corrected, TOY, partial=True)
    run.write("labels/correction.json", {"nested": True})
    return run


def linear(frame, parameters, name):
    """The model of a toy stage: TF-IDF terms and a linear model on corrected labels."""
    learner = TfidfLearner(frame.study.schema, **parameters)
    return CrossFit(frame.study, name, learner), corrected_labels(frame.study, frame.corrected, 1)


def search(run: Run, trials: int = 6, space: dict = SPACE, **more) -> Search:
    """A search on a toy run."""
    study = Study.open(Run(run.folder))
    given = {"own": OWN, "parameters": dict, "build": linear, "key": "key", "stage": "04_toy", "seed": 3}
    given |= {"correcting": Correcting("noise_model"), "folder": run.path("tuning/04_toy")} | more
    made = parse_space(space, lambda name, value: value, OWN)
    return Search(study, space=made, trials=trials, **given)
