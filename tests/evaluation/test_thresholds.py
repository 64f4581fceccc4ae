"""Thresholds: the author's grid, the lowest of a tie, and never the labels that are then scored."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from toys import TOY, random_labels, random_probabilities, uids, with_holes

from narrutils.errors import InputError
from narrutils.evaluation.calibration import fit_calibration
from narrutils.evaluation.thresholds import (
    FINE,
    GRID,
    cross_fitted,
    decide_by_fold,
    decide_cross_fitted,
    reproduce,
    search,
    search_named,
    search_shrunk,
)

LABELS = random_labels(TOY, 90)
TABLE = random_probabilities(TOY, LABELS.index)
FOLDS = pd.Series(np.arange(90) % 3, index=LABELS.index)


def test_the_grid_is_the_authors():
    assert list(GRID) == pytest.approx([0.10 + 0.05 * n for n in range(16)])
    assert (GRID[0], GRID[-1]) == (0.1, 0.85)


def test_the_best_f1_is_found_and_the_lowest_cut_wins_a_tie():
    found = search(TOY, LABELS, TABLE)
    assert set(found) == {"Sad", "Note"}
    for name, cut in found.items():
        scores = [f1_score(LABELS[name], TABLE[name] > c, zero_division=0) for c in GRID]
        assert GRID[int(np.argmax(scores))] == cut  # argmax is the first
    separated = TABLE.assign(Sad=np.where(LABELS["Sad"] == 1, 0.62, 0.38))
    assert search(TOY, LABELS, separated)["Sad"] == 0.4
    assert search(TOY, LABELS, separated, grid=[0.6, 0.5, 0.45])["Sad"] == 0.45
    assert search(TOY, LABELS.assign(Sad=0), TABLE)["Sad"] == 0.1


def test_search_joins_by_uid():
    shuffled = TABLE.sample(frac=1, random_state=1)
    assert search(TOY, LABELS, shuffled) == search(TOY, LABELS, TABLE)
    with pytest.raises(InputError, match="u000"):
        search(TOY, LABELS, TABLE.drop("u000"))


def find(part):
    return search(TOY, part, TABLE)


def test_a_folds_thresholds_ignore_its_own_labels():
    honest = cross_fitted(find, LABELS, FOLDS)
    assert sorted(honest) == [0, 1, 2]
    for k in range(3):
        scrambled = LABELS.copy()
        own = FOLDS.eq(k)
        scrambled.loc[own, ["Sad", "Note"]] = 1 - LABELS.loc[own, ["Sad", "Note"]]
        again = cross_fitted(find, scrambled, FOLDS)
        assert again[k] == honest[k]
        assert any(again[j] != honest[j] for j in range(3) if j != k)  # the others did look
        assert honest[k] == search(TOY, LABELS[~own], TABLE)
        decided = decide_cross_fitted(TOY, LABELS, TABLE, FOLDS)[own]
        pd.testing.assert_frame_equal(decided, decide_cross_fitted(TOY, scrambled, TABLE, FOLDS)[own])


def test_each_fold_is_cut_at_its_own_thresholds_in_the_given_order():
    cuts = {0: {"Sad": 0.2, "Note": 0.2}, 1: {"Sad": 0.5, "Note": 0.5}, 2: {"Sad": 0.8, "Note": 0.8}}
    shuffled, mixed = TABLE.sample(frac=1, random_state=1), FOLDS.sample(frac=1, random_state=2)
    codes = decide_by_fold(TOY, shuffled, mixed, cuts)
    assert codes.index.equals(shuffled.index)
    for uid in uids(90):
        assert codes.loc[uid, "Sad"] == int(TABLE.loc[uid, "Sad"] > cuts[FOLDS[uid]]["Sad"])


def test_folds_are_looked_up_by_uid():
    mixed = FOLDS.sample(frac=1, random_state=2)
    assert cross_fitted(find, LABELS, mixed) == cross_fitted(find, LABELS, FOLDS)


def test_without_positives_the_shrunk_search_maximises_expected_f1():
    """All weight on the calibrated expectation: the plug-in rule, held against plain sums."""
    expected = fit_calibration(TOY, LABELS, TABLE).apply(TABLE)
    found = search_shrunk(TOY, LABELS, TABLE, strength=1e12)
    for name in ("Sad", "Note"):
        p, q = TABLE[name].to_numpy(), expected[name].to_numpy()
        scores = [2 * q[p > c].sum() / ((p > c).sum() + q.sum()) for c in FINE]
        assert found[name] == FINE[int(np.argmax(scores))]


def test_with_all_weight_on_the_labels_it_is_the_plain_search():
    assert search_shrunk(TOY, LABELS, TABLE, strength=0) == search(TOY, LABELS, TABLE, FINE)


def test_a_rare_variables_threshold_is_steadier_than_the_grids():
    """Ten positives of 300: over redrawn labels the shrunk thresholds spread less."""
    rng = np.random.default_rng(0)
    index, spreads = uids(300), {search: [], search_shrunk: []}
    p = np.clip(rng.beta(0.3, 6, 300), 0.001, 0.999)
    table = random_probabilities(TOY, index).assign(Sad=p)
    for n in range(30):
        drawn = random_labels(TOY, 300, n).assign(Sad=(rng.uniform(size=300) < p).astype(int))
        for way in spreads:
            spreads[way].append(way(TOY, drawn, table)["Sad"])
    assert np.std(spreads[search_shrunk]) < 0.7 * np.std(spreads[search])


def test_a_variable_nobody_has_is_searched_without_a_fault():
    assert set(search_shrunk(TOY, LABELS.assign(Sad=0, Note=1), TABLE)) == {"Sad", "Note"}


def test_searches_go_by_name():
    assert search_named("grid") is search
    assert set(search_named("half")(TOY, LABELS, TABLE).values()) == {0.5}
    with pytest.raises(InputError, match="threshold_search is 'fine'"):
        search_named("fine")


@pytest.mark.parametrize("way", ["grid", "shrunk", "half"])
def test_thresholds_are_searched_on_labelled_cases(way):
    partly, find = with_holes(LABELS, 0.3), search_named(way)
    found = find(TOY, partly, TABLE)
    for name, cut in found.items():
        given = partly.index[partly[name].notna()]
        assert 0 < len(given) < 90
        assert cut == find(TOY, LABELS.loc[given], TABLE)[name]


@pytest.mark.parametrize("way", ["grid", "shrunk", "half"])
def test_a_variable_without_any_label_is_cut_at_one_half(way):
    none = LABELS.assign(Note=pd.array([None] * 90, "Int64"))
    found = search_named(way)(TOY, none, TABLE)
    assert found == search_named(way)(TOY, LABELS, TABLE) | {"Note": 0.5}


def differing(codes, table, cuts):
    return (TOY.to_labels(table, cuts) != codes)[["Sad", "Note"]].sum()


def test_codes_are_given_again_by_other_probabilities():
    """Whatever keeps the order of the cases, no code changes; and else as few as under any cut."""
    own = {"Sad": 0.3, "Note": 0.6}
    codes = TOY.to_labels(TABLE, own)
    turned = reproduce(TOY, codes, TABLE[::-1] ** 3 / 2, own)
    assert not differing(codes, TABLE**3 / 2, turned).any() and turned != own
    noisy = (TABLE + random_probabilities(TOY, TABLE.index, seed=5)) / 2
    found = differing(codes, noisy, reproduce(TOY, codes, noisy, own))
    for cut in np.linspace(0, 1, 300):
        assert (found <= differing(codes, noisy, {"Sad": cut, "Note": cut})).all()


def test_where_none_changes_the_cut_stays_and_codes_of_one_kind_are_given_too():
    own = {"Sad": 0.37, "Note": 0.61}
    assert reproduce(TOY, TOY.to_labels(TABLE, own), TABLE, own) == own
    for cut in (0.0, 1.0):
        codes = TOY.to_labels(TABLE, {"Sad": cut, "Note": cut})
        assert not differing(codes, TABLE, reproduce(TOY, codes, TABLE, own)).any()
