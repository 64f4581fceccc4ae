"""The cases on which settings are tried: a study of some training cases, with folds, corrected labels and
soft labels that know nothing of any other case.

Generated rows take no part: their `seen_folds` speak of the run's folds, and these are others. The reader of
the correction and the teacher of soft labels are TF-IDF models of the frame's own folds, which leave two out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, given_labels, read_corrected
from narrutils.crossfit.soft_labels import SoftLabels, soft_labels_of
from narrutils.data.files import digest
from narrutils.data.folds import draw_folds
from narrutils.data.run import Run
from narrutils.data.study import NO_POOL, Study
from narrutils.labels.correction import correct_by_fold
from narrutils.models.tfidf import TfidfLearner


@dataclass(frozen=True)
class Frame:
    """A study with what its models learn from beside the given labels.

    Attributes:
        study: its run is the folder where models and readings go.
        corrected: labels of every training case, for each held-out fold.
        teacher: who tells soft labels.
    """

    study: Study
    corrected: Corrected
    teacher: SoftLabels


@dataclass(frozen=True)
class Correcting:
    """How labels are corrected within a frame: the method of 03, and people's decisions."""

    method: str
    decisions: pd.DataFrame | None = None


def seed_of(*parts: object) -> int:
    """A seed that these values decide, in [0, 2³²)."""
    return int(digest(*parts), 16) % 2**32


def drawn(uids: pd.Index, cases: int, seed: int) -> pd.Index:
    """So many of some uids, drawn at random, in their order; all of them where `cases` is 0 or no fewer."""
    if not cases or cases >= len(uids):
        return uids
    places = np.random.default_rng(seed_of("cases", seed)).choice(len(uids), cases, replace=False)
    return uids[np.sort(places)]


def inner_frame(
    study: Study,
    uids: pd.Index,
    outer: pd.Index,
    folder: Path,
    correcting: Correcting,
    seed: int,
    stage: str,
) -> Frame:
    """A frame of some training cases, its folds drawn anew, as many as the run has; sets of cases stay whole.

    Args:
        study: of the run.
        uids: the cases that take part.
        outer: those on which the setting that is found will be scored; none of them may take part.
        folder: where models go.
        stage: in whose name they are written.

    Raises:
        ValueError: a case of the outer part would take part; InputError: too few cases for the folds.
    """
    shared = uids.intersection(outer)
    if len(shared):
        raise ValueError(f"{shared[0]} would choose the setting that is scored on it")
    labels = study.labels.loc[uids]
    clusters = study.run.clusters()["cluster"]
    folds = draw_folds(
        study.schema, labels, study.folds.nunique(), seed_of("inner folds", seed), clusters.loc[uids]
    )
    run = Run(folder, stage)
    inner = replace(
        study,
        run=run,
        train=study.train.loc[uids],
        folds=folds,
        labels=labels,
        test=study.test[:0],
        test_labels=None,
        pool=NO_POOL,
    )
    teacher = _teacher(inner)
    return Frame(inner, _corrected(inner, teacher, correcting), teacher)


def run_frame(study: Study, folder: Path, stage: str, anew: Correcting | None = None) -> Frame:
    """The run's own cases, folds, test cases and corrected labels, models going into `folder`.

    Args:
        anew: how labels are corrected again, without the fold that is held out, where the run's own
            correction crossed its folds; None leaves them.
    """
    outer = replace(study, run=Run(folder, stage), pool=NO_POOL)
    corrected, teacher = read_corrected(study.run), _teacher(outer)
    if corrected.optimistic and anew:
        corrected = _corrected(outer, teacher, anew)
    return Frame(outer, corrected, teacher)


def _corrected(study: Study, teacher: SoftLabels, how: Correcting) -> Corrected:
    """Targets of each held-out fold of a study, by readings that know nothing of it."""
    found = correct_by_fold(
        study.schema, study.labels, teacher.official, study.folds, how.method, how.decisions
    )
    return Corrected(found.targets)


def _teacher(study: Study) -> SoftLabels:
    """TF-IDF models of a study's folds on its given labels, and those that leave two folds out."""
    model, given = CrossFit(study, "tfidf", TfidfLearner(study.schema)), given_labels(study)
    return soft_labels_of(model.fit(given).fit_pairs(given))


def content(study: Study, correcting: Correcting) -> Mapping[str, str]:
    """Digests of all that the trials read of a run, for their key."""
    tables = {
        "texts": study.train,
        "labels": study.labels,
        "folds": study.folds.to_frame(),
        "clusters": study.run.clusters(),
        "decisions": correcting.decisions,
    }
    return {name: digest(table) for name, table in tables.items()}
