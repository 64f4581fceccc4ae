"""How an ensemble is found: members calibrated, weights given or fitted, nothing of a scored fold used.

The weights of a mean of probabilities are those of a mixture: the ones under which the
out-of-fold labels are most likely (Smyth & Wolpert 1999), found by expectation
maximisation. They are pulled towards the given weights as by `PULL` more decisions, and
the weights of one variable towards those of all. Labels that are not given take no part, and
a variable without any has the weights of all. Whatever scores or teaches for fold k is
found on the other folds alone: calibration, weights and thresholds together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from narrutils.data.files import digest
from narrutils.data.schema import Schema, Variable
from narrutils.data.settings import ThresholdsFrom, Weighting, fitting
from narrutils.data.tables import by_uid
from narrutils.errors import InputError
from narrutils.evaluation.calibration import Calibration, fit_calibration
from narrutils.evaluation.ensemble import Blend, Weights, blend_thresholds, normalise
from narrutils.evaluation.ladder import Step
from narrutils.evaluation.thresholds import Search, search

PULL = 100.0  # decisions, one a case and variable
LEAST = 1e-6  # no label is less likely to a member
ROUNDS = 200  # of expectation maximisation, at most


@dataclass(frozen=True)
class Ensemble:
    """Members, and how their blend is found on the official rows.

    Args:
        members: model -> its step of the ladder; those of weight 0 left out.
        weights: model -> given share.
        labels: given codes of the official rows.
        folds: fold of each official row.
        fitted: whether the given weights are only where the fit is pulled to.
        calibrate: whether the members are calibrated first.
        thresholds_from: `ensemble` searches on the ensemble's own probabilities; `members`, the
            author's, takes the weighted mean of the members' thresholds.
        way: how thresholds are searched.
    """

    schema: Schema
    members: Mapping[str, Step]
    weights: Weights
    labels: pd.DataFrame
    folds: pd.Series
    fitted: bool = False
    calibrate: bool = False
    thresholds_from: str = "ensemble"
    way: Search = search
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def found_on(self, labels: pd.DataFrame) -> Blend:
        """The blend that the official rows in `labels` ask for; no other row is looked at."""
        key = self._key(labels)
        if key not in self._known:
            self._known[key] = self._find(labels)
        return self._known[key]

    def without_fold(self, fold: int) -> Blend:
        """The blend found on all folds but one."""
        return self.found_on(self._others(fold))

    def thresholds(self, labels: pd.DataFrame, way: Search | None = None) -> dict[str, float]:
        """Thresholds for the blend that is found on the same rows."""
        way = way or self.way
        key = ("thresholds", way, self.thresholds_from, *self._key(labels))
        if key not in self._known:
            self._known[key] = self._search(labels, way)
        return self._known[key]

    def _search(self, labels: pd.DataFrame, way: Search) -> dict[str, float]:
        made, schema, tables = self.found_on(labels), self.schema, self._tables(labels.index)
        if self.thresholds_from == "ensemble":
            return way(schema, labels, made.apply(schema, tables))
        alone = replace(made, by_variable={})
        tables = {m: alone.apply(schema, {m: table}) for m, table in tables.items()}
        return blend_thresholds({m: way(schema, labels, table) for m, table in tables.items()}, made.weights)

    def step(self) -> Step:
        """The ensemble as the last step of a ladder; of a single member it has the name."""
        parts, singles, (first, *others) = [], {}, self.members.values()
        for k in sorted(self.folds.unique()):
            made = self.without_fold(k)
            parts.append(made.apply(self.schema, self._tables(self.folds.index[self.folds == k])))
            if all(k in step.by_fold for step in self.members.values()):
                read = {m: step.by_fold[k] for m, step in self.members.items()}
                singles[int(k)] = made.apply(self.schema, read)
        return Step(
            "weighted ensemble" if others else f"{first.name}, handed in",
            "ensemble",
            pd.concat(parts).loc[self.labels.index],
            self.found_on(self.labels).apply(self.schema, {m: s.test for m, s in self.members.items()}),
            self.thresholds,
            optimistic=any(step.optimistic for step in self.members.values()),
            way=self.way,
            by_fold=singles,
            refit=any(step.refit for step in self.members.values()),
        )

    def without(self, member: str) -> "Ensemble":
        """The same ensemble without one of its members."""
        rest = {m: w for m, w in self.weights.items() if m != member}
        return replace(self, members={m: self.members[m] for m in rest}, weights=normalise(rest))

    def to_dict(self) -> dict:
        """The content of `ensemble.json`, but for `threshold_search`; see `ensemble`."""
        made = {"members": list(self.members)} | self.found_on(self.labels).to_dict()
        made |= {"given": dict(self.weights), "fitted": self.fitted, "calibrate": self.calibrate}
        made |= {"thresholds": self.thresholds(self.labels), "thresholds_from": self.thresholds_from}
        by_fold = {}
        for k in sorted(self.folds.unique()):
            others = {"thresholds": self.thresholds(self._others(k))}
            by_fold[int(k)] = self.without_fold(k).to_dict() | others
        return made | {"by_fold": by_fold}

    def _key(self, labels: pd.DataFrame) -> tuple:
        """What decides the blend."""
        return (digest(labels), self.fitted, self.calibrate, *self.weights.items())

    def _find(self, labels: pd.DataFrame) -> Blend:
        tables, calibration = self._tables(labels.index), {}
        if self.calibrate:
            calibration = {m: self._calibration(m, labels, table) for m, table in tables.items()}
            tables = {m: calibration[m].apply(table) for m, table in tables.items()}
        if not self.fitted or len(tables) == 1:
            return Blend(dict(self.weights), {}, calibration)
        weights, by_variable = fit_weights(self.schema, labels, tables, self.weights)
        return Blend(weights, by_variable, calibration)

    def _calibration(self, member: str, labels: pd.DataFrame, table: pd.DataFrame) -> Calibration:
        """It knows nothing of the other members, so that an ensemble without one of them shares it."""
        key = ("calibration", member, digest(labels))
        if key not in self._known:
            self._known[key] = fit_calibration(self.schema, labels, table)
        return self._known[key]

    def _tables(self, uids: pd.Index) -> dict[str, pd.DataFrame]:
        return {m: by_uid(step.out_of_fold, uids, m) for m, step in self.members.items()}

    def _others(self, fold: int) -> pd.DataFrame:
        return self.labels[self.folds.loc[self.labels.index].ne(fold).to_numpy()]


def form(
    schema: Schema,
    steps: list[Step],
    weights: Weights,
    labels: pd.DataFrame,
    folds: pd.Series,
    weighting: str = "given",
    **settings,
) -> Ensemble:
    """The ensemble of a ladder's models.

    Args:
        weights: model -> weight, 0 or more; normalised. The weight of a refused model goes to
            the one that was kept in its place.
        weighting: `given` takes the weights as they are, `fitted` pulls the fit to them.
        settings: `calibrate`, `thresholds_from`, `way` of `Ensemble`.

    Raises:
        InputError: a weight names no model of the run, or an unknown weighting or `thresholds_from`.
    """
    fitted = fitting(weighting, Weighting, "weighting") == "fitted"
    fitting(settings.get("thresholds_from", "ensemble"), ThresholdsFrom, "thresholds_from")
    models = {step.model: step for step in steps}
    shares = normalise(_accepted(models, weights))
    members = {name: models[name] for name in shares}
    return Ensemble(schema, members, shares, labels, folds, fitted, **settings)


def found_anew(
    schema: Schema, made: Mapping, members: Mapping[str, pd.DataFrame], labels: pd.DataFrame
) -> Blend:
    """The blend of a stored ensemble, found in its own way on other readings of some rows.

    Args:
        made: the content of `ensemble.json`.
        members: member -> probabilities of rows, those of `labels` among them.
        labels: given codes of the rows that it is found on; no other row is looked at.

    Raises:
        InputError: see `as_given`.
    """
    if not (made.get("fitted") or made.get("calibrate")):
        return as_given(made)
    steps = {m: Step(m, m, table, table[:0]) for m, table in members.items()}
    how = {"fitted": made["fitted"], "calibrate": made["calibrate"]}
    folds = pd.Series(0, labels.index)
    return Ensemble(schema, steps, made["given"], labels, folds, **how).found_on(labels)


def as_given(made: Mapping) -> Blend:
    """The members of a stored ensemble by the weights that were given, nothing of it found on any row.

    Raises:
        InputError: it was fitted or calibrated by a version that did not note its given weights.
    """
    if "given" not in made and (made.get("weights_by_variable") or made.get("member_calibration")):
        raise InputError("ensemble.json is of an earlier version; run its 06_ensemble again")
    return Blend(normalise(made.get("given", made["weights"])))


def _accepted(models: Mapping[str, Step], weights: Weights) -> dict[str, float]:
    """The weights, those of refused models added to the ones that were kept in their place."""
    accepted: dict[str, float] = {}
    for name, weight in weights.items():
        if name not in models:
            raise InputError(f"weights: no model {name!r} in this run; there are {', '.join(models)}")
        place = models[name].instead or name
        accepted[place] = accepted.get(place, 0.0) + weight
    return accepted


def fit_weights(
    schema: Schema, labels: pd.DataFrame, members: Mapping[str, pd.DataFrame], given: Weights
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Weights over all variables, and weights of each variable pulled towards those.

    Args:
        labels: integer codes, indexed by uid, null where none is given.
        members: member -> probabilities of exactly these rows, in the same order.
        given: member -> share that the fit is pulled to.
    """
    names = list(members)
    told = {v.name: _likelihood(v, labels[v.name], members) for v in schema.variables}
    centre = mixture_weights(np.concatenate(list(told.values())), np.array([given[m] for m in names]))
    own = {v: dict(zip(names, mixture_weights(rows, centre).tolist())) for v, rows in told.items()}
    return dict(zip(names, centre.tolist())), own


def mixture_weights(likelihood: np.ndarray, centre: np.ndarray, pull: float = PULL) -> np.ndarray:
    """The weights of a mixture that make what was seen most likely, pulled towards `centre`.

    Expectation maximisation under a Dirichlet prior: each round gives every member its share in
    the likelihood of each row, and the prior as `pull` further rows.

    Args:
        likelihood: of each row to each member, `[rows, members]`, positive.
        centre: `[members]`, which sum to 1.
    """
    weights = centre
    for _ in range(ROUNDS):
        shares = likelihood * weights
        shares /= shares.sum(axis=1, keepdims=True)
        before, weights = weights, (shares.sum(axis=0) + pull * centre) / (len(shares) + pull)
        if np.abs(weights - before).max() < 1e-4:
            break
    return weights


def _likelihood(v: Variable, codes: pd.Series, members: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """How likely each member holds the code of each case that has one, `[cases, members]`."""
    read = np.stack([v.of_codes(table, codes) for table in members.values()], axis=1)
    return np.maximum(read[codes.notna().to_numpy()], LEAST)
