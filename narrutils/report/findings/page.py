"""The page of findings: what the run's tables under `findings/` say, with charts beside the figures.

Each part is None or empty where the run has not written it, and the page leaves it out.
"""

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from narrutils.data.run import Run
from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE
from narrutils.findings.sites import otherwise
from narrutils.report.charts import Axis, Mark, bar, fit_ratio_axis, panel, strip
from narrutils.report.findings import say_estimates, say_groups, say_promises
from narrutils.report.findings.estimated import WAYS as TITLES
from narrutils.report.findings.estimated import side_by_side
from narrutils.report.findings.forest import compared
from narrutils.report.pages import markdown
from narrutils.report.render import render
from narrutils.report.tables import figure, interval, p_value, percent

FOLDER = "findings"
UNIT = Axis(0.0, 1.0, (0.0, 0.5, 1.0))
AROUND = Axis(-0.25, 0.25, (-0.25, 0.0, 0.25))

#: Shape of a mark, and what people read beside it, for each way of estimating.
WAYS = {
    HUMAN: ("square", "human codes alone", "valid"),
    BOTH: ("dot", "machine codes corrected by human codes", "valid"),
    NAIVE: ("cross", "machine codes alone", "not valid: for comparison"),
}


def page(run: Run, shared: Mapping) -> str:
    """The page as HTML.

    Args:
        shared: what `base.html.j2` asks for.
    """
    found = {
        "estimates": estimates(run),
        "groups": groups(run),
        "differing": differing(run),
        "sites": sites(run),
        "disagreements": disagreements(run),
        "promises": promises(run),
    }
    return render("findings.html.j2", {**shared, **found, "here": "findings", "run": run.folder.name})


def read(run: Run, name: str) -> pd.DataFrame | None:
    """A table of findings, or None where the run has none of it."""
    path = f"{FOLDER}/{name}.parquet"
    return run.read(path) if run.has(path) else None


def groups(run: Run) -> list[dict]:
    """A block for each group column: its levels, a row each."""
    table = read(run, "groups")
    if table is None or table.empty:
        return []
    known = table["label_sensitivity"].notna().any()
    return [
        {"column": column, "known": known, "levels": [_level(row) for row in part.to_dict("records")]}
        for column, part in table.groupby("column", sort=False)
    ]


def _level(row: Mapping) -> dict:
    axes = {"average_f1": UNIT, "sensitivity": UNIT, "specificity": UNIT, "calibration_gap": AROUND}
    cells = {name: _cell(row, name, axis) for name, axis in axes.items()}
    shares = {
        name: percent(row[name])
        for name in ("flagged", "flagged_wrong", "unflagged_wrong", "label_sensitivity")
    }
    few = pd.isna(row["sensitivity"]) and pd.isna(row["average_f1"])
    return {
        "level": row["level"] or "not known",
        "cases": f"{row['cases']:,}",
        "few": few,
        "too_small": bool(row["too_small"]) and not few,
        "cells": cells,
    } | shares


def _cell(row: Mapping, name: str, axis: Axis) -> dict:
    """A figure with its interval and its place on an axis; empty where it is not known."""
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return {"number": "", "value": "", "interval": "", "strip": ""}
    sign = "+" if axis.low < 0 else ""
    ends = (None, None) if pd.isna(low) else (low, high)
    shape = "diamond" if sign else "dot"
    return {
        "number": value,
        "value": figure(value, sign),
        "interval": interval(low, high, sign),
        "strip": strip(axis, [Mark(value, shape, *ends)]),
    }


def differing(run: Run) -> list[Markup]:
    """What differs between groups, over all variables and then for each by itself; two families of tests."""
    tables = [read(run, name) for name in ("group_tests", "by_variable")]
    return [markdown(say_groups.differences(table).data) for table in tables if table is not None]


def sites(run: Run) -> list[dict]:
    """A row a site: what its own labels are worth on its own cases, and elsewhere."""
    table = read(run, "sites")
    if table is None or table.empty:
        return []
    return [
        {
            "site": row["level"],
            "cases": f"{row['cases']:,}",
            "own": _gain(row, "own"),
            "elsewhere": _gain(row, "elsewhere"),
            "difference": _gain(row, "difference"),
            "p": p_value(row["p_holm"]),
            "otherwise": differs,
        }
        for row, differs in zip(table.to_dict("records"), otherwise(table))
    ]


def _gain(row: Mapping, name: str) -> tuple[str, str]:
    """In hundredths of the Brier score, and the interval."""
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return "", ""
    return f"{value:+.2f}".replace("-", "−"), f"[{low:+.2f}, {high:+.2f}]".replace("-", "−")


def estimates(run: Run) -> dict | None:
    """The odds ratios of one variable three ways, its prevalences, and the prevalence of all variables."""
    table = read(run, "estimates")
    if table is None:
        return None
    variable = run.read(f"{FOLDER}/about.json")["odds_of"]
    of_one = table[table["variable"] == variable]
    rows = of_one[of_one["measure"].eq("odds_ratio") & of_one["value"].notna()]
    whole = table[table["measure"].eq("prevalence") & table["group"].eq("")]
    return {
        "variable": variable,
        "panel": _ratios(rows) if len(rows) else None,
        "said": markdown(say_estimates.odds(of_one, variable).data),
        "basis": markdown(say_estimates.basis(table).data),
        "shares": _shares(of_one),
        "all": _shares(whole),
    }


def _shares(table: pd.DataFrame) -> list[dict]:
    """Prevalences as rows of text, `ways` beside each other."""
    rows = side_by_side(table, ("prevalence",)).to_dict("records")
    return [row | {"ways": [row[title] for title in TITLES.values()]} for row in rows]


def _ratios(rows: pd.DataFrame) -> dict:
    """A row a comparison and way."""
    what = [compared(row) for row in rows.to_dict("records")]
    several, made = len(set(what)) > 1, []
    for row, whom in zip(rows.to_dict("records"), what):
        shape, way, remark = WAYS[row["way"]]
        value, low, high = (row["value" + end] for end in ("", "_low", "_high"))
        made.append(
            {
                "step": way,
                "remark": f"{whom} · {remark}" if several else remark,
                "optimistic": False,
                "marks": [Mark(value, shape, low, high, 24)],
                "figures": [(f"{value:.2f}", f"[{low:.2f}, {high:.2f}]")],
            }
        )
    title = "Odds ratios with their 95 % intervals" if several else f"{what[0]}: odds ratio, 95 % interval"
    text = {
        "title": title,
        "chip": "",
        "text": "Broken line: no difference. To its right: more common.",
    }
    signs = {shape: way for shape, way, _ in WAYS.values()}
    return text | panel("Estimated by", made, signs, ["Odds ratio"], fit_ratio_axis)


def disagreements(run: Run) -> dict | None:
    """Of the labels that both sources speak on, on how many they disagree: by variable, and by group."""
    table = read(run, "disagreements_by")
    if table is None or table.empty:
        return None
    rows = [_disagreeing(row) for row in table[~table["too_small"]].to_dict("records") if row["spoken"]]
    of_variables = sorted((r for r in rows if r["by"] == "variable"), key=lambda r: -r["count"])
    scores = read(run, "sources_against_planted")
    known = None
    if scores is not None:
        whole = scores[scores["variable"].eq("") & scores["answer"].eq("disagreement")].iloc[0]
        known = {name: _with(whole, name) for name in ("precision", "recall")}
    return {
        "variables": [r for r in of_variables if r["count"]],
        "groups": [r for r in rows if r["by"] != "variable"],
        "count": sum(r["count"] for r in of_variables),
        "spoken": sum(r["of"] for r in of_variables),
        "known": known,
    }


def _disagreeing(row: Mapping) -> dict:
    return {
        "by": row["by"],
        "level": row["level"] or "not known",
        "count": int(row["disagreements"]),
        "of": int(row["spoken"]),
        "share": percent(row["share"]),
        "interval": _between(row, "share"),
        "bar": bar([row["share"]]),
    }


def _with(row: Mapping, name: str) -> str:
    return f"{percent(row[name])} {_between(row, name)}"


def _between(row: Mapping, name: str) -> str:
    """An interval in per cent."""
    low, high = row[name + "_low"], row[name + "_high"]
    return "" if pd.isna(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def promises(run: Run) -> dict | None:
    """A row a variable: what is promised and what it costs, or why nothing is."""
    if not run.has(f"{FOLDER}/promises.json"):
        return None
    made = run.read(f"{FOLDER}/promises.json")
    rows = [_promise(name, p) for name, p in made["variables"].items()]
    return {
        "said": markdown(say_promises.promised(made).data),
        "rows": sorted(rows, key=lambda row: row.get("reviewed", 2.0)),
        "share": percent(made["promised"]),
        "most": percent(made["promise_review"]),
    }


def _promise(name: str, p: Mapping) -> dict:
    kept = p["outcome"] == "promised"
    row = {"name": name, "kept": kept, "outcome": p["outcome"], "counted": p["counted"], "basis": p["basis"]}
    if kept:
        row |= {"reviewed": p["reviewed"], "bar": bar([p["reviewed"]]), "kind": p["kind"]}
        row |= {"tested": p["tested"], "held": p["kept"], "precision": figure(p.get("precision")) or "–"}
    return row
