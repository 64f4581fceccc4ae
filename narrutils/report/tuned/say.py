"""What a search for settings found, in sentences that are true of any.

A difference is judged by its 95 % interval: where that holds zero, these cases cannot tell it from none.
"""

from collections.abc import Mapping

import pandas as pd

from narrutils.report.tables import as_text, figure, with_interval

#: What the settings are called that stand beside each other.
NAMES = {"first": "the space's first trial", "profile": "the profile's own", "chosen": "the best trial"}
WHERE = {
    "test": "the {tested} labelled test cases without a twin in training, which no trial read",
    "folds": "each fold's cases, by the setting found without them",
}


def settings(record: Mapping) -> pd.DataFrame:
    """The settings side by side, as text; see `tuning.honest.compared`."""
    table = pd.DataFrame(record["settings"])
    numbers = table.columns.drop("setting")
    return as_text(table.replace({"setting": NAMES}).astype(dict.fromkeys(numbers, float)))


def told(record: Mapping) -> list[str]:
    """The lines that the command prints at its end."""
    lines = [settings(record).to_string(index=False), worth(record), optimism(record), *swings(record)]
    return [*lines, carried(record)] if record["proxy"] else lines


def worth(record: Mapping) -> str:
    """Whether the chosen setting beats the first one on cases that had no part in the choice."""
    rows = {row["setting"]: row for row in record["settings"]}
    best, first = rows["chosen"], rows["first"]
    where = WHERE[record["judged_on"]].format(tested=record["tested"])
    if best["gain"] is None or record["chosen"] == record["known"]["first"]:
        kept = figure(first["outer"])
        return f"No trial beat the first one, whose setting is the chosen one: {kept} on {where}."
    gain = with_interval(best["gain"], best["gain_low"], best["gain_high"], "+")
    clear = best["gain_low"] > 0 or best["gain_high"] < 0
    told = "" if clear else "; these cases cannot tell it from none"
    return f"On {where}, the best trial's setting gains {gain} over the first trial's{told}."


def optimism(record: Mapping) -> str:
    """How far the inner score of the best trial lies above its honest one, beside that of the first trial.

    Why they differ, the page says.
    """
    rows = {row["setting"]: row for row in record["settings"]}
    best, first = (figure(rows[name]["difference"], "+") for name in ("chosen", "first"))
    return (
        f"Optimism, inner less outer score: {best} of the best trial, {first} of the first, which nothing "
        "selected; both are estimates without an interval."
    )


def swings(record: Mapping) -> list[str]:
    """How far results lie apart over trials, and over seeds of one setting."""
    swing, lines = record["swing"], []
    for part, what in (
        ("trials", "trials over all folds"),
        ("seeds", "further trainings of the best setting, by seed,"),
    ):
        if part in swing:
            of = swing[part]
            quarters = f"the middle half {figure(of['low'])} to {figure(of['high'])}"
            span = f"{figure(of['least'])} to {figure(of['most'])}"
            lines.append(f"{of['n']} {what} score {span} inside, {quarters}, median {figure(of['median'])}.")
    if "seeds" not in swing:
        lines.append("No seed was varied: none was asked for, or this learner draws nothing.")
    return lines


def carried(record: Mapping) -> str:
    """Whether the proxy's order of settings holds at full size."""
    proxy = record["proxy"]
    n = len(proxy["candidates"])
    rank = "is not known" if proxy["rank"] is None else f"is {figure(proxy['rank'])}"
    beats = "beats" if proxy["gains"] else "does not beat"
    return (
        f"The rank correlation of proxy and full size over {n} settings {rank}; the proxy's best {beats} the "
        "first trial at full size, where the choice was made."
    )
