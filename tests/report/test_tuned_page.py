"""The page of trials: what it shows of a search, and when it is made anew."""

import re
import shutil
from html import unescape

import pandas as pd
import pytest
import searches
import toy_run
from matplotlib.axes import Axes

from narrutils.data.files import write_json
from narrutils.data.tables import write_table
from narrutils.report.build import build_report
from narrutils.report.tuned import page, plots, say

pytestmark = pytest.mark.slow

PROXY = searches.SPACE | {"proxy": {"cases": 30}}


def carried_out(folder, **more):
    """Record and trials of a search on toys, as the command keeps them."""
    search = searches.search(searches.toy_run(folder), trials=7, **more)
    record, trials = search.carry_out()
    return record | {"profile": "toy_tuned.yaml", "trainings": search.trainings()}, trials


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return carried_out(tmp_path_factory.mktemp("runs") / "toy", space=PROXY)


@pytest.fixture
def run(found, tmp_path):
    made = toy_run.make_run(tmp_path / "toy")
    write_json(made.path("tuning/04_deberta/tuning.json"), found[0])
    write_table(made.path("tuning/04_deberta/trials.parquet"), found[1])
    return made


def test_the_report_has_a_page_of_the_trials(run, found):
    folder = build_report(run.folder).parent
    html = unescape((folder / "tuning.html").read_text())
    record, trials = found
    row = next(row for row in record["settings"] if row["setting"] == "chosen")
    assert f"{row['inner']:.3f}" in html and f"{row['outer']:.3f}" in html
    assert html.count("<img") == 3 and "toy_tuned.yaml" in html
    assert say.optimism(record) in html and say.worth(record) in html
    listed = re.search(r'<table class="sort">.*?</table>', html, re.DOTALL)[0]
    assert listed.count("<tr>") == len(trials) + 1
    for name in ("index.html", "01_eda.html"):
        assert 'href="tuning.html"' in (folder / name).read_text()


def test_without_trials_there_is_no_page(tmp_path):
    folder = build_report(toy_run.make_run(tmp_path / "toy").folder).parent
    assert not (folder / "tuning.html").exists()
    assert "tuning.html" not in (folder / "index.html").read_text()


def test_other_trials_make_the_report_anew(run):
    first = (build_report(run.folder).parent / ".key.json").read_text()
    assert (build_report(run.folder).parent / ".key.json").read_text() == first
    trials = run.read("tuning/04_deberta/trials.parquet")
    write_table(run.path("tuning/04_deberta/trials.parquet"), trials[:-1])
    assert (build_report(run.folder).parent / ".key.json").read_text() != first
    shutil.rmtree(run.path("tuning"))
    assert not (build_report(run.folder).parent / "tuning.html").exists()


def test_a_page_is_the_same_byte_by_byte(run):
    pages = [(build_report(run.folder).parent / "tuning.html").read_bytes()]
    shutil.rmtree(run.path("report"))
    pages.append((build_report(run.folder).parent / "tuning.html").read_bytes())
    assert pages[0] == pages[1]


def test_every_trial_is_listed_with_its_score_or_why_it_has_none(found):
    trials = found[1].assign(trouble="")
    trials.loc[6, ["given_up", "trouble", "average_f1"]] = [True, "they exclude each other", None]
    table = page.listed(trials)
    assert list(table["trial"]) == [f"{n}" for n in range(1, len(trials) + 1)]
    assert table["given up"].iloc[6] == "they exclude each other" and table["average F1"].iloc[6] == ""
    scored = trials["average_f1"].notna()
    assert (table["given up"][scored] == "").all() and (table["average F1"][scored] != "").all()
    early = trials["given_up"] & trials["trouble"].eq("")
    assert table["given up"][early].str.fullmatch(r"after fold \d").all()


def test_plots_take_tables_and_return_axes(found):
    record, trials = found
    assert isinstance(plots.history(trials), Axes)
    assert isinstance(plots.importance({"epochs": 0.7, "dropout": 0.3}), Axes)
    assert isinstance(plots.carried(pd.DataFrame(record["proxy"]["candidates"])), Axes)
    (line,) = plots.history(trials).get_lines()
    assert list(line.get_ydata()) == list(trials["average_f1"].cummax().ffill())


ROWS = [
    {"setting": "first", "inner": 0.5, "outer": 0.48, "outer_low": 0.4, "outer_high": 0.6, "difference": 0.02}
    | dict.fromkeys(("gain", "gain_low", "gain_high")),
    {"setting": "chosen", "inner": 0.6, "outer": 0.5, "outer_low": 0.4, "outer_high": 0.6, "difference": 0.1}
    | {"gain": 0.02, "gain_low": -0.01, "gain_high": 0.05},
]
RECORD = {
    "settings": ROWS,
    "judged_on": "test",
    "tested": 30,
    "chosen": {"epochs": 2},
    "known": {"first": {"epochs": 1}},
}


def test_a_gain_that_chance_could_make_is_called_so():
    assert "cannot tell it from none" in say.worth(RECORD)
    clear = [ROWS[0], ROWS[1] | {"gain_low": 0.001}]
    assert "cannot" not in say.worth(RECORD | {"settings": clear})
    assert "No trial beat the first" in say.worth(RECORD | {"chosen": {"epochs": 1}})


def test_optimism_stands_beside_what_nothing_selected():
    assert "the 30 labelled test cases" in say.worth(RECORD)
    assert "+0.100" in say.optimism(RECORD) and "+0.020" in say.optimism(RECORD)


def test_a_proxy_that_does_not_carry_over_is_said_to():
    proxy = {"rank": -0.4, "gains": False, "candidates": [{}] * 5}
    said = say.carried({"proxy": proxy})
    assert "−0.400" in said and "does not beat" in said
    assert "is not known" in say.carried({"proxy": proxy | {"rank": None}})


def test_swings_are_told_of_trials_and_of_seeds():
    of = {"n": 4, "least": 0.1, "low": 0.2, "median": 0.3, "high": 0.4, "most": 0.5}
    one, other = say.swings({"swing": {"trials": of}})
    assert "0.100 to 0.500" in one and "median 0.300" in one and "draws nothing" in other
    assert "by seed" in say.swings({"swing": {"trials": of, "seeds": of}})[1]
