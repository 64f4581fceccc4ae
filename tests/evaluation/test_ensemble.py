"""The ensemble: one weighted mean, joined by uid, and all that a reader of `ensemble.json` needs."""

import json

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities

from narrutils.errors import InputError
from narrutils.evaluation.calibration import Calibration, Scale, fit_calibration
from narrutils.evaluation.ensemble import (
    Blend,
    blend,
    blend_thresholds,
    combine,
    normalise,
    thresholds_by_fold,
    without_fold,
)

LABELS = random_labels(TOY, 40)
A, B = (random_probabilities(TOY, LABELS.index, seed) for seed in (1, 2))
SHUFFLED = B.sample(frac=1, random_state=1)


def test_weights_sum_to_one():
    shares = normalise({"a": 3, "b": 1, "c": 0})
    assert shares == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("weights", [{"a": -1, "b": 2}, {"a": 0, "b": 0}, {}])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(InputError, match="0 or more, one of them positive"):
        normalise(weights)


def test_a_blend_is_the_weighted_mean_by_uid_and_stays_a_probability():
    mixed = blend(TOY, {"a": A, "b": SHUFFLED}, {"a": 3, "b": 1})
    pd.testing.assert_frame_equal(mixed, 0.75 * A + 0.25 * B)
    np.testing.assert_allclose(mixed[["Place_1", "Place_2", "Place_3"]].sum(axis=1), 1)
    pd.testing.assert_frame_equal(blend(TOY, {"a": A}, {"a": 7}), A)


def test_members_of_other_cases_are_refused():
    for weights in ({"weights": {"a": 1, "b": 1}}, {"weights": {"a": 1, "b": 1}, "weights_by_variable": BY}):
        with pytest.raises(InputError, match="b: no row for uid u003"):
            combine(TOY, {"a": A, "b": B.drop("u003")}, weights)


def test_thresholds_share_the_weights():
    cuts = {"a": {"Sad": 0.2, "Note": 0.8}, "b": {"Sad": 0.6, "Note": 0.4}}
    assert blend_thresholds(cuts, {"a": 3, "b": 1}) == pytest.approx({"Sad": 0.3, "Note": 0.7})


BY = {v: {"a": 0.5, "b": 0.5} for v in TOY.names} | {
    "Place": {"a": 0.9, "b": 0.1},
    "Sad": {"a": 0.2, "b": 0.8},
}


def test_each_variable_can_have_weights_of_its_own():
    mixed = combine(TOY, {"a": A, "b": SHUFFLED}, {"weights": {"a": 1, "b": 0}, "weights_by_variable": BY})
    assert list(mixed.columns) == TOY.columns
    for v in TOY.variables:
        columns, share = list(v.columns), BY[v.name]
        pd.testing.assert_frame_equal(mixed[columns], share["a"] * A[columns] + share["b"] * B[columns])


def test_a_member_is_calibrated_before_the_mean_is_taken():
    halved = Calibration({"Sad": Scale(("Sad",), 0.5, 1.0)})
    mixed = Blend({"a": 0.5, "b": 0.5}, {}, {"b": halved}).apply(TOY, {"a": A, "b": B})
    pd.testing.assert_frame_equal(mixed, 0.5 * A + 0.5 * halved.apply(B))
    assert not mixed["Sad"].equals(blend(TOY, {"a": A, "b": B}, {"a": 1, "b": 1})["Sad"])


def test_a_blend_survives_json():
    made = Blend({"a": 0.5, "b": 0.5}, BY, {"a": fit_calibration(TOY, LABELS, A)})
    read = json.loads(json.dumps(made.to_dict()))
    members = {"a": A, "b": B}
    pd.testing.assert_frame_equal(combine(TOY, members, read), made.apply(TOY, members))


def test_a_file_of_weights_alone_is_the_plain_mean():
    members = {"a": A, "b": B}
    weights = {"a": 3, "b": 1}
    pd.testing.assert_frame_equal(combine(TOY, members, {"weights": weights}), blend(TOY, members, weights))


def test_where_a_member_is_missing_the_others_grow():
    read = combine(TOY, {"b": B}, {"weights": {"a": 0.5, "b": 0.5}, "weights_by_variable": BY})
    pd.testing.assert_frame_equal(read, B)


def test_what_was_found_without_a_fold_is_there_to_read():
    made = {"weights": {"a": 1.0}, "by_fold": {"2": {"weights": {"a": 0.5}, "thresholds": {"Sad": 0.3}}}}
    assert without_fold(made, 2)["weights"] == {"a": 0.5}
    assert without_fold({"weights": {"a": 1.0}}, 2) == {"weights": {"a": 1.0}}
    assert thresholds_by_fold(made) == {2: {"Sad": 0.3}}
