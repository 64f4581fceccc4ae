"""What each choice is worth: paired, cross-fitted, and the members' share in it."""

import pandas as pd
import pytest
from test_stacking import EQUAL, FOLDS, LABELS, STEPS, found
from toys import TOY

from narrutils.evaluation.gains import member_gains, ways_to_combine, ways_to_cut
from narrutils.evaluation.intervals import columns_of
from narrutils.evaluation.ladder import Ladder, decisions
from narrutils.evaluation.metrics import average_f1
from narrutils.evaluation.stacking import form


def test_the_best_member_is_missed_most():
    table = member_gains(found()).set_index("member")
    gained = table["gain"]
    assert gained.idxmax() == "good"
    assert table["share"].sum() == pytest.approx(1)
    codes = [
        decisions(TOY, e.step(), LABELS, FOLDS)["oof", "cross_fitted"]
        for e in (found(), found().without("good"))
    ]
    whole, rest = (average_f1(TOY, LABELS, c) for c in codes)
    assert gained["good"] == pytest.approx(whole - rest)
    assert member_gains(form(TOY, STEPS, {"good": 1.0}, LABELS, FOLDS)).empty


def test_every_way_to_combine_is_held_against_the_plain_mean():
    table = ways_to_combine(found()).set_index("way")
    assert len(table) == 4
    plain = form(TOY, STEPS, EQUAL, LABELS, FOLDS)
    codes = decisions(TOY, plain.step(), LABELS, FOLDS)["oof", "cross_fitted"]
    first = table.iloc[0]
    assert first["average_f1"] == pytest.approx(average_f1(TOY, LABELS, codes))
    assert first[columns_of("gain")].isna().all()
    fitted = table.loc["mean of calibrated probabilities, weights fitted"]
    assert fitted["gain"] == pytest.approx(fitted["average_f1"] - first["average_f1"])
    assert fitted["gain_low"] <= fitted["gain"] <= fitted["gain_high"]


def test_each_search_is_scored_on_folds_that_it_did_not_see():
    table, last = ways_to_cut(Ladder(TOY, [*STEPS, found().step()], LABELS, FOLDS, {}))
    assert table.columns.tolist() == ["step", "half", "grid", "shrunk", "grid_in_sample"]
    table = table.set_index("step")
    codes = decisions(TOY, STEPS[0], LABELS, FOLDS)
    for column, place in [
        ("half", "half"),
        ("grid", "cross_fitted"),
        ("grid_in_sample", "in_sample"),
    ]:
        assert table.loc["Good", column] == pytest.approx(average_f1(TOY, LABELS, codes["oof", place]))
    pd.testing.assert_series_equal(table.iloc[-1], table.iloc[:-1].mean(), check_names=False)
    assert last["way"].tolist() == ["half", "grid", "shrunk"]
