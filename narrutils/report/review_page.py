"""The review page: doubted labels with their evidence, and labels on which sources disagree, one list each.

Both are decided on by key press, and handed back in one file. What is shown lies in the page as one
block of JSON, which a script sets as text: a narrative holding markup does nothing. Where a browser
runs no script there is a table. Narratives are in the page only where the run was told `show_text`. What
is exported names the case of each decision by its uid and by `review.case_digest`, salted by the labels' key.
"""

import os
from pathlib import Path

import pandas as pd

from narrutils.data.run import Run
from narrutils.findings.sources.disagreements import DISAGREEMENTS
from narrutils.labels.review import case_digest
from narrutils.labels.review_queue import DOUBTFUL, FOLDER
from narrutils.report.render import render

LEAST = 0.01  # effects below one point are not marked
LEVELS = (2 / 3, 2 / 5, 1 / 5)  # shares of a doubt's strongest effect, for marks of strength 3, 2, 1
YES_OR_NO = {"0": "no", "1": "yes"}  # the codes of a binary variable, as the queue has them
MOST = 8  # sentences that are marked for one doubt


def write_review(run: Run, target: Path, shared: dict) -> None:
    """Write `target/review.html` for a run that holds a review queue.

    Args:
        shared: what `base.html.j2` asks for.
    """
    page = contents(run)
    html = render(
        "review.html.j2",
        shared | page | {"here": "review", "run": run.folder.name},
        styles=("report.css", "review.css"),
        scripts=("report.js", "review.js"),
    )
    mode = 0o600 if page["show_text"] else 0o644  # like all that holds narratives
    file = os.open(target / "review.html", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    with os.fdopen(file, "wb") as out:
        out.write(html.encode("utf-8", "replace"))


def contents(run: Run) -> dict:
    """What the page says: `doubts` and `disagreements` for tables, `payload` for the script, plain facts."""
    about, queue = run.read(f"{FOLDER}/about.json"), run.read(f"{FOLDER}/queue.parquet")
    members = [name for name in queue.columns if name.startswith("p_")]
    doubts = [_doubt(row, about["variables"], members) for row in queue.to_dict("records")]
    apart = _to_decide(run)
    disagreements = [_disagreement(row, about) for row in apart.to_dict("records")]
    payload = {"key": about["key"], "variables": about["variables"], "texts": list(about["texts"].values())}
    payload |= {"members": [name[2:] for name in members], "doubts": doubts, "disagreements": disagreements}
    uids = pd.unique(pd.concat([queue["uid"], apart["uid"]]))
    names = list(about["texts"])
    cases = run.cases("train").loc[uids, names].fillna("")
    texts = dict(zip(cases.index, cases.to_numpy().tolist()))
    payload["digests"] = {uid: case_digest(about["key"], uid, told) for uid, told in texts.items()}
    marked = 0
    if about["show_text"]:
        payload["cases"] = texts
        evidence = dict(list(run.read(f"{FOLDER}/evidence.parquet").groupby(["uid", "column"])))
        for doubt, column in zip(doubts, queue["column"]):
            _mark(doubt, evidence.get((doubt["uid"], column)), payload["cases"], names)
        marked = sum((uid, column) in evidence for uid, column in zip(queue["uid"], queue["column"]))
        for item, row in zip(disagreements, apart.to_dict("records")):
            item["marks"] = _deciding(row, item["says"], texts[row["uid"]])
    return {
        "payload": payload,
        "doubts": doubts,
        "disagreements": disagreements,
        "texts": payload["texts"],
        "members": payload["members"],
        "show_text": about["show_text"],
        "evidence_rows": marked,
        "evidence_model": about["evidence_model"],
        "uid": about["uid"],
    }


def _to_decide(run: Run) -> pd.DataFrame:
    """The disagreements of training cases with a label: without one there is nothing to decide."""
    if not run.has(DISAGREEMENTS):
        return pd.DataFrame(columns=["uid"])
    table = run.read(DISAGREEMENTS)
    return table[(table["split"] == "train") & table["label"].notna()]


def _disagreement(row: dict, about: dict) -> dict:
    """A row of `disagreements.find` as the page has it; the code said that is not given is proposed."""
    codes, names = about["variables"][row["variable"]]["codes"], list(about["texts"])
    binary, before = codes == YES_OR_NO, int(row["label"])
    sides = [{k: row[side + k] for k in ("source", "says", "probability")} for side in ("", "other_")]
    said = {int(side["says"]): side["probability"] for side in sides}
    after = max((code for code in said if code != before), key=said.get)
    says = []
    for side in sides:
        code, p = int(side["says"]), round(float(side["probability"]), 4)
        words = ("says not", "says so")[code] if binary else f"says {code} {codes[str(code)]}"
        says.append([names.index(side["source"]), words, p])
    return _decided(row, codes, before, after) | {
        "probability": says[0][2],
        "direction": f"{about['texts'][row['source']]} says so" if binary else "two classes",
        "caption": f"Probability of {'1' if binary else 'the class that is said'}, by each narrative alone",
        "says": says,
    }


def _decided(row: dict, codes: dict, before: int, after: int) -> dict:
    """What both lists say of an item: the label, and what is proposed in its place."""
    return {
        "uid": str(row["uid"]),
        "variable": row["variable"],
        "before": before,
        "after": after,
        "given": f"{before} {codes[str(before)]}",
        "proposed": f"{after} {codes[str(after)]}",
        "marks": [],
    }


def _deciding(row: dict, says: list[list], texts: list[str]) -> list[list]:
    """Marks, as of `marks`, of the sentence of each source that decides what it says."""
    found = []
    for side, (source, words, _), strength in zip(("", "other_"), says, (3, -3)):
        start, end = (_units(texts[source][: int(row[side + place])]) for place in ("start", "end"))
        found.append([source, start, end, strength, words.removeprefix("says ")])
    return sorted(found)


def _doubt(row: dict, variables: dict, members: list[str]) -> dict:
    codes = variables[row["variable"]]["codes"]
    before, after = int(row["label_before"]), int(row["label_after"])
    return _decided(row, codes, before, after) | {
        "probability": round(float(row["probability"]), 4),
        "direction": row["direction"],
        "reads": [round(float(row[name]), 4) for name in members],
    }


def _mark(doubt: dict, evidence: pd.DataFrame | None, cases: dict, columns: list[str]) -> None:
    """Give a doubt the marks of its evidence; of a doubtful positive it is that of the given label."""
    if evidence is not None:
        sign = -1 if doubt["direction"] == DOUBTFUL else 1
        doubt["marks"] = marks(evidence, dict(zip(columns, cases[doubt["uid"]])), sign)


def marks(evidence: pd.DataFrame, texts: dict[str, str], sign: int = 1) -> list[list]:
    """`[narrative, start, end, strength, points]` of the strongest sentences, in the order of the text.

    Starts and ends count UTF-16 units, as the browser does. Strength is 1 to 3, below 0 where
    the sentence speaks against the proposed label; points are those of its probability.

    Args:
        evidence: rows of `evidence.leave_one_out` for one case and column, the strongest first.
        texts: text column -> narrative, in the order of the page.
        sign: −1 where the effects are those on the given label's probability.
    """
    largest = max(evidence["effect"].abs().max(), LEAST)
    found, order = [], list(texts)
    for row in evidence.head(MOST).itertuples():
        share = abs(row.effect) / largest
        strength = next((3 - n for n, level in enumerate(LEVELS) if share >= level), 0)
        if abs(row.effect) >= LEAST and strength:
            toward = sign * row.effect
            start, end = (_units(texts[row.text][:place]) for place in (row.start, row.end))
            points = f"{100 * toward:+.0f}".replace("-", "−")
            found.append([order.index(row.text), start, end, strength if toward > 0 else -strength, points])
    return sorted(found)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
