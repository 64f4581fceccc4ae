"""The report: a first page with what came of a run, a page for every notebook, the review queue.

Plain HTML that opens from disk: style and script inlined, figures embedded, and a
content policy without any source that leaves the page (`render`). What a notebook
showed is data: it is escaped, or reduced to tables, prose and pictures (`pages`).
"""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

from narrutils.data.files import altered, atomic, digest, note_contents
from narrutils.data.run import Run
from narrutils.data.sources import source_digest
from narrutils.data.stages import check_whole
from narrutils.report.pages import read_page
from narrutils.report.render import TEMPLATES, render
from narrutils.report.tables import duration
from narrutils.tuning.files import FOLDER, RECORD, TRIALS

#: What a report is made from, besides the notebooks.
FACTS = (
    "run.json",
    "ladder.json",
    "seeds.json",
    "ensemble.json",
    "flags.json",
    "schema.json",
    "review/*",
    "findings/*",
    f"{FOLDER}/*/*.json",
    f"{FOLDER}/*/{TRIALS}",
    "cases.parquet",
    "folds.parquet",
    "truth.parquet",
    "labels/flips.parquet",
    "predictions/*_oof.parquet",
    "generated/*.parquet",
)
REVIEW = "review/about.json"  # its presence asks for a review queue
FINDINGS = "findings/about.json"  # and its, for a page of findings
TUNING = f"{FOLDER}/*/{RECORD}"  # and such a file's, for one of trials


def build_report(folder: str | Path) -> Path:
    """Build `report/` of a run folder from its notebooks and artefacts.

    Nothing is done where the report was already made from the same files.

    Returns:
        The path of `report/index.html`.

    Raises:
        InputError: the stages of the run do not belong together.
    """
    folder = Path(folder)
    check_whole(Run(folder))
    report, key = folder / "report", _key(folder)
    marker = report / ".key.json"
    said = json.dumps(key) + "\n"
    if not marker.exists() or marker.read_text(errors="replace") != said or altered(report):
        with atomic(report) as part:
            part.mkdir(parents=True)
            _write(folder, part)
            (part / marker.name).write_text(said, encoding="utf-8")
            note_contents(part)
    return report / "index.html"


def _key(folder: Path) -> str:
    templates = sorted(p for p in TEMPLATES.iterdir() if p.is_file())  # main.py's bytecode is none
    sources = [source_digest(__name__), *templates]
    facts = [path for name in FACTS for path in sorted(folder.glob(name))]
    return digest(*sources, *_notebooks(folder), *facts)


def _notebooks(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.ipynb"))


def _write(folder: Path, target: Path) -> None:
    from narrutils.report.sections import sections  # slow to import, and seldom needed: most reports stand

    run, record = Run(folder), read_record(folder)
    shared = shared_values(run, record)
    pages = shared["pages"]
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        values = {"page": page, "before": before, "after": after, "here": page.stage}
        _write_page(target / page.file, render("notebook.html.j2", shared | values))
    values = {"here": "", "run": record, "finished": _finished(record)} | sections(run, record)
    _write_page(target / "index.html", render("index.html.j2", shared | values))
    if shared["findings"]:
        from narrutils.report.findings.page import page

        _write_page(target / "findings.html", page(run, shared))
    if shared["tuning"]:
        from narrutils.report.tuned.page import page as tuning_page

        _write_page(target / "tuning.html", tuning_page(run, shared))
    if shared["review"]:
        from narrutils.report.review_page import write_review

        write_review(run, target, shared)


def _write_page(path: Path, html: str) -> None:
    """Write a page; half a character, which a broken narrative may hold, becomes a question mark."""
    path.write_text(html, encoding="utf-8", errors="replace")


def read_record(folder: Path) -> dict:
    """The content of `run.json`, with empty values for what a run does not say."""
    record = {"run": folder.name, "description": "", "parameters": {}, "data": {}, "versions": {}}
    return record | {"python": "", "platform": "", "git": None} | Run(folder).record()


def shared_values(run: Run, record: Mapping) -> dict:
    """What `base.html.j2` needs on every page: title, pages in order, what further pages there are."""
    pages = [read_page(path) for path in _notebooks(run.folder)]
    for page in pages:
        page.cost = cost(record["stages"].get(page.stage, {}))
    return {
        "title": record["data"].get("title") or record["run"],
        "embedded": record["data"].get("embedded", False),
        "pages": pages,
        "review": run.has(REVIEW),
        "findings": run.has(FINDINGS),
        "tuning": any(run.folder.glob(TUNING)),
    }


def cost(figures: Mapping) -> str:
    """`2 min 05 s, 1.4 GB`, or "" for a notebook that was not timed."""
    if "seconds" not in figures:
        return ""
    return f"{duration(figures['seconds'])}, {figures['peak_gigabytes']:.1f} GB"


def _finished(record: Mapping) -> str:
    started = max((s["started"] for s in record["stages"].values() if "started" in s), default="")
    day = datetime.datetime.fromisoformat(started) if started else None
    return f"{day.day} {day:%B %Y}" if day else ""
