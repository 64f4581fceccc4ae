"""The list of sources that disagree on the review page: marks, decisions of its own, one export."""

import pandas as pd
import pytest
from test_review_page import SHARED, export, make_run, payload, press, shown
from toys import TOY, uids

from narrutils.findings.sources.disagreements import COLUMNS, DISAGREEMENTS
from narrutils.labels.review import check_review, read_review
from narrutils.report.review_page import contents, write_review

UIDS = uids(24)[10:16]
SWITCH = "Sources that disagree"


def disagreements(run) -> pd.DataFrame:
    """Of each variable some, the last of a test case and the one before without a label."""
    labels, rows = run.cases("train")[TOY.names], []
    for uid in UIDS:
        rows.append(
            (uid, "train", "Sad", "First", 1, 0.9, 0, 12, "Second", 0, 0.2, 0, 12, labels.at[uid, "Sad"])
        )
    rows.append(
        (
            UIDS[0],
            "train",
            "Place",
            "First",
            2,
            0.9,
            0,
            12,
            "Second",
            3,
            0.95,
            0,
            12,
            labels.at[UIDS[0], "Place"],
        )
    )
    rows.append((UIDS[1], "train", "Note", "Second", 1, 0.8, 0, 12, "First", 0, 0.1, 12, 31, None))
    rows.append(("t000", "test", "Note", "First", 1, 0.7, 0, 12, "Second", 0, 0.2, 0, 12, 1))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"label": "Int64"})


def build(folder, **options):
    run = make_run(folder / "run", **options)
    run.write(DISAGREEMENTS, disagreements(run))
    write_review(run, folder, SHARED)
    return run, folder / "review.html"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("review"))


@pytest.fixture
def opened(built, browser_page):
    (page, log), (run, path) = browser_page, built
    page.goto(path.as_uri())
    yield page, run, path
    assert log.errors == []
    assert log.outside == []


def test_only_labelled_training_cases_are_listed_and_another_code_is_proposed(built):
    run, path = built
    items, labels = payload(path)["disagreements"], run.cases("train")
    assert [i["uid"] for i in items] == [*UIDS, UIDS[0]]
    for item in items:
        assert item["before"] == labels.at[item["uid"], item["variable"]] != item["after"]
    sad = items[0]
    assert sad["after"] == 1 - sad["before"]
    assert sad["says"] == [[0, "says so", 0.9], [1, "says not", 0.2]]
    place = items[-1]
    assert place["says"] == [[0, "says 2 out", 0.9], [1, "says 3 unknown", 0.95]]
    assert place["after"] == (2 if place["before"] == 3 else 3)


def test_the_sentence_of_each_source_is_marked_where_text_is_shown(built, tmp_path):
    sad = payload(built[1])["disagreements"][0]
    assert sad["marks"] == [[0, 0, 12, 3, "so"], [1, 0, 12, -3, "not"]]
    _, path = build(tmp_path, show_text=False)
    assert all(item["marks"] == [] for item in payload(path)["disagreements"])
    assert "blue" not in path.read_text()
    assert set(UIDS) <= set(payload(path)["digests"])


def test_a_run_without_disagreements_has_one_list_and_no_switch(tmp_path, browser_page):
    page, log = browser_page
    run = make_run(tmp_path / "run")
    write_review(run, tmp_path, SHARED)
    assert contents(run)["disagreements"] == []
    page.goto((tmp_path / "review.html").as_uri())
    assert not page.get_by_role("button", name=SWITCH).is_visible()
    press(page, "s j a")
    assert page.locator("#count").text_content().startswith("1 of ")
    assert log.errors == []


def test_the_switch_shows_the_other_list_with_its_own_words(opened):
    page, _, path = opened
    queue = shown(page).count()
    page.get_by_role("button", name=SWITCH).click()
    assert shown(page).count() == 7 != queue
    assert "disagree" in page.locator(".lead:visible").text_content()
    press(page, "j")
    assert "First says so" in page.locator(".open .change").text_content()
    assert page.locator(".open mark").all_text_contents() == ["He felt blue", "It was calm."]
    press(page, "s")
    assert shown(page).count() == queue
    assert "models disagree with" in page.locator(".lead:visible").text_content()


def test_the_address_may_ask_for_the_list(opened):
    page, _, path = opened
    page.goto("about:blank")
    page.goto(path.as_uri() + "#disagreements")
    assert shown(page).count() == 7


def test_filters_are_those_of_the_list(opened):
    page, _, _ = opened
    page.get_by_label("Variable").select_option("Tool")
    press(page, "s")
    assert shown(page).count() == 7
    page.get_by_label("Variable").select_option("Place")
    assert shown(page).count() == 1


def test_decisions_of_the_lists_are_kept_apart_and_exported_together(tmp_path, browser_page):
    page, log = browser_page
    run, path = build(tmp_path)
    page.goto(path.as_uri())
    press(page, "j a r s")
    assert page.locator("#count").text_content().startswith("0 of 7")
    press(page, "j a a r")
    page.reload()
    assert page.locator("#count").text_content().startswith("2 of ")
    press(page, "s")
    assert page.locator("#count").text_content().startswith("3 of 7 decided: 2 accepted, 1 refused")
    press(page, "j j u")
    assert page.locator("#count").text_content().startswith("2 of 7")
    press(page, "r")
    rows = export(page)
    file = tmp_path / "review.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    cases = run.cases()
    train = cases[cases["split"] == "train"]
    decisions, passed_over = check_review(read_review(file), TOY, train[TOY.names], train)
    assert passed_over == []
    mine = decisions[decisions["variable"].eq("Sad") & decisions["uid"].isin(UIDS[:3])]
    assert mine["decision"].tolist()[-3:] == ["accept", "refuse", "refuse"]
    assert log.errors == []


def test_one_label_decided_in_two_ways_is_told(tmp_path, browser_page):
    page, _ = browser_page
    run = make_run(tmp_path / "run")
    doubt = run.read("review/queue.parquet").iloc[0]
    table = disagreements(run).head(1).assign(uid=doubt["uid"], variable=doubt["variable"])
    says = {"says": doubt["label_after"], "other_says": doubt["label_before"], "label": doubt["label_before"]}
    run.write(DISAGREEMENTS, table.assign(**says))
    write_review(run, tmp_path, SHARED)
    page.goto((tmp_path / "review.html").as_uri())
    press(page, "j a s j r")
    assert "neither" in page.locator("#kept").text_content()
    press(page, "u")
    assert page.locator("#kept").text_content() == ""


def test_without_scripts_there_is_a_table(built, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(built[1].as_uri())
    assert page.locator("table").nth(1).locator("tbody tr").count() == 7
    assert "First says so (0.90); Second says not (0.20)" in page.locator("table").nth(1).text_content()
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_runs_over_the_side(opened, width):
    page, _, _ = opened
    page.set_viewport_size({"width": width, "height": 800})
    press(page, "s j a j")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
