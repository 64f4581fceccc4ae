"""Auxiliary variables: every model learns and reads them, and nothing scores, codes or hands them in."""

from dataclasses import replace

import pandas as pd
import pytest
from deployments import FOLDS, LABELS, TEST, TEXTS, features, learners
from toys import TOY, random_labels, with_holes

from narrutils.bundle import bundle
from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.teachers import Teachers
from narrutils.data.outputs import Outputs
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation import calibration, flags, ladder, stacking
from narrutils.evaluation.metrics import average_f1
from narrutils.evaluation.scores import score
from narrutils.evaluation.seeds import read_counts
from narrutils.evaluation.thresholds import decide_cross_fitted, search_named
from narrutils.findings.estimates.population import of_run
from narrutils.findings.sources.alone import read_test
from narrutils.labels.review_queue import find_doubts, gather_evidence
from narrutils.models.tfidf import TfidfLearner
from narrutils.predict import predict, predict_format
from narrutils.report.casebook import Casebook
from narrutils.tuning.trial import in_sample, so_far

pytestmark = pytest.mark.slow

#: A binary and a categorical variable of the toy task are auxiliary; one, Note, lacks half of its labels.
TASK = replace(TOY, variables=tuple(replace(v, auxiliary=v.name in ("Note", "Tool")) for v in TOY.variables))
GIVEN = LABELS.astype("Int64").assign(Note=with_holes(LABELS[["Note"]], 0.5)["Note"])
MEMBERS = ("tfidf", "encoder")


def begun(folder, labels=GIVEN):
    """A study of the toy cases; of the test cases, Note alone is labelled."""
    run = Run(folder, "01_test")
    run.write("schema.json", TASK.to_dict())
    tested = random_labels(TASK, len(TEST), seed=3).set_axis(TEST.index)[["Note"]]
    splits = [TEXTS.join(labels).assign(split="train"), TEST.join(tested).assign(split="test")]
    cases = pd.concat(splits).reindex(columns=["split", *TEXTS, *TASK.names])
    run.write("cases.parquet", cases.astype(dict.fromkeys(TASK.names, "Int64")))
    run.write("folds.parquet", FOLDS.rename_axis("uid").reset_index())
    return Study.open(run)


def taught(study, names, bert, gemma):
    """Each model trained on the folds of a study and published."""
    made = learners(bert, gemma)
    for order, name in enumerate(names):
        learner = replace(made[name], schema=TASK)
        CrossFit(study, name, learner).fit(given_labels(study)).publish(name, order)


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_bert, tiny_gemma_folder):
    """A run with auxiliary variables as the notebooks make one, the last one on its `scored` part."""
    study = begun(tmp_path_factory.mktemp("runs") / "aux")
    taught(study, MEMBERS, tiny_bert, tiny_gemma_folder)
    run = Run(study.run.folder, "06_test")
    of = replace(study, run=run).scored
    weights, way = dict.fromkeys(MEMBERS, 1.0), search_named("shrunk")
    steps = ladder.read_steps(of)
    made = stacking.form(
        of.schema, steps, weights, of.labels, of.folds, "fitted", calibrate=True, way=way
    )  # fmt: skip
    ensemble = made.step()
    run.write_probabilities("predictions/ensemble_oof.parquet", ensemble.out_of_fold, of.schema)
    run.write_probabilities("predictions/ensemble_test.parquet", ensemble.test, of.schema)
    run.write("ensemble.json", made.to_dict() | {"threshold_search": "shrunk"})
    found = calibration.fit_calibration(of.schema, of.labels, ensemble.out_of_fold)
    run.write("calibration.json", found.to_dict())
    codes = of.schema.to_labels(ensemble.out_of_fold, made.thresholds(of.labels))
    run.write("flags.json", flags.summarise(of.schema, of.labels, codes, ensemble.out_of_fold, FOLDS, 0.25))
    return replace(study, run=run)


def test_every_model_learns_and_reads_them(study):
    assert study.schema.names == TOY.names and study.labels["Note"].isna().sum() > 6
    for model in MEMBERS:
        table = study.run.read(f"predictions/{model}_oof.parquet")
        assert list(table.columns) == ["uid", *TOY.columns]
        assert table["Note"].std() > 0 and table["Tool_5"].std() > 0


def test_a_score_is_that_of_the_others_alone(study):
    read = study.run.read("predictions/tfidf_oof.parquet").set_index("uid").loc[TEXTS.index]
    found, few = score(study, read), TOY.scored
    others = replace(TOY, variables=(TOY["Sad"], TOY["Place"]))
    codes = decide_cross_fitted(others, LABELS, read, FOLDS, search_named("shrunk"))
    assert found.average_f1 == average_f1(others, LABELS, codes)
    assert list(found.table.index) == ["Sad", "Place"]
    assert few is TOY


def test_the_scored_study_is_the_one_that_a_schema_without_them_gives(study):
    of = study.scored
    assert of.schema.names == ["Sad", "Place"] and of.schema.scored is of.schema
    assert of.scored is of
    pd.testing.assert_frame_equal(of.labels, LABELS[["Sad", "Place"]], check_names=False)
    assert study.test_labels is not None and of.test_labels is None  # Note alone is known of them


def test_the_ensemble_the_ladder_and_what_is_made_of_them_know_nothing_of_them(study):
    of, run = study.scored, study.run
    made = run.read("ensemble.json")
    assert set(made["weights_by_variable"]) == {"Sad", "Place"} and set(made["thresholds"]) == {"Sad"}
    steps = ladder.read_steps(of)
    entries = ladder.Ladder(of.schema, steps, of.labels, of.folds, {("oof", "given"): of.labels}).climb()
    assert all(set(entry["per_variable"]) == {"Sad", "Place"} for entry in entries)
    readings = {step.model: step.out_of_fold for step in steps}
    doubts = find_doubts(of.schema, of.labels, readings, made["weights"], of.folds)
    assert set(doubts["variable"]) <= {"Sad", "Place"}
    assert set(gather_evidence(run, of.schema, doubts[:2], "ensemble")["column"]) <= set(of.schema.columns)
    assert Casebook(of).readings("u000").index.tolist() == ["Sad", "Place"]
    assert list(of_run(run, of.schema).machine) == of.schema.columns
    assert list(read_test(of, "ensemble").whole) == of.schema.columns


def test_over_seeds_and_in_a_trial_they_are_not_scored_either(study):
    (counts,) = read_counts(study)["tfidf"].values()  # the test has no label that counts
    model = CrossFit(study, "tfidf", TfidfLearner(TASK))
    assert counts.average_f1 == score(study, model.out_of_fold()).average_f1 and counts.hits.shape[1] == 2
    of = study.scored
    assert so_far(model, 3) == in_sample(of.schema, of.labels, model.out_of_fold(), of.threshold_search)


def test_new_cases_are_coded_without_them(study, tmp_path):
    new, out = features(tmp_path, TEST), tmp_path / "codes.csv"
    places = {"probabilities": tmp_path / "p.csv", "evidence": tmp_path / "e.csv"}
    predict(study.run.folder, new, Outputs(out, **places), progress=False)
    codes, read = pd.read_csv(out), pd.read_csv(places["probabilities"])
    assert list(codes) == ["uid", "Sad", "Place"]
    assert list(read) == ["uid", "flag", "doubt", "Sad", "Place_1", "Place_2", "Place_3"]
    stored = study.run.read("predictions/ensemble_test.parquet").set_index("uid")
    expected = Deployed.open(study.run.folder).decide(stored).loc[codes["uid"]]
    assert codes["Sad"].tolist() == expected["Sad"].tolist()
    bundle(study.run.folder, tmp_path / "bundle.zip")


@pytest.mark.parametrize("columns", [["Sad", "Place"], ["Sad", "Note", "Place"]])
def test_a_submission_format_may_have_a_column_of_one_and_gets_none(study, tmp_path, columns):
    form = pd.DataFrame(0, TEST.index[::-1], columns)
    form.rename_axis("uid").reset_index().to_csv(tmp_path / "form.csv", index=False)
    predict_format(study.run.folder, features(tmp_path, TEST), tmp_path / "form.csv", tmp_path / "out.csv")
    made = pd.read_csv(tmp_path / "out.csv")
    assert list(made) == ["uid", "Sad", "Place"] and made["uid"].tolist() == list(form.index)


def test_an_ensemble_teaches_them_by_its_overall_weights(study):
    teachers = Teachers(study.run, "ensemble", TASK)
    read, made = teachers.read(1, TEST), study.run.read("ensemble.json")["by_fold"]["1"]
    members = {m: Teachers(study.run, m, TASK).read(1, TEST) for m in MEMBERS}
    mean = sum(members[m] * made["weights"][m] for m in MEMBERS)
    auxiliary = ["Note", "Tool_0", "Tool_5"]
    pd.testing.assert_frame_equal(read[auxiliary], mean[auxiliary])
    scored = Teachers(study.run, "ensemble", TASK.scored).read(1, TEST)
    pd.testing.assert_frame_equal(read[scored.columns], scored)


def test_linear_models_of_the_others_are_what_they_are_without_them(
    study, tmp_path, tiny_bert, tiny_gemma_folder
):
    """Each variable has a regression of its own, so the scored part is equal to the last bit."""
    run = Run(tmp_path / "few", "01_test")
    few = replace(study.scored, run=run, threshold_search="shrunk")
    learner = replace(learners(tiny_bert, tiny_gemma_folder)["tfidf"], schema=few.schema)
    alone = CrossFit(few, "tfidf", learner).fit(given_labels(few)).out_of_fold()
    both = study.run.read("predictions/tfidf_oof.parquet").set_index("uid").loc[alone.index]
    pd.testing.assert_frame_equal(both[alone.columns], alone)


def test_one_without_any_label_is_no_hindrance(tmp_path, tiny_bert, tiny_gemma_folder):
    bare = begun(tmp_path, LABELS.astype("Int64").assign(Note=pd.NA, Tool=pd.NA))
    taught(bare, ("tfidf", "encoder"), tiny_bert, tiny_gemma_folder)
    steps = ladder.read_steps(replace(bare, run=Run(bare.run.folder, "06_test")).scored)
    assert len(steps) == 2
    for step in steps:
        assert 0 <= score(bare, step.out_of_fold).average_f1 <= 1
