"""Figures by group: by hand, over sets, none where people could be recognised; what differs is found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from coded_toys import toy_coded
from toys import TOY, with_holes

from narrutils.evaluation.intervals import score_interval
from narrutils.evaluation.metrics import average_f1, count
from narrutils.findings import groups
from narrutils.findings.coded import FIGURES, LEAST, Coded, group_columns

N = 240
HALF = np.array(["a", "b"]).repeat(N // 2)
FOUR = np.random.default_rng([5, 5]).choice(list("abcd"), N)


def row(coded: Coded, level: str) -> pd.Series:
    return groups.table(coded).set_index("level").loc[level]


def shares(coded: Coded, rows: np.ndarray) -> tuple[float, float, float]:
    """Sensitivity, specificity and said − came of some cases, as one would count them."""
    found = []
    for name in ("Sad", "Note"):
        label, code, p = (
            t.loc[rows, name].astype(float) for t in (coded.labels, coded.codes, coded.calibrated)
        )
        known = label.notna()
        gap = p[known].mean() - label[known].mean()
        found.append((code[label == 1].mean(), 1 - code[label == 0].mean(), gap))
    return tuple(np.mean(found, axis=0))


def test_figures_of_a_level_by_hand():
    coded = toy_coded(site=HALF)
    coded = replace(coded, labels=with_holes(coded.labels, 0.2), truth=coded.labels)
    rows, found = HALF == "a", row(coded, "a")
    assert (found["cases"], found["sets"], found["variables"], found["too_small"]) == (120, 120, 2, False)
    assert tuple(found[["sensitivity", "specificity", "calibration_gap"]]) == pytest.approx(
        shares(coded, rows)
    )
    labels, codes = coded.labels[rows], coded.codes[rows]
    assert found["average_f1"] == pytest.approx(average_f1(TOY, labels, codes))
    assert found["flagged"] == coded.flagged[rows].mean()
    right = (labels == codes).fillna(False).to_numpy().astype(bool)
    for name, some in (("flagged_wrong", coded.flagged[rows]), ("unflagged_wrong", ~coded.flagged[rows])):
        given = labels.notna().to_numpy()[some]
        assert found[name] == pytest.approx(1 - right[some].sum() / given.sum())
    assert found["review_precision"] == 0  # the labels are the truth, wherever they are given
    assert found["label_sensitivity"] == 1


def test_what_the_truth_contradicts():
    coded = toy_coded(site=HALF)
    truth = coded.labels.copy()
    truth.loc[truth.index[:5], "Sad"] = 1 - truth.loc[truth.index[:5], "Sad"]
    found = row(replace(coded, truth=truth), "a")
    assert found["review_precision"] == 0.5  # five of the ten that the queue holds of these
    missed = ((truth["Sad"] == 1) & (coded.labels["Sad"] == 0))[:120].sum() / (truth["Sad"][:120] == 1).sum()
    assert found["label_sensitivity"] == pytest.approx(1 - missed / 2)
    assert np.isnan(row(replace(coded, truth=truth), "b")["review_precision"])  # nothing of it is queued
    assert np.isnan(row(coded, "a")[["review_precision", "label_sensitivity"]].astype(float)).all()


def test_with_all_cases_in_one_level_the_bounds_are_those_of_the_ladder():
    coded = toy_coded(site=np.full(N, "one"))
    whole = score_interval(count(TOY, coded.labels, coded.codes))
    found = row(coded, "one")
    assert tuple(found[["average_f1", "average_f1_low", "average_f1_high"]]) == (
        whole.value,
        whole.low,
        whole.high,
    )


def test_intervals_are_wider_where_cases_repeat():
    def width(sets: np.ndarray) -> float:
        found = row(repeated_with(sets), "one")
        return found["sensitivity_high"] - found["sensitivity_low"]

    coded = toy_coded(80, site=np.full(80, "one"))
    rows = np.arange(80).repeat(4)
    uids = pd.Index([f"r{n}" for n in range(320)], name="uid")

    def repeated_with(sets: np.ndarray) -> Coded:
        tables = ("labels", "codes", "calibrated", "flagged", "groups")
        made = {name: getattr(coded, name).iloc[rows].set_axis(uids) for name in tables}
        return replace(coded, **made, sets=pd.Series(sets, uids))

    assert 1.6 < width(rows) / width(np.arange(320)) < 2.4  # about the square root of four


def test_too_few_cases_have_no_figures_and_single_ones_no_name():
    cells = ["big"] * (N - 17) + ["few"] * (LEAST - 1) + ["lone", "only"] + [""] * 6
    table = groups.table(toy_coded(site=cells)).set_index("level")
    assert list(table.index) == ["big", "few", groups.SINGLE, ""]
    assert list(table["cases"]) == [N - 17, LEAST - 1, 2, 6]
    assert table.loc[["few", groups.SINGLE, ""], list(FIGURES)].isna().all(axis=None)
    assert table["too_small"].tolist() == [False, True, True, True]
    assert groups.differences(toy_coded(site=cells))[0].empty  # the rest is too small to hold it against


def test_few_cases_or_sets_are_marked_and_not_tested():
    cells = np.array(["big"] * (N - 20) + ["some"] * 20)
    found = row(toy_coded(site=cells), "some")
    assert found["too_small"] and not np.isnan(found["average_f1"])
    coded = toy_coded(site=HALF, sets=[*range(120), *[120] * 120])
    assert row(coded, "b")["too_small"] and not row(coded, "a")["too_small"]
    assert groups.differences(coded)[0].empty


def test_a_variable_counts_where_it_has_enough_of_both():
    coded = toy_coded(site=HALF)
    labels = coded.labels.copy()
    labels.loc[HALF == "a", "Note"] = 0
    labels.loc[labels.index[:4], "Note"] = 1
    coded = replace(coded, labels=labels)
    found, sad = row(coded, "a"), coded.labels["Sad"][:120] == 1
    assert found["variables"] == 1
    assert found["sensitivity"] == pytest.approx(coded.codes["Sad"][:120][sad].mean())
    assert found["calibration_gap"] == pytest.approx(shares(coded, HALF == "a")[2])  # of both all the same


def test_a_planted_difference_is_found_and_named_by_variable():
    site = np.random.default_rng([1, 1]).choice(list("abcd"), 600)
    coded = toy_coded(600, site=site)
    assert groups.differing(groups.differences(coded)[0]).empty
    labels = coded.labels.copy()
    gone = (site == "c") & (labels["Sad"] == 1) & (np.random.default_rng([2, 2]).random(600) < 0.6)
    labels.loc[gone, "Sad"] = 0
    tests, each = groups.differences(replace(coded, labels=labels))
    worst = groups.differing(tests).iloc[0]
    assert (worst["level"], worst["measure"]) == ("c", "calibration_gap")
    assert worst["value"] > worst["rest"] and worst["difference_low"] > 0
    assert worst["difference"] == pytest.approx(worst["value"] - worst["rest"])
    found = groups.differing(each)
    assert (found["variable"] == "Sad").all() and "c" in set(found["level"])
    of_c = each[(each["level"] == "c") & (each["measure"] == "calibration_gap")].set_index("variable")
    rows = site == "c"
    assert of_c.loc["Sad", "value"] == pytest.approx(
        coded.calibrated["Sad"][rows].mean() - labels["Sad"][rows].mean()
    )
    assert of_c.loc["Sad", "positives"] == labels["Sad"][rows].sum()


def test_each_level_is_held_against_all_other_known_ones():
    cells = np.where(np.arange(N) % 6 == 0, "", FOUR)
    tests, each = groups.differences(coded := toy_coded(site=cells))
    assert set(tests["level"]) == set("abcd") and len(tests) == 4 * 4
    one = tests[(tests["level"] == "b") & (tests["measure"] == "specificity")].iloc[0]
    assert one["rest"] == pytest.approx(shares(coded, (cells != "b") & (cells != ""))[1])
    assert set(each["measure"]) == {"accuracy", "sensitivity", "specificity", "calibration_gap"}
    assert set(each.loc[each["measure"] == "accuracy", "variable"]) == {"Place", "Tool"}


def test_holm_is_over_all_columns_together():
    alone, both = (
        groups.differences(toy_coded(**c))[0] for c in ({"site": FOUR}, {"site": FOUR, "sex": HALF})
    )
    assert len(both) == len(alone) + 4  # two levels are one test
    place = alone["p"].idxmin()
    assert both.loc[place, "p"] == alone.loc[place, "p"]
    assert alone.loc[place, "p_holm"] == pytest.approx(min(1, 16 * alone.loc[place, "p"]))
    assert both.loc[place, "p_holm"] == pytest.approx(min(1, 20 * both.loc[place, "p"]), rel=0.3)


def test_without_groups_all_is_empty():
    coded = toy_coded()
    assert groups.table(coded).empty and list(groups.table(coded)) == groups.TABLE
    tests, each = groups.differences(coded)
    assert tests.empty and list(tests) == groups.TESTS
    assert each.empty and list(each) == groups.BY_VARIABLE
    assert groups.differing(tests).empty and groups.differing(each).empty


def test_columns_to_report_on():
    table = pd.DataFrame({"site": [" a ", "a", "NA", ""] * 10, "number": range(40), "incident": ["x"] * 40})
    together = replace(TOY, keep_together=("incident",))
    assert list(group_columns(TOY, table)) == ["site", "incident"]  # a number of each case is no group
    assert list(group_columns(together, table)) == ["site"]
    assert list(group_columns(replace(together, optional_groups=("incident", "none")), table)) == ["incident"]
    assert group_columns(TOY, table)["site"].value_counts().to_dict() == {"a": 20, "": 20}
    assert group_columns(TOY, table[[]]).shape == (40, 0)


def test_labels_of_one_class_have_no_sensitivity_and_are_not_tested():
    coded = toy_coded(site=HALF)
    binary = replace(TOY, variables=tuple(TOY.binary))
    labels = coded.labels[["Sad", "Note"]] * 0
    coded = replace(coded, schema=binary, labels=labels, codes=labels, calibrated=labels + 0.1)
    found = row(coded, "a")
    assert np.isnan(found[["average_f1", "sensitivity", "specificity"]].astype(float)).all()
    assert found["calibration_gap"] == pytest.approx(0.1) and found["too_small"]
    tests, each = groups.differences(coded)
    assert tests.empty and each["p"].isna().all()


def test_no_figure_is_of_fewer_cases_than_a_level_must_have():
    """Neither of a rest of one case, nor of a variable that one case of a level has a label of."""
    assert groups.differences(toy_coded(site=["a"] * (N - 1) + ["b"]))[1].empty
    coded = toy_coded(site=["a"] * 40 + ["b"] * (N - 40))
    labels = coded.labels.astype("Int64")
    labels.iloc[1:40, labels.columns.get_loc("Place")] = pd.NA
    each = groups.differences(replace(coded, labels=labels))[1]
    assert len(each) and "Place" not in set(each["variable"]) and (each["cases"] >= LEAST).all()
