"""Whether new cases are like those of the run."""

import numpy as np
import pandas as pd
import pytest
from toys import TOY

from narrutils.evaluation import drift


def numbers(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"probability {name}": rng.beta(1, 3, n) for name in "abcdefgh"})
    table["probability a"] = (table["probability a"] + shift).clip(upper=1)
    return table.assign(**{"words First": rng.poisson(80, n).astype(float), "unknown": rng.random(n) / 10})


def test_words_are_counted_and_those_that_are_not_known():
    texts = pd.DataFrame(
        {"First": ["Fell off, fell", "", "a"], "Second": ["the DOG ran", "", ""]}, list("xyz")
    )
    found = drift.of_texts(TOY, texts, frozenset({"fell", "dog"}))
    assert found["words First"].tolist() == [3, 0, 0]  # a single letter is no word to scikit-learn
    assert found["words Second"].tolist() == [3, 0, 0]
    assert found["unknown"].tolist()[:1] == [0.5] and found["unknown"][1:].isna().all()
    assert "unknown" not in drift.of_texts(TOY, texts, None)


def test_counts_by_parts_are_those_at_once():
    kept, new = drift.reference(numbers(300, 0)), numbers(1000, 1)
    parts = {}
    for start in range(0, 1000, 64):
        parts = drift.added(parts, drift.counted(kept, new[start : start + 64]))
    assert parts == drift.counted(kept, new)
    assert all(sum(counts) == 1000 for counts in parts.values())
    assert drift.added(parts, drift.counted(kept, new[:0])) == parts


def test_what_is_not_known_of_a_case_is_not_counted():
    table = pd.DataFrame({"unknown": [0.1, np.nan, 0.3]})
    kept = drift.reference(table)
    assert sum(kept["unknown"]["counts"]) == 2
    assert drift.reference(table[1:2])["unknown"] == {"edges": [], "counts": [0]}
    assert not drift.compare(kept, {"unknown": [0] * len(kept["unknown"]["counts"])})["alarm"].any()


def test_the_same_kind_of_cases_hardly_ever_gives_an_alarm_and_a_shift_does():
    same = shifted = 0
    for seed in range(100):
        kept = drift.reference(numbers(200, seed))
        same += drift.compare(kept, drift.counted(kept, numbers(400, 1000 + seed)))["alarm"].any()
        found = drift.compare(kept, drift.counted(kept, numbers(400, 1000 + seed, shift=0.15)))
        shifted += found.loc[0, "number"] == "probability a" and found.loc[0, "alarm"]
    assert same <= 5 and shifted >= 95


def test_a_difference_that_is_small_or_may_be_chance_gives_none():
    kept = {"doubt": {"edges": [0.0], "counts": [5000, 5000]}}
    assert drift.compare(kept, {"doubt": [500_000, 500_000]})["p"].item() == 1
    small = drift.compare(kept, {"doubt": [540_000, 460_000]}).iloc[0]  # of a million cases, sure and small
    assert small["p_holm"] < 1e-9 and not small["alarm"]
    few = drift.compare(kept, {"doubt": [7, 3]}).iloc[0]
    assert few["distance"] == pytest.approx(-0.2) and not few["alarm"]
    large = drift.compare(kept, {"doubt": [700, 300]}).iloc[0]
    assert large["alarm"] and (large["before"], large["now"], large["at"]) == (0.5, 0.7, 0.0)


def test_holm_by_hand():
    kept = {name: {"edges": [0.0], "counts": [100, 100]} for name in "abc"}
    found = drift.compare(kept, {"a": [68, 32], "b": [56, 44], "c": [90, 10]}).set_index("number")
    p = found["p"]
    assert found["p_holm"].to_dict() == pytest.approx({"c": 3 * p["c"], "a": 2 * p["a"], "b": p["b"]})


def test_edges_are_nobodys_values_and_empty_narratives_have_a_bin():
    kept = drift.reference(
        pd.DataFrame({"doubt": np.arange(100) + 0.123456, "words First": np.arange(100) + 5.0})
    )
    assert all(edge == float(f"{edge:.3g}") for edge in kept["doubt"]["edges"])
    assert kept["words First"]["edges"][0] == 0.5 and kept["words First"]["counts"][0] == 0
    assert sum(kept["doubt"]["counts"]) == 100
    table = pd.DataFrame({"unknown": np.arange(40) // 10 / 4, "words First": np.arange(40) * 1.0})
    for name, found in drift.reference(table).items():
        assert not set(found["edges"]) & set(table[name])


def test_numbers_that_only_one_side_has_are_passed_over():
    kept = drift.reference(numbers(60, 0))
    counts = drift.counted(kept, numbers(60, 1).drop(columns="unknown").assign(other=1.0))
    assert set(counts) == set(kept) - {"unknown"}
