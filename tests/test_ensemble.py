"""The ensemble: one weighted mean, joined by uid, for probabilities and thresholds alike."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.ensemble import blend, blend_thresholds, ensemble_step, normalise
from narrutils.errors import InputError
from narrutils.ladder import Step
from narrutils.thresholds import search

LABELS = random_labels(TOY, 40)
A, B = (random_probabilities(TOY, LABELS.index, seed) for seed in (1, 2))
TEST = {name: random_probabilities(TOY, uids(6, "t"), seed) for name, seed in (("a", 3), ("b", 4))}
STEPS = [Step("A", "a", A, TEST["a"]), Step("B", "b", B.sample(frac=1, random_state=1), TEST["b"])]


def test_weights_sum_to_one():
    shares = normalise({"a": 3, "b": 1, "c": 0})
    assert shares == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("weights", [{"a": -1, "b": 2}, {"a": 0, "b": 0}, {}])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(InputError, match="0 or more, one of them positive"):
        normalise(weights)


def test_a_blend_is_the_weighted_mean_by_uid_and_stays_a_probability():
    mixed = blend(TOY, {"a": A, "b": B.sample(frac=1, random_state=1)}, {"a": 3, "b": 1})
    pd.testing.assert_frame_equal(mixed, 0.75 * A + 0.25 * B)
    np.testing.assert_allclose(mixed[["Place_1", "Place_2", "Place_3"]].sum(axis=1), 1)
    pd.testing.assert_frame_equal(blend(TOY, {"a": A}, {"a": 7}), A)


def test_members_of_other_cases_are_refused():
    with pytest.raises(InputError, match="b: no row for uid u003"):
        blend(TOY, {"a": A, "b": B.drop("u003")}, {"a": 1, "b": 1})


def test_thresholds_share_the_weights():
    cuts = {"a": {"Sad": 0.2, "Note": 0.8}, "b": {"Sad": 0.6, "Note": 0.4}}
    assert blend_thresholds(cuts, {"a": 3, "b": 1}) == pytest.approx({"Sad": 0.3, "Note": 0.7})


def test_the_ensemble_is_the_last_step_of_the_ladder():
    weights = {"a": 3, "b": 1}
    step = ensemble_step(TOY, STEPS, weights)
    assert step.model == "ensemble"
    pd.testing.assert_frame_equal(step.out_of_fold, 0.75 * A + 0.25 * B)
    pd.testing.assert_frame_equal(step.test, 0.75 * TEST["a"] + 0.25 * TEST["b"])
    assert step.thresholds(TOY, LABELS[:30]) == search(TOY, LABELS[:30], step.out_of_fold)
    authors = ensemble_step(TOY, STEPS, weights, "members").thresholds(TOY, LABELS[:30])
    own = [search(TOY, LABELS[:30], table) for table in (A, B)]
    assert authors == pytest.approx({v: 0.75 * own[0][v] + 0.25 * own[1][v] for v in own[0]})


def test_a_member_of_weight_0_takes_no_part():
    step = ensemble_step(TOY, STEPS, {"a": 1, "b": 0}, "members")
    pd.testing.assert_frame_equal(step.out_of_fold, A)
    assert step.thresholds(TOY, LABELS) == pytest.approx(search(TOY, LABELS, A))


def test_an_unknown_member_or_way_is_one_line():
    with pytest.raises(InputError, match="no model 'c' in this run; there are a, b"):
        ensemble_step(TOY, STEPS, {"a": 1, "c": 1})
    with pytest.raises(InputError, match="ensemble or members"):
        ensemble_step(TOY, STEPS, {"a": 1}, "guess")
