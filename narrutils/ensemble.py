"""The weighted ensemble: one weighted mean of probabilities."""

from collections.abc import Mapping

import pandas as pd

from narrutils.artifacts import by_uid
from narrutils.errors import InputError
from narrutils.ladder import Step
from narrutils.schema import Schema


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to 1, members of weight 0 left out.

    Raises:
        InputError: a weight is negative, or none is positive.
    """
    negative = [name for name, w in weights.items() if w < 0]
    if negative or not any(weights.values()):
        raise InputError(f"ensemble weights must be 0 or more, one of them positive; got {dict(weights)}")
    total = sum(weights.values())
    return {name: w / total for name, w in weights.items() if w > 0}


def blend(schema: Schema, members: Mapping[str, pd.DataFrame], weights: Mapping[str, float]) -> pd.DataFrame:
    """Weighted mean of the members' probabilities, joined by uid, in the first member's order.

    Raises:
        InputError: the members do not cover the same uids.
    """
    shares = normalise({name: weights[name] for name in members})
    first = next(iter(members.values()))
    total = sum(share * by_uid(members[name], first.index, name) for name, share in shares.items())
    return schema.check_probabilities(total)


def ensemble_step(
    schema: Schema, steps: list[Step], weights: Mapping[str, float], thresholds_from: str = "ensemble"
) -> Step:
    """The weighted ensemble as the last step of a ladder.

    Args:
        weights: model -> weight, 0 or more; normalised.
        thresholds_from: `ensemble` searches on the ensemble's own probabilities;
            `members`, the author's, takes the weighted mean of the members' thresholds.

    Raises:
        InputError: a weight names no model of the run, or an unknown `thresholds_from`.
    """
    if thresholds_from not in ("ensemble", "members"):
        raise InputError(f"thresholds_from is {thresholds_from!r}; it takes ensemble or members")
    models = {step.model: step for step in steps}
    for name in weights:
        if name not in models:
            raise InputError(f"weights: no model {name!r} in this run; there are {', '.join(models)}")
    members = {name: models[name] for name, weight in weights.items() if weight > 0}

    def members_thresholds(labels: pd.DataFrame) -> dict[str, float]:
        return blend_thresholds({n: m.thresholds(schema, labels) for n, m in members.items()}, weights)

    return Step(
        "weighted ensemble",
        "ensemble",
        blend(schema, {name: m.out_of_fold for name, m in members.items()}, weights),
        blend(schema, {name: m.test for name, m in members.items()}, weights),
        members_thresholds if thresholds_from == "members" else None,
        optimistic=any(member.optimistic for member in members.values()),
    )


def blend_thresholds(
    thresholds: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, float]:
    """The author's final thresholds: the members' own, under the same weighted mean."""
    shares = normalise({name: weights[name] for name in thresholds})
    variables = next(iter(thresholds.values()))
    return {v: sum(share * thresholds[name][v] for name, share in shares.items()) for v in variables}
