"""Promises: exact, tested in a fixed order, and chosen without the labels that test them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from toys import TOY, random_labels, random_probabilities, uids, with_holes, word_texts

from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.bands import Bands
from narrutils.evaluation.calibration import Calibration, Scale
from narrutils.findings import promises as module
from narrutils.findings.learn_then_test import Coded, fixed_sequence, judge, needed, path, tail
from narrutils.findings.promises import learn, on_test
from narrutils.findings.settings import Findings

SAD = TOY["Sad"]
SAME = Calibration({v.name: Scale(v.columns) for v in TOY.variables})
CUTS = {"Sad": 0.5, "Note": 0.5}


def coded(truth, read, sets=None, prefix: str = "u") -> Coded:
    """Cases of which only the first variable tells something: its labels and calibrated probabilities."""
    index = uids(len(truth), prefix)
    labels = random_labels(TOY, len(truth)).set_axis(index).astype("Int64").assign(Sad=list(truth))
    calibrated = random_probabilities(TOY, index).assign(Sad=np.array(read, dtype=float))
    codes = TOY.to_labels(calibrated)
    numbers = range(len(index)) if sets is None else sets
    return Coded(labels, codes, calibrated, pd.Series(list(numbers), index))


def drawn(n: int, seed: int, prefix: str = "u") -> Coded:
    """Cases whose probabilities are calibrated."""
    rng = np.random.default_rng(seed)
    read = rng.beta(0.5, 1, n)
    return coded((rng.random(n) < read).astype(int), read, prefix=prefix)


def hopeful(missed: int = 0) -> Coded:
    """200 positives in training, of which some are missed, and as many negatives above these."""
    return coded([1] * 200 + [0] * 200, [0.1] * missed + [0.9] * (200 - missed) + [0.2] * 200)


def folds_of(cases: Coded) -> pd.Series:
    return pd.Series([n % 3 for n in range(len(cases.labels))], cases.labels.index)


def promised(out_of_fold: Coded, tested: Coded | None = None, name: str = "Sad", **settings) -> dict:
    found = learn(TOY, out_of_fold, folds_of(out_of_fold), tested, CUTS, SAME, Findings(**settings))
    return found["variables"][name]


def found(positives: int, missed: int = 0, **more) -> Coded:
    """A test with so many positives, of which some have the code 0 at a low probability, and 50 negatives."""
    truth = [1] * positives + [0] * 50
    read = [0.1] * missed + [0.9] * (positives - missed) + [0.2] * 50
    return coded(truth, read, prefix="t", **more)


def test_28_positives_are_too_few_and_29_without_a_miss_are_enough():
    assert 0.9**28 > 0.05 > 0.9**29 and needed(0.9, 0.95) == 29
    assert (needed(0.5, 0.75), needed(0.8, 0.95)) == (2, 14)
    assert promised(hopeful(), found(28))["basis"] == "approximate"
    record = promised(hopeful(), found(29))
    assert (record["outcome"], record["basis"], record["counted"]) == ("promised", "exact", 29)
    assert (record["tested"], record["kept"], record["observed"], record["reviewed"]) == (29, 29, 1, 0)
    assert record["precision"] == record["recall"] == 1


def test_too_few_is_said_with_the_count():
    own = coded([1] * 20 + [0] * 40, [0.9] * 20 + [0.1] * 40)
    record = promised(own, found(28))
    assert (record["outcome"], record["counted"], record["cut"]) == ("too few", 28, None)
    record = promised(own)
    assert (record["outcome"], record["counted"]) == ("too few", 20)


def test_the_p_value_is_the_exact_binomial_one():
    cases, right = np.array([28, 29, 46, 46, 100, 5, 0]), np.array([28, 29, 45, 44, 95, 0, 0])
    assert tail(right, cases, 0.9) == pytest.approx(binom.sf(right - 1, cases, 0.9))
    assert (tail([28, 29, 45], [28, 29, 46], 0.9) <= 0.05).tolist() == [False, True, True]  # 46: one miss
    assert tail(28.5, 29, 0.9) > tail(29, 29, 0.9)  # expected numbers too


def test_the_tests_stop_at_the_first_that_fails():
    assert fixed_sequence(np.array([0.01, 0.05, 0.06, 0.001]), 0.05) == 1
    assert fixed_sequence(np.array([0.06, 0.001]), 0.05) == -1
    assert fixed_sequence(np.array([0.01, 0.02]), 0.05) == 1


def test_what_is_missed_goes_to_a_person_until_the_rest_can_be_promised():
    """40 positives, 10 missed: none of 30 may be missed, so the band reaches down to those at 0.1."""
    record = promised(hopeful(20), found(40, missed=10), promise_review=1.0)
    assert (record["outcome"], record["tested"], record["kept"]) == ("promised", 30, 30)
    assert record["low"] <= 0.1 and record["high"] == 0.5 and record["threshold"] == 0.5
    assert record["reviewed"] == 60 / 90  # all codes 0: the negatives lie above
    assert record["precision"] == 1 and record["recall"] == 1


def test_what_would_be_too_dear_is_not_promised_and_the_training_cases_say_so():
    """They let 220 of 400 codes be expected to go to people. The test would take 60 of 90."""
    assert promised(hopeful(20), found(40, missed=10), promise_review=0.6)["outcome"] == "promised"
    too_dear = promised(hopeful(20), found(40, missed=10), promise_review=0.5)
    assert (too_dear["outcome"], too_dear["basis"], too_dear["cut"]) == ("not reached", "approximate", None)
    assert too_dear["reviewed"] == 220 / 400


def test_a_test_that_has_enough_cases_by_luck_makes_no_promise():
    """29 of 79, where training lets one in ten be expected: of promises made so, more would be broken."""
    rare = coded([1] * 30 + [0] * 270, [0.9] * 30 + [0.2] * 270)
    assert promised(rare, found(29))["basis"] == "approximate"


def test_a_path_leads_from_cautious_to_none():
    judged = judge(SAD, "recall", drawn(500, 1))
    cuts = path(judged, 1.0, 0.9)
    assert cuts[0] == 1 and cuts[-1] == 0 and (np.diff(cuts) <= 0).all()
    cases, right = judged.tally(cuts)
    assert (np.diff(cases) >= 0).all() and len(set(right)) == 1  # codes 1 are never reviewed
    nobody = judge(SAD, "recall", coded([1, 1], [0.9, 0.9]))
    assert set(path(nobody, 1.0, 0.9)[1:]) == {0}


def test_the_path_does_not_see_the_labels_that_test_it():
    """Training cases say that nothing need be reviewed. The test says otherwise, and must not choose."""
    own = coded([1] * 200 + [0] * 100, [0.6] * 100 + [0.9] * 100 + [0.1] * 100)
    truth, read = [0] * 40 + [1] * 60 + [0] * 50, [0.6] * 40 + [0.9] * 60 + [0.1] * 50
    tested = coded(truth, read, prefix="t")
    record = promised(own, tested, promise="precision")
    assert (record["outcome"], record["basis"]) == ("not reached", "exact")
    assert (
        promised(tested, tested, promise="precision")["outcome"] == "promised"
    )  # a path that it chose itself


def test_a_fold_is_cut_where_the_others_say():
    own = drawn(300, 2)
    folds = folds_of(own)
    mine = (folds == 1).to_numpy()
    changed = own.labels.copy()
    changed.loc[mine, "Sad"] = 1 - changed.loc[mine, "Sad"]
    for kind in ("recall", "precision"):
        one, other = (
            module.across_folds(SAD, kind, cases, folds, 0.9)[0]
            for cases in (own, replace(own, labels=changed))
        )
        assert np.array_equal(one[mine], other[mine])
    assert not np.array_equal(one[~mine], other[~mine])


def test_without_test_labels_a_promise_is_approximate():
    own = drawn(600, 3)
    record = promised(own, promise_review=1.0)
    assert (record["outcome"], record["basis"]) == ("promised", "approximate")
    assert tail(record["kept"], record["tested"], 0.9) <= 0.05
    cuts, judged, deployed = module.across_folds(SAD, "recall", own, folds_of(own), 0.9)
    cases, right = judged.tally(cuts)
    last = fixed_sequence(tail(right, cases, 0.9), 1 - 0.95)
    assert record["cut"] == deployed[last]  # what all folds choose, not what one is tested at
    assert (record["tested"], record["kept"]) == (cases[last], right[last])
    few = drawn(30, 4, "t")
    assert promised(own, few, promise_review=1.0) == record  # a test with too few does not matter


def test_the_codes_that_go_out_are_those_that_were_tested():
    """The stored cut, by the rule that `predict` follows, gives the numbers of the record."""
    tested = drawn(800, 5, "t")
    for promise, name, counts in (
        ("recall", "Sad", tested.labels["Sad"] == 1),
        ("precision", "Sad", tested.codes["Sad"] == 1),
    ):
        record = promised(drawn(800, 6), tested, name, promise=promise, promised=0.8, promise_review=1.0)
        assert record["outcome"] == "promised"
        out = ~Bands(TOY, {name: (record["kind"], record["cut"])}).of(tested.codes, tested.calibrated)[name]
        right = tested.codes[name] == tested.labels[name]
        assert ((out & counts).sum(), (out & counts & right).sum()) == (record["tested"], record["kept"])
        assert record["reviewed"] == pytest.approx(1 - out.mean())
        assert record["low"] <= record["high"]


def test_categorical_variables_are_promised_right_codes():
    index, rng = uids(300, "t"), np.random.default_rng(0)
    read = random_probabilities(TOY, index)
    labels = TOY.to_labels(read).astype("Int64")
    wrong = rng.random(300) < 0.5 * (read[["Place_1", "Place_2", "Place_3"]].max(axis=1) < 0.6)
    labels.loc[wrong, "Place"] = labels.loc[wrong, "Place"] % 3 + 1
    tested = Coded(labels, TOY.to_labels(read), read, pd.Series(range(300), index))
    record = promised(tested, tested, "Place", promise_review=1.0)
    assert (record["kind"], record["outcome"]) == ("accuracy", "promised")
    assert record["observed"] > 0.9 and record["threshold"] is None and record["high"] == record["cut"]


def test_only_labels_that_are_given_count():
    tested = found(60)
    holes = tested.labels.copy()
    holes.loc[tested.labels.index[:32], "Sad"] = pd.NA
    assert promised(hopeful(), replace(tested, labels=holes))["basis"] != "exact"
    holes.loc[tested.labels.index[31], "Sad"] = 1
    for kind in ("recall", "precision"):
        assert promised(hopeful(), replace(tested, labels=holes), promise=kind)["counted"] == 29
    nothing = replace(tested, labels=with_holes(tested.labels, 1.0))
    assert promised(nothing, nothing)["counted"] == 0


def test_cases_that_belong_together_count_once():
    twice = [*range(20), *range(20), *range(20, 70)]
    assert promised(hopeful(), found(40, sets=twice))["basis"] != "exact"
    record = promised(hopeful(), found(40, sets=[*range(30), *range(10), *range(30, 80)]))
    assert (record["basis"], record["counted"]) == ("exact", 30)


def test_twins_of_training_cases_and_cases_without_a_word_test_nothing(tmp_path):
    run = Run(tmp_path, "06_test")
    texts, labels = word_texts(TOY, 12, words=9), random_labels(TOY, 12)
    texts.iloc[7] = ""
    texts.iloc[9] = texts.iloc[8].to_numpy()
    cases = texts.join(labels).assign(split=["train"] * 6 + ["test"] * 6)
    run.write("cases.parquet", cases.rename_axis("uid"))
    twin = pd.Series("", texts.index, name="twin")
    twin.iloc[6] = "u000"
    clusters = pd.DataFrame({"cluster": pd.array([*range(6), *[None] * 6], "Int64"), "twin": twin})
    run.write("clusters.parquet", clusters.rename_axis("uid"))
    test = texts[6:]
    study = Study(run, TOY, texts[:6], pd.Series(0, texts.index[:6]), test, labels[:6], labels[6:])
    read = random_probabilities(TOY, test.index)
    tested = on_test(study, TOY.to_labels(read), read[::-1])
    assert tested.labels.index.tolist() == test.index[2:].tolist()
    assert tested.calibrated.index.equals(tested.labels.index)
    assert tested.sets.duplicated().tolist() == [False, True, False, False]
    assert on_test(replace(study, test_labels=None), TOY.to_labels(read), read) is None
    own = module.out_of_fold(study, labels[:6], random_probabilities(TOY, texts.index[:6]))
    assert own.sets.tolist() == [*range(6)]


@pytest.mark.slow
def test_promises_hold_on_what_nobody_saw():
    """300 tests of 300 calibrated cases: the share of promises that are broken on 20,000 others is small."""
    population, own = drawn(20_000, 100, "p"), drawn(400, 101)
    kinds = {"recall": 0, "precision": 0}
    for kind in kinds:
        judged, cuts = judge(SAD, kind, population), path(judge(SAD, kind, own), 0.75, 0.9)
        cases, right = judged.tally(cuts)
        for seed in range(300):
            cases_there, right_there = judge(SAD, kind, drawn(300, seed, "t")).tally(cuts)
            last = fixed_sequence(tail(right_there, cases_there, 0.9), 0.05)
            kinds[kind] += last >= 0 and right[last] < 0.9 * cases[last]
    assert all(broken <= binom.ppf(0.999, 300, 0.05) for broken in kinds.values()), kinds
    assert kinds["recall"] > 0  # and are not made by reviewing all
