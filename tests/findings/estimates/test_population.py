"""A case that a person coded is read by no model that learned from it, and every other by all folds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from estimated import cases, run_of
from toys import TOY

from narrutils.data.files import write_json
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.evaluation.calibration import Calibration, fit_calibration
from narrutils.evaluation.ensemble import combine
from narrutils.findings.estimates.population import (
    cluster_numbers,
    fold_shares,
    linked,
    of_run,
    with_training,
)
from narrutils.findings.estimates.powered import share
from narrutils.models.learner import Learner, Model


class Memoriser(Learner):
    """Knows the answer of each case that it learned from, and guesses one in ten of any other."""

    def config(self):
        return {}

    def fit(self, phases, label=""):
        last = phases[-1]
        return Memory({text: row for text, row in zip(last.texts["Second"], last.targets.to_numpy())})


class Memory(Model):
    def __init__(self, known):
        self.known = known

    def predict(self, texts):
        other = TOY.to_targets(pd.DataFrame({v.name: [v.codes[0]] for v in TOY.variables})).to_numpy()[0]
        rows = np.array([self.known.get(text, other) for text in texts["Second"]]).reshape(len(texts), -1)
        table = pd.DataFrame(0.1 + 0.8 * rows, texts.index, TOY.columns)
        for v in TOY.categorical:
            table[list(v.columns)] = table[list(v.columns)].div(table[list(v.columns)].sum(axis=1), axis=0)
        return table

    def save(self, folder):
        write_json(folder / "memory.json", {})


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("runs") / "memory", Memoriser())


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("runs") / "linear")


def test_what_models_remember_of_human_codes_moves_no_estimate(memory):
    """The codes that trained them are read as those of strangers are; by the deployed mean they are not."""
    run, _ = memory
    population = of_run(run, TOY)
    read = population.machine["Sad"]
    coded = population.human["Sad"].notna()
    assert coded.sum() == 200 and read[coded].std() < 0.05
    part = share(population.material(TOY["Sad"], 1))
    leaky = population.machine.copy()
    deployed = as_deployed(run, run.cases("train")[TOY.text_columns])
    leaky.loc[deployed.index] = deployed
    wrong = share(replace(population, machine=leaky).material(TOY["Sad"], 1))
    right = population.human["Sad"].mean()
    assert abs(part.at(1).value - right) < 0.001 < 0.05 < abs(wrong.at(1).value - right)


def as_deployed(run: Run, texts: pd.DataFrame) -> pd.DataFrame:
    """Training cases as the mean of all models reads them, most of which know the answer."""
    models = [Memory(dict(known(run, fold))) for fold in range(3)]
    mean = sum(model.predict(texts) for model in models) / 3
    blended = combine(TOY, {"toy": mean}, run.read("ensemble.json"))
    return Calibration.from_dict(run.read("calibration.json")).apply(blended)


def known(run: Run, fold: int):
    """Text and targets of what the model of a fold learned from."""
    train, folds = run.cases("train"), run.folds()
    rows = train[folds.loc[train.index].ne(fold)]
    return zip(rows["Second"], TOY.to_targets(run.labels(TOY).loc[rows.index]).to_numpy())


def test_a_coded_case_is_read_without_its_fold(linear):
    run, _ = linear
    population, folds, labels = of_run(run, TOY), run.folds(), run.labels(TOY)
    found = run.read_probabilities("predictions/ensemble_oof.parquet", TOY, folds.index)
    for fold in range(3):
        own, rest = folds.index[folds == fold], folds.index[folds != fold]
        expected = fit_calibration(TOY, labels.loc[rest], found.loc[rest]).apply(found.loc[own])
        pd.testing.assert_frame_equal(population.machine.loc[own], expected, check_names=False)


def test_other_cases_are_read_by_each_fold_and_not_by_the_deployed_mean(linear):
    """The mean of the folds' calibrated readings is less bold than the calibrated mean of their readings."""
    run, _ = linear
    population, test = of_run(run, TOY), run.cases("test").index
    mean = Calibration.from_dict(run.read("calibration.json")).apply(
        run.read_probabilities("predictions/ensemble_test.parquet", TOY, test)
    )
    assert np.abs(population.machine.loc[test] - mean).to_numpy().max() > 1e-4
    assert population.codes.loc[test, "Sad"].isin([0, 1 / 3, 2 / 3, 1]).sum() < len(
        test
    )  # by the folds' sizes
    np.testing.assert_allclose(population.machine.loc[test, ["Place_1", "Place_2", "Place_3"]].sum(axis=1), 1)


def test_a_further_file_is_read_as_the_test_cases_are(linear):
    run, _ = linear
    stored, test = of_run(run, TOY), run.cases("test")
    again = with_training(run, TOY, test[TOY.text_columns], run.groups().loc[test.index])
    pd.testing.assert_frame_equal(again.machine, stored.machine, check_names=False, rtol=1e-9)
    pd.testing.assert_frame_equal(again.codes, stored.codes, check_names=False)
    pd.testing.assert_frame_equal(again.groups, stored.groups, check_names=False)


def test_the_twin_of_a_training_case_is_read_by_the_models_that_left_it_out(linear):
    run, _ = linear
    train, folds = run.cases("train"), run.folds()
    texts, _, _ = cases(3, seed=9, prefix="n")
    texts.iloc[1] = train[TOY.text_columns].iloc[0].str.upper()
    twins = linked(run, TOY, texts, pd.DataFrame(index=texts.index))["twin"]
    assert twins[texts.index].tolist() == ["", train.index[0], ""]
    shares = fold_shares(folds, twins[texts.index])
    np.testing.assert_allclose(shares.iloc[0], folds.value_counts(normalize=True).sort_index())
    assert shares.iloc[1].to_dict() == {k: float(k == folds[train.index[0]]) for k in range(3)}


def test_nearly_equal_cases_and_those_of_an_incident_are_linked_to_training_cases(linear):
    run, _ = linear
    train = run.cases("train")
    schema = Schema.from_dict(TOY.to_dict() | {"keep_together": ("incident",)})
    texts, _, _ = cases(4, seed=9, prefix="n")
    texts.iloc[1] = train[TOY.text_columns].iloc[0]
    texts.iloc[1, -1] += " more"
    groups = pd.DataFrame({"incident": ["", "", "i", "i"]}, texts.index)
    found = linked(run, schema, texts, groups)
    assert found.loc[texts.index, "twin"].tolist() == ["", train.index[0], "", ""]
    numbers = cluster_numbers(found)[texts.index]
    assert numbers.nunique() == 3 and numbers.iloc[2] == numbers.iloc[3]
    assert numbers.iloc[1] == cluster_numbers(found)[train.index[0]]


def test_cases_that_belong_together_have_one_number(linear):
    run, _ = linear
    uids = run.cases().index
    assert cluster_numbers(run.clusters().reindex(uids)).is_unique
    table = run.clusters()
    table.loc[uids[1], "cluster"] = table.loc[uids[0], "cluster"]
    table.loc[uids[300], "twin"] = uids[0]
    numbers = cluster_numbers(table.reindex(uids))
    assert numbers[uids[0]] == numbers[uids[1]] == numbers[uids[300]]
    assert numbers.nunique() == len(uids) - 2


def test_a_case_without_a_label_counts_as_read_alone(tmp_path):
    run, codes = run_of(tmp_path / "run")
    table = run.cases()
    table["Sad"] = table["Sad"].astype("Int64")
    table.loc[table.index[:20], "Sad"] = pd.NA
    run.write("cases.parquet", table)
    material = of_run(run, TOY).material(TOY["Sad"], 1)
    assert material.coded.sum() == 180
    whole = of_run(run, TOY).material(TOY["Place"], 2)
    assert whole.coded.sum() == 200
    assert whole.human[whole.coded].mean() == pytest.approx(codes["Place"][:200].eq(2).mean())


def test_a_run_without_test_cases_has_its_training_cases(tmp_path):
    run, _ = run_of(tmp_path / "run", n=200, coded=200)
    population = of_run(run, TOY)
    assert len(population.human) == 200
    part = share(population.material(TOY["Sad"], 1))
    assert part.tuned == 0 or part.shift == 0
