"""The ladder: what each step of the method scores, and what it gained over the step before.

A step is scored out-of-fold and on the test split; against the given labels and,
where it is known, the planted truth; with thresholds of one half, cross-fitted,
and (out-of-fold only) in-sample, which is how the author reported and is
optimistic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from narrutils.data.files import digest
from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel, published
from narrutils.data.study import Study
from narrutils.evaluation.intervals import gain_entries, paired_gain, score_interval, unpaired_gap
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import Search, cross_fitted, decide_by_fold, search, search_named


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
    )


def answers_of(labels: pd.DataFrame, test_labels: pd.DataFrame | None, truth: pd.DataFrame | None) -> dict:
    """What there is to score against, by (split, against)."""
    answers = {("oof", "given"): labels, ("test", "given"): test_labels}
    if truth is not None:
        answers[("oof", "truth")] = truth.loc[labels.index]
        answers[("test", "truth")] = truth.drop(index=labels.index)
    return {place: table for place, table in answers.items() if table is not None}


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


def climb(
    schema: Schema,
    steps: list[Step],
    answers: Mapping[tuple[str, str], pd.DataFrame],
    labels: pd.DataFrame,
    folds: pd.Series,
) -> list[dict]:
    """Entries of `ladder.json`, in order of the steps.

    Args:
        answers: codes to score against, by (split, against): `("oof", "given")`,
            `("test", "truth")` …; a pair that is absent is not scored.
        labels: given codes of the official rows.
    """
    entries, before = [], {}
    for step in steps:
        for (split, thresholds), codes in decisions(schema, step, labels, folds).items():
            for (of, against), answer in answers.items():
                if of != split:
                    continue
                counts = count(schema, answer, codes)
                place = (split, against, thresholds)
                entries.append(_entry(schema, step, place, counts, before.get(place)))
                before[place] = counts
    return entries


def _entry(
    schema: Schema, step: Step, place: tuple[str, str, str], counts: Counts, before: Counts | None
) -> dict:
    score = score_interval(counts)
    gain = None if before is None else paired_gain(counts, before)
    split, against, thresholds = place
    return {
        "step": step.name,
        "model": step.model,
        "split": split,
        "against": against,
        "thresholds": thresholds,
        "average_f1": score.value,
        "ci_low": score.low,
        "ci_high": score.high,
        **gain_entries(gain),
        "n": len(counts.hits),
        "optimistic": step.optimistic or thresholds == "in_sample",
        "per_variable": dict(zip(schema.names, counts.scores())),
    }


def select(entries: list[dict], split: str, against: str, thresholds: str | None = None) -> list[dict]:
    """The entries of one place, in order of the steps; of every threshold choice where it is None."""
    wanted = [e for e in entries if (e["split"], e["against"]) == (split, against)]
    return [e for e in wanted if thresholds in (None, e["thresholds"])]


def to_table(
    entries: list[dict], split: str = "oof", against: str = "given", thresholds: str = "cross_fitted"
):
    """One ladder to read: a row a step, scores with their 95 % intervals.

    Args:
        entries: the content of `ladder.json`.

    Returns:
        Columns `step`, `average F1`, `95 % interval`, `gain`, `95 % interval of the gain`, `cases`.
    """
    rows = []
    for e in select(entries, split, against, thresholds):
        row = {"step": e["step"] + (" (optimistic)" if e.get("optimistic") else "")}
        row |= {"average F1": f"{e['average_f1']:.3f}"}
        row |= {"95 % interval": f"[{e['ci_low']:.3f}, {e['ci_high']:.3f}]", "gain": ""}
        row |= {"95 % interval of the gain": ""}
        if e["gain"] is not None:
            row["gain"] = f"{e['gain']:+.3f}"
            row["95 % interval of the gain"] = f"[{e['gain_low']:+.3f}, {e['gain_high']:+.3f}]"
        rows.append(row | {"cases": e["n"]})
    return pd.DataFrame(rows)


def by_thresholds(entries: list[dict], split: str = "oof", against: str = "given") -> pd.DataFrame:
    """Average F1 of each step, a column for each way of choosing thresholds."""
    rows = select(entries, split, against)
    table = pd.DataFrame(rows).pivot(index="step", columns="thresholds", values="average_f1")
    order = [way for way in ("half", "cross_fitted", "in_sample") if way in table.columns]
    return table.loc[list(dict.fromkeys(e["step"] for e in rows)), order].round(3).rename_axis(columns=None)


def gaps(
    schema: Schema,
    steps: list[Step],
    labels: pd.DataFrame,
    test_labels: pd.DataFrame | None,
    folds: pd.Series,
) -> pd.DataFrame:
    """Test score − out-of-fold score of each step with its 95 % interval, thresholds cross-fitted.

    An out-of-fold row is read by one fold's model, a test row by the mean of them all. So
    the second column lets each fold's model, at that fold's thresholds, read the test rows
    alone, and takes the mean of their scores; the third is what averaging the models gains.
    """
    rows = []
    for step in steps if test_labels is not None else []:
        decided = decisions(schema, step, labels, folds)
        test = count(schema, test_labels, decided["test", "cross_fitted"])
        oof = count(schema, labels, decided["oof", "cross_fitted"])
        row = {"step": step.name, "test − out-of-fold": str(unpaired_gap(test, oof))}
        row |= {"single models − out-of-fold": "", "gain of averaging": ""}
        if step.by_fold:
            single = [
                count(schema, test_labels, codes) for codes in single_fold_codes(schema, step, labels, folds)
            ]
            row["single models − out-of-fold"] = str(unpaired_gap(single, oof))
            row["gain of averaging"] = str(paired_gain(test, single))
        rows.append(row)
    return pd.DataFrame(rows)


def single_fold_codes(
    schema: Schema, step: Step, labels: pd.DataFrame, folds: pd.Series
) -> list[pd.DataFrame]:
    """Codes of the test rows by each fold's model alone, cut where its own fold is cut."""
    found = cross_fitted(lambda part: step.thresholds(schema, part), labels, folds)
    return [schema.to_labels(table, found[k]) for k, table in step.by_fold.items()]


def over_first(
    schema: Schema,
    steps: list[Step],
    labels: pd.DataFrame,
    test_labels: pd.DataFrame | None,
    folds: pd.Series,
) -> pd.DataFrame:
    """Each later step's paired gain over the first with its 95 % interval, thresholds cross-fitted.

    A column for the gain out of fold, and one for that on the test rows where their labels are known.
    """
    codes = [decisions(schema, step, labels, folds) for step in steps]
    table = {"step": [step.name for step in steps[1:]]}
    for split, title, truth in [("oof", "out of fold", labels), ("test", "test", test_labels)]:
        if truth is not None:
            counts = [count(schema, truth, found[split, "cross_fitted"]) for found in codes]
            gains = [str(paired_gain(better, counts[0])) for better in counts[1:]]
            table[f"gain over {steps[0].name}, {title}"] = gains
    return pd.DataFrame(table)
