"""Cases that belong together: what brute force finds; one line for a set that no fold holds."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, uids, word_texts

from narrutils.data import clusters
from narrutils.data.cases import Dataset, stack_splits
from narrutils.data.clusters import Likeness, Together, triples, words
from narrutils.errors import InputError


def jaccard(one: list[str], other: list[str]) -> float:
    one, other = triples(one), triples(other)
    return len(one & other) / len(one | other)


def families(seed: int, words: int = 40) -> dict[str, list[str]]:
    """Ten texts with three more each, in which up to 10 words in a row were exchanged."""
    rng, told = np.random.default_rng(seed), {}
    for family in range(10):
        text = [f"w{n}" for n in rng.integers(0, 200, words)]
        for n in range(4):
            copy, at = list(text), rng.integers(0, words - 10)
            copy[at : at + 3 * n] = [f"x{m}" for m in rng.integers(0, 200, 3 * n)]
            told[f"{family}-{n}"] = copy
    return told


@pytest.mark.parametrize("similarity", [0.3, 0.6, 1.0])
def test_sets_are_those_of_brute_force(similarity):
    told = families(seed=int(10 * similarity))
    pairs = [p for p in combinations(told, 2) if jaccard(told[p[0]], told[p[1]]) >= similarity]
    found = Likeness(told, similarity)
    assert all(found.sets.connected(*pair) for pair in pairs)  # none was missed
    linked = clusters.DisjointSet(told)
    for pair in pairs:
        linked.merge(*pair)
    assert found.sets.n_subsets == linked.n_subsets  # and none too many
    for uid, text in families(seed=9).items():
        best = max(told, key=lambda other: jaccard(text, told[other]))  # the first of the most alike
        assert found.of(text, set(told)) == (best if jaccard(text, told[best]) >= similarity else ""), uid


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
def test_one_pair_in_ten_thousand_slips_through_at_most(similarity):
    bands, rows = clusters._bands(similarity)
    assert bands * rows <= clusters.PERMUTATIONS
    assert (1 - similarity**rows) ** bands <= 1e-4


def test_short_texts_are_compared_as_they_are_and_empty_ones_never():
    told = {"a": ["fell"], "b": ["fell"], "c": ["fell", "off"], "d": [], "e": [], "f": ["off", "fell"]}
    found = Likeness(told, 0.5)
    assert [found.sets.subset_size(uid) for uid in told] == [2, 2, 1, 1, 1, 1]
    assert found.of([], set(told)) == ""
    assert found.of(["off", "fell"], set(told)) == "f"


def test_single_links_chain():
    text = [f"w{n}" for n in range(40)]
    told = {str(n): [*(f"y{m}" for m in range(4 * n)), *text[4 * n :]] for n in range(6)}
    assert jaccard(told["0"], told["5"]) < 0.4
    assert Likeness(told, 0.7).sets.n_subsets == 1


def test_equal_texts_are_measured_once(monkeypatch):
    measured, measure = [], clusters._measured
    monkeypatch.setattr(clusters, "_measured", lambda told: measured.append(told) or measure(told))
    told = {str(n): ["the", "same", "text", "again", str(n % 2)] for n in range(3000)}
    assert Likeness(told, 0.9).sets.n_subsets == 2
    assert len(measured) == 2


N = 30


def dataset(train: pd.DataFrame, test: pd.DataFrame, **groups: list[str]) -> Dataset:
    """Cases of TOY with these texts; `groups` of training and test cases."""
    labelled = train.join(random_labels(TOY, len(train)).set_axis(train.index))
    empty = test.join(pd.DataFrame(pd.NA, test.index, TOY.names, dtype="Int64"))
    index = pd.Index([*train.index, *test.index], name="uid")
    return Dataset(labelled, empty, None, list(test.index), groups=pd.DataFrame(groups, index, dtype=str))


def different(n: int = N, seed: int = 1, prefix: str = "u") -> pd.DataFrame:
    return word_texts(TOY, n, seed, words=20).set_axis(uids(n, prefix))


def equal(n: int) -> pd.DataFrame:
    """Cases the first n of which tell the same."""
    texts = different()
    return texts.set_axis(range(N)).loc[[0] * n + list(range(n, N))].set_axis(texts.index)


TEST = different(4, seed=2, prefix="t")


def sets_of(together: Together) -> list[set[str]]:
    of_two = together.clusters.groupby(together.clusters).filter(lambda rows: len(rows) > 1)
    return [set(rows.index) for _, rows in of_two.groupby(of_two)]


def test_cases_are_compared_over_all_narratives_and_columns_join_them():
    train = different()
    train.loc["u001"] = train.loc["u000"].to_numpy()
    train.loc["u003", "First"] = train.loc["u002", "First"]  # the same in one narrative alone: under one half
    cells = ["", "a", " a ", "b", "b", "NA", "na", ".", " ", *(f"c{n}" for n in range(N - 9)), *"    "]
    data = dataset(train, TEST, Incident=cells, Site=["s"] * (N + 4))
    assert sets_of(Together(data, TOY, 0.5)) == [{"u000", "u001"}]
    by_both = Together(data, replace(TOY, keep_together=("Incident",)), 0.5)
    assert sets_of(by_both) == [{"u000", "u001", "u002"}, {"u003", "u004"}]
    assert by_both.clusters.tolist()[:6] == [0, 0, 0, 1, 1, 2]
    by_column = Together(data, replace(TOY, keep_together=("Incident",)), 0)
    assert sets_of(by_column) == [{"u001", "u002"}, {"u003", "u004"}]


def test_a_case_joined_by_two_columns_joins_their_sets():
    person = ["p", "p", *(f"p{n}" for n in range(N + 2))]
    incident = ["x", "i", "i", *(f"i{n}" for n in range(N + 1))]
    schema = replace(TOY, keep_together=("Person", "Incident"))
    together = Together(dataset(different(), TEST, Person=person, Incident=incident), schema, 0.5)
    assert sets_of(together) == [{"u000", "u001", "u002"}]


def test_the_threshold_decides():
    train = different()
    first = train.loc["u000"].copy()
    first["Second"] = first["Second"].rsplit(" ", 4)[0] + " and four words more"
    train.loc["u001"] = first.to_numpy()
    alike = jaccard(*(words("\n".join(row)) for row in train[:2].to_numpy()))
    assert 0.5 < alike < 0.95
    for similarity, joined in ((alike, True), (alike + 1e-6, False), (1, False), (0, False)):
        assert bool(sets_of(Together(dataset(train, TEST), TOY, similarity))) is joined


def test_test_cases_are_told_their_twin_among_the_cases_that_were_drawn():
    train, test = different(), TEST.copy()
    test.loc["t000"] = train.loc["u005"].to_numpy()
    test.loc["t001", "First"] = train.loc["u007", "First"] + " indeed"
    test.loc["t001", "Second"] = train.loc["u007", "Second"]
    cells = [f"i{n}" for n in range(N)] + ["i3", "other", "i9", ""]
    data = dataset(train, test, Incident=cells)
    together = Together(data, replace(TOY, keep_together=("Incident",)), 0.5)
    table = together.table(stack_splits(data), 3)
    assert table["twin"][-4:].tolist() == ["u005", "u007", "u009", ""]  # by text before by column
    assert not table["twin"][:N].any()
    assert table["cluster"].dtype == "Int64" and table["cluster"][-4:].isna().all()
    fewer = stack_splits(data).drop(index=["u005", "u009"])
    assert together.table(fewer, 3)["twin"][-4:].tolist() == ["u003", "u007", "", ""]
    assert Together(data, TOY, 0).table(stack_splits(data), 3)["twin"].eq("").all()


def refusal(data: Dataset, columns: tuple[str, ...] = (), similarity: float = 0.5, folds: int = 3) -> str:
    with pytest.raises(InputError) as caught:
        Together(data, replace(TOY, keep_together=columns), similarity).table(stack_splits(data), folds)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_set_larger_than_a_fold_is_refused_with_its_reason_and_mend():
    train = equal(11)
    site = ["a"] * 12 + [f"s{n}" for n in range(N - 8)]
    data = dataset(train, TEST, Site=site)
    said = refusal(data)
    assert "11 of 30 training cases belong together by texts alike from 0.5 on, more than the 10" in said
    assert "raise duplicate_similarity" in said and "keep_together" not in said
    said = refusal(data, ("Site",), similarity=0)
    assert "12 of 30" in said and "by Site" in said and said.endswith("leave Site out of keep_together")
    assert "duplicate_similarity" not in said


def test_a_set_that_only_several_reasons_make_too_large_names_them_all():
    train = equal(6)
    site = [f"s{n}" for n in range(N + 4)]
    site[5:12] = ["a"] * 7
    person = ["twin" if n in (20, 21) else "" for n in range(N + 4)]  # no part of the set
    data = dataset(train, TEST, Site=site, Person=person)
    said = refusal(data, ("Site", "Person"))
    assert "12 of 30" in said and "by texts" in said and "by Site" in said and "Person" not in said
    assert "raise duplicate_similarity" in said and "leave Site out" in said


def test_a_set_as_large_as_a_fold_may_be():
    train = equal(10)
    data = dataset(train, TEST)
    assert Together(data, TOY, 0.5).table(stack_splits(data), 3)["cluster"].value_counts().max() == 10
    assert "more than the 7 of one of 4 folds" in refusal(data, folds=4)
