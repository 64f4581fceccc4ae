"""The ensemble: one weighted mean of its members' probabilities, and how it is stored.

A `Blend` says how: every member is calibrated, or taken as it is, and the mean has one
weight a member, or one a member and variable. `combine` makes an ensemble's
probabilities from its members' and the content of `ensemble.json`, which holds

- `members`, `weights`: the members and their shares, which sum to 1;
- `weights_by_variable`: variable -> member -> share, where the shares differ by variable;
- `given`, `fitted`, `calibrate`: from which weights it was made, and in which way;
- `member_calibration`: member -> see `Calibration.to_dict`; empty where nothing is calibrated;
- `thresholds`: binary variable -> where its probability becomes a 1, for new cases;
- `thresholds_from`, `threshold_search`: how those were found;
- `by_fold`: fold k -> the first three found without fold k, and `thresholds` with them.
  Whoever reads on behalf of the model that is tested on fold k uses these.

A new case is read by every fold model of a member; their mean is the member's reading. A member with
a refit, a model of all official rows, reads by that alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.errors import InputError
from narrutils.evaluation.calibration import Calibration
from narrutils.evaluation.ladder import Step, read_steps
from narrutils.evaluation.thresholds import Search, search_named

ENSEMBLE = "ensemble"  # its name among the models of a run
#: A model with a refit, and on its ladder the ensemble of another run, which taught it.
STUDENT, TEACHER = "student", "teacher"

Weights = Mapping[str, float]


@dataclass(frozen=True)
class Blend:
    """How members become one.

    Attributes:
        weights: member -> share over all variables.
        by_variable: variable -> member -> share; empty where `weights` hold for all.
        calibration: member -> its calibration; a member without one is taken as it is.
    """

    weights: Weights
    by_variable: Mapping[str, Weights] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

    def apply(self, schema: Schema, members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """The members' weighted mean, joined by uid, in the first member's order.

        Args:
            members: member -> probabilities, `schema.columns` wide or wider. Where some are missing,
                the shares of the others grow.

        Raises:
            InputError: the members do not cover the same uids.
        """
        tables = {m: self.calibration[m].apply(t) if m in self.calibration else t for m, t in members.items()}
        if not self.by_variable:
            return blend(schema, tables, self.weights)
        first, shares = next(iter(tables.values())), self._shares(schema, list(tables))
        total = sum(by_uid(tables[m], first.index, m)[schema.columns] * own for m, own in shares.items())
        return schema.check_probabilities(total.clip(upper=1))

    def _shares(self, schema: Schema, members: list[str]) -> dict[str, np.ndarray]:
        """Of each member, its share in every probability column: `[width]`."""
        shares = {m: np.zeros(schema.width) for m in members}
        for name, columns in schema.slices.items():
            own = self.by_variable.get(name, self.weights)  # none was fitted to an auxiliary variable
            for m, share in normalise({m: own[m] for m in members}).items():
                shares[m][columns] = share
        return shares

    def to_dict(self) -> dict:
        """Its part of `ensemble.json`."""
        return {
            "weights": dict(self.weights),
            "weights_by_variable": {v: dict(w) for v, w in self.by_variable.items()},
            "member_calibration": {m: c.to_dict() for m, c in self.calibration.items()},
        }

    @classmethod
    def from_dict(cls, made: Mapping) -> "Blend":
        """What `to_dict` gave; keys that are missing stand for the plain weighted mean."""
        calibration = {m: Calibration.from_dict(c) for m, c in made.get("member_calibration", {}).items()}
        return cls(made["weights"], made.get("weights_by_variable", {}), calibration)


def combine(schema: Schema, members: Mapping[str, pd.DataFrame], made: Mapping) -> pd.DataFrame:
    """The ensemble's probabilities, in the first member's order.

    Args:
        members: member -> probabilities of the same cases; for new cases, and for the test
            split, the mean over its fold models.
        made: the content of `ensemble.json`, or of one entry of its `by_fold`.

    Raises:
        InputError: the members do not cover the same uids.
    """
    return Blend.from_dict(made).apply(schema, members)


def without_fold(made: Mapping, fold: int) -> Mapping:
    """The ensemble as found without a fold: for whoever may not learn from its labels.

    Args:
        made: the content of `ensemble.json`; one whose weights were given holds for every fold.
    """
    return made.get("by_fold", {}).get(str(fold), made)


def stored_ensemble(study: Study) -> Step:
    """The ensemble of a run as its last step, as it lies there.

    Members, weights and calibration of fold k are those found without fold k; so are thresholds, where
    the study searches them as that run did.

    Raises:
        InputError: the run has no ensemble.
    """
    schema, test = study.schema, study.test.index
    made, ensemble = study.run.read("ensemble.json"), StoredModel(study.run, ENSEMBLE)
    steps = {step.model: step for step in read_steps(study)}
    members = {name: steps[name] for name in made["members"]}
    folds = set.intersection(*(set(step.by_fold) for step in members.values()))
    return Step(
        "weighted ensemble",
        ENSEMBLE,
        ensemble.predictions("oof", schema, study.train.index),
        ensemble.predictions("test", schema, test),
        _as_stored(study, made, {name: step.out_of_fold for name, step in members.items()}),
        optimistic=any(step.optimistic for step in members.values()),
        way=search_named(study.threshold_search),
        by_fold={
            k: combine(schema, {m: s.by_fold[k] for m, s in members.items()}, without_fold(made, k))
            for k in sorted(folds)
        },
        refit=any(step.refit for step in members.values()),
    )


def _as_stored(study: Study, made: Mapping, tables: Mapping[str, pd.DataFrame]):
    """Thresholds of the ensemble found on all official rows, or without a fold, as its run stored them.

    Another search than that run's is made on the members' out-of-fold `tables` as they were weighted there.
    """

    def find(labels: pd.DataFrame, way: Search) -> dict[str, float]:
        left_out = set(study.folds) - set(study.folds[labels.index])
        stored = without_fold(made, left_out.pop()) if left_out else made
        if way is search_named(made["threshold_search"]):
            return stored["thresholds"]
        rows = {name: table.loc[labels.index] for name, table in tables.items()}
        return way(study.schema, labels, combine(study.schema, rows, stored))

    return find


def thresholds_by_fold(made: Mapping) -> dict[int, dict[str, float]]:
    """Fold k -> the ensemble's thresholds that were found without fold k."""
    return {int(k): found["thresholds"] for k, found in made["by_fold"].items()}


def normalise(weights: Weights) -> dict[str, float]:
    """Weights that sum to 1, members of weight 0 left out.

    Raises:
        InputError: a weight is negative, or none is positive.
    """
    negative = [name for name, w in weights.items() if w < 0]
    if negative or not any(weights.values()):
        raise InputError(f"ensemble weights must be 0 or more, one of them positive; got {dict(weights)}")
    total = sum(weights.values())
    return {name: w / total for name, w in weights.items() if w > 0}


def blend(schema: Schema, members: Mapping[str, pd.DataFrame], weights: Weights) -> pd.DataFrame:
    """Weighted mean of the members' probabilities, joined by uid, in the first member's order.

    Raises:
        InputError: the members do not cover the same uids.
    """
    shares = normalise({name: weights[name] for name in members})
    first = next(iter(members.values()))
    total = sum(share * by_uid(members[name], first.index, name) for name, share in shares.items())
    return schema.check_probabilities(total.clip(upper=1))  # shares may sum to a rounding error above 1


def blend_thresholds(thresholds: Mapping[str, Weights], weights: Weights) -> dict[str, float]:
    """The author's final thresholds: the members' own, under the same weighted mean."""
    shares = normalise({name: weights[name] for name in thresholds})
    variables = next(iter(thresholds.values()))
    return {v: sum(share * thresholds[name][v] for name, share in shares.items()) for v in variables}
