"""The page of a search: inner beside outer scores, how results swing, every trial, what settings matter."""

from collections.abc import Mapping

import pandas as pd

from narrutils.data.run import Run
from narrutils.report.charts import picture
from narrutils.report.render import render
from narrutils.report.tables import as_text, duration
from narrutils.report.tuned import plots, say
from narrutils.tuning.files import FOLDER, RECORD, TRIALS


def tuned(run: Run) -> list[str]:
    """The stages whose settings were sought to their end."""
    return sorted(path.parent.name for path in run.path(FOLDER).glob(f"*/{RECORD}"))


def page(run: Run, shared: Mapping) -> str:
    """The page as HTML.

    Args:
        shared: what `base.html.j2` asks for.
    """
    parts = [part(run, stage) for stage in tuned(run)]
    return render("tuning.html.j2", {**shared, "parts": parts, "here": FOLDER, "run": run.folder.name})


def part(run: Run, stage: str) -> dict:
    """What is shown of the search for one stage."""
    record = run.read(f"{FOLDER}/{stage}/{RECORD}")
    trials = run.read(f"{FOLDER}/{stage}/{TRIALS}")
    own = trials[trials["study"] == trials["study"].iloc[0]]
    shares, proxy = record["importance"], record["proxy"]
    drawn = {"history": picture(lambda axis: plots.history(own, axis), 6.5, 3.0)}
    if shares:
        size = 0.9 + 0.28 * len(shares)
        drawn["importance"] = picture(lambda axis: plots.importance(shares, axis), 6.5, size)
    if proxy:
        candidates = pd.DataFrame(proxy["candidates"])
        drawn["carried"] = picture(lambda axis: plots.carried(candidates, axis), 4.6, 3.4)
    said = [say.worth(record), say.optimism(record), *say.swings(record)]
    return {
        "stage": stage,
        "settings": say.settings(record),
        "said": said,
        "carried": say.carried(record) if proxy else "",
        "pictures": drawn,
        "chosen": settings_table(record),
        "trials": listed(trials),
        "profile": record["profile"],
        "cost": f"{record['trainings']['trials']} trainings at most for the trials; they took "
        f"{duration(trials['seconds'].sum())}",
    }


def settings_table(record: Mapping) -> pd.DataFrame:
    """The chosen setting beside those that were known before, a row a parameter, as text."""
    columns = {**record["known"], "chosen": record["chosen"]}
    shown = {say.NAMES[name]: pd.Series(values).map(_value) for name, values in columns.items()}
    return pd.DataFrame(shown).rename_axis("setting").reset_index()


def listed(trials: pd.DataFrame) -> pd.DataFrame:
    """Every trial as text: its setting, its score, or why it has none."""
    table = as_text(trials[["study", "trial"]].assign(trial=trials["trial"] + 1))
    settings = trials.columns.difference([*FIXED, "study", "trial"], sort=False)
    for name in settings:
        table[name] = trials[name].map(_value)
    table["average F1"] = as_text(trials[["average_f1"]]).iloc[:, 0]
    known = trials["trouble"].where(trials["trouble"] != "", [f"after fold {n}" for n in trials["folds"]])
    table["given up"] = known.where(trials["given_up"], "")
    return table if trials["study"].nunique() > 1 else table.drop(columns="study")


FIXED = ["folds", "so_far", "average_f1", "given_up", "trouble", "seconds"]


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"
