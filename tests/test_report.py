"""The report opens from disk alone, escapes what notebooks printed, and shows the ladder honestly."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from narrutils.artifacts import write_json
from narrutils.pages import align_text, read_page
from narrutils.report import as_table, build_report, cost, headline, ladder_groups

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
            "stand_ins": [{"used": "small", "stands_for": "large"}],
        },
    )
    return tmp_path


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


def test_no_page_needs_the_network_or_runs_a_script(folder):
    for text in pages(folder).values():
        parsed = Links(text)
        assert "script" not in parsed.tags
        assert "link" not in parsed.tags
        assert all(source.startswith("data:") for source in parsed.sources)
        assert "default-src 'none'" in text
        assert not re.search(r"https?://|@import|url\(", text)


def test_what_is_shown_is_escaped(folder):
    for text in pages(folder).values():
        assert "<script" not in text
    assert "&lt;script&gt;" in pages(folder)["index.html"]
    assert "&lt;script&gt;" in pages(folder)["01_eda.html"]


def test_index_says_what_scores_mean_and_where_help_is(folder):
    text = pages(folder)["index.html"]
    for part in (
        "988",
        "say nothing of real cases",
        "never replaces",
        "Toy task",
        "1 min 05 s, 1.5 GB",
        "large",
    ):
        assert part in text


def test_code_is_folded_and_messages_too(folder):
    text = pages(folder)["01_eda.html"]
    assert text.count('<details class="code">') == 1
    assert text.count('<details class="code" open>') == 1
    assert '<details class="output code"><summary>messages' in text
    assert "100%" in text
    assert " 10%" not in text


def test_notebooks_follow_one_another(folder):
    found = pages(folder)
    assert re.search(
        r'rel="prev" href="01_eda.html".*rel="next" href="03_ensemble.html"',
        found["02_generation.html"],
        re.S,
    )


def test_ladder_marks_what_is_optimistic_and_folds_it():
    groups = ladder_groups(LADDER)
    assert [(g["optimistic"], g["first"]) for g in groups] == [(False, True), (False, True), (True, False)]
    rungs = groups[1]["rungs"]
    assert [r["value"] for r in rungs] == ["0.500", "0.550"]
    assert rungs[1]["gain_interval"] == "[+0.040, +0.060]"
    assert rungs[0]["gain"] == ""
    assert all(
        0 <= r["bar"]["left"] <= r["at"] <= r["bar"]["left"] + r["bar"]["width"] <= 100.01 for r in rungs
    )


def test_headline_is_the_last_step_cross_fitted():
    assert [(f["where"], f["value"]) for f in headline(LADDER)] == [
        ("Test, given labels", "0.450"),
        ("Out-of-fold, given labels", "0.550"),
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


def test_page_reads_title_purpose_and_sections(folder):
    page = read_page(folder / "01_eda.ipynb")
    assert (page.title, page.purpose, page.number, page.short) == ("Title 1", "What is asked?", "01", "eda")
    assert [text for _, text in page.sections] == ["One", "Two", "Three"]


def test_columns_of_words_stand_left_and_of_figures_right():
    table = (
        '<table class="dataframe"><thead><tr><th></th><th>name</th><th>n</th></tr></thead>'
        "<tbody><tr><th>0</th><td>Sad</td><td>[0.1, 0.2]</td></tr>"
        "<tr><th>1</th><td>3</td><td>NaN</td></tr></tbody></table>"
    )
    marked = align_text(table)
    assert re.findall(r'class="text">(\w+)', marked) == ["name", "Sad", "3"]
    assert marked.replace(' class="text"', "") == table
    spanned = table.replace("<th>n", "<th colspan=2>n")
    assert align_text(spanned) == spanned


def test_small_texts():
    assert cost({}) == ""
    assert cost({"seconds": 59.6, "peak_gigabytes": 0.25}) == "1 min 00 s, 0.2 GB"
    assert as_table([]) is None
    assert as_table([{"a_b": 1}, {"c": None}]) == {"columns": ["a b", "c"], "rows": [["1", ""], ["", ""]]}
