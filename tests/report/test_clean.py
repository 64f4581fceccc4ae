"""What a cell showed loses all that acts, styles or fetches, and keeps its text and tables."""

import pytest

from narrutils.report.clean import clean

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
        '<h2 id="One">One<a class="anchor-link" href="#One">¶</a></h2>',
        '<div class="narratives"><p>a <span class="raises">b</span></p></div>',
    ]
    for html in kept:
        assert clean(html) == html


def test_escaped_text_stays_text():
    assert clean("<p>&lt;script&gt; &#36;5 a &amp; b</p>") == "<p>&lt;script&gt; &#36;5 a &amp; b</p>"


def test_what_is_no_text_for_people_does_not_become_text():
    assert clean("a<style>p { color: red }</style><script>run()</script>b<svg><text>x</text></svg>") == "ab"
