"""The ladder as the report shows it: charts with their figures, plain tables, headline figures.

The charts are tables whose rows hold a strip each, so that a mark stands beside its figures, on a
phone as well: a picture such as `plots.ladder` would say them apart, and grow too small to read.
"""

from collections.abc import Mapping
from itertools import product

import pandas as pd

from narrutils.evaluation.intervals import columns_of, in_table
from narrutils.evaluation.ladder import select
from narrutils.evaluation.seeds import is_certain
from narrutils.report.charts import Mark, panel
from narrutils.report.tables import as_text, figure, interval

SPLITS = {"oof": "Official cases, out of fold", "test": "Test cases"}
AGAINST = {"given": "against the given labels", "truth": "against the planted truth"}
THRESHOLDS = {
    "cross_fitted": "cross-fitted thresholds",
    "half": "thresholds of one half",
    "in_sample": "in-sample thresholds",
}

#: What the method's author reported, on the challenge's confidential cases: a step's average F1 by
#: cross-validation and on both leaderboards, and a remark, as the account of the third-place solution
#: gives them. Other cases, larger models and in-sample thresholds: the shape of the climb, no standard.
REPORTED = (
    ("DeBERTa-v3-large on corrected labels", (0.845, 0.854, None), ""),
    ("first Gemma-2 9B", (0.852, 0.86, None), ""),
    ("Gemma-2 9B after all rounds", (0.86, 0.863, None), "CV 0.849 at thresholds of one half"),
    ("ensemble of four models", (None, 0.869, 0.8636), ""),
)
REPORTED_TASK = "nvdrs"  # the schema that these figures are about


def ladder_panels(entries: list[dict], schema_name: str | None) -> list[dict]:
    """The charts: this run, the author's report where the task is the same, this run against the truth."""
    panels = [_ours(entries, a) for a in AGAINST if select(entries, "oof", a, "cross_fitted")]
    if panels and schema_name == REPORTED_TASK:
        panels.insert(1, _reported())
    return panels


def _ours(entries: list[dict], against: str) -> dict:
    by_split = {s: {e["step"]: e for e in select(entries, s, against, "cross_fitted")} for s in SPLITS}
    signs = {"dot": "out of fold", "diamond": "test"} if by_split["test"] else {"dot": "out of fold"}
    rows = [_our_row([by_split[s].get(step) for s, _ in zip(SPLITS, signs)]) for step in by_split["oof"]]
    return {
        "title": f"This run, {AGAINST[against]}",
        "chip": "",
        "text": "Average F1, cross-fitted thresholds.",
    } | panel("Step", rows, signs, [*map(str.capitalize, signs.values()), "Gain, out of fold"])


def _our_row(scored: list[dict | None]) -> dict:
    """One step by its entries: out of fold and, where the run has test cases, on these, if it read them."""
    heights = (17, 33) if sum(map(bool, scored)) == 2 else (24, 24)
    marks = [
        Mark(e["average_f1"], shape, e["ci_low"], e["ci_high"], y)
        for e, shape, y in zip(scored, ("dot", "diamond"), heights)
        if e
    ]
    rungs = [e and _rung(e) for e in scored]
    figures = [(rung["value"], rung["interval"]) if rung else ("", "") for rung in rungs]
    gain = (rungs[0]["gain"], rungs[0]["gain_interval"])
    return rungs[0] | {"remark": "", "marks": marks, "figures": [*figures, gain]}


def _reported() -> dict:
    signs = {"square": "CV", "diamond": "public LB", "cross": "private LB"}
    rows = [
        {
            "step": step,
            "remark": remark,
            "optimistic": False,
            "marks": [Mark(v, shape, y=25) for v, shape in zip(values, signs) if v is not None],
            "figures": [("" if v is None else f"{v:.4g}", "") for v in values],
        }
        for step, values, remark in REPORTED
    ]
    return {
        "title": "What the method's author reported",
        "chip": "another data set: not comparable",
        "text": "Average F1 on the challenge's real, confidential cases, with models of up to 9 billion "
        "parameters and in-sample thresholds; no intervals were reported. The axis is its own.",
    } | panel("Step", rows, signs, list(signs.values()))


def ladder_tables(entries: list[dict]) -> list[dict]:
    """The ladder's entries by thresholds, split and answer; each with `title`, `rungs`, `optimistic`."""
    tables = []
    for thresholds, split, against in product(THRESHOLDS, SPLITS, AGAINST):
        rungs = [_rung(e) for e in select(entries, split, against, thresholds)]
        title = f"{SPLITS[split]}, {AGAINST[against]}, {THRESHOLDS[thresholds]}"
        if rungs:
            tables.append({"title": title, "rungs": rungs, "optimistic": thresholds == "in_sample"})
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
    """The last step's score in each setting that has cross-fitted thresholds; the test's first."""
    figures = []
    for split, against in product(("test", "oof"), AGAINST):
        where = {"test": "Test", "oof": "Out of fold"}[split]
        labels = {"given": "given labels", "truth": "planted truth"}[against]
        last = select(entries, split, against, "cross_fitted")[-1:]
        figures += [_rung(e) | {"where": f"{where}, {labels}", "n": e["n"]} for e in last]
    return figures


def seeds_view(found: Mapping | None) -> dict | None:
    """The ladder over several seeds: its chart, a sentence and a table for each split; None without one.

    Args:
        found: what `facts.seeds` gives.
    """
    if not found or not found["fits"]:
        return found and {"number": len(found["runs"]), "fits": False}
    number, entries = len(found["runs"]), found["entries"]
    text = "Average F1, mean over the seeds, cross-fitted thresholds; intervals over cases and seeds."
    chart = _ours(entries, "given") | {"title": f"Over {number} seeds, {AGAINST['given']}", "text": text}
    tables = {title: as_text(seeds_table(entries, split)) for split, title in SPLITS.items()}
    told = [
        f"{SPLITS[split]}: {seeds_told(entries, split)}" for split in SPLITS if len(tables[SPLITS[split]])
    ]
    known = {title: table for title, table in tables.items() if len(table)}
    return {"number": number, "fits": True, "panel": chart, "told": told, "tables": known}


def seeds_table(entries: list[dict], split: str) -> pd.DataFrame:
    """A row a step over several seeds: `average_f1`, `gain`, `over_first` with their intervals; `sd`, the
    `lowest` and the `highest` of the runs' scores.

    Args:
        entries: as of `evaluation.seeds.over_seeds`.
    """
    rows = [
        e | {"average_f1_low": e["ci_low"], "average_f1_high": e["ci_high"]}
        for e in select(entries, split, "given", "cross_fitted")
    ]
    columns = ["step", *columns_of("average_f1"), "sd", "lowest", "highest"]
    return in_table(rows, [*columns, *columns_of("gain", "over_first"), "optimistic"])


def seeds_told(entries: list[dict], split: str) -> str:
    """Which steps differ by more than cases and seeds together could make, and which swings most."""
    steps, sure = select(entries, split, "given", "cross_fitted"), []
    for name, over in (("gain", "over the step before"), ("over_first", "over the first step")):
        certain = [e for e in steps if is_certain(e, name)]
        for kind, sign in (("a gain", 1), ("a loss", -1)):
            names = ", ".join(e["step"] for e in certain if e[name] * sign > 0)
            sure += [f"{over} {kind} for {names}"] if names else []
    most = max(steps, key=lambda e: e["sd"])
    swings = f"{most['step']} swings most with the seed, from {figure(most['lowest'])} to "
    swings += f"{figure(most['highest'])}, standard deviation {figure(most['sd'])}."
    swings = swings if most["sd"] else "No step depends on the seed."
    if len(steps) == 1:
        return f"There is only one step, and nothing to hold it against. {swings}"
    if not sure:
        return f"Cases and seeds together could make every difference. {swings}"
    told = f"Larger than cases and seeds together could make: {'; '.join(sure)}. No other difference is."
    return f"{told} {swings}"
