"""What a cell showed loses all that acts, styles or fetches, and keeps its text and tables."""

import re
from html import unescape

import nbformat
import pandas as pd
import pytest
import toy_run
from nbformat.v4 import new_markdown_cell, new_notebook

from narrutils.report.pages import clean, read_page, tidy_tables

ACTIVE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/a.js>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>text</a>",
    "<a href='https://x.example'>text</a>",
    "<form action=x><button formaction='javascript:alert(1)'>text</button></form>",
    "<p style='background:url(//x.example)' onclick=alert(1)>text</p>",
    "<style>body { display: none }</style>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<scr<script></script>ipt>alert(1)</script>",
    "<meta http-equiv=refresh content='0;url=//x.example'><base href=//x.example>",
    "<link rel=stylesheet href=//x>",
]


@pytest.mark.parametrize("html", ACTIVE)
def test_nothing_that_acts_is_left(html):
    cleaned = clean(html).lower()
    for tag in ("script", "style", "img", "base", "svg", "iframe", "form", "meta", "link"):
        assert f"<{tag}" not in cleaned
    for part in ("onerror", "onload", "onclick", "style=", "href=", "src=", "example"):
        assert part not in cleaned


def test_tables_and_places_of_the_page_are_kept():
    kept = [
        '<table><thead><tr><th colspan="2">a</th></tr></thead></table>',
        '<h2 id="One">One<a href="#One">¶</a></h2>',
        '<div class="narratives"><p>a <span class="raises">b</span></p></div>',
    ]
    for html in kept:
        assert clean(html) == html


def test_escaped_text_stays_text():
    assert unescape(clean("<p>&lt;script&gt; &#36;5 a &amp; b</p>")) == "<p><script> $5 a & b</p>"
    assert "<script" not in clean("<p>&lt;script&gt;</p>")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["data.csv", "https://x.example/y", "half a \ud800 character", "a\x00b"])
def test_text_without_markup_stays_text(text):
    assert clean(text).startswith(text[:4].replace("\x00", ""))


def test_what_is_no_text_for_people_does_not_become_text():
    assert clean("a<style>p { color: red }</style><script>run()</script>b<svg><text>x</text></svg>") == "ab"


def tidied(html):
    return re.sub(r"\s*\n\s*|\xa0", "", str(clean(tidy_tables(html))))


def headings(html):
    return re.findall(r"<th(?: [^>]*)?>(.*?)</th>", html)


def test_columns_of_words_stand_left_and_of_figures_right():
    table = (
        '<table class="dataframe"><thead><tr><th></th><th>name</th><th>n</th></tr></thead>'
        "<tbody><tr><th>0</th><td>Sad</td><td>[0.1, 0.2]</td></tr>"
        "<tr><th>1</th><td>3</td><td>&lt;NA&gt;</td></tr></tbody></table>"
    )
    marked = tidied(table)
    assert re.findall(r'class="text">(\w+)', marked) == ["name", "Sad", "3"]
    assert marked.replace(' class="text"', "") == table
    spanned = table.replace("<th>n", '<th colspan="2">n')
    assert tidied(spanned) == spanned


@pytest.mark.parametrize("name", ["uid", None])
def test_pandas_and_its_styler_make_the_same_table(name):
    table = pd.DataFrame({"word": ["a <b>", "c"], "n": [1, 2]}, index=pd.Index(["x", "y"], name=name))
    plain, styled = tidied(table.to_html()), tidied(table.style.format(escape="html").to_html())
    assert plain == styled
    assert plain.count("<table") == plain.count('<table class="dataframe"') == 1
    assert headings(plain) == [name or "", "word", "n", "x", "y"]


@pytest.mark.parametrize(
    "html",
    [
        "<table><thead><tr><td>a</td></tr><tr></tr></thead></table>",
        "<table><tr></tr><tr><td>a<table><tr><th>b</td></table>",
        "<table><thead></thead><td>a",
        "<div>" * 3000 + "a",
    ],
)
def test_any_table_and_what_is_none_keeps_its_text(html):
    assert "a" in re.sub("<[^>]*>", "", tidied(html))


def test_names_of_columns_keep_their_row():
    table = pd.DataFrame({"n": [1]}, index=pd.Index(["x"], name="row")).rename_axis(columns="column")
    assert headings(tidied(table.to_html())) == ["column", "n", "row", "", "x"]


def written(folder, *sources):
    path = folder / "01_eda.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell(source) for source in sources]), path)
    return read_page(path)


def test_page_reads_title_purpose_and_sections(tmp_path):
    page = written(
        tmp_path, "# A *title*\n\n- a list\n\nWhat *is* asked? More words.", "## One\n\n## `Two` & 3", " "
    )
    assert (page.title, page.purpose, page.number, page.short) == ("A title", "What is asked?", "01", "eda")
    assert [text for _, text in page.sections] == ["One", "Two & 3"]
    assert all(f'<h2 id="{anchor}">' in unescape(page.cells[1]["html"]) for anchor, _ in page.sections)
    assert len(page.cells) == 2


def test_a_page_without_headings_is_named_after_its_file(tmp_path):
    page = written(tmp_path, "no sentence")
    assert (page.title, page.purpose, page.sections) == ("01_eda", "", [])


def test_a_page_keeps_what_asks_and_drops_the_number(tmp_path):
    toy_run.write_notebook(tmp_path / "01_eda.ipynb", "01 · Title", pd.DataFrame({"a": [1]}))
    page = read_page(tmp_path / "01_eda.ipynb")
    assert (page.title, page.heading, page.purpose) == ("01 · Title", "Title", "What is it?")
    assert {o["width"] for o in page.cells[-1]["outputs"] if o["kind"] == "image"} == {1, ""}
