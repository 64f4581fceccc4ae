"""The sentence after a table of the findings: true whatever the data, as those of `report.say`."""

import pandas as pd
from IPython.display import Markdown

from narrutils.findings.sources.disagreements import ANSWERS, SILENT
from narrutils.report.tables import percent, with_interval

ONE_SOURCE = "A case has one narrative, which nothing can be held against."


def sources_apart(pairs: pd.DataFrame) -> Markdown:
    """How much of what is said stands in one source alone, by `disagreements.crossed`."""
    if pairs.empty:
        return Markdown(ONE_SOURCE)
    told = []
    for (one, other), table in pairs.groupby(["source", "other_source"], sort=False):
        counts = table.set_index("says")[[*ANSWERS.values(), SILENT]]
        spoken = int(counts.to_numpy().sum() - counts.at[SILENT, SILENT])
        alone = int(counts[SILENT].sum() + counts.loc[SILENT].sum() - 2 * counts.at[SILENT, SILENT])
        if not spoken:
            told.append(f"{one} and {other} are silent on every binary variable.")
            continue
        told.append(
            f"Of the {spoken:,} labels of binary variables on which {one} or {other} says something, "
            f"{alone:,} ({percent(alone / spoken)}) are told by one of them alone, and "
            f"{counts.at['so', 'not'] + counts.at['not', 'so']:,} are said by one and denied by the other; "
            "of these, copies of a narrative are left out below."
        )
    return Markdown(" ".join(told))


def sources_disagree(found: pd.DataFrame, counts: pd.DataFrame) -> Markdown:
    """On how many labels sources disagree, and where most, by `disagreements.find` and `counted`."""
    if counts.empty:
        return Markdown(ONE_SOURCE)
    small = counts.loc[counts["too_small"], ["by", "level"]].astype(str).agg(" ".join, axis=1)
    few = f" Too few cases for figures: {', '.join(small)}." if len(small) else ""
    if found.empty:
        return Markdown(f"No two sources of a case disagree.{few}")
    most = found["variable"].value_counts()
    named = ", ".join(f"{name} ({n:,})" for name, n in most.head(3).items())
    decide = int((found["split"].eq("train") & found["label"].notna()).sum())
    return Markdown(
        f"Sources disagree on {_labels(len(found))} of {found['uid'].nunique():,} cases, most on {named}. "
        f"{decide:,} of them are of training cases with a label; the review page lists those.{few}"
    )


def sources_planted(scores: pd.DataFrame) -> Markdown:
    """How right the answers are where it is known, by `disagreements.against_planted`."""
    if scores.empty:
        return Markdown("What each source was made to say is not known.")
    rows, told = scores[scores["variable"] == ""].set_index("answer"), []
    for answer, words in (("so", "says so"), ("not", "says not"), ("disagreement", "sources disagree")):
        precision, recall = (
            with_interval(*rows.loc[answer, [name, f"{name}_low", f"{name}_high"]])
            for name in ("precision", "recall")
        )
        right = f"right {precision}" if precision else "never found"
        told.append(f"“{words}” is {right}, and {f'finds {recall}' if recall else 'was never planted'}")
    return Markdown(f"Against what was planted: {'; '.join(told)}.")


def _labels(n: int) -> str:
    return f"{n:,} label{'s' if n != 1 else ''}"
