"""Calibration: a planted distortion is undone, little data change little, no look at the own fold."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from toys import TOY, random_labels, random_probabilities, uids, with_holes

from narrutils.evaluation import calibration
from narrutils.evaluation.calibration import Calibration, Scale, cross_fitted_calibration, fit_calibration

N = 4000


def honest(n=N, seed=0):
    """Probabilities, and labels drawn from them."""
    p = random_probabilities(TOY, uids(n), seed)
    rng, codes = np.random.default_rng(seed + 1), {}
    for v in TOY.variables:
        table = p[list(v.columns)].to_numpy()
        table = np.hstack([1 - table, table]) if v.is_binary else table
        drawn = (table.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=table.shape[1] - 1)
        codes[v.name] = np.array(v.codes)[drawn]
    return pd.DataFrame(codes, index=p.index), p


def distorted(p):
    """Overconfident and shifted by known amounts."""
    out = p.copy()
    for v in TOY.variables:
        columns = list(v.columns)
        if v.is_binary:
            out[v.name] = expit(2 * logit(p[v.name]) - 1)
        else:
            raised = p[columns] ** 2
            out[columns] = raised.div(raised.sum(axis=1), axis=0)
    return out


def test_a_planted_distortion_is_undone():
    labels, p = honest()
    fitted = fit_calibration(TOY, labels, distorted(p))
    assert fitted.scales["Sad"].slope == pytest.approx(0.5, abs=0.05)
    assert fitted.scales["Sad"].shift == pytest.approx(0.5, abs=0.1)
    assert fitted.scales["Place"].slope == pytest.approx(0.5, abs=0.05)
    assert np.abs(fitted.apply(distorted(p)) - p).max(axis=None) < 0.05


@pytest.mark.parametrize("n", [0, 1, 7, 360])
def test_the_slopes_of_the_losses_are_those_of_small_differences(n, monkeypatch):
    seen = []

    def checked(loss, start, bounds):
        for x in ((1.0, 0.0)[: len(start)], (0.4, -0.7)[: len(start)]):
            numeric = approx_fprime(np.array(x), lambda at: loss(at)[0])
            seen.append(loss(np.array(x))[1] == pytest.approx(numeric, abs=1e-4 * max(n, 1)))
        return np.array(start)

    monkeypatch.setattr(calibration, "_least", checked)
    labels, p = honest(n)
    fit_calibration(TOY, labels, distorted(p))
    assert all(seen) and (seen or not n)


def test_few_cases_change_little():
    labels, p = honest(8)
    few = fit_calibration(TOY, labels, distorted(p)).scales["Sad"]
    none = fit_calibration(TOY, labels.iloc[:0], p.iloc[:0]).scales["Place"]
    assert (none.slope, none.shift) == (1.0, 0.0)
    assert 0.5 < few.slope < 1.3 and abs(few.shift) < 0.7


def test_the_order_never_turns_around():
    labels, p = honest(300)
    labels["Sad"] = 1 - labels["Sad"]  # every probability now points the wrong way
    fitted = fit_calibration(TOY, labels, p)
    assert fitted.scales["Sad"].slope == 0
    assert fitted.apply(p)["Note"].rank().equals(p["Note"].rank())


def test_every_row_stays_a_target_row_under_any_index():
    labels, p = honest(200)
    p.iloc[0] = TOY.to_targets(labels).iloc[0]  # probabilities of exactly 0 and 1
    stacked = pd.concat({3: p}, names=["held_out_fold", "uid"])
    out = fit_calibration(TOY, labels, p).apply(stacked)
    assert out.index.equals(stacked.index) and list(out.columns) == TOY.columns
    TOY.check_probabilities(out)
    assert stacked.droplevel(0).equals(p)  # what was given is left alone


def test_rows_are_matched_by_uid():
    labels, p = honest(400)
    turned = fit_calibration(TOY, labels, p.iloc[::-1])
    assert turned.to_dict() == fit_calibration(TOY, labels, p).to_dict()


def test_it_survives_json():
    labels, p = honest(200)
    fitted = fit_calibration(TOY, labels, distorted(p))
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    pd.testing.assert_frame_equal(again.apply(p), fitted.apply(p))


def test_a_fold_is_calibrated_by_the_others_alone():
    labels, p = honest(300)
    folds = pd.Series(np.arange(300) % 3, index=p.index).sample(frac=1, random_state=0)
    before = cross_fitted_calibration(TOY, labels, distorted(p), folds)
    other = labels.copy()
    own = folds.loc[labels.index] == 1
    other[own] = random_labels(TOY, 300, seed=9)[own]
    after = cross_fitted_calibration(TOY, other, distorted(p), folds)
    assert before.index.equals(p.index)
    assert after[own].equals(before[own]) and not after[~own].equals(before[~own])


def test_each_variable_is_fitted_on_its_labelled_cases():
    labels, p = honest(200)
    partly = with_holes(labels, 0.3).assign(Tool=pd.array([None] * 200, "Int64"))
    found = fit_calibration(TOY, partly, distorted(p)).scales
    for name in ("Sad", "Place", "Note"):
        given = partly.index[partly[name].notna()]
        alone = fit_calibration(TOY, labels.loc[given], distorted(p)).scales[name]
        assert (found[name].slope, found[name].shift) == pytest.approx((alone.slope, alone.shift), abs=1e-6)
        assert found[name].slope < 0.95
    assert found["Tool"] == Scale(TOY["Tool"].columns)  # as it is
    folds = pd.Series(np.arange(200) % 4, labels.index)
    calibrated = cross_fitted_calibration(TOY, partly, p, folds)
    np.testing.assert_allclose(calibrated[list(TOY["Tool"].columns)], p[list(TOY["Tool"].columns)])
