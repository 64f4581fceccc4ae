"""The review page: what it shows and hides; narratives stay data; keys, filters and export work."""

import csv
import io
import json
import re
import stat

import numpy as np
import pandas as pd
import pytest
from test_evidence import Reader
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.data.run import Run
from narrutils.evaluation.evidence import leave_one_out
from narrutils.labels.review import case_digest, check_review, read_review
from narrutils.labels.review_queue import DOUBTFUL, MISSED, find_doubts, write_queue
from narrutils.report.review_page import contents, marks, write_review

pytestmark = pytest.mark.slow

SHARED = {"title": "Toy task", "embedded": True, "pages": [], "review": True, "findings": False}
N = 24
TELL = "He felt blue.The garden was wet."
HARMFUL = [
    "</script><script>window.hacked = 1</script> He felt blue.",
    "<img src=x onerror='window.hacked = 1'>He felt blue. <!-- <script> blue",
    "=HYPERLINK(\"http://x.test\",\"blue\").He felt calm. $\\href{javascript:x}{y}$ ${blue} {{ blue }}",
    "\u202eהוא היה blue. \u2067calm\u2069. The garden.",
    "😀😀 He felt blue 👨‍👩‍👧. The 😀 garden. Calm.",
    "He felt\0 blue.\u2028The garden.\u2029 Calm & <b>bold</b>.",
    "The garden was blue. " * 25_000,
    "",
]  # fmt: skip
ODD_UIDS = ["=1+1", "-2 ", "'=x", "@cmd", "a,\"b\"", "<i>", "+\u0663", "u" + "x" * 70]  # fmt: skip


def make_run(folder, show_text=True, rows=None, evidence_rows=4 * N):
    """A run with a queue over toy labels; harmful narratives and odd uids among its cases."""
    run = Run(folder, stage="06_ensemble")
    names = [*ODD_UIDS, *uids(N)[len(ODD_UIDS) :]]
    rename = dict(zip(uids(N), names))
    texts = pd.DataFrame({"First": TELL, "Second": "It was calm."}, index=uids(N)).rename(index=rename)
    texts.loc[names[: len(HARMFUL)], "First"] = HARMFUL
    labels = random_labels(TOY, N).rename(index=rename)
    reading = random_probabilities(TOY, uids(N)).rename(index=rename)
    folds = pd.Series(np.arange(N) % 2, index=labels.index)
    doubts = find_doubts(TOY, labels, {"ensemble": reading, "tfidf": reading}, {"tfidf": 1.0}, folds, rows)
    doubts["probability"] = np.linspace(0.99, 0.05, len(doubts))
    run.write("cases.parquet", texts.assign(split="train").join(labels))
    evidence = leave_one_out(Reader(), texts, doubts.head(evidence_rows)[["uid", "column"]], TOY)
    write_queue(run, TOY, labels, doubts, evidence, "tfidf", show_text)
    return run


def build(tmp_path, **options):
    run = make_run(tmp_path / "run", **options)
    write_review(run, tmp_path, SHARED)
    return run, tmp_path / "review.html"


def block(path):
    found = re.search(
        r'<script type="application/json" id="doubts">(.*?)</script>', path.read_text(), re.DOTALL
    )
    return found[1]


def payload(path):
    return json.loads(block(path))


def test_hidden_narratives_are_nowhere_in_the_page(tmp_path):
    _, path = build(tmp_path, show_text=False)
    html = path.read_text()
    assert "show_text: true" in html
    assert "cases" not in payload(path)
    for word in ("blue", "garden", "calm", "HYPERLINK"):
        assert word not in html
    assert all(doubt["marks"] == [] for doubt in payload(path)["doubts"])


def test_each_case_has_a_digest_salted_by_the_run_and_the_same_when_built_again(tmp_path):
    run, path = build(tmp_path, show_text=False)
    page, cases = payload(path), run.cases("train")
    for uid, cell in page["digests"].items():
        assert cell == case_digest(page["key"], uid, cases.loc[uid, TOY.text_columns])
    assert set(page["digests"]) == {doubt["uid"] for doubt in page["doubts"]}
    first = path.read_bytes()
    write_review(run, tmp_path, SHARED)
    assert path.read_bytes() == first


def test_shown_narratives_are_there_and_the_page_is_its_owners(built):
    run, path = built
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    cases = run.cases()
    for uid, texts in payload(path)["cases"].items():
        assert texts == cases.loc[uid, ["First", "Second"]].tolist()


def test_the_table_for_browsers_without_scripts_has_every_doubt(built):
    run, path = built
    table = re.search(r"<noscript>(.*?)</noscript>", path.read_text(), re.DOTALL)[1]
    assert table.count("<tr>") == 1 + len(run.read("review/queue.parquet"))
    assert "<i>" not in table
    assert "&lt;i&gt;" in table


def test_embedded_json_holds_nothing_that_ends_a_script(tmp_path):
    run, path = build(tmp_path)
    text = block(path)
    assert text.isascii()
    assert not set("<>&\0\u2028") & set(text)
    assert json.loads(text) == contents(run)["payload"]


def rows(*entries):
    return pd.DataFrame(entries, columns=["text", "start", "end", "effect"])


def test_marks_count_as_the_browser_does_and_are_graded_and_signed():
    texts = {"First": "😀 a. b. c. d.", "Second": "e. f."}
    evidence = rows(
        ("Second", 0, 2, 0.3), ("First", 2, 4, -0.15), ("First", 5, 7, 0.07), ("First", 8, 10, 0.02)
    )
    assert marks(evidence, texts) == [
        [0, 3, 5, -2, "−15"],  # the emoji is two units
        [0, 6, 8, 1, "+7"],
        [1, 0, 2, 3, "+30"],
    ]
    assert [m[3] for m in marks(evidence, texts, -1)] == [2, -1, -3]


def test_what_moves_nothing_is_not_marked():
    assert marks(rows(("First", 0, 2, 0.004), ("First", 3, 5, 0.0)), {"First": "a. b."}) == []


def test_evidence_for_a_doubtful_positive_is_turned_around(built):
    run, _ = built
    evidence, marked = run.read("review/evidence.parquet"), set()
    for doubt, column in zip(contents(run)["doubts"], run.read("review/queue.parquet")["column"]):
        found = evidence[(evidence["uid"] == doubt["uid"]) & (evidence["column"] == column)]
        if doubt["marks"]:
            strongest = max(doubt["marks"], key=lambda mark: abs(mark[3]))[3]
            sign = -1 if doubt["direction"] == DOUBTFUL else 1
            assert (strongest > 0) == (sign * found.iloc[0]["effect"] > 0)
            marked.add(doubt["direction"])
    assert {DOUBTFUL, MISSED} <= marked


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(run, path of its page), for tests that change neither."""
    return build(tmp_path_factory.mktemp("review"))


@pytest.fixture
def opened(built, browser_page):
    """(page, log, run, path) of the review page in a browser."""
    (page, log), (run, path) = browser_page, built
    page.goto(path.as_uri())
    yield page, log, run, path
    assert log.errors == []
    assert log.outside == []


def shown(page):
    return page.locator("#list > li:not([hidden])")


def export(page):
    """What the export button gives, read as a CSV file."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Export decisions").click()
    text = download.value.path().read_bytes().decode()
    assert download.value.suggested_filename == "review.csv"
    return list(csv.DictReader(io.StringIO(text)))


def press(page, keys):
    for key in keys.split():
        page.keyboard.press(key)


def test_narratives_are_data_in_a_browser(opened):
    page, _, run, _ = opened
    cases, queue = run.cases(), run.read("review/queue.parquet")
    for n, uid in enumerate(queue["uid"].head(20)):
        shown(page).nth(n).locator(".head").click()
        texts = page.locator(".open .narratives p")
        for column, text in zip(TOY.text_columns, (texts.nth(0), texts.nth(1))):
            spoken = text.evaluate(
                "e => [...e.childNodes].filter(n => n.nodeName !== 'SUP').map(n => n.textContent).join('')"
            )
            assert spoken == (cases.loc[uid, column] or "empty")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#list :is(script, img, i[onerror], a, b b)").count() == 0
    assert set(queue["uid"].head(20)) & set(ODD_UIDS)


def test_evidence_is_marked_by_line_and_shade(opened):
    page, _, run, _ = opened
    plain = run.read("review/queue.parquet")["uid"].str.startswith("u").to_numpy().argmax()
    shown(page).nth(int(plain)).locator(".head").click()
    marked = page.locator(".open mark")
    assert {"He felt blue.", "It was calm."} <= set(marked.all_text_contents())
    looks = marked.evaluate_all(
        "all => all.map(e => { const s = getComputedStyle(e);"
        " return [e.classList[0], s.textDecorationLine, s.textDecorationStyle, s.backgroundColor] })"
    )
    for kind, line, style, shade in looks:
        assert (line, style) == ("underline", {"for": "solid", "against": "dashed"}[kind])
        assert shade != "rgba(0, 0, 0, 0)"


def test_keys_decide_move_undo_and_help(opened):
    page, _, _, _ = opened
    count, current = page.locator("#count"), page.locator(".open .rank")
    press(page, "j a")
    assert current.text_content() == "2"
    press(page, "r ArrowDown k a")
    assert count.text_content().startswith("3 of ")
    assert "2 accepted, 1 refused" in count.text_content()
    press(page, "u")
    assert "1 accepted, 1 refused" in count.text_content()
    assert current.text_content() == "3"
    press(page, "u u u ArrowUp")
    assert count.text_content().startswith("0 of ")
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "a")
    assert count.text_content().startswith("0 of ")
    press(page, "Escape")
    assert not page.locator("#help").is_visible()
    press(page, "Control+a")
    assert count.text_content().startswith("0 of ")


def test_filters_by_variable_direction_confidence_and_decision(opened):
    page, _, run, _ = opened
    queue = run.read("review/queue.parquet")
    page.get_by_label("Variable").select_option("Place")
    assert shown(page).count() == (queue["variable"] == "Place").sum()
    page.get_by_label("Variable").select_option("")
    page.get_by_label("Direction").select_option(DOUBTFUL)
    assert shown(page).count() == (queue["direction"] == DOUBTFUL).sum()
    percent = int(100 * queue.loc[queue["direction"] == DOUBTFUL, "probability"].median())
    page.get_by_label("At least").fill(str(percent))
    sure = (queue["direction"] == DOUBTFUL) & (queue["probability"].round(4) >= percent / 100)
    assert 0 < sure.sum() < (queue["direction"] == DOUBTFUL).sum()
    assert shown(page).count() == sure.sum()
    page.locator("h1").click()
    press(page, "j a")
    page.get_by_label("Show").select_option("done")
    assert shown(page).count() == 1
    page.get_by_label("At least").fill("100")
    assert page.locator("#none").is_visible()


def test_the_export_reads_back_exactly_and_holds_no_text(tmp_path, opened):
    page, _, run, _ = opened
    queue = run.read("review/queue.parquet")
    press(page, "j")
    press(page, " ".join("ar"[n % 2] for n in range(len(queue))))
    made = export(page)
    columns = ["uid", "variable", "decision", "label_before", "label_after", "case"]
    assert [list(row) for row in made[:1]] == [columns]
    assert [row["decision"] for row in made[:2]] == ["accept", "refuse"]
    assert not [row for row in made if row["uid"][:1] in tuple("=+-@")]
    file = tmp_path / "review.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, made[0], lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(made)
    cases = run.cases()
    decisions, passed_over = check_review(read_review(file), TOY, cases[TOY.names], cases)
    assert passed_over == []
    columns = ["uid", "variable", "label_before", "label_after"]
    pd.testing.assert_frame_equal(decisions[columns], queue[columns], check_dtype=False)


def test_decisions_survive_a_reload_and_a_queue_made_again(tmp_path, browser_page):
    page, _ = browser_page
    run, path = build(tmp_path)
    page.goto(path.as_uri())
    press(page, "j a r")
    page.reload()
    assert page.locator("#count").text_content().startswith("2 of ")
    again = run.read("review/queue.parquet").iloc[1:]
    run.write("review/queue.parquet", again)
    write_review(run, path.parent, SHARED)
    page.reload()
    assert page.locator("#count").text_content().startswith("1 of ")
    assert len(export(page)) == 1


def test_without_storage_the_page_works_and_says_so(tmp_path, browser_page):
    page, log = browser_page
    _, path = build(tmp_path)
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied'); } })"
    )
    page.goto(path.as_uri())
    press(page, "j a")
    assert page.locator("#count").text_content().startswith("1 of ")
    assert "export" in page.locator("#kept").text_content()
    assert len(export(page)) == 1
    assert log.errors == []


def test_an_empty_queue_opens(tmp_path, browser_page):
    page, log = browser_page
    _, path = build(tmp_path, rows=0)
    page.goto(path.as_uri())
    press(page, "j a u r")
    assert page.locator("#count").text_content().startswith("0 of 0")
    assert log.errors == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_runs_over_the_side(opened, width):
    page, _, _, _ = opened
    page.set_viewport_size({"width": width, "height": 800})
    press(page, "j " + "a r " * 20)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
