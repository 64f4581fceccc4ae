"""What the setting that was found is worth on cases that had no part in finding it.

With labelled test cases these are the test cases: the settings are trained in the run's own frame and read
them. Without, they are the training cases of each fold in turn, for which a study of their own, without
them, found a setting; the folds are pooled.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from narrutils.data.folds import singles
from narrutils.evaluation.intervals import draw, in_columns, in_table, paired_gain, score_interval
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.scores import score
from narrutils.evaluation.thresholds import search_named
from narrutils.tuning.frames import Frame
from narrutils.tuning.trial import Build, read_out

COLUMNS = [
    "setting", "inner", "outer", "outer_low", "outer_high", "difference", "gain", "gain_low", "gain_high",
]  # fmt: skip

Parameters = Mapping[str, object]


def on_test(frame: Frame, build: Build, parameters: Parameters, name: str, uids: pd.Index) -> Counts:
    """How a setting codes these test cases: mean of the fold models, thresholds from out of fold."""
    study, model = frame.study.scored, read_out(frame, build, parameters, name)
    cuts = search_named(study.threshold_search)(study.schema, study.labels, model.out_of_fold())
    codes = study.schema.to_labels(model.on_test().loc[uids], cuts)
    return count(study.schema, study.test_labels.loc[uids], codes)


def by_fold(frame: Frame, build: Build, parameters: Mapping[int, Parameters], name: str) -> Counts:
    """How the settings that were found without each fold code that fold; the folds pooled, thresholds
    cross-fitted.

    Args:
        parameters: fold -> those found without it.
    """
    for (fold,) in singles(frame.study.folds):
        model = read_out(frame, build, parameters[fold], name, [(fold,)])
    return score(frame.study, model.out_of_fold()).counts


def compared(inner: Mapping[str, float], outer: Mapping[str, Counts]) -> pd.DataFrame:
    """Settings side by side, a row each, the first one being what the others are held against.

    Args:
        inner: score on inner folds; `outer`: how the same settings code the cases that nothing consulted.

    Returns:
        `setting`, `inner`, `outer` with its 95 % interval, `difference` (inner − outer), and the paired
        `gain` over the first setting, with its own.
    """
    names, rows = list(outer), []
    draw(list(outer.values()))
    for name in names:
        found = score_interval(outer[name])
        gain = None if name == names[0] else paired_gain(outer[name], outer[names[0]])
        row = {"setting": name, "inner": inner[name], "difference": inner[name] - found.value}
        rows.append(row | in_columns("outer", found) | in_columns("gain", gain))
    return in_table(rows, COLUMNS)


def swing(scores: Sequence[float]) -> dict[str, float]:
    """How far scores lie apart: `n`, `least`, `low` (first quartile), `median`, `high` (third), `most`."""
    values = pd.Series(list(scores), dtype=float)
    points = values.quantile([0, 0.25, 0.5, 0.75, 1])
    return {"n": len(values)} | dict(zip(("least", "low", "median", "high", "most"), map(float, points)))
