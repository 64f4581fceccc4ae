"""The sentence after an estimate: what an odds ratio means, and which of the three ways to use."""

import pandas as pd
from IPython.display import Markdown

from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE
from narrutils.report.findings.estimated import of_class, times_as_wide
from narrutils.report.tables import percent

NOTHING = "No group column has two levels with human codes enough, so there is nothing to compare."
COMPARED = ("class", "group", "level", "reference")  # what tells a variable's comparisons apart


def odds(table: pd.DataFrame, variable: str) -> Markdown:
    """What the first odds ratio of a variable says, in words for those who know none.

    Args:
        table: as of `findings.estimates.three_ways.estimate_all`.
    """
    rows = table[table["variable"].eq(variable) & table["measure"].eq("odds_ratio") & table["value"].notna()]
    told = rows[rows["way"] == BOTH]
    if told.empty:
        return Markdown(NOTHING)
    first = told.iloc[0]
    ways = rows[(rows[list(COMPARED)] == first[list(COMPARED)]).all(axis=1)].set_index("way")
    return Markdown(f"{_meaning(table, first)} {_which(ways)}")


def _meaning(table: pd.DataFrame, row: pd.Series) -> str:
    same = ["variable", "class", "group", "way"]
    shares = table[(table[same] == row[same]).all(axis=1) & table["measure"].eq("prevalence")]
    shares = shares.set_index("level")
    one, other = (percent(shares.at[level, "value"]) for level in (row["level"], row["reference"]))
    told = (
        f"*How to read it:* {of_class(row)} is true of {one} of the cases whose `{row['group']}` is "
        f"{row['level']}, and of {other} where it is {row['reference']}. Odds are how many cases have it for "
        f"each that has not: they are {row['value']:.2f} times as high in the first group as in the second"
    )
    bounds = f"between {row['value_low']:.2f} and {row['value_high']:.2f}"
    if row["value_low"] <= 1 <= row["value_high"]:
        return f"{told}. The interval, {bounds}, holds 1, no difference: these cases cannot tell."
    return f"{told}, and {bounds} with 95 % confidence. That leaves out 1, no difference."


def _which(ways: pd.DataFrame) -> str:
    ratio = times_as_wide(ways.loc[BOTH], ways.loc[HUMAN])
    use = (
        "**Report the human codes alone, or the machine codes corrected by them**: both are valid where the "
        "coded cases are a random part of all, and here the machine makes the answer no surer."
    )
    if ratio >= 1.005:
        use = (
            "**Report the machine codes corrected by human codes.** Human codes alone are as valid where the "
            f"coded cases are a random part of all; their interval is {ratio:.2f} times as wide."
        )
    if NAIVE not in ways.index:  # no case at a level has it, by the machine
        return use
    return (
        f"{use} The machine codes alone say {ways.loc[NAIVE, 'value']:.2f}, and their interval knows nothing "
        "of the machine's errors: do not report it."
    )


def basis(table: pd.DataFrame) -> Markdown:
    """On which cases the estimates stand."""
    row = table[table["measure"].eq("prevalence") & table["group"].eq("")].iloc[0]
    if pd.isna(row["human_codes"]):
        return Markdown("There are too few cases to estimate anything.")
    coded, cases = int(row["human_codes"]), int(row["cases"])
    if coded == cases:
        return Markdown(f"All {cases:,} cases have a human code, so that machine codes add nothing.")
    held = (
        "That holds where the coded cases are a random part of all, and it corrects the machine's errors, "
        "not those of people."
    )
    return Markdown(f"Human codes of {coded:,} cases correct what the machine read of all {cases:,}. {held}")
