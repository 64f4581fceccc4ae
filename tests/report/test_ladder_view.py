"""The ladder over several seeds in words: true whatever the numbers, and text stays text."""

import re

import nbformat
import pytest
from toy_run import EVIL

from narrutils.data.files import write_json
from narrutils.data.run import Run
from narrutils.data.stages import content
from narrutils.report import facts
from narrutils.report.build import build_report
from narrutils.report.ladder_view import seeds_table, seeds_told, seeds_view


def entry(step, gain=None, first=None, sd=0.01, split="oof", half=0.02) -> dict:
    made = {"step": step, "model": step, "split": split, "against": "given", "thresholds": "cross_fitted"}
    made |= {"average_f1": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 90, "optimistic": False}
    for name, value in (("gain", gain), ("over_first", first)):
        bounds = (None,) * 3 if value is None else (value, value - half, value + half)
        made |= dict(zip((name, f"{name}_low", f"{name}_high"), bounds))
    return made | {"sd": sd, "lowest": 0.5 - sd, "highest": 0.5 + sd, "scores": [0.5 - sd, 0.5 + sd]}


STEPS = [
    entry("a", sd=0.0),
    entry("b", 0.03, 0.03),
    entry("c", -0.05, -0.02),
    entry("d", 0.01, -0.01, sd=0.03),
]


def test_only_what_is_certain_is_called_a_gain_or_a_loss():
    told = seeds_told(STEPS, "oof")
    for over, kind, named in [("before", "gain", "b"), ("before", "loss", "c"), ("first step", "gain", "b")]:
        assert re.findall(f"{over} a {kind} for ([a-d, ]+)[;.]", told) == [named]
    assert "first step a loss" not in told
    assert "d swings most with the seed, from 0.470 to 0.530" in told


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([entry("a", sd=0.0)], "There is only one step, and nothing to hold it against. No step depends"),
        (
            [entry("a"), entry("b", 0.02, 0.02)],
            "Cases and seeds together could make every difference. a swings",
        ),
        (
            [entry("a"), entry("b", 0.0, 0.0, half=0.0)],
            "Cases and seeds together could make every difference",
        ),
    ],
)
def test_where_nothing_is_certain_no_gain_is_told(steps, told):
    assert seeds_told(steps, "oof").startswith(told)
    assert "a gain" not in seeds_told(steps, "oof")


def test_the_table_has_a_row_a_step_and_no_gain_of_the_first():
    table = seeds_table([*STEPS, entry("a", split="test")], "oof")
    assert table["step"].tolist() == list("abcd")
    assert table.loc[0, ["gain", "over_first"]].isna().all()
    assert table["sd"].tolist() == [0.0, 0.01, 0.01, 0.03]
    assert seeds_table(STEPS, "test").empty


def test_a_view_is_of_the_splits_that_there_are():
    found = {"runs": [{}, {}], "entries": STEPS, "fits": True}
    assert list(seeds_view(found)["tables"]) == ["Official cases, out of fold"]
    both = seeds_view(found | {"entries": [*STEPS, entry("a", split="test")]})
    assert len(both["tables"]) == len(both["told"]) == 2
    assert seeds_view(found | {"fits": False}) == {"number": 2, "fits": False}
    assert seeds_view(None) is None


def test_names_of_steps_stay_text(tmp_path):
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")]), tmp_path / "01_a.ipynb"
    )
    steps = [entry(EVIL), entry(f"b{EVIL}", 0.03, 0.03)]
    write_json(tmp_path / "ladder.json", steps)
    assert facts.seeds(Run(tmp_path)) is None
    plain = build_report(tmp_path).read_text()
    now = content(Run(tmp_path), ["01_a"])
    records = [{"run": name, "seeds": {}, "content": now} for name in ("a", "gone")]
    write_json(tmp_path / "seeds.json", {"stages": ["01_a"], "runs": records, "entries": steps})
    page = build_report(tmp_path).read_text()
    assert "Over 2 seeds" in page
    assert "Over 2 seeds" not in plain
    assert EVIL not in page
