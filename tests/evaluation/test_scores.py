"""One number for one thing: whoever tells what a model scores tells the same."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, with_holes, word_texts

from narrutils.data.run import Run
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation import ladder
from narrutils.evaluation.metrics import average_f1
from narrutils.evaluation.scores import score, score_stored, score_table
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import SEARCHES
from narrutils.report.casebook import Casebook

CODES = pd.DataFrame(
    {"Sad": [1, 1, 0, 0], "Place": [1, 1, 1, 3], "Note": [1, 1, 0, 0], "Tool": [0, 0, 5, 5]}, index=uids(4)
)


@pytest.fixture(params=list(SEARCHES))
def study(tmp_path, request):
    """A run of 90 cases with two published models and an ensemble of them."""
    run, labels = Run(tmp_path, "04_test"), random_labels(TOY, 90)
    folds = pd.Series(np.arange(90) % 3, labels.index, name="fold")
    made = Study(
        run, TOY, word_texts(TOY, 90), folds, word_texts(TOY, 0), labels, threshold_search=request.param
    )
    for seed, name in enumerate(("one", "other")):
        table = 0.6 * random_probabilities(TOY, labels.index, seed) + 0.4 * TOY.to_targets(labels)
        run.write_probabilities(f"predictions/{name}_oof.parquet", table, TOY)
        run.write_probabilities(f"predictions/{name}_test.parquet", table[:0], TOY)
        about = {"model": name, "step": name, "stage": "04_test", "order": seed, "folds": [], "base": ""}
        run.write(f"models/{name}/about.json", about | {"optimistic": False, "instead": ""})
    return made


def test_the_ladder_the_notebooks_and_the_explorer_tell_one_number(study):
    run, labels, folds = study.run, study.labels, study.folds
    steps = ladder.read_steps(replace(study, run=Run(run.folder, "06_test")))
    made = form(TOY, steps, {"one": 1.0, "other": 2.0}, labels, folds, "fitted", way=steps[0].way)
    run.write("ensemble.json", made.to_dict())
    run.write_probabilities("predictions/ensemble_oof.parquet", made.step().out_of_fold, TOY)
    entries = ladder.Ladder(TOY, [*steps, made.step()], labels, folds, {("oof", "given"): labels}).climb()
    for entry in ladder.select(entries, "oof", "given", "cross_fitted"):
        told = [score_stored(study, entry["model"]), Casebook(study).codes(entry["model"])]
        if entry["model"] != "ensemble":
            told.append(score(study, StoredModel(run, entry["model"]).predictions("oof", TOY)))
        values = [average_f1(TOY, labels, getattr(found, "codes", found)) for found in told]
        assert values == pytest.approx([entry["average_f1"]] * len(values), abs=1e-12)
        assert told[0].average_f1 == values[0]


def test_scores_come_with_intervals_precision_and_recall():
    guess = CODES.assign(Sad=[1, 0, 0, 0], Note=0, Place=1).iloc[::-1]
    table = score_table(TOY, CODES, guess)
    assert table.loc["Sad", ["score", "precision", "recall"]].tolist() == pytest.approx([2 / 3, 1, 0.5])
    assert table.loc["Sad", ["positives", "called"]].tolist() == [2, 1]
    assert np.isnan(table.loc["Note", "precision"])
    assert table.loc["Note", "recall"] == 0
    assert table.loc["Place", "score"] == 0.75
    assert table.loc["Place", "metric"] == "accuracy"
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()


def test_a_table_says_on_how_many_labels_each_variable_is_scored():
    labels, guess = with_holes(CODES, 0.4, 1), CODES.assign(Sad=[1, 0, 1, 0], Note=1)
    table = score_table(TOY, labels, guess)
    assert table["cases"].tolist() == labels.notna().sum().tolist() != [4] * 4
    for name in TOY.names:
        given = labels.index[labels[name].notna()]
        alone = score_table(TOY, CODES.loc[given], guess.loc[given])
        columns = ["metric", "cases", "score", "positives", "called", "precision", "recall"]
        pd.testing.assert_series_equal(table.loc[name, columns], alone.loc[name, columns])
    assert score_table(TOY, CODES, guess)["cases"].eq(4).all()
