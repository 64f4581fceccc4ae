"""The report in a real browser, opened from disk as its readers open it."""

import pytest
import toy_run

from narrutils.report.build import build_report

PAGES = ["index", "findings", *toy_run.STAGES]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Folder of the report of a small run full of malicious narratives."""
    run = toy_run.make_run(tmp_path_factory.mktemp("outputs") / "toy")
    return build_report(run.folder).parent


@pytest.fixture
def opened(report, browser_page):
    """Open a page of the report by its name; errors and requests are judged at the end."""
    page, log = browser_page

    def open_page(name="index"):
        page.goto((report / f"{name}.html").as_uri())
        return page

    yield open_page
    assert log.errors == []
    assert log.outside == []


def column(table, number):
    """Texts of a column's cells that can be seen, without what stands below them in small print."""
    cells = table.locator(f"tbody tr:not([hidden]) > :nth-child({number})")
    small = "c.querySelector('small')?.textContent ?? ''"
    return cells.evaluate_all(f"cells => cells.map(c => c.textContent.replace({small}, ''))")


@pytest.mark.parametrize("name", PAGES)
def test_page_opens_without_errors_or_requests_and_nothing_runs(opened, name):
    page = opened(name)
    assert page.title().endswith("Toy task")
    policy = page.locator('meta[http-equiv="Content-Security-Policy"]').get_attribute("content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.evaluate("getComputedStyle(document.body).display") == "block"


def test_policy_stops_what_the_page_did_not_bring(report, browser_page):
    page, log = browser_page
    page.goto((report / "index.html").as_uri())
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')"
    )
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 2'}))"
    )
    page.wait_for_timeout(100)
    assert page.title() == "Toy task"
    assert log.errors


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(opened, name):
    page = opened(name)
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_navigation_goes_through_all_pages_and_back(opened):
    page = opened()
    page.click(".pages a >> nth=0")
    seen = [page.locator("h1").inner_text()]
    while page.locator("a[rel=next]").get_attribute("href") != "index.html":
        page.click("a[rel=next]")
        seen.append(page.locator("h1").inner_text())
    assert seen == ["01 · Title 1", "02 · Title 2", "03 · Title 3"]
    page.click("a[rel=prev]")
    assert page.locator("h1").inner_text() == seen[1]
    page.click(".contents a >> text=Two")
    assert page.url.endswith("#Two")
    page.click("nav.site a.home")
    assert page.url.endswith("index.html")


def test_a_table_is_sorted_by_click_and_by_key(opened):
    page = opened()
    table = page.locator("table.variables")
    as_stored, header = column(table, 3), table.locator("thead th >> nth=2")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(table, 3) == sorted(as_stored)
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(table, 3) == sorted(as_stored, reverse=True)
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") is None
    assert column(table, 3) == as_stored


def test_what_is_missing_is_sorted_last_both_ways(opened):
    table = opened().locator("table.variables")
    for _ in range(2):
        table.get_by_role("button", name="Threshold").click()
        found = column(table, 8)
        assert found[-2:] == ["–", "–"]
        assert "–" not in found[:-2]


def test_a_long_table_is_filtered_by_typing(opened):
    page = opened()
    box = page.locator("label.tools", has=page.locator("output")).first
    box.locator("input").focus()
    page.keyboard.type("diagnosis anx")
    assert column(page.locator("table.variables"), 1) == ["DiagnosisAnxiety"]
    assert box.locator("output").inner_text() == "1 of 23 rows"
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    assert len(column(page.locator("table.variables"), 1)) == 23


def test_tables_of_notebooks_sort_and_filter_too(opened):
    page = opened("01_eda")
    tables = page.locator("table.dataframe")
    assert tables.count() == 2
    for number in range(2):
        tables.nth(number).get_by_role("button", name="uid").click()
        names = column(tables.nth(number), 1)
        assert names == sorted(names, key=lambda name: int(name[1:]))
    assert page.locator("input[type=search]").count() == 2


def test_code_is_folded_and_reachable_by_key(opened):
    page = opened("02_generation")
    code = page.locator("details.code:not([open]) .highlight").first
    assert not code.is_visible()
    page.get_by_role("button", name="Show all code").focus()
    page.keyboard.press("Enter")
    assert page.locator("details.code .highlight").last.is_visible()


def test_the_first_key_leads_to_the_content(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#content"


@pytest.mark.parametrize("name", PAGES[:2])
def test_text_stands_out_in_light_and_dark(opened, name):
    page = opened(name)
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for selector in ("body", ".site a", "footer", "h1"):
            ink = page.evaluate("s => getComputedStyle(document.querySelector(s)).color", selector)
            assert contrast(ink, ground) >= 4.5, (scheme, selector)
        grounds.append(luminance(ground))
    assert grounds[0] > 0.8 > 0.1 > grounds[1]


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` as WCAG 2 defines it."""
    channels = [int(c) / 255 for c in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(c * w for c, w in zip(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_everything_is_there_without_script(report, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((report / "index.html").as_uri())
    assert page.locator("table.variables tbody tr").count() == 23
    assert page.locator("figure.panel").count() == 3
    assert page.locator("button").count() == 0
    context.close()
