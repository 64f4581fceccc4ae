"""Labels drawn at random score what chance scores, however often their texts stand in the file.

With folds that know nothing of texts, a model remembers the twin of the case that it is tested on.
"""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import Dataset
from narrutils.data.clusters import Together
from narrutils.data.folds import draw_folds
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.intervals import Interval, score_interval
from narrutils.evaluation.scores import score
from narrutils.models.tfidf import TfidfLearner

pytestmark = pytest.mark.slow

N, WORDS = 120, 30


def different() -> pd.DataFrame:
    """Cases with random texts and random labels."""
    rng = np.random.default_rng(4)
    texts = {
        c: [" ".join(f"w{n}" for n in rng.integers(0, 300, WORDS)) for _ in range(N)]
        for c in TOY.text_columns
    }
    return pd.DataFrame(texts, index=uids(N)).join(random_labels(TOY, N))


def edited(texts: pd.Series) -> pd.Series:
    """Each text with a word exchanged and one left out."""
    return texts.str.replace(r"^(\S+ \S+) \S+", r"\1 other", regex=True).str.rsplit(" ", n=1).str[0]


def doubled(share: float, edit: bool) -> pd.DataFrame:
    """The same cases, the first of them twice."""
    cases = different()
    twins = cases[: int(share * N)].set_axis(uids(int(share * N), "v"))
    twins[TOY.text_columns] = twins[TOY.text_columns].apply(edited) if edit else twins[TOY.text_columns]
    return pd.concat([cases, twins]).rename_axis("uid")


def scored(folder, cases: pd.DataFrame, similarity: float) -> Interval:
    """What TF-IDF scores out of fold; similarity 0: folds as they are drawn where texts are not compared."""
    none = cases[:0]
    clusters = Together(Dataset(cases, none, None, []), TOY, similarity).clusters
    folds = draw_folds(TOY, cases[TOY.names], 3, seed=0, clusters=clusters)
    texts, labels = cases[TOY.text_columns], cases[TOY.names]
    study = Study(Run(folder, "01_test"), TOY, texts, folds, none[TOY.text_columns], labels)
    model = CrossFit(study, "tfidf", TfidfLearner(TOY, min_df=1)).fit(given_labels(study))
    return score_interval(score(study, model.out_of_fold()).counts)


@pytest.fixture(scope="module")
def chance(tmp_path_factory) -> Interval:
    return scored(tmp_path_factory.mktemp("once"), different(), 0.7)


@pytest.mark.parametrize(("share", "edit"), [(1, False), (1, True), (0.5, False), (0.5, True)])
def test_doubled_texts_score_what_they_score_once(tmp_path, chance, share, edit):
    cases = doubled(share, edit)
    kept, crossed = (scored(tmp_path / str(s), cases, s) for s in (0.7, 0))
    assert chance.low <= kept.value <= chance.high
    assert crossed.low > chance.high  # the proof has teeth
