"""The sentence after a finding about the coding itself: by group, between sites."""

from collections.abc import Mapping

import pandas as pd
from IPython.display import Markdown

from narrutils.evaluation.intervals import columns_of
from narrutils.findings.coded import LEAST, NOT_KNOWN
from narrutils.findings.groups import SINGLE, differing
from narrutils.findings.sites import otherwise
from narrutils.report.say import counted, names_of, plain
from narrutils.report.tables import figure, percent, with_interval

NO_GROUPS = f"No group column of the run has a level of {LEAST} cases, so there is nothing to tell by group."
HIGHER = {
    "average_f1": (
        "it is higher, as it also is where positives are more frequent",
        "it is lower, as it also is where positives are rarer",
    ),
    "sensitivity": ("more of the given positives are found", "fewer of the given positives are found"),
    "specificity": (
        "fewer positives are said that are not given",
        "more positives are said that are not given",
    ),
    "calibration_gap": (
        "the models say more than was coded, as where positives are missed",
        "the models say less than was coded, as where more is missed elsewhere",
    ),
    "accuracy": ("more codes are the given ones", "fewer codes are the given ones"),
}


def by_group(table: pd.DataFrame) -> Markdown:
    """How many levels of `groups.table` have figures, and which have none or little ones."""
    if table.empty:
        return Markdown(NO_GROUPS)
    levels = table[~table["level"].isin([NOT_KNOWN, SINGLE])]
    shown = levels[levels["flagged"].notna()]
    told = [f"{counted(len(shown), 'level')} of {names_of(table['column'].unique())} with figures"]
    small, bare = shown[shown["too_small"]], levels[levels["flagged"].isna()]
    if len(small):
        told.append(f"too small for their intervals to mean much: {_levels(small)}")
    if len(bare):
        told.append(f"without figures, since people in them could be recognised: {_levels(bare)}")
    for _, row in table[table["level"] == NOT_KNOWN].iterrows():
        told.append(f"{names_of([row['column']])} is not known of {counted(row['cases'], 'case')}")
    return Markdown(f"{'; '.join(told)}.")


def differences(tests: pd.DataFrame) -> Markdown:
    """Which levels of `groups.differences` differ from the rest, and in which direction."""
    if tests["p"].notna().sum() == 0:
        return Markdown("No level could be held against the rest, so there is nothing to tell.")
    told = f"{counted(tests['p'].notna().sum(), 'test')}, corrected for all of them by Holm's method"
    sure = differing(tests)
    if sure.empty:
        least = f"the least corrected p is {figure(tests['p_holm'].min())}"
        return Markdown(
            f"{told}: these cases show no difference; {least}. That does not show that there is none."
        )
    return Markdown(
        "\n".join([f"{told}. These differ from the rest:\n", *map(_difference, sure.to_dict("records"))])
    )


def _difference(row: Mapping) -> str:
    up = row["value"] > row["rest"]
    where = f"{names_of([row['column']])} {names_of([row['level']])}"
    where += f", {names_of([row['variable']])}" if "variable" in row else ""
    measure = {"average_f1": "average F1", "calibration_gap": "said − came"}.get(
        row["measure"], row["measure"]
    )
    sign = "+" if row["measure"] == "calibration_gap" else ""
    figures = f"{measure} {figure(row['value'], sign)}, {figure(row['rest'], sign)} in the rest"
    return f"- {where}: {figures}; {HIGHER[row['measure']][not up]} there."


def given_labels(table: pd.DataFrame) -> Markdown:
    """Of each column of `groups.table`, where the given labels have the fewest and the most true facts."""
    known = table[table["label_sensitivity"].notna()]
    if known.empty:
        return Markdown(
            "The truth is not known, so that nobody can say how often the given labels are wrong."
        )
    told = []
    for column, rows in known.groupby("column", sort=False):
        rows = rows.sort_values("label_sensitivity")
        ends = rows.iloc[[0, -1]] if len(rows) > 1 else rows
        shares = [
            f"{percent(row['label_sensitivity'])} at {names_of([row['level']])}" for _, row in ends.iterrows()
        ]
        told.append(f"by {names_of([column])} {' to '.join(shares)}")
    return Markdown(f"Of the true facts the given labels have, {'; '.join(told)}, a mean over variables.")


def sites(table: pd.DataFrame, cells: pd.Series | None) -> Markdown:
    """At which sites of `sites.compare` the site's own labels help on its cases more than elsewhere.

    Args:
        cells: site of each case; None where no column tells it.
    """
    if cells is None:
        return Markdown("No column of the run tells the site of a case, so there is nothing to compare.")
    if table.empty:
        return Markdown(
            f"No level of {names_of([cells.name])} is large enough, in cases and in sets, or none was asked "
            "for, so nothing is compared."
        )
    left = cells[cells != NOT_KNOWN].nunique() - len(table)
    told = f"{counted(len(table), 'level')} of {names_of([cells.name])} compared"
    told += f", {counted(left, 'smaller one')} not" if left else ""
    sure = table[otherwise(table)]
    if sure.empty:
        told += ": nowhere do a site's own labels help on its own cases more than elsewhere, as far as these"
        least = table["p_holm"].min()
        least = "" if pd.isna(least) else f" The least corrected p is {figure(least)}."
        return Markdown(f"{told} cases can tell.{least}")
    each = []
    for _, row in sure.iterrows():
        own, other = (with_interval(*row[columns_of(n)], "+") for n in ("own", "elsewhere"))
        each.append(f"- {names_of([row['level']])}: {own} hundredths on its own cases, {other} elsewhere, "
                    f"most in {names_of([row['variable']])}; it codes, or writes, otherwise.")  # fmt: skip
    return Markdown("\n".join([f"{told}. Their own labels help on their own cases:\n", *each]))


def _levels(rows: pd.DataFrame) -> str:
    return ", ".join(f"*{plain(c)}* {plain(level)}" for c, level in zip(rows["column"], rows["level"]))
