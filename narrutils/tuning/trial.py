"""One setting tried: the stage's own training on the folds of a frame, fold by fold, and what it scores.

What is told after each fold lets a poor setting be given up early. It is the average F1 of the cases read so
far, with thresholds found on these very cases, so that it stands beside other trials at the same fold and
nothing else. What counts in the end has cross-fitted thresholds.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Phases
from narrutils.data.folds import singles
from narrutils.data.schema import Schema
from narrutils.evaluation.metrics import count
from narrutils.evaluation.scores import score
from narrutils.evaluation.thresholds import search_named
from narrutils.tuning.frames import Frame

#: The parameters of a stage -> the model over a frame's folds, and what each learns from.
Build = Callable[[Frame, Mapping[str, object], str], tuple[CrossFit, Phases]]
#: Number of the fold, score so far -> whether to give up.
Report = Callable[[int, float], bool]


class GivenUp(Exception):
    """A trial that was pruned."""


def tried(frame: Frame, build: Build, parameters: Mapping[str, object], name: str, report: Report) -> float:
    """Average F1 of a setting out of fold, thresholds cross-fitted, in [0, 1].

    Models are stored under their keys, so that a trial that was killed goes on at its next fold.

    Args:
        parameters: of the stage, the setting laid over them.
        name: of the model, in the frame's folder.
        report: asked after every fold but the last.

    Raises:
        GivenUp: `report` said so.
    """
    model, phases = build(frame, parameters, name)
    held_outs = singles(frame.study.folds)
    for number, held_out in enumerate(held_outs):
        model.fit(phases, [held_out])
        if number < len(held_outs) - 1 and report(number, so_far(model, number + 1)):
            raise GivenUp
    return score(frame.study, model.out_of_fold()).average_f1


def so_far(model: CrossFit, folds: int) -> float:
    """Average F1 of the cases of the first folds, thresholds found on these cases: to compare trials by."""
    study = model.study.scored
    parts = [
        model.stored.read(held_out, study.schema, study.folds.index[study.folds == held_out[0]])
        for held_out in singles(study.folds)[:folds]
    ]
    return in_sample(study.schema, study.labels, pd.concat(parts), study.threshold_search)


def in_sample(schema: Schema, labels: pd.DataFrame, read: pd.DataFrame, way: str) -> float:
    """Average F1 of some readings at thresholds found on them."""
    given = labels.loc[read.index]
    codes = schema.to_labels(read, search_named(way)(schema, given, read))
    return count(schema, given, codes).average_f1


def read_out(
    frame: Frame, build: Build, parameters: Mapping[str, object], name: str, held_outs: list | None = None
) -> CrossFit:
    """The models of a setting over all folds of a frame, or over some of them, trained."""
    model, phases = build(frame, parameters, name)
    return model.fit(phases, held_outs)
