"""A student beside the ensemble that taught it: on the same cases, as each run stored it."""

import pandas as pd
import pytest
from deployments import FOLDS, LABELS, TEST, TEXTS
from toys import TOY, random_labels, random_probabilities

from narrutils.crossfit import taught
from narrutils.data.folds import singles
from narrutils.data.run import Run
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation import ladder
from narrutils.evaluation.scores import score_stored
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named

ANSWERS = random_labels(TOY, len(TEST), seed=8).set_axis(TEST.index)


def make(folder, models: dict[str, int], stage: str, weights: dict[str, float], folds=FOLDS) -> Study:
    """A run whose models, each of a seed, are half right; its ensemble as 06 forms it."""
    run = Run(folder, stage)
    run.write("schema.json", TOY.to_dict())
    splits = [TEXTS.join(LABELS).assign(split="train"), TEST.join(ANSWERS).assign(split="test")]
    run.write("cases.parquet", pd.concat(splits).rename_axis("uid"))
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study.open(run)
    for order, (name, seed) in enumerate(models.items()):
        read = {
            k: random_probabilities(TOY, [*TEXTS.index, *TEST.index], seed + k[0]) for k in singles(folds)
        }
        read = {k: (table + TOY.to_targets(pd.concat([LABELS, ANSWERS]))) / 2 for k, table in read.items()}
        model = StoredModel(run, name)
        for k, table in read.items():
            run.write_probabilities(f"{model.fold(k)}/predictions.parquet", table.rename_axis("uid"), TOY)
        oof = pd.concat([table.loc[folds.index[folds == k]] for (k,), table in read.items()]).loc[TEXTS.index]
        model.write_predictions("oof", oof.rename_axis("uid"), TOY)
        tested = sum(table.loc[TEST.index] for table in read.values()) / len(read)
        model.write_predictions("test", tested.rename_axis("uid"), TOY)
        about = {
            "model": name,
            "step": name,
            "stage": "01_x",
            "order": order,
            "base": "",
            "optimistic": False,
        }
        model.write_about(about | {"instead": "", "folds": [k for (k,) in singles(folds)], "refit": False})
    ensemble = formed(study, weights)
    run.write_probabilities("predictions/ensemble_oof.parquet", ensemble.step().out_of_fold, TOY)
    run.write_probabilities("predictions/ensemble_test.parquet", ensemble.step().test, TOY)
    run.write("ensemble.json", ensemble.to_dict() | {"threshold_search": "shrunk"})
    return study


def formed(study: Study, weights: dict[str, float]):
    way, steps = search_named("shrunk"), ladder.read_steps(study)
    return form(TOY, steps, weights, LABELS, study.folds, "fitted", calibrate=True, way=way)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    before = make(folder / "before", {"a": 1, "b": 5}, "06_x", {"a": 1.0, "b": 1.0})
    return before, make(folder / "fast", {"tfidf": 11, "student": 15}, "06_x", {"student": 1.0})


def rungs_of(study: Study, teacher, weights) -> ladder.Ladder:
    steps = [*taught.beside_teacher(ladder.read_steps(study), teacher), formed(study, weights).step()]
    answers = ladder.answers_of(study.labels, study.test_labels, None)
    return ladder.Ladder(TOY, steps, study.labels, study.folds, answers)


def test_the_teacher_is_the_rung_that_it_was_in_its_own_run(both):
    before, study = both
    teacher = taught.read_teacher(study, str(before.run.folder))
    own = rungs_of(before, None, {"a": 1.0, "b": 1.0})
    here = rungs_of(study, teacher, {"student": 1.0})
    assert [step.model for step in here.steps] == ["tfidf", "teacher", "student", "ensemble"]
    assert here.steps[-1].name == "student, handed in" and own.steps[-1].name == "weighted ensemble"
    for place, counts in own.counts[-1].items():
        pd.testing.assert_frame_equal(*[pd.DataFrame(c.scores()) for c in (counts, here.counts[1][place])])
    pd.testing.assert_frame_equal(
        here.gaps().iloc[[1]].iloc[:, 1:], own.gaps().iloc[[-1]].iloc[:, 1:].set_axis([1])
    )
    other = search_named("half")
    assert teacher.find(LABELS, other) == other(TOY, LABELS, teacher.out_of_fold)


def test_both_are_held_against_each_other_on_the_same_cases(both):
    before, study = both
    rungs = rungs_of(study, taught.read_teacher(study, str(before.run.folder)), {"student": 1.0})
    table = taught.held_against(rungs).set_index("split")
    assert [*table.index] == ["oof", "test"] and [*table["n"]] == [len(TEXTS), len(TEST)]
    assert table.at["oof", "teacher"] == pytest.approx(score_stored(before, "ensemble").average_f1)
    assert table.at["oof", "student"] == pytest.approx(score_stored(study, "ensemble").average_f1)
    pd.testing.assert_series_equal(table["gain"], table["student"] - table["teacher"], check_names=False)
    pd.testing.assert_series_equal(table["share"], table["student"] / table["teacher"], check_names=False)
    assert (table["gain_low"] <= table["gain"]).all() and (table["gain"] <= table["gain_high"]).all()
    errors = taught.calibration_of(rungs)
    assert [*errors["who"]] == ["student", "teacher"] and errors.notna().all(axis=None)


def test_without_a_student_or_a_previous_run_there_is_no_teacher(both):
    before, study = both
    assert taught.read_teacher(study, "") is None
    assert taught.read_teacher(before, str(study.run.folder)) is None  # it has no student
    alone = rungs_of(study, None, {"student": 1.0})
    assert [step.model for step in alone.steps] == ["tfidf", "student", "ensemble"]
    assert taught.held_against(alone).empty and taught.calibration_of(alone).empty


def test_a_teacher_of_other_folds_is_refused(both, tmp_path):
    _, study = both
    moved = (FOLDS + 1) % 3
    other = make(tmp_path / "other", {"a": 1}, "06_x", {"a": 1.0}, moved)
    with pytest.raises(InputError, match="its folds differ"):
        taught.read_teacher(study, str(other.run.folder))
