"""The review queue: given labels that a person should look at again, most doubtful first.

A label stands in the queue where the ensemble or one of its members, read out of fold,
disagrees with it (so also wherever the members disagree with each other), or where all
that is known makes it wrong with a probability above `LEAST`. The order is that of this
probability, over all variables and both directions alike. Each member judges by its own
readings (`noise`), and their mean decides: a label that all of them doubt stands before
one that a single member, however sure, does. Missing labels are not in it, nor those of a
code that no other fold has: nobody can judge them. A doubt is a proposal: only a person's
decision changes a label.
"""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from narrutils.crossfit.teachers import Teachers
from narrutils.data.files import digest
from narrutils.data.run import Run
from narrutils.data.schema import Schema, Variable
from narrutils.data.tables import by_uid
from narrutils.evaluation.ensemble import normalise
from narrutils.evaluation.evidence import COLUMNS, leave_one_out
from narrutils.labels import noise

MISSED, DOUBTFUL, OTHER = "missed positive", "doubtful positive", "other class"
FOLDER = "review"
LEAST = 0.1  # a label likelier wrong than this is doubted, whatever the readings


def find_doubts(
    schema: Schema,
    labels: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    weights: Mapping[str, float],
    folds: pd.Series,
    rows: int | None = None,
) -> pd.DataFrame:
    """The doubted labels, the likeliest to be wrong first.

    Args:
        labels: given codes, indexed by uid; null where there is none.
        readings: model -> out-of-fold probabilities, `schema.columns` wide; the ensemble's
            first, then those of its members.
        weights: of each member's judgement, 0 or more; normalised.
        folds: fold of each case.
        rows: how many doubts are kept; all where it is None.

    Returns:
        `uid`, `variable`, `label_before`, `label_after` (the codes given and proposed),
        `probability` (that the given label is wrong), `direction`, `column` (the probability
        column that evidence is sought for), for each model a column `p_<model>`, the
        probability that it gives to the proposed code, and `fold`.
    """
    wrong = sum(
        share * noise.probability_wrong(schema, labels, readings[name], folds)
        for name, share in normalise(weights).items()
    )
    first = by_uid(next(iter(readings.values())), labels.index, "readings")
    proposals = noise.proposals(schema, labels, first, wrong)
    parts = [
        _of_variable(schema, v, proposals[proposals["variable"] == v.name], readings)
        for v in schema.variables
    ]
    found = pd.concat(parts, ignore_index=True)
    found["fold"] = folds.loc[found["uid"]].to_numpy()
    found = found.sort_values(["probability", "uid", "variable"], ascending=[False, True, True])
    return found.head(len(found) if rows is None else rows).reset_index(drop=True)


def _of_variable(
    schema: Schema, v: Variable, proposals: pd.DataFrame, readings: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The doubts of one variable, in the order of its proposals."""
    table = proposals.rename(columns={"before": "label_before", "after": "label_after"})
    given, proposed = table["label_before"].to_numpy(), table["label_after"].to_numpy()
    table["direction"] = [direction(v, code) for code in given]
    table["column"] = [v.column_of(code) for code in proposed]
    doubted = table["probability"].to_numpy() > LEAST
    for name, reading in readings.items():
        case = by_uid(reading, table["uid"], name)
        table[f"p_{name}"] = v.of_codes(case, proposed)
        doubted |= schema.to_labels(case)[v.name].to_numpy() != given
    return table[doubted]


def direction(v: Variable, given: int) -> str:
    """What is doubted of a given code: a positive that was missed or should not be, or another class."""
    return OTHER if not v.is_binary else DOUBTFUL if given else MISSED


def share_wrong(doubts: pd.DataFrame, truth: pd.DataFrame | None) -> float | None:
    """Share of the doubted labels that the truth contradicts, in [0, 1]; None where it is not known."""
    if truth is None:
        return None
    true = truth.stack().loc[pd.MultiIndex.from_frame(doubts[["uid", "variable"]])]
    return float((true.to_numpy() != doubts["label_before"].to_numpy()).mean())


def gather_evidence(run: Run, schema: Schema, doubts: pd.DataFrame, model: str) -> pd.DataFrame:
    """The evidence for doubts, each read by the models that left its case's fold out.

    Args:
        run: with the stored models of `model`, a single one or the ensemble.
        doubts: rows of `find_doubts`.

    Returns:
        See `evidence.leave_one_out`; it holds no text.
    """
    teachers, texts = Teachers(run, model, schema), run.cases("train")
    parts = [pd.DataFrame(columns=COLUMNS).astype({"effect": float})]
    for fold, rows in doubts.groupby("fold"):
        read = partial(teachers.read, fold)
        parts.append(leave_one_out(read, texts, rows[["uid", "column"]], schema))
    return pd.concat(parts, ignore_index=True)


def write_queue(
    run: Run,
    schema: Schema,
    labels: pd.DataFrame,
    doubts: pd.DataFrame,
    evidence: pd.DataFrame,
    model: str,
    show_text: bool,
) -> None:
    """Store what the review page is made of: `review/queue.parquet`, `evidence.parquet`, `about.json`.

    Args:
        labels: the given labels; decisions that a browser keeps belong to these very labels.
        doubts, evidence: of `find_doubts` and `gather_evidence`.
        model: whose evidence it is.
        show_text: whether the page may show narratives.
    """
    run.write(f"{FOLDER}/queue.parquet", doubts)
    run.write(f"{FOLDER}/evidence.parquet", evidence)
    variables = {}
    for v in schema.variables:
        codes = {0: "no", 1: "yes"} if v.is_binary else dict(v.classes)
        text = v.description.replace("{class}", "…")
        variables[v.name] = {"definition": text, "codes": codes}
    about = {"show_text": show_text, "key": digest(labels), "variables": variables}
    about |= {"texts": {t.name: t.title for t in schema.text}, "uid": schema.uid, "evidence_model": model}
    run.write(f"{FOLDER}/about.json", about)
