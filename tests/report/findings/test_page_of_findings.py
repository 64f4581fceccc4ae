"""The page of findings says what the tables say, leaves out what is not there, marks what is not valid."""

import numpy as np
import pandas as pd
import pytest
import toy_run
from bs4 import BeautifulSoup
from toys import TOY, random_labels, random_probabilities

from narrutils.data.run import Run
from narrutils.findings.estimates.population import Population
from narrutils.findings.estimates.three_ways import estimate_all
from narrutils.findings.groups import TABLE, TESTS
from narrutils.report.build import build_report
from narrutils.report.findings import page as page_of_findings

pytestmark = pytest.mark.slow

SHARED = {"title": "Toy task", "embedded": False, "pages": [], "review": False, "findings": True}


def estimated(levels=("a", "b")) -> pd.DataFrame:
    """Estimates of a toy population, by a column of these levels."""
    codes = random_labels(TOY, 200)
    machine = (TOY.to_targets(codes) + random_probabilities(TOY, codes.index)) / 2
    human = codes.astype("Int64")
    human.iloc[100:] = pd.NA
    groups = pd.DataFrame({"where": np.array(levels)[np.arange(200) % len(levels)]}, codes.index)
    same = pd.Series(1.0, codes.index), pd.Series(range(200), codes.index)
    said = TOY.to_targets(TOY.to_labels(machine))
    return estimate_all(Population(TOY, human, machine, said, groups, *same), by={"where": ""})


def level(name: str, cases: int, **figures: float) -> dict:
    row = dict.fromkeys(TABLE, np.nan) | {"column": "where", "level": name, "cases": cases}
    for figure, value in figures.items():
        row |= {figure: value, f"{figure}_low": value - 0.1, f"{figure}_high": value + 0.1}
    return row | {"too_small": cases < 30}


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run(tmp_path / "toy", "06_ensemble")
    run.write("findings/about.json", {"odds_of": "Sad", "by": ["where"]})
    return run


def page(run: Run) -> BeautifulSoup:
    return BeautifulSoup(page_of_findings.page(run, SHARED), "html.parser")


def test_a_run_without_any_finding_has_an_empty_page(run):
    assert [h.get("id") for h in page(run)("h2")] == []


def test_what_is_not_valid_says_so_beside_its_figure(run):
    table = estimated()
    run.write("findings/estimates.parquet", table)
    rows = page(run).select("figure.panel tbody tr:not(.axis)")
    assert [row.small.get_text() for row in rows] == [
        remark for _, _, remark in page_of_findings.WAYS.values()
    ]
    odds = table[table["variable"].eq("Sad") & table["measure"].eq("odds_ratio")].set_index("way")
    told = [row.b.get_text() for row in rows]
    assert told == [f"{odds.loc[way, 'value']:.2f}" for way in page_of_findings.WAYS]


def test_every_comparison_is_named_where_there_are_several(run):
    run.write("findings/estimates.parquet", estimated(("a", "b", "c")))
    rows = page(run).select("figure.panel tbody tr:not(.axis)")
    assert len(rows) == 6
    assert {row.small.get_text().partition(" · ")[0] for row in rows} == {
        "where: b against a",
        "where: c against a",
    }


def test_without_a_group_prevalences_alone_are_told(run):
    table = estimated()
    run.write("findings/estimates.parquet", table[table["group"] == ""])
    found = page(run)
    assert not found.select("figure.panel") and len(found.select("details tbody tr")) == 7


def test_small_groups_have_no_figures_and_say_why(run):
    rows = [level("a", 100, sensitivity=0.7, average_f1=0.6, calibration_gap=-0.05), level("b", 7)]
    rows += [level("", 12, sensitivity=0.5, average_f1=0.4), level(toy_run.EVIL, 40, sensitivity=0.5)]
    run.write("findings/groups.parquet", pd.DataFrame(rows).astype({"too_small": bool}))
    a, b, unknown, evil = page(run).select("table.groups tbody tr")
    assert "[0.600, 0.800]" in a.get_text() and "−0.050" in a.get_text()
    assert not b("svg") and "too few cases for figures" in b.get_text()
    assert "not known" in unknown.get_text() and "too few for sure figures" in unknown.get_text()
    assert evil.th.get_text().startswith(toy_run.EVIL) and not evil("script") and not evil("img")


def test_only_differences_that_stand_after_correction_are_listed(run):
    run.write("findings/groups.parquet", pd.DataFrame([level("a", 50, sensitivity=0.5)]))
    row = dict.fromkeys(TESTS, 0.1) | {"column": "where", "measure": "sensitivity", "cases": 50}
    made = [row | {"level": "a", "p_holm": 0.04}, row | {"level": "b", "p_holm": 0.06}]
    run.write("findings/group_tests.parquet", pd.DataFrame(made))
    (line,) = page(run).select("section li")
    assert [em.get_text() for em in line("em")] == ["where", "a"]


def test_a_promise_says_what_it_rests_on_and_why_there_is_none(run):
    told = {"kind": "recall", "basis": "approximate", "counted": 40}
    kept = told | {"outcome": "promised", "reviewed": 0.25, "tested": 36, "kept": 35, "precision": 0.8}
    made = {"promise": "recall", "promised": 0.9, "confidence": 0.95, "promise_review": 0.5, "needed": 29}
    few = told | {"outcome": "too few", "counted": 12}
    variables = {"Few": few, "Sad": kept, "Lost": told | {"outcome": "not reached"}}
    run.write("findings/promises.json", made | {"variables": variables})
    sad, few, lost = page(run).select("table.bars tbody tr")
    assert "35 of 36" in sad.get_text() and "25.0" in sad.get_text() and sad.select(".chip")
    assert "too few to promise" in few.get_text() and "12" in few.get_text()
    assert "none with at most 50.0" in lost.get_text() and not lost("svg")


def test_the_report_leads_to_its_findings_only_where_there_are_some(tmp_path):
    run = toy_run.make_run(tmp_path / "toy")
    index = build_report(run.folder)
    assert (index.parent / "findings.html").exists() and 'href="findings.html"' in index.read_text()
    run.path("findings/about.json").unlink()
    plain = build_report(run.folder)
    assert not (plain.parent / "findings.html").exists() and "findings.html" not in plain.read_text()
