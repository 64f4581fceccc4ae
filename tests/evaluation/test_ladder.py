"""The ladder: every way of scoring side by side, gains paired, no label of the test split in a threshold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, with_holes

from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation import ladder
from narrutils.evaluation.intervals import columns_of, paired_gain, score_interval
from narrutils.evaluation.ladder import (
    Ladder,
    Step,
    answers_of,
    by_thresholds,
    decisions,
    read_steps,
    to_table,
)
from narrutils.evaluation.metrics import average_f1, count, per_variable
from narrutils.evaluation.thresholds import cross_fitted, decide_cross_fitted, search, search_shrunk

N = 80
LABELS = random_labels(TOY, N)
FOLDS = pd.Series(np.arange(N) % 4, index=LABELS.index)
TEST_LABELS = random_labels(TOY, 30, 5).set_axis(uids(30, "t"))
TRUTH = pd.concat([random_labels(TOY, N, 6), TEST_LABELS]).sample(frac=1, random_state=0)


def step(name: str, seed: int) -> Step:
    oof, test = (
        random_probabilities(TOY, LABELS.index, seed),
        random_probabilities(TOY, TEST_LABELS.index, seed),
    )
    return Step(name, name.lower(), oof.sample(frac=1, random_state=seed), test)


STEPS = [step("A", 1), step("B", 2)]


def rungs(steps=STEPS, test_labels=TEST_LABELS, truth=None) -> Ladder:
    return Ladder(TOY, steps, LABELS, FOLDS, answers_of(LABELS, test_labels, truth))


@pytest.fixture(scope="module")
def entries():
    return rungs(truth=TRUTH).climb()


def pick(entries, **wanted):
    (found,) = [e for e in entries if all(e[key] == value for key, value in wanted.items())]
    return found


def test_an_entry_has_the_keys_of_the_contract(entries):
    keys = (
        "step model split against thresholds average_f1 ci_low ci_high gain gain_low gain_high n "
        "optimistic per_variable"
    )
    assert all(list(e) == keys.split() for e in entries)
    assert all(list(e["per_variable"]) == TOY.names for e in entries)


def test_every_step_is_scored_every_way_but_never_in_sample_on_test(entries):
    places = [(e["step"], e["split"], e["against"], e["thresholds"]) for e in entries]
    assert len(set(places)) == len(places) == 2 * 2 * (3 + 2)
    assert [p[0] for p in places] == ["A"] * 10 + ["B"] * 10
    assert {p[3] for p in places if p[1] == "test"} == {"half", "cross_fitted"}
    assert {p[3] for p in places if p[1] == "oof"} == {"half", "cross_fitted", "in_sample"}


def test_scores_and_gains_are_those_of_the_pooled_rows(entries):
    codes = [decide_cross_fitted(TOY, LABELS, s.out_of_fold, FOLDS) for s in STEPS]
    a, b = (count(TOY, LABELS, c) for c in codes)
    place = {"split": "oof", "against": "given", "thresholds": "cross_fitted"}
    first, second = pick(entries, step="A", **place), pick(entries, step="B", **place)
    assert first["gain"] is first["gain_low"] is first["gain_high"] is None
    assert (first["average_f1"], first["n"]) == (pytest.approx(average_f1(TOY, LABELS, codes[0])), N)
    score, gain = score_interval(b), paired_gain(b, a)
    assert (second["average_f1"], second["ci_low"], second["ci_high"]) == (score.value, score.low, score.high)
    assert (second["gain"], second["gain_low"], second["gain_high"]) == (gain.value, gain.low, gain.high)
    assert second["per_variable"] == pytest.approx(per_variable(TOY, LABELS, codes[1]).to_dict())


def test_a_gain_of_exactly_zero_is_a_number(entries):
    twice = rungs([STEPS[0], STEPS[0]], None).climb()
    assert [e["gain"] for e in twice[3:]] == [e["gain_high"] for e in twice[3:]] == [0.0] * 3
    assert to_table(twice)["gain"].fillna(9).tolist() == [9, 0.0]


def test_test_thresholds_are_searched_on_all_out_of_fold_rows(entries):
    decided = decisions(TOY, STEPS[0], LABELS, FOLDS)
    assert set(decided) == {
        ("oof", "half"),
        ("oof", "cross_fitted"),
        ("oof", "in_sample"),
        ("test", "half"),
        ("test", "cross_fitted"),
    }
    found = search(TOY, LABELS, STEPS[0].out_of_fold)
    pd.testing.assert_frame_equal(decided["test", "cross_fitted"], TOY.to_labels(STEPS[0].test, found))
    pd.testing.assert_frame_equal(decided["oof", "in_sample"], TOY.to_labels(STEPS[0].out_of_fold, found))
    pd.testing.assert_frame_equal(decided["test", "half"], TOY.to_labels(STEPS[0].test, 0.5))
    got = pick(entries, step="A", split="test", against="given", thresholds="cross_fitted")
    assert got["average_f1"] == pytest.approx(
        average_f1(TOY, TEST_LABELS, TOY.to_labels(STEPS[0].test, found))
    )


def test_in_sample_thresholds_flatter(entries):
    """On pure noise the search on the scored rows beats the honest one: the optimism is visible."""
    place = {"step": "A", "split": "oof", "against": "given"}
    scores = {
        t: pick(entries, thresholds=t, **place)["average_f1"] for t in ("cross_fitted", "in_sample", "half")
    }
    assert scores["in_sample"] >= max(scores["cross_fitted"], scores["half"])


def test_a_folds_decisions_ignore_its_own_labels():
    altered = LABELS.copy()
    own = FOLDS.eq(2)
    altered.loc[own, ["Sad", "Note"]] = 1 - altered.loc[own, ["Sad", "Note"]]
    honest, again = (decisions(TOY, STEPS[0], labels, FOLDS) for labels in (LABELS, altered))
    rows = LABELS.index[own]
    place = ("oof", "cross_fitted")
    pd.testing.assert_frame_equal(honest[place].loc[rows], again[place].loc[rows])
    assert not honest[place].equals(again[place])


def test_thresholds_see_all_rows_for_the_test_split_and_the_other_folds_for_a_fold():
    """A step whose thresholds tell how many rows they were found on."""
    seen = []

    def find(part, way=None):
        seen.append(set(part.index))
        return {"Sad": 0.3, "Note": 0.7} if len(part) == N else {"Sad": 0.6, "Note": 0.4}

    odd = Step("E", "e", STEPS[0].out_of_fold, STEPS[0].test, find)
    decided = decisions(TOY, odd, LABELS, FOLDS)
    whole, part = find(LABELS), find(LABELS[:9])
    for split, thresholds, cuts in [
        ("test", "cross_fitted", whole),
        ("oof", "in_sample", whole),
        ("oof", "cross_fitted", part),
    ]:
        table = odd.test if split == "test" else odd.out_of_fold
        pd.testing.assert_frame_equal(decided[split, thresholds], TOY.to_labels(table, cuts))
    folds = [set(LABELS.index[FOLDS.ne(k)]) for k in range(4)]
    assert seen[:-2] == [set(LABELS.index), *folds]


def test_what_is_unknown_is_not_scored():
    assert list(answers_of(LABELS, None, None)) == [("oof", "given")]
    answers = answers_of(LABELS, TEST_LABELS, TRUTH)
    assert answers["oof", "truth"].index.equals(LABELS.index)
    assert set(answers["test", "truth"].index) == set(TEST_LABELS.index)
    only = rungs(test_labels=None).climb()
    assert {(e["split"], e["against"]) for e in only} == {("oof", "given")}


def test_tables_hold_the_numbers_of_the_entries(entries):
    table = to_table(entries)
    assert table["step"].tolist() == ["A", "B"]
    assert table["n"].tolist() == [N, N]
    place = {"split": "oof", "against": "given"}
    second = pick(entries, step="B", thresholds="cross_fitted", **place)
    assert table.loc[1, columns_of("average_f1")].tolist() == [
        second["average_f1"], second["ci_low"], second["ci_high"]
    ]  # fmt: skip
    assert table.loc[1, columns_of("gain")].tolist() == [second[c] for c in columns_of("gain")]
    assert table.loc[0, columns_of("gain")].isna().all()
    assert to_table(entries, thresholds="in_sample")["optimistic"].all()
    ways = by_thresholds(entries)
    assert ways.columns.tolist() == ["step", "half", "cross_fitted", "in_sample"]
    assert ways["step"].tolist() == ["A", "B"]
    assert by_thresholds(entries, "test").columns.tolist() == ["step", "half", "cross_fitted"]
    got = pick(entries, step="B", thresholds="in_sample", **place)["average_f1"]
    assert ways.loc[1, "in_sample"] == got


def test_a_place_without_entries_is_an_empty_table_of_floats(entries):
    table = to_table([e for e in entries if e["split"] == "oof"], split="test")
    assert table.empty
    assert table[columns_of("average_f1", "gain")].dtypes.eq(float).all()


def test_the_gap_between_test_and_out_of_fold_has_an_interval(entries):
    table = rungs().gaps()
    place = {"step": "A", "against": "given", "thresholds": "cross_fitted"}
    test, oof = (pick(entries, split=s, **place)["average_f1"] for s in ("test", "oof"))
    assert table.loc[0, "gap"] == pytest.approx(test - oof)
    assert table.loc[0, "gap_low"] < test - oof < table.loc[0, "gap_high"]
    assert rungs(test_labels=None).gaps().empty


def test_single_fold_models_tell_what_averaging_gains():
    """Their mean score on test is held against the out-of-fold score, at each fold's own thresholds."""
    by_fold = {k: random_probabilities(TOY, TEST_LABELS.index, 20 + k) for k in range(4)}
    one = Step("A", "a", STEPS[0].out_of_fold, sum(by_fold.values()) / 4, by_fold=by_fold)
    row = rungs([one]).gaps().iloc[0]
    found = cross_fitted(lambda part: search(TOY, part, one.out_of_fold), LABELS, FOLDS)
    single = np.mean([average_f1(TOY, TEST_LABELS, TOY.to_labels(by_fold[k], found[k])) for k in range(4)])
    codes = decisions(TOY, one, LABELS, FOLDS)
    oof = average_f1(TOY, LABELS, codes["oof", "cross_fitted"])
    mean = average_f1(TOY, TEST_LABELS, codes["test", "cross_fitted"])
    assert row["single"] == pytest.approx(single - oof)
    assert row["averaging"] == pytest.approx(mean - single)
    assert np.isnan(rungs(STEPS[:1]).gaps().iloc[0]["averaging"])
    refit = (
        rungs([replace(one, refit=True)]).gaps().iloc[0]
    )  # which reads the test alone: nothing is averaged
    assert refit["single"] == row["single"] and refit["gap"] == row["gap"]
    assert np.isnan(refit["averaging"])


def test_a_step_is_cut_in_the_way_that_it_names():
    shrunk = replace(STEPS[0], way=search_shrunk)
    assert shrunk.thresholds(TOY, LABELS) == search_shrunk(TOY, LABELS, STEPS[0].out_of_fold)
    assert shrunk.thresholds(TOY, LABELS) != STEPS[0].thresholds(TOY, LABELS)


def test_gains_over_the_first_step_are_paired():
    steps = [STEPS[0], STEPS[1], STEPS[0]]
    table = rungs(steps).over_first()
    assert table["step"].tolist() == [step.name for step in steps]
    for name in ("gain", "gain_on_test"):
        values = table[columns_of(name)]
        assert values.loc[0].isna().all()
        assert values.loc[2].eq(0).all()  # a step against itself
        assert values.loc[1].ne(0).all()
    alone = rungs(steps, None).over_first()
    pd.testing.assert_frame_equal(alone[columns_of("gain")], table[columns_of("gain")])
    assert alone[columns_of("gain_on_test")].isna().all(axis=None)


def test_each_step_is_decided_once(monkeypatch):
    asked = []
    monkeypatch.setattr(ladder, "decisions", lambda *given: asked.append(given[1].name) or decisions(*given))
    several = rungs()
    several.climb(), several.over_first(), several.gaps()
    assert asked == ["A", "B"]


def test_steps_are_read_in_the_order_in_which_they_were_made(tmp_path):
    for stage, name, order in [
        ("05_b", "late", 1),
        ("05_b", "early", 0),
        ("01_a", "first", 0),
        ("06_c", "own", 0),
    ]:
        run = Run(tmp_path, stage)
        about = {"model": name, "step": name.title(), "stage": stage, "order": order}
        about |= {"optimistic": name == "late", "instead": "early" if name == "late" else ""}
        about |= {"folds": [0, 1] if name == "first" else [], "base": ""}
        if name == "first":
            for k in (0, 1):
                path = f"models/{name}/fold{k}/predictions.parquet"
                both = pd.concat([STEPS[k].out_of_fold, STEPS[k].test])
                run.write_probabilities(path, both, TOY)
        run.write(f"models/{name}/about.json", about)
        run.write_probabilities(f"predictions/{name}_oof.parquet", STEPS[0].out_of_fold, TOY)
        run.write_probabilities(f"predictions/{name}_test.parquet", STEPS[0].test, TOY)
    steps = read_steps(Study(Run(tmp_path, "06_c"), TOY, None, None, None))
    assert [s.optimistic for s in steps] == [False, False, True]
    assert [s.instead for s in steps] == ["", "", "early"]
    assert [s.name for s in steps] == ["First", "Early", "Late (refused)"]
    assert list(steps[0].by_fold) == [0, 1]
    assert not steps[1].by_fold
    pd.testing.assert_frame_equal(steps[0].by_fold[1], STEPS[1].test)
    assert [s.model for s in steps] == ["first", "early", "late"]  # a notebook reads only earlier ones
    pd.testing.assert_frame_equal(steps[0].out_of_fold, STEPS[0].out_of_fold)


def test_missing_labels_are_scored_as_if_their_cases_were_not_there():
    """In every place of a ladder, and in the gaps and gains beside it."""
    gone = LABELS.index[::7], TEST_LABELS.index[:9]
    kept = [t.drop(g) for t, g in zip((LABELS, TEST_LABELS), gone)]
    some = [k.astype("Int64").reindex(t.index) for k, t in zip(kept, (LABELS, TEST_LABELS))]
    whole = Ladder(TOY, STEPS, some[0], FOLDS, answers_of(*some, None))
    fewer = [replace(s, out_of_fold=s.out_of_fold.drop(gone[0]), test=s.test.drop(gone[1])) for s in STEPS]
    fewer = Ladder(TOY, fewer, kept[0], FOLDS.drop(gone[0]), answers_of(*kept, None))
    assert whole.climb() == fewer.climb()
    assert {e["n"] for e in whole.climb()} == {len(t) for t in kept}
    pd.testing.assert_frame_equal(whole.gaps(), fewer.gaps())
    pd.testing.assert_frame_equal(whole.over_first(), fewer.over_first())


def test_cells_without_a_label_leave_every_place_scored():
    labels = with_holes(LABELS, 0.2).assign(Tool=pd.array([None] * N, "Int64"))
    entries = Ladder(
        TOY, STEPS, labels, FOLDS, answers_of(labels, with_holes(TEST_LABELS, 0.3), TRUTH)
    ).climb()
    for e in entries:
        assert e["ci_low"] < e["average_f1"] < e["ci_high"]
        assert np.isnan(e["per_variable"]["Tool"]) == ((e["split"], e["against"]) == ("oof", "given"))
        assert e["average_f1"] == pytest.approx(np.nanmean(list(e["per_variable"].values())))


def test_a_split_without_a_single_label_is_not_scored():
    nothing = with_holes(TEST_LABELS, 1)
    assert list(answers_of(LABELS, nothing, None)) == [("oof", "given")]
    assert rungs(test_labels=nothing).gaps().empty
