"""The table of estimates: who is compared with whom, on how many codes, and where there is nothing to say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from toys import TOY, random_labels, random_probabilities

from narrutils.errors import InputError
from narrutils.findings.estimates.population import Population
from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE, WAYS, choose, estimate_all, planted

N = 300


@pytest.fixture
def population() -> Population:
    codes = random_labels(TOY, N)
    machine = (TOY.to_targets(codes) + random_probabilities(TOY, codes.index)) / 2
    human = codes.astype("Int64")
    human.iloc[100:] = pd.NA
    site = np.array(["east", "west", "north"])[np.arange(N) % 3]
    site[:25] = np.where(np.arange(25) < 8, "tiny", "")
    site[100:140] = "rare"
    groups = pd.DataFrame({"site": site, "sex": np.array(["f", "m"])[np.arange(N) % 2]}, codes.index)
    said = TOY.to_targets(TOY.to_labels(machine))
    same = pd.Series(1.0, codes.index), pd.Series(range(N), codes.index)
    return Population(TOY, human, machine, said, groups, *same)


def of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_every_class_is_asked_about_in_three_ways(population):
    table = estimate_all(population)
    assert of(table, way=HUMAN)[["variable", "class"]].to_records(index=False).tolist() == [
        *[
            ("Sad", ""),
            ("Place", "1"),
            ("Place", "2"),
            ("Place", "3"),
            ("Note", ""),
            ("Tool", "0"),
            ("Tool", "5"),
        ]
    ]
    assert set(table["way"]) == set(WAYS) and table["value"].notna().all()
    shares = of(table, variable="Place", way=HUMAN)["value"]
    assert shares.sum() == pytest.approx(1)
    assert shares.iloc[1] == pytest.approx(population.human["Place"][:100].eq(2).mean())
    alone = of(table, variable="Place", way=NAIVE)["value"]
    assert alone.iloc[1] == pytest.approx(population.codes["Place_2"].mean())


def test_levels_of_few_codes_or_cases_have_a_reason_and_no_figures(population):
    table = estimate_all(population, ["Sad"], {"site": ""})
    shares = of(table, measure="prevalence", group="site", way=BOTH).set_index("level")
    assert shares["reason"].to_dict() == {
        **dict.fromkeys(["east", "north", "west"], ""),
        "(not known)": "not known",
        "rare": "fewer than 10 human codes",
        "tiny": "fewer than 10 cases",
    }
    assert shares.loc["tiny", ["human_codes", "cases", "value"]].isna().all()
    assert shares.loc["rare", "cases"] == 40 and np.isnan(shares.at["rare", "value"])
    assert set(of(table, measure="odds_ratio")["level"]) == {"north", "west"}


def test_the_reference_is_the_first_level_or_the_one_that_is_named(population):
    first = estimate_all(population, ["Sad"], {"sex": ""})
    other = estimate_all(population, ["Sad"], {"sex": "m"})
    one, two = (of(t, measure="odds_ratio", way=BOTH).iloc[0] for t in (first, other))
    assert (one["level"], one["reference"], two["level"], two["reference"]) == ("m", "f", "f", "m")
    assert one["value"] * two["value"] == pytest.approx(1)
    assert one["value_low"] * two["value_high"] == pytest.approx(1)
    assert one["p"] == pytest.approx(two["p"])


def test_a_reference_of_few_codes_has_no_comparisons(population):
    table = estimate_all(population, ["Sad"], {"site": "rare"})
    compared = of(table, group="site", measure="risk_ratio")
    assert compared["reason"].eq("rare: fewer than 10 human codes").all() and compared["value"].isna().all()
    both = of(estimate_all(population, ["Sad"], {"site": "rare", "sex": ""}), measure="adjusted_odds_ratio")
    assert len(both) and both["value"].isna().all() and both["reason"].ne("").all()


def test_differences_and_ratios_are_those_of_the_prevalences(population):
    table = of(estimate_all(population, ["Note"], {"sex": ""}), way=BOTH, group="sex")
    shares = of(table, measure="prevalence").set_index("level")["value"]
    value = table.set_index("measure")["value"]
    assert value["difference"] == pytest.approx(shares["m"] - shares["f"])
    assert value["risk_ratio"] == pytest.approx(shares["m"] / shares["f"])


def test_missing_codes_leave_a_case_out_of_its_variable_alone(population):
    human = population.human.copy()
    human.iloc[:50, 0] = pd.NA
    table = of(estimate_all(replace(population, human=human)), way=BOTH, measure="prevalence")
    assert table.set_index("variable")["human_codes"].to_dict() == {
        "Sad": 50,
        "Place": 100,
        "Note": 100,
        "Tool": 100,
    }


def test_several_columns_are_adjusted_for_each_other(population):
    table = estimate_all(population, ["Sad"], {"sex": "", "site": ""})
    found = of(table, measure="adjusted_odds_ratio", way=HUMAN)
    assert found[["group", "level"]].to_records(index=False).tolist() == [
        ("sex", "m"),
        ("site", "north"),
        ("site", "west"),
    ]
    assert found["value"].notna().all()
    assert (
        found["human_codes"].iloc[0] == population.groups["site"][:100].isin(["east", "north", "west"]).sum()
    )
    assert "adjusted_odds_ratio" not in set(estimate_all(population, ["Sad"], {"sex": ""})["measure"])


def test_comparisons_are_corrected_within_a_measure_and_a_way(population):
    human = population.human.copy()
    human.loc[population.groups["site"].eq("west") & human["Sad"].notna() & (np.arange(N) > 40), "Sad"] = 1
    table = estimate_all(replace(population, human=human), by={"site": ""}, adjust="holm")
    some = of(table, measure="odds_ratio", way=BOTH)
    assert some["p_adjusted"].min() < 0.3
    np.testing.assert_allclose(some["p_adjusted"], multipletests(some["p"], method="holm")[1])
    assert (some["p_adjusted"] >= some["p"]).all()
    assert table.loc[table["p"].isna(), "p_adjusted"].isna().all()


def test_further_codes_are_counted_on_request_for_valid_prevalences(population):
    table = estimate_all(population, ["Sad"], {"sex": ""}, width=0.16)
    told = of(table, measure="prevalence").groupby("way")["further_codes"].apply(lambda x: x.notna().any())
    assert told.to_dict() == {HUMAN: True, BOTH: True, NAIVE: False}
    assert estimate_all(population, ["Sad"])["further_codes"].isna().all()


def test_a_share_of_no_case_has_no_ratio_and_a_reason(population):
    human = population.human.copy()
    human.loc[human.index[1:100:2], "Sad"] = 0
    table = estimate_all(replace(population, human=human), ["Sad"], {"sex": ""})
    ratios = of(table, measure="odds_ratio", way=BOTH).iloc[0]
    assert np.isnan(ratios["value"]) and ratios["reason"].startswith("a level has no case with it")
    assert of(table, measure="difference", way=BOTH)["value"].notna().all()


def test_the_truth_is_what_coding_all_without_error_would_give(population):
    truth = random_labels(TOY, N)
    table = estimate_all(population, ["Sad"], {"sex": "m"})
    found = planted(population, truth, table)
    assert found[0] == pytest.approx(truth["Sad"].mean())
    women = population.groups["sex"] == "f"
    odds = [truth["Sad"][rows].mean() / (1 - truth["Sad"][rows].mean()) for rows in (women, ~women)]
    assert found[table["measure"] == "odds_ratio"].iloc[0] == pytest.approx(odds[0] / odds[1])


def test_what_is_shown_is_chosen_where_nothing_is_named(population):
    assert choose(population) == (
        max(["Sad", "Note"], key=lambda n: population.human[n].sum()),
        {"site": "", "sex": ""},
    )
    assert choose(population, "Tool", ["sex"]) == ("Tool", {"sex": ""})
    bare = replace(population, groups=population.groups[[]])
    assert choose(bare)[1] == {}
    assert set(estimate_all(bare, by={})["measure"]) == {"prevalence"}
    for words, said in (
        (("x",), "odds_of is x"),
        (("", ["x"]), "findings: by x: the cases have no such column"),
    ):
        with pytest.raises(InputError, match=said):
            choose(population, *words)
