"""The report opens from disk alone, escapes what notebooks printed, and shows the ladder honestly."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest
import toy_run
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from toys import with_holes

from narrutils.data.files import write_json
from narrutils.data.intake.schema_file import load_schema
from narrutils.report import build
from narrutils.report.build import build_report, cost
from narrutils.report.ladder_view import headline, ladder_panels, ladder_tables
from narrutils.report.sections import flags

EVIL = "<script>alert('V & V')</script>"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def entry(step, score, split="oof", against="given", thresholds="cross_fitted", gain=None):
    return {
        "step": step,
        "model": "m",
        "split": split,
        "against": against,
        "thresholds": thresholds,
        "average_f1": score,
        "ci_low": score - 0.1,
        "ci_high": score + 0.1,
        "gain": gain,
        "gain_low": None if gain is None else gain - 0.01,
        "gain_high": None if gain is None else gain + 0.01,
        "n": 7,
        "per_variable": {},
    }


LADDER = [
    entry(f"base {EVIL}", 0.5),
    entry("base", 0.6, thresholds="in_sample"),
    entry("best", 0.55, gain=0.05),
    entry("best", 0.45, split="test"),
]


def write_notebook(path, title):
    cells = [
        new_markdown_cell(f"# {title}\n\nWhat *is* asked? More words.\n\n## One\n\n## Two\n\n## Three"),
        new_code_cell("x = 1", metadata={"tags": ["injected-parameters"]}),
        new_code_cell(
            f"print({EVIL!r})",
            outputs=[
                new_output("stream", text=f"{EVIL}\n 10%\r100%\n"),
                new_output("stream", name="stderr", text="a warning"),
                new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}),
                new_output("execute_result", {"text/plain": EVIL}),
            ],
        ),
    ]
    nbformat.write(new_notebook(cells=cells), path)


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("eda", "generation", "ensemble"), 1):
        write_notebook(tmp_path / f"0{number}_{name}.ipynb", f"Title {number}")
    write_json(tmp_path / "ladder.json", LADDER)
    write_json(
        tmp_path / "run.json",
        {
            "run": "toy",
            "description": EVIL,
            "data": {"title": "Toy task", "embedded": True, "hashes": {"train_labels.csv": "ab" * 32}},
            "parameters": {"01_eda": {"note": EVIL}},
            "stages": {
                "01_eda": {"seconds": 65, "peak_gigabytes": 1.5, "started": "2024-05-06T07:08:09+00:00"}
            },
            "stand_ins": [{"used": "small", "stands_for": "large"}, {"licence": None}],
        },
    )
    return tmp_path


def test_bytecode_beside_the_templates_changes_nothing(folder, tmp_path_factory, monkeypatch):
    page = build_report(folder)
    changed = page.stat().st_mtime_ns
    templates = shutil.copytree(build.TEMPLATES, tmp_path_factory.mktemp("package") / "templates")
    (templates / "__pycache__").mkdir(exist_ok=True)
    monkeypatch.setattr(build, "TEMPLATES", templates)
    assert build_report(folder).stat().st_mtime_ns == changed


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.sources, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []


def pages(folder):
    return {p.name: p.read_text(encoding="utf-8") for p in build_report(folder).parent.glob("*.html")}


def test_index_links_every_notebook_and_every_link_leads_somewhere(folder):
    found = pages(folder)
    assert {"01_eda.html", "02_generation.html", "03_ensemble.html"} <= set(Links(found["index.html"]).links)
    for text in found.values():
        files = {link for link in Links(text).links if not link.startswith("#")}
        assert files <= set(found)
        for anchor in (link[1:] for link in Links(text).links if link.startswith("#")):
            assert f'id="{anchor}"' in text


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The pages of a run that has every artefact and a malicious narrative everywhere."""
    return pages(toy_run.make_run(tmp_path_factory.mktemp("outputs") / "toy").folder)


def test_no_page_needs_the_network(full):
    for text in full.values():
        parsed = Links(text)
        assert not {"link", "iframe", "object", "embed", "form", "base"} & set(parsed.tags)
        assert all(source.startswith("data:") for source in parsed.sources)
        assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", text)


def test_the_policy_names_the_pages_own_script_and_style_and_nothing_else(full):
    for text in full.values():
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1].replace(
            "&#39;", "'"
        )
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == "data:"
        for tag, rule in (("script", "script-src"), ("style", "style-src")):
            inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
            hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in inside]
            assert rules[rule].split() == [f"'sha256-{found}'" for found in hashes]
            assert Links(text).tags.count(tag) == len(inside) == 1
        assert not re.search(r"<[^>]+\s(style|on\w+)=", re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_what_is_shown_is_escaped(folder):
    for text in pages(folder).values():
        assert EVIL not in text
    assert "&lt;script&gt;" in pages(folder)["index.html"]
    assert "&lt;script&gt;" in pages(folder)["01_eda.html"]


def test_half_a_character_does_not_stop_the_report(folder):
    path = folder / "01_eda.ipynb"
    path.write_text(path.read_text().replace("a warning", "a \\ud800 warning"))
    assert "a ? warning" in pages(folder)["01_eda.html"]


def test_index_says_what_scores_mean_and_where_help_is(folder):
    text = pages(folder)["index.html"]
    for part in (
        "988",
        "say nothing of real cases",
        "never replaces",
        "Toy task",
        "1 min 05 s, 1.5 GB",
        "6 May 2024",
        "large",
    ):
        assert part in text


def test_stand_ins_are_a_table_with_empty_cells_where_nothing_is_said(folder):
    section = pages(folder)["index.html"].partition('id="models"')[2].partition("</section>")[0]
    assert re.findall(r"<th scope[^>]*>(.*?)</th>", section) == ["used", "stands for", "licence"]
    assert re.findall(r"<td>(.*?)</td>", section) == ["small", "large", "", "", "", ""]


def test_code_is_folded_and_messages_too(folder):
    text = pages(folder)["01_eda.html"]
    assert text.count('<details class="code">') == 1
    assert text.count('<details class="code" open>') == 1
    assert '<details class="output code"><summary>messages' in text
    assert "100%" in text
    assert " 10%" not in text


def test_every_section_is_there_with_its_figures(full):
    text = full["index.html"]
    anchors = re.findall(r'<h2 id="(\w+)"', text)
    assert anchors == [
        "ladder",
        "variables",
        "flags",
        "findings",
        "generated",
        "changes",
        "notebooks",
        "models",
        "costs",
        "made",
    ]
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    found = ["90 cases", "1 of 3 generated rows kept", "copy 2", "3 labels changed", "6 min 00 s in all"]
    found += ["1.5 GB of memory", "Toy task", "20.0 % of the cases go to a person", "accuracy"]
    for part in found:
        assert part in shown, part


def test_a_section_without_its_artefact_is_left_out(tmp_path):
    run = toy_run.make_run(tmp_path / "toy")
    for name in (
        "flags.json",
        "ensemble.json",
        "labels/flips.parquet",
        "generated/made.parquet",
        "ladder.json",
        "findings/about.json",
    ):
        run.path(name).unlink()
    anchors = re.findall(r'<h2 id="(\w+)"', build_report(run.folder).read_text())
    assert anchors == ["notebooks", "models", "costs", "made"]


def test_the_score_of_each_variable_is_the_ladders(tmp_path):
    run = toy_run.make_run(tmp_path / "toy")
    last = [e for e in run.read("ladder.json") if (e["model"], e["split"], e["against"], e["thresholds"])
            == ("ensemble", "oof", "given", "cross_fitted")]  # fmt: skip
    shown = re.findall(r'data-value="([\d.]+)"><b>', build_report(run.folder).read_text())
    assert [float(value) for value in shown] == pytest.approx(list(last[0]["per_variable"].values()))


def test_variables_say_on_how_many_labels_they_stand(tmp_path):
    run = toy_run.make_run(tmp_path / "toy")
    cases, schema = run.read("cases.parquet").set_index("uid"), load_schema(toy_run.SCHEMA)
    none, whole, place = schema.names[0], schema.names[1], schema.categorical[0].name
    labels = with_holes(cases[schema.names], 0.2).assign(**{none: pd.array([None] * 90, "Int64")})
    labels[whole], places = cases[whole], labels.loc["a0":"a59", place].notna().sum()
    run.write("cases.parquet", cases.assign(**labels))
    ladder = run.read("ladder.json")
    for e in ladder:
        e["per_variable"][none] = None
    run.write("ladder.json", ladder)
    text = build_report(run.folder).read_text()
    table = text.split('id="variables"')[1].split("</table>")[0]
    rows = dict(zip(schema.names, table.split("<tr>")[2:], strict=True))
    told = {name: re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)) for name, row in rows.items()}
    assert "0 cases, of 0 labelled" in told[none] and "nan" not in told[none].lower()
    assert "labelled" not in told[whole]
    assert f", of {places} labelled" in told[place] and places < 60
    share = labels.loc["a0":"a59", place].value_counts(normalize=True).iloc[0]
    assert f'data-value="{share}"' in rows[place] and f"{100 * share:.1f}" in told[place]
    missing = labels.loc["a0":"a59"].isna().to_numpy().sum()
    assert f"<b>{missing:,}</b> labels missing" in text
    assert 'scope="col" class="n">Test</th>' in text  # though the first variable has no score there


def test_notebooks_follow_one_another(folder):
    found = pages(folder)
    assert re.search(
        r'rel="prev" href="01_eda.html".*rel="next" href="03_ensemble.html"',
        found["02_generation.html"],
        re.S,
    )


def test_ladder_tables_say_what_is_optimistic():
    tables = ladder_tables(LADDER)
    assert [t["optimistic"] for t in tables] == [False, False, True]
    rungs = tables[0]["rungs"]
    assert [r["value"] for r in rungs] == ["0.500", "0.550"]
    assert rungs[1]["gain_interval"] == "[+0.040, +0.060]"
    assert rungs[0]["gain"] == ""


def test_the_authors_ladder_stands_apart_and_only_beside_the_same_task():
    ours, theirs = ladder_panels(LADDER, "nvdrs")
    assert not ours["chip"]
    assert [row["figures"][0][0] for row in ours["rows"]] == ["0.500", "0.550"]
    assert "not comparable" in theirs["chip"]
    assert [row["figures"][1][0] for row in theirs["rows"]] == ["0.854", "0.86", "0.863", "0.869"]
    assert len(ladder_panels(LADDER, "osha")) == 1
    assert ladder_panels([], "nvdrs") == []


def test_a_step_without_a_test_score_leaves_its_place_empty():
    ours = ladder_panels(LADDER, None)[0]
    assert all(len(row["figures"]) == len(ours["columns"]) == 3 for row in ours["rows"])
    assert [row["figures"][1] for row in ours["rows"]] == [("", ""), ("0.450", "[0.350, 0.550]")]


def test_headline_is_the_last_step_cross_fitted():
    assert [(f["where"], f["value"]) for f in headline(LADDER)] == [
        ("Test, given labels", "0.450"),
        ("Out of fold, given labels", "0.550"),
    ]


def test_the_same_files_build_nothing_and_others_do(folder):
    index = build_report(folder)
    before = index.stat().st_ino
    assert build_report(folder).stat().st_ino == before
    write_json(folder / "ladder.json", LADDER[:1])
    assert "0.550" not in build_report(folder).read_text()


def test_a_bare_folder_still_makes_a_report(tmp_path):
    write_notebook(tmp_path / "01_eda.ipynb", "Alone")
    text = build_report(tmp_path).read_text()
    assert "Alone" in text
    assert "What is asked?" in text


def test_small_texts():
    assert cost({}) == ""
    assert cost({"seconds": 59.6, "peak_gigabytes": 0.25}) == "1 min 00 s, 0.2 GB"


def test_a_curve_of_one_point_is_no_curve():
    point = {"share": 0.1, "flagged": 0.1, "accuracy": 0.9}
    whole = {"share": 1, "flagged": 1, "accuracy": None}
    assert flags({"curve": [point, whole], "share": 0.1, "accuracy": 0.9, "accuracy_of_all": 0.8}) is None


def test_the_review_queue_is_linked_where_there_is_one(folder, monkeypatch):
    import narrutils.report.review_page

    asked = []
    monkeypatch.setattr(narrutils.report.review_page, "write_review", lambda *values: asked.append(values))
    assert "review.html" not in pages(folder)["index.html"]
    assert asked == []
    (folder / "review").mkdir()
    (folder / "review/about.json").write_text(json.dumps({}))
    assert 'href="review.html"' in pages(folder)["index.html"]
    assert asked[0][0].folder == folder
    assert asked[0][2]["pages"]
