"""The cases on which settings are tried: no other has a part in them."""

import pandas as pd
import pytest
from searches import toy_run
from toys import TOY

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import corrected_labels
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.models.tfidf import TfidfLearner
from narrutils.tuning.frames import Correcting, drawn, inner_frame, run_frame

pytestmark = pytest.mark.slow

METHOD = Correcting("noise_model")


@pytest.fixture
def study(tmp_path):
    return Study.open(Run(toy_run(tmp_path / "toy").folder))


def frame_of(study, tmp_path, without=0, seed=3, name="inner"):
    outer = study.folds.index[study.folds == without]
    uids = study.train.index.difference(outer, sort=False)
    return inner_frame(study, uids, outer, tmp_path / name, METHOD, seed, "04_toy")


def test_a_case_that_is_scored_outside_takes_no_part_inside(study, tmp_path):
    uids = study.train.index
    with pytest.raises(ValueError, match=f"{uids[3]} would choose the setting that is scored on it"):
        inner_frame(study, uids[:30], uids[3:4], tmp_path / "inner", METHOD, 0, "04_toy")


def test_folds_are_drawn_anew_and_none_is_empty(study, tmp_path):
    made = frame_of(study, tmp_path).study
    assert sorted(made.folds.unique()) == [0, 1, 2]
    assert not made.folds.equals(study.folds.loc[made.folds.index])
    assert frame_of(study, tmp_path).study.folds.equals(made.folds)
    assert not frame_of(study, tmp_path, seed=4).study.folds.equals(made.folds)


def test_cases_that_belong_together_stay_in_one_fold(study, tmp_path):
    numbers = pd.Series(range(len(study.train)), study.train.index) // 2
    clusters = pd.DataFrame({"cluster": numbers.astype("Int64"), "twin": ""}).reindex(study.run.cases().index)
    Run(study.run.folder, "01_eda").write("clusters.parquet", clusters.rename_axis("uid"))
    folds = inner_frame(
        study, study.train.index, study.test.index, tmp_path / "inner", METHOD, 3, "04_toy"
    ).study.folds
    assert (folds.groupby(numbers.loc[folds.index]).nunique() == 1).all()


def test_generated_rows_and_test_cases_are_not_in_it(study, tmp_path):
    made = frame_of(study, tmp_path)
    assert made.study.pool.empty and made.study.test.empty and made.study.test_labels is None
    assert made.teacher.pool.empty


def test_labels_and_soft_labels_are_those_of_the_inner_cases_alone(study, tmp_path):
    """With other texts and labels of the outer part nothing inside differs."""
    before = frame_of(study, tmp_path)
    outer = study.folds.index[study.folds == 0]
    study.train.loc[outer] = "something else"
    study.labels.loc[outer] = 1 - study.labels.loc[outer, ["Sad"]].reindex(columns=study.labels.columns)
    after = frame_of(study, tmp_path, name="again")
    pd.testing.assert_frame_equal(before.corrected.targets, after.corrected.targets)
    pd.testing.assert_frame_equal(before.teacher.official, after.teacher.official)


def test_targets_of_a_fold_are_corrected_without_it(study, tmp_path):
    """With other texts of one inner fold, what its model learns from stays as it is."""
    before = frame_of(study, tmp_path)
    held_out = before.study.folds.index[before.study.folds == 1]
    study.train.loc[held_out] = "something else"
    after = frame_of(study, tmp_path, name="again")
    parts = [one.corrected.targets.xs(1, level="held_out_fold") for one in (before, after)]
    pd.testing.assert_frame_equal(*parts)
    soft = [one.teacher.official for one in (before, after)]
    pd.testing.assert_frame_equal(*(t[t.index.get_level_values(1) == 1] for t in soft))
    assert not soft[0].equals(soft[1])


def test_cases_of_a_proxy_are_drawn_by_the_seed_in_their_order(study):
    uids = study.train.index
    some = drawn(uids, 20, 0)
    assert len(some) == 20 and list(some) == sorted(some) and some.equals(drawn(uids, 20, 0))
    assert not some.equals(drawn(uids, 20, 1))
    assert drawn(uids, 0, 0).equals(uids) and drawn(uids, 999, 0).equals(uids)


def test_labels_that_crossed_the_folds_are_corrected_anew_where_folds_are_scored(study, tmp_path):
    """With other texts of a fold, what its model learns from stays as it is, though 03 was not nested."""
    study.run.path("labels/correction.json").write_text('{"nested": false}')
    kept = run_frame(study, tmp_path / "kept", "04_toy").corrected
    before = run_frame(study, tmp_path / "one", "04_toy", METHOD).corrected
    assert kept.optimistic and not before.optimistic
    study.train.loc[study.folds.index[study.folds == 1]] = "something else"
    after = run_frame(study, tmp_path / "two", "04_toy", METHOD).corrected
    parts = [one.targets.xs(1, level="held_out_fold") for one in (before, after)]
    pd.testing.assert_frame_equal(*parts)


def test_the_runs_own_frame_has_its_folds_and_corrected_labels(study, tmp_path):
    made = run_frame(study, tmp_path / "outer", "04_toy")
    assert made.study.folds.equals(study.folds)
    model = CrossFit(made.study, "tfidf2", TfidfLearner(TOY, min_df=1))
    model.fit(corrected_labels(made.study, made.corrected, 1))
    assert list(model.on_test().index) == list(study.test.index)
    assert not study.run.path("models").exists()  # nothing goes where stages write
