"""The report: an index with the ladder, and a page for every executed notebook.

Plain HTML that opens from disk: one inlined style sheet, figures embedded, no script
and, by its content policy, no network. What a notebook printed is escaped; only the
HTML that a cell displayed (tables) is taken as it is.
"""

import datetime
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from narrutils.artifacts import atomic, digest, read_json
from narrutils.ladder import select
from narrutils.pages import read_page
from narrutils.provenance import read_run

TEMPLATES = Path(__file__).with_name("templates")
SPLITS = {"test": "Test cases", "oof": "Official cases, out-of-fold"}
AGAINST = {"given": "against the given labels", "truth": "against the planted truth"}
THRESHOLDS = {
    "cross_fitted": "cross-fitted thresholds",
    "half": "thresholds of one half",
    "in_sample": "in-sample thresholds",
}


def build_report(folder: str | Path) -> Path:
    """Build `report/` of a run folder from its notebooks, `run.json` and `ladder.json`.

    Nothing is done where the report was already made from the same files.

    Returns:
        The path of `report/index.html`.
    """
    folder = Path(folder)
    report, key = folder / "report", _key(folder)
    marker = report / ".key.json"
    if not (marker.exists() and read_json(marker) == key and (report / "index.html").exists()):
        with atomic(report) as part:
            part.mkdir(parents=True)
            _write(folder, part)
            (part / marker.name).write_text(json.dumps(key) + "\n", encoding="utf-8")
    return report / "index.html"


def _key(folder: Path) -> str:
    sources = [*sorted(TEMPLATES.iterdir()), Path(__file__), Path(__file__).with_name("pages.py")]
    return digest(*sources, *_notebooks(folder), *(p for p in _facts(folder) if p.exists()))


def _notebooks(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.ipynb"))


def _facts(folder: Path) -> list[Path]:
    return [folder / "run.json", folder / "ladder.json"]


def _write(folder: Path, target: Path) -> None:
    run = {"run": folder.name, "description": "", "parameters": {}, "data": {}, "versions": {}}
    run |= {"python": "", "platform": "", "git": None} | read_run(folder)
    pages = [read_page(path) for path in _notebooks(folder)]
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        page.before, page.after = before, after
        page.cost = cost(run["stages"].get(page.stage, {}))
    shared = {
        "title": run["data"].get("title") or run["run"],
        "embedded": run["data"].get("embedded", False),
        "pages": pages,
        "css": Markup(TEMPLATES.joinpath("report.css").read_text(encoding="utf-8")),
    }
    environment = _environment()
    for page in pages:
        html = environment.get_template("notebook.html.j2").render(shared, page=page, here=page.stage)
        (target / page.file).write_text(html, encoding="utf-8")
    ladder = read_json(folder / "ladder.json") if (folder / "ladder.json").exists() else []
    html = environment.get_template("index.html.j2").render(
        shared,
        here="",
        run=run,
        ladder=ladder_groups(ladder),
        headline=headline(ladder),
        stand_ins=as_table(run.get("stand_ins", [])),
        finished=_finished(run),
    )
    (target / "index.html").write_text(html, encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = lambda v: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)
    return environment


def ladder_groups(entries: list[dict]) -> list[dict]:
    """The ladder's entries by split, answer and thresholds, best comparable ones first.

    Every group has its `title`, `rungs`, the ends of its axis, and whether all of it is
    optimistic; `first` marks those that are shown unfolded.
    """
    groups = []
    for thresholds in THRESHOLDS:
        for split in SPLITS:
            for against in AGAINST:
                place = (split, against, thresholds)
                rungs = select(entries, *place)
                groups += [_group(place, rungs)] if rungs else []
    return groups


def _group(place: tuple[str, str, str], entries: list[dict]) -> dict:
    split, against, thresholds = place
    ends = [e[k] for e in entries for k in ("average_f1", "ci_low", "ci_high") if e[k] is not None]
    low, high = min(ends), max(ends)
    return {
        "title": f"{SPLITS[split]}, {AGAINST[against]}, {THRESHOLDS[thresholds]}",
        "first": thresholds == "cross_fitted",
        "optimistic": thresholds == "in_sample",
        "low": f"{low:.3f}",
        "high": f"{high:.3f}",
        "rungs": [_rung(e, low, max(high - low, 1e-9)) for e in entries],
    }


def _rung(entry: dict, low: float, width: float) -> dict:
    def place(value: float) -> float:
        return round(100 * (value - low) / width, 1)

    bar = None
    if entry["ci_low"] is not None:
        left = place(entry["ci_low"])
        bar = {"left": left, "width": round(place(entry["ci_high"]) - left, 1)}
    return {
        "step": entry["step"],
        "value": f"{entry['average_f1']:.3f}",
        "interval": interval(entry["ci_low"], entry["ci_high"]),
        "bar": bar,
        "at": place(entry["average_f1"]),
        "gain": "" if entry["gain"] is None else f"{entry['gain']:+.3f}",
        "gain_interval": interval(entry["gain_low"], entry["gain_high"], "+"),
        "optimistic": bool(entry.get("optimistic")),
    }


def headline(entries: list[dict]) -> list[dict]:
    """The last step's score in each setting that has cross-fitted thresholds."""
    figures = []
    for split, name in {"test": "Test", "oof": "Out-of-fold"}.items():
        for against, labels in {"given": "given labels", "truth": "planted truth"}.items():
            last = select(entries, split, against, "cross_fitted")[-1:]
            figures += [_figure(f"{name}, {labels}", entry) for entry in last]
    return figures


def _figure(where: str, entry: dict) -> dict:
    return {
        "where": where,
        "value": f"{entry['average_f1']:.3f}",
        "interval": interval(entry["ci_low"], entry["ci_high"]),
        "step": entry["step"],
        "n": entry["n"],
    }


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """`[0.701, 0.744]`, or "" where it is not known."""
    return "" if low is None or high is None else f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def as_table(rows: list[dict]) -> dict | None:
    """Mappings as columns and rows of text, the columns in order of first use."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return None
    cells = [["" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]
    return {"columns": [c.replace("_", " ") for c in columns], "rows": cells}


def cost(figures: dict) -> str:
    """`2 min 05 s, 1.4 GB`, or "" for a notebook that was not timed."""
    if "seconds" not in figures:
        return ""
    minutes, seconds = divmod(round(figures["seconds"]), 60)
    spent = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
    return f"{spent}, {figures.get('peak_gigabytes', 0):.1f} GB"


def _finished(run: dict) -> str:
    started = [s["started"] for s in run["stages"].values() if "started" in s]
    return datetime.datetime.fromisoformat(max(started)).strftime("%-d %B %Y") if started else ""
