"""The ladder as the report shows it: two charts on axes of their own, plain tables, headline figures."""

from narrutils.evaluation.ladder import select
from narrutils.report import published
from narrutils.report.charts import Mark, fit_axis, scale, sign, strip
from narrutils.report.tables import figure, interval

SPLITS = {"oof": "Official cases, out of fold", "test": "Test cases"}
AGAINST = {"given": "against the given labels", "truth": "against the planted truth"}
THRESHOLDS = {
    "cross_fitted": "cross-fitted thresholds",
    "half": "thresholds of one half",
    "in_sample": "in-sample thresholds",
}


def ladder_panels(entries: list[dict], schema_name: str | None) -> list[dict]:
    """The charts: this run, the author's report where the task is the same, this run against the truth."""
    panels = [_ours(entries, a) for a in AGAINST if select(entries, "oof", a, "cross_fitted")]
    if panels and schema_name == published.SCHEMA:
        panels.insert(1, _reported())
    return panels


def _ours(entries: list[dict], against: str) -> dict:
    rungs = select(entries, "oof", against, "cross_fitted")
    test = {e["step"]: e for e in select(entries, "test", against, "cross_fitted")}
    ends = [e[k] for e in (*rungs, *test.values()) for k in ("average_f1", "ci_low", "ci_high")]
    axis = fit_axis([value for value in ends if value is not None])
    columns = ["Out of fold", *(["Test"] if test else []), "Gain, out of fold"]
    return {
        "title": f"This run, {AGAINST[against]}",
        "chip": "",
        "other": False,
        "text": "Average F1, cross-fitted thresholds.",
        "legend": [(sign("dot"), "out of fold"), *([(sign("diamond"), "test")] if test else [])],
        "columns": columns,
        "rows": [_our_row(axis, e, test.get(e["step"]), bool(test)) for e in rungs],
        "scale": scale(axis),
    }


def _our_row(axis, entry: dict, test: dict | None, with_test: bool) -> dict:
    marks = [_interval_mark(entry, "dot", 17 if test else 24)]
    marks += [_interval_mark(test, "diamond", 33)] if test else []
    figures = [(figure(e["average_f1"]), interval(e["ci_low"], e["ci_high"])) for e in (entry, test) if e]
    figures += [("", "")] if with_test and not test else []
    gain = figure(entry["gain"], "+")
    return {
        "step": entry["step"],
        "remark": "",
        "optimistic": bool(entry.get("optimistic")),
        "strip": strip(axis, marks, height=50),
        "figures": [*figures, (gain, interval(entry["gain_low"], entry["gain_high"], "+"))],
    }


def _interval_mark(entry: dict, shape: str, y: int) -> Mark:
    return Mark(entry["average_f1"], shape, entry["ci_low"], entry["ci_high"], y)


def _reported() -> dict:
    kinds = {"cv": ("square", "CV"), "public": ("diamond", "public LB"), "private": ("cross", "private LB")}
    values = [v for step in published.LADDER for kind in kinds if (v := getattr(step, kind)) is not None]
    axis = fit_axis(values)
    rows = []
    for step in published.LADDER:
        known = {kind: getattr(step, kind) for kind in kinds}
        marks = [Mark(v, kinds[kind][0], y=25) for kind, v in known.items() if v is not None]
        figures = [("" if v is None else f"{v:.4g}", "") for v in known.values()]
        strips = {"strip": strip(axis, marks, height=50), "figures": figures}
        rows.append({"step": step.step, "remark": step.remark, "optimistic": False} | strips)
    return {
        "title": "What the method's author reported",
        "chip": "another data set: not comparable",
        "other": True,
        "text": "Average F1 on the challenge's real, confidential cases, with models of up to 9 billion "
        "parameters and in-sample thresholds; no intervals were reported. The axis is its own.",
        "legend": [(sign(shape), name) for shape, name in kinds.values()],
        "columns": [name for _, name in kinds.values()],
        "rows": rows,
        "scale": scale(axis),
    }


def ladder_tables(entries: list[dict]) -> list[dict]:
    """The ladder's entries by thresholds, split and answer; each with `title`, `rungs`, `optimistic`."""
    tables = []
    for thresholds in THRESHOLDS:
        for split in SPLITS:
            for against in AGAINST:
                rungs = select(entries, split, against, thresholds)
                title = f"{SPLITS[split]}, {AGAINST[against]}, {THRESHOLDS[thresholds]}"
                table = {"title": title, "optimistic": thresholds == "in_sample"}
                tables += [table | {"rungs": [_rung(e) for e in rungs]}] if rungs else []
    return tables


def _rung(entry: dict) -> dict:
    return {
        "step": entry["step"],
        "value": figure(entry["average_f1"]),
        "interval": interval(entry["ci_low"], entry["ci_high"]),
        "gain": figure(entry["gain"], "+"),
        "gain_interval": interval(entry["gain_low"], entry["gain_high"], "+"),
        "optimistic": bool(entry.get("optimistic")),
    }


def headline(entries: list[dict]) -> list[dict]:
    """The last step's score in each setting that has cross-fitted thresholds."""
    figures = []
    for split, name in {"test": "Test", "oof": "Out of fold"}.items():
        for against, labels in {"given": "given labels", "truth": "planted truth"}.items():
            last = select(entries, split, against, "cross_fitted")[-1:]
            figures += [_figure(f"{name}, {labels}", entry) for entry in last]
    return figures


def _figure(where: str, entry: dict) -> dict:
    return {
        "where": where,
        "value": figure(entry["average_f1"]),
        "interval": interval(entry["ci_low"], entry["ci_high"]),
        "step": entry["step"],
        "n": entry["n"],
    }
