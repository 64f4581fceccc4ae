"""Calibration is measured as defined: by hand on few cases, and near zero where chances are true."""

import numpy as np
import pandas as pd
import pytest
import toys

from narrutils.evaluation.reliability import brier_score, calibration_error, claims, reliability


def test_a_categorical_variable_is_judged_by_its_most_probable_class():
    labels = pd.DataFrame({"Place": [1, 2, 3]}, index=["a", "b", "c"])
    table = pd.DataFrame([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]], index=labels.index)
    said, came = claims(toys.TOY["Place"], labels, table.set_axis(list(toys.TOY["Place"].columns), axis=1))
    assert said.tolist() == [0.5, 0.6, 0.9]
    assert came.tolist() == [1.0, 0.0, 1.0]


def test_error_and_brier_score_by_hand():
    labels = toys.random_labels(toys.TOY, 4).assign(Sad=[1, 0, 0, 0])
    table = toys.random_probabilities(toys.TOY, labels.index).assign(Sad=[0.8, 0.6, 0.4, 0.2])
    curves = reliability(toys.TOY, labels, table)
    sad = curves[curves["variable"] == "Sad"]
    assert sad[["said", "came", "cases"]].to_numpy().tolist() == [[0.5, 0.25, 4]]
    assert calibration_error(curves)["Sad"] == pytest.approx(0.25)
    assert brier_score(toys.TOY, labels, table)["Sad"] == pytest.approx((0.04 + 0.36 + 0.16 + 0.04) / 4)


def test_true_chances_have_little_error_and_exaggerated_ones_much():
    rng, n = np.random.default_rng(0), 5000
    labels = toys.random_labels(toys.TOY, n)
    chances = rng.uniform(0, 1, n)
    labels["Sad"] = (rng.uniform(0, 1, n) < chances).astype(int)
    table = toys.random_probabilities(toys.TOY, labels.index).assign(Sad=chances)
    assert calibration_error(reliability(toys.TOY, labels, table))["Sad"] < 0.03
    loud = table.assign(Sad=np.where(chances > 0.5, 0.99, 0.01))
    assert calibration_error(reliability(toys.TOY, labels, loud))["Sad"] > 0.2


def test_bins_hold_equally_many_cases_in_rising_order_whatever_the_order_of_rows():
    labels = toys.random_labels(toys.TOY, 500)
    table = toys.random_probabilities(toys.TOY, labels.index)
    curves = reliability(toys.TOY, labels, table.sample(frac=1, random_state=1))
    for _, curve in curves.groupby("variable"):
        assert curve["cases"].tolist() == [50] * 10
        assert curve["said"].is_monotonic_increasing
    pd.testing.assert_frame_equal(curves, reliability(toys.TOY, labels, table))


def test_only_labelled_cases_are_looked_at():
    labels = toys.random_labels(toys.TOY, 200)
    table = toys.random_probabilities(toys.TOY, labels.index)
    partly = toys.with_holes(labels, 0.3).assign(Tool=pd.array([None] * 200, "Int64"))
    curves, brier = reliability(toys.TOY, partly, table), brier_score(toys.TOY, partly, table)
    assert set(curves["variable"]) == {"Sad", "Place", "Note"} and curves["said"].dtype.kind == "f"
    for name, curve in curves.groupby("variable"):
        given = partly.index[partly[name].notna()]
        alone = reliability(toys.TOY, labels.loc[given], table)
        pd.testing.assert_frame_equal(
            curve.reset_index(drop=True), alone[alone["variable"] == name].reset_index(drop=True)
        )
        assert curve["cases"].sum() == len(given)
        assert brier[name] == brier_score(toys.TOY, labels.loc[given], table)[name]
    assert np.isnan(brier["Tool"])
