"""The ladder: what each step of the method scores, and what it gained over the step before.

A step is scored out-of-fold and on the test split; against the given labels and,
where it is known, the planted truth; with thresholds of one half, cross-fitted,
and (out-of-fold only) in-sample, which is how the author reported and is
optimistic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property

import pandas as pd

from narrutils.data.files import digest
from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel, published
from narrutils.data.study import Study
from narrutils.evaluation.intervals import (
    columns_of,
    draw,
    in_columns,
    in_table,
    paired_gain,
    score_interval,
    unpaired_gap,
)
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import Search, cross_fitted, decide_by_fold, search, search_named

Place = tuple[str, str, str]  # split, against, thresholds
OOF, TEST = ("oof", "given", "cross_fitted"), ("test", "given", "cross_fitted")


@dataclass(frozen=True)
class Step:
    """One rung: a model's probabilities on the official rows and on the test rows.

    Attributes:
        find: labels of some official rows and a search -> thresholds; it replaces the search
            on the model's own probabilities (for an ensemble, which is itself found on rows).
        optimistic: whether a teacher crossed the folds, so that the score flatters.
        way: how thresholds are searched.
        by_fold: the test rows as each fold's model alone reads them; empty where it is not known.
        instead: of a round that was refused, the model that was kept in its place.
        refit: whether a model of all official rows reads the test rows, or has a share in it.
    """

    name: str
    model: str
    out_of_fold: pd.DataFrame
    test: pd.DataFrame
    find: Callable[[pd.DataFrame, Search], dict] | None = None
    optimistic: bool = False
    way: Search = search
    by_fold: Mapping[int, pd.DataFrame] = field(default_factory=dict)
    instead: str = ""
    refit: bool = False
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def thresholds(self, schema: Schema, labels: pd.DataFrame) -> dict[str, float]:
        """Thresholds found on the official rows that `labels` holds, and on no other; searched once."""
        key = (self.way, digest(labels))
        if key not in self._known:
            find = self.find or (lambda part, way: way(schema, part, self.out_of_fold))
            self._known[key] = find(labels, self.way)
        return self._known[key]


def read_steps(study: Study) -> list[Step]:
    """The published models of a run, in the order in which the notebooks before this one made them."""
    return [_read_step(study, model) for model in published(study.run)]


def _read_step(study: Study, model: StoredModel) -> Step:
    about, schema = model.about, study.schema
    test = model.predictions("test", schema)
    return Step(
        about["step"] + (" (refused)" if about["instead"] else ""),
        model.name,
        model.predictions("oof", schema),
        test,
        optimistic=about["optimistic"],
        way=search_named(study.threshold_search),
        by_fold={k: model.read((k,), schema, test.index) for k in about["folds"]},
        instead=about["instead"],
        refit=model.has_refit,
    )


def answers_of(labels: pd.DataFrame, test_labels: pd.DataFrame | None, truth: pd.DataFrame | None) -> dict:
    """What there is to score against, by (split, against); labels may be null, not all of them."""
    answers = {("oof", "given"): labels, ("test", "given"): test_labels}
    if truth is not None:
        answers[("oof", "truth")] = truth.loc[labels.index]
        answers[("test", "truth")] = truth.drop(index=labels.index)
    known = {place: table for place, table in answers.items() if table is not None}
    return {place: table for place, table in known.items() if table.notna().any(axis=None)}


def decisions(
    schema: Schema, step: Step, labels: pd.DataFrame, folds: pd.Series
) -> dict[tuple[str, str], pd.DataFrame]:
    """Codes of a step under every way of choosing thresholds, by (split, thresholds).

    Args:
        labels: given codes of the official rows; the only labels that thresholds see.
    """
    found = step.thresholds(schema, labels)
    by_fold = cross_fitted(lambda part: step.thresholds(schema, part), labels, folds)
    return {
        ("oof", "half"): schema.to_labels(step.out_of_fold),
        ("oof", "cross_fitted"): decide_by_fold(schema, step.out_of_fold, folds, by_fold),
        ("oof", "in_sample"): schema.to_labels(step.out_of_fold, found),
        ("test", "half"): schema.to_labels(step.test),
        ("test", "cross_fitted"): schema.to_labels(step.test, found),
    }


@dataclass(frozen=True)
class Ladder:
    """Steps, and what they are scored against; each step is decided and counted once.

    Args:
        steps: in the order in which they are compared.
        labels: given codes of the official rows, indexed by uid; `folds`: the fold of each.
        answers: codes to score against, by (split, against): `("oof", "given")`,
            `("test", "truth")` …; a pair that is absent is not scored.
    """

    schema: Schema
    steps: Sequence[Step]
    labels: pd.DataFrame
    folds: pd.Series
    answers: Mapping[tuple[str, str], pd.DataFrame]

    @cached_property
    def decided(self) -> list[dict[tuple[str, str], pd.DataFrame]]:
        """The `decisions` of each step."""
        return [decisions(self.schema, step, self.labels, self.folds) for step in self.steps]

    @cached_property
    def counts(self) -> list[dict[Place, Counts]]:
        """Of each step, its counts in every place: (split, against, thresholds)."""
        return [
            {
                (split, against, thresholds): count(self.schema, answer, codes)
                for (split, thresholds), codes in decided.items()
                for (of, against), answer in self.answers.items()
                if of == split
            }
            for decided in self.decided
        ]

    def climb(self) -> list[dict]:
        """Entries of `ladder.json`, in order of the steps; `n` is the number of cases with a label."""
        entries, before = [], {}
        draw([counts for of_step in self.counts for counts in of_step.values()])
        for step, counts in zip(self.steps, self.counts):
            entries += [_entry(self.schema, step, place, c, before.get(place)) for place, c in counts.items()]
            before = counts
        return entries

    def over_first(self) -> pd.DataFrame:
        """Each step's paired gain over the first, thresholds cross-fitted, against the given labels.

        Returns:
            A row a step, `gain` out of fold and `gain_on_test` with their 95 % intervals, in columns
            as of `in_columns`; missing for the first step, and where the test's labels are not known.
        """
        rows, first = [], self.counts[0]
        draw([counts[place] for counts in self.counts for place in (OOF, TEST) if place in counts])
        for step, counts in zip(self.steps, self.counts):
            row = {"step": step.name}
            for name, place in {"gain": OOF, "gain_on_test": TEST}.items():
                if place in counts and counts is not first:
                    row |= in_columns(name, paired_gain(counts[place], first[place]))
            rows.append(row)
        return in_table(rows, ["step", *columns_of("gain", "gain_on_test")])

    def gaps(self) -> pd.DataFrame:
        """Test score − out-of-fold score of each step, thresholds cross-fitted, against the given labels.

        An out-of-fold row is read by one fold's model, a test row by the mean of them all. So `single`
        lets each fold's model, at that fold's thresholds, read the test rows alone, and takes the mean
        of their scores; `averaging` is what averaging the models gains, missing where a refit reads the test.

        Returns:
            A row a step, `gap`, `single` and `averaging` with their 95 % intervals; no row where the
            test's labels are not known.
        """
        rows, columns = [], ["step", *columns_of("gap", "single", "averaging")]
        if TEST[:2] not in self.answers:
            return in_table(rows, columns)
        alone = [self._alone(step) for step in self.steps]
        draw(sum(alone, [counts[TEST] for counts in self.counts]))
        draw([counts[OOF] for counts in self.counts], seed=1)
        for step, counts, single in zip(self.steps, self.counts, alone):
            row = {"step": step.name} | in_columns("gap", unpaired_gap(counts[TEST], counts[OOF]))
            if single:
                row |= in_columns("single", unpaired_gap(single, counts[OOF]))
            if single and not step.refit:
                row |= in_columns("averaging", paired_gain(counts[TEST], single))
            rows.append(row)
        return in_table(rows, columns)

    def _alone(self, step: Step) -> list[Counts]:
        """How each fold's model alone codes the test rows, cut where its own fold is cut."""
        found = cross_fitted(lambda part: step.thresholds(self.schema, part), self.labels, self.folds)
        codes = [self.schema.to_labels(table, found[k]) for k, table in step.by_fold.items()]
        return [count(self.schema, self.answers[TEST[:2]], read) for read in codes]


def _entry(schema: Schema, step: Step, place: Place, counts: Counts, before: Counts | None) -> dict:
    gain = None if before is None else paired_gain(counts, before)
    return {
        "step": step.name,
        "model": step.model,
        **dict(zip(("split", "against", "thresholds"), place)),
        **dict(zip(("average_f1", "ci_low", "ci_high"), astuple(score_interval(counts)))),
        **in_columns("gain", gain),
        "n": len(counts.hits),
        "optimistic": step.optimistic or place[2] == "in_sample",
        "per_variable": dict(zip(schema.names, counts.scores())),
    }


def select(entries: list[dict], split: str, against: str, thresholds: str | None = None) -> list[dict]:
    """The entries of one place, in order of the steps; of every threshold choice where it is None."""
    wanted = [e for e in entries if (e["split"], e["against"]) == (split, against)]
    return [e for e in wanted if thresholds in (None, e["thresholds"])]


def to_table(
    entries: list[dict], split: str = "oof", against: str = "given", thresholds: str = "cross_fitted"
) -> pd.DataFrame:
    """One place of a ladder: a row a step, its score and its gain over the step before.

    Args:
        entries: the content of `ladder.json`.

    Returns:
        `step`, `average_f1` and `gain` with their 95 % intervals in columns as of `in_columns`,
        `n` (cases with a label), `optimistic`.
    """
    rows = [
        {"optimistic": False, "average_f1_low": e["ci_low"], "average_f1_high": e["ci_high"]} | e
        for e in select(entries, split, against, thresholds)
    ]
    return in_table(rows, ["step", *columns_of("average_f1", "gain"), "n", "optimistic"])


def by_thresholds(entries: list[dict], split: str = "oof", against: str = "given") -> pd.DataFrame:
    """Average F1 of each `step`, a column for each way of choosing thresholds."""
    rows: dict[str, dict] = {}
    for e in select(entries, split, against):
        rows.setdefault(e["step"], {"step": e["step"]})[e["thresholds"]] = e["average_f1"]
    return pd.DataFrame(list(rows.values()))
