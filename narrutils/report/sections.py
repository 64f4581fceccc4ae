"""The sections of the report's first page: tables of `facts` with figures as text and charts beside them.

A section whose artefact is missing is None or empty, and the page leaves it out.
"""

from collections.abc import Mapping

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.evaluation.ensemble import STUDENT, TEACHER
from narrutils.evaluation.ladder import select
from narrutils.report import facts, plots
from narrutils.report.charts import Axis, Mark, bar, picture, sparkline, strip
from narrutils.report.ladder_view import headline, ladder_panels, ladder_tables, seeds_view
from narrutils.report.say import WHERE
from narrutils.report.tables import duration, figure, interval, percent

UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def sections(run: Run, record: Mapping) -> dict:
    """Everything that `index.html.j2` shows of a run, by the names that it uses there.

    Args:
        record: the content of `run.json`.
    """
    ladder = run.read("ladder.json") if run.has("ladder.json") else []
    schema = run.schema.scored if run.has("schema.json") else None
    found = {
        "headline": headline(ladder),
        "panels": ladder_panels(ladder, schema.name if schema else None),
        "ladder": ladder_tables(ladder),
        "seeds": seeds_view(facts.seeds(run)),
        "costs": costs(record),
        "parameters": facts.parameters(record),
        "stand_ins": pd.DataFrame(record.get("stand_ins", []), dtype=object).fillna(""),
        "flags": flags(run.read("flags.json")) if run.has("flags.json") else None,
        "variables": variables(run, schema, ladder) if schema else None,
        "generated": generated(run, schema) if schema else None,
        "changes": changes(run, schema) if schema else None,
    }
    return found | {"facts": sizes(run, schema, found)}


def sizes(run: Run, schema: Schema | None, found: Mapping) -> list[tuple[str, str]]:
    """Sizes of a run in one line: figure and what it counts."""
    lines = []
    if schema and run.has("cases.parquet"):
        splits = run.cases()["split"].value_counts()
        lines += [(f"{splits.sum():,}", "cases"), (str(len(schema.names)), "variables")]
    missing = sum(v["missing"] for v in found["variables"] or [])
    if missing:
        lines.append((f"{missing:,}", "labels missing"))
    if found["generated"]:
        kept, rows = (sum(pool[k] for pool in found["generated"]) for k in ("kept", "rows"))
        lines.append((f"{kept:,} of {rows:,}", "generated rows kept"))
    further = len(run.unlabelled(schema)) if schema else 0
    if further:
        lines.append((f"{further:,}", "further narratives"))
    if found["changes"]:
        lines.append((f"{found['changes']['total']:,}", "labels changed"))
    lines += student(run.read("student.json")) if run.has("student.json") else []
    if found["costs"]:
        lines += [(found["costs"]["time"], "in all"), (found["costs"]["memory"], "of memory at most")]
    return lines


def student(found: Mapping) -> list[tuple[str, str]]:
    """What the fast model keeps of its teacher's score, and how much faster it reads, of `student.json`."""
    rate = {row["who"]: row["rows_per_second"] for row in found["speed"]}
    shares = [
        (percent(row["share"]), f"of its teacher's F1 {WHERE[row['split']].lower()}")
        for row in found["scores"]
    ]
    return [*shares, (f"{rate[STUDENT] / rate[TEACHER]:,.0f} times", "its teacher's speed")]


def variables(run: Run, schema: Schema, ladder: list[dict]) -> list[dict] | None:
    """A row a variable, or None."""
    found = facts.variables(run, schema)
    if found is None:
        return None
    table, curves = found
    last = select(ladder, "test", "given", "cross_fitted")[-1:]
    test = last[0]["per_variable"] if last else {}
    return [_variable(name, row, curves[curves["variable"] == name], test) for name, row in table.iterrows()]


def _variable(name: str, row: pd.Series, reliable: pd.DataFrame, test: Mapping[str, float]) -> dict:
    mark = Mark(row["score"], "dot" if row["metric"] == "F1" else "square", row["low"], row["high"])
    positives = row["most"] or f"{row['positives']:,} cases"
    return row.to_dict() | {
        "name": name,
        "positives": f"{positives}, of {row['cases']:,} labelled" if row["missing"] else positives,
        "interval": interval(row["low"], row["high"]),
        "strip": strip(UNIT, [mark] if row["cases"] else []),
        "test": figure(test.get(name)),
        "precision": figure(row["precision"]) or "–",
        "recall": figure(row["recall"]) or "–",
        "threshold": "–" if pd.isna(row["threshold"]) else f"{row['threshold']:.2f}",
        "spark": sparkline(reliable["said"], reliable["came"]),
        "brier": figure(row["brier"]),
    }


def generated(run: Run, schema: Schema) -> list[dict] | None:
    """A row a pool, or None."""
    table = facts.generated(run, schema)
    if table is None:
        return None
    return [
        {"name": name, **row, "share": row["kept"] / row["rows"], "bar": bar([row["kept"] / row["rows"]])}
        for name, row in table.to_dict("index").items()
    ]


def changes(run: Run, schema: Schema) -> dict | None:
    """The rows of changed labels, their total, whether the truth is known; or None."""
    table = facts.changed_labels(run, schema)
    if table is None or table.empty:
        return None
    known, longest = "found" in table.columns, table["changed"].max()
    return {
        "rows": [_change(row, longest) for row in table.to_dict("records")],
        "total": int(table["changed"].sum()),
        "right": int(table["found"].sum()) if known else None,
        "known": known,
    }


def _change(row: dict, longest: int) -> dict:
    parts = [row["found"], row["changed"] - row["found"]] if "found" in row else [row["changed"]]
    counts = {name.replace(" ", "_"): "–" if pd.isna(value) else value for name, value in row.items()}
    return counts | {"bar": bar([n / longest for n in parts])}


def costs(record: Mapping) -> dict | None:
    """Time and peak memory of each notebook with bars, and both for the whole; or None."""
    timed = {stage: f for stage, f in sorted(record["stages"].items()) if "seconds" in f}
    if not timed:
        return None
    table = pd.DataFrame.from_dict(timed, orient="index")[["seconds", "peak_gigabytes"]]
    most = table.max().clip(lower=1e-9)
    rows = [
        {
            "stage": stage,
            "time": duration(row["seconds"]),
            "time_bar": bar([row["seconds"] / most["seconds"]]),
            "memory": f"{row['peak_gigabytes']:.1f} GB",
            "memory_bar": bar([row["peak_gigabytes"] / most["peak_gigabytes"]]),
        }
        for stage, row in table.iterrows()
    ]
    whole = {"time": duration(table["seconds"].sum()), "memory": f"{table['peak_gigabytes'].max():.1f} GB"}
    return {"rows": rows} | whole


def flags(content: Mapping) -> dict | None:
    """The curve of the share left to people against the accuracy of the rest; None where it is no line.

    Args:
        content: what `flags.summarise` gives.
    """
    if len({p["flagged"] for p in content["curve"] if p["accuracy"] is not None}) < 2:
        return None
    curve = picture(lambda axis: plots.flag_curve(content, axis).set_title(""), 5.2, 2.7)
    return {"curve": curve} | {k: content[k] for k in ("share", "accuracy", "accuracy_of_all")}
