"""What a notebook costs on this machine, from an estimate that was measured on others.

An estimate keeps apart what scales differently: `seconds` of ordinary work at the speed of the
reference machine (`speed.REFERENCE`), and `teraflops`, 10¹² operations at the speed that a linear
layer has in the chosen precision on every core. `python -m benchmarks.estimates RUN_FOLDER…` derives
both from finished runs. `seconds` that stand alone are told as they are.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from narrutils.data.run import Run
from narrutils.models.hub import config_at_hand
from narrutils.models.precision import kept_by, resolved
from narrutils.models.speed import Speed, cores, here, measured
from narrutils.pipeline.profiles import Profile
from narrutils.report.tables import duration


def cost(profile: Profile, folder: Path, stage: str) -> dict[str, float]:
    """`seconds` and `gigabytes` of a notebook here; what is not known is left out.

    Those of the run folder's last execution where it was on a machine of this kind and in the
    precision that holds now, else the profile's `estimate`, scaled to this machine.
    """
    kept = kept_by(Run(folder), stage)
    precision = resolved(profile.parameters[stage].get("precision", "auto"), kept)
    timed = Run(folder).record()["stages"].get(stage, {})
    holds = timed.get("processor", here()) == here() and precision == (kept or precision)
    if timed.get("status") == "done" and holds:
        return {"seconds": timed["seconds"], "gigabytes": timed["peak_gigabytes"]}
    estimate = profile.estimate.get(stage, {})
    known = {name: estimate[name] for name in ("seconds", "gigabytes") if name in estimate}
    if "teraflops" in estimate:
        known["seconds"] = round(seconds(estimate, measured(), precision, cores()))
    return known


def seconds(estimate: Mapping[str, float], speed: Speed, precision: str, cores: int) -> float:
    """How long a notebook takes at some speed; a GPU is not counted.

    Args:
        estimate: `seconds` and `teraflops`.
        precision: a `Precision`; float16 is taken for the faster of the others.
    """
    ordinary, neural = parts(speed, precision, cores)
    return estimate.get("seconds", 0.0) * ordinary + estimate.get("teraflops", 0.0) * neural


def parts(speed: Speed, precision: str, cores: int) -> tuple[float, float]:
    """What a second of ordinary work, and what a teraflop, takes at some speed, in seconds."""
    gigaflops = vars(speed).get(precision) or max(speed.float32, speed.bfloat16)
    return 1 / speed.ordinary, 1000 / (gigaflops * cores)


def in_words(table: pd.DataFrame) -> str:
    """A forecast as it is printed, with its sum: what was never timed is unknown, not nothing."""
    costs, runs = table[["seconds", "gigabytes"]].astype(float), table["would"] == "run"
    told = table.astype(object).where(table.notna(), "")
    told.loc[runs, costs.columns] = told.loc[runs, costs.columns].replace("", "unknown")
    unknown = int((costs["seconds"].isna() & runs).sum())
    known = costs["seconds"].dropna().sum()
    took = f"{'at least' if unknown else 'about'} {duration(known)}" if known or not unknown else "unknown"
    peak = f", {costs['gigabytes'].max():.1f} GB" if costs["gigabytes"].notna().any() else ""
    never = f"; {unknown} notebooks were never timed" if unknown else ""
    return f"{told.to_string(index=False)}\nin all {took}{peak}{never}"


def states_gigabytes(parameters: Mapping[str, Mapping], cases: int) -> float:
    """At most how much the states of frozen layers take on disk, in GB; a model that is not here counts 0.

    Args:
        parameters: of each notebook.
        cases: official ones, for training and test; generated ones are those that are asked for.
    """
    rows = cases + sum(pool["rows"] for values in parameters.values() for pool in values.get("pools", []))
    read = [
        values["max_tokens"] * _width(config_at_hand(values["backbone"]), values)
        for values in parameters.values()
        if values.get("top_layers")
    ]
    return rows * sum(read) * 4 / 1e9  # float32 at most


def _width(config: dict, values: Mapping) -> int:
    """Numbers a token: adapters in a layer's last product alone are given what enters it, too."""
    last = values.get("options", {}).get("lora_targets") == ["down_proj"]
    return config.get("hidden_size", 0) + (config.get("intermediate_size", 0) if last else 0)
