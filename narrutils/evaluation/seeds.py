"""What several runs say together that differ in the seeds of their trainings alone.

A score swings with the cases that it is taken on and with the seed of what is trained. Here it is the mean
over S runs, and its interval has two parts, taken to be independent:

- the cases': the percentile bootstrap of `intervals`, of the mean over the runs, all on the same draws;
- the seeds': s/√S · t(0.975; S − 1), s being the standard deviation of the S values: Student's interval,
  which takes the seeds' effects to be normal. So few values cannot be bootstrapped: of five the spread
  comes out a tenth too small, and the quantile is that of infinitely many.

The halves of the two, upper and lower each for itself, add in quadrature (Howe 1974; Zou and Donner 2008,
*Statistics in Medicine* 27, "method of variance estimates recovery"). What a seed does to single cases is
in both parts, so they err wide. Gains are paired: on the same cases, and of the same run. A step that no
seed touches has s = 0, and the cases' interval alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
from scipy.stats import t

from narrutils.data.study import Study
from narrutils.evaluation.ensemble import stored_ensemble
from narrutils.evaluation.intervals import Interval, draw, in_columns, paired_gain, score_interval
from narrutils.evaluation.ladder import OOF, TEST, Ladder, Place, answers_of, read_steps, select
from narrutils.evaluation.metrics import Counts

Read = Mapping[str, Mapping[Place, Counts]]  # of each model of a run, its counts in both places


def read_counts(study: Study) -> Read:
    """How the published models of a run and its ensemble code the cases, as its ladder counted them.

    Args:
        study: of a whole run.

    Returns:
        model -> place -> counts: out of fold, and on the test where its labels are known; against the
        given labels, thresholds cross-fitted.

    Raises:
        InputError: the run has no ensemble.
    """
    study = replace(study.scored, threshold_search=study.run.read("ensemble.json")["threshold_search"])
    steps = [*read_steps(study), stored_ensemble(study)]
    answers = answers_of(study.labels, study.test_labels, None)
    counts = Ladder(study.schema, steps, study.labels, study.folds, answers).counts
    return {
        step.model: {place: own[place] for place in (OOF, TEST) if place in own}
        for step, own in zip(steps, counts)
    }


def over_seeds(ladder: Sequence[Mapping], runs: Sequence[Read]) -> list[dict]:
    """The ladder of several runs together, in the form of `ladder.json`.

    Args:
        ladder: entries of the first run, which give steps, models, their order and their marks.
        runs: what each run read, the first one's own first; all on the same cases.

    Returns:
        An entry a step and place, see `OOF` and `TEST`: `step`, `model`, `split`, `against`, `thresholds`,
        `n`, `optimistic` as in `ladder`; `average_f1` with `ci_low` and `ci_high`, and `gain` over the step
        before, means over the runs with intervals over cases and seeds; `over_first`, the same over the
        first step; `sd`, `lowest` and `highest` of the runs' own scores, which are `scores`.
    """
    entries = []
    for place in (OOF, TEST):
        steps = select(list(ladder), *place)
        read = [[run[step["model"]][place] for run in runs] for step in steps]
        draw([counts for several in read for counts in several])
        for number, (step, own) in enumerate(zip(steps, read)):
            before, first = (read[number - 1], read[0]) if number else (None, None)
            entries.append(_entry(step, place, own, before, first))
    return entries


def _entry(step: Mapping, place: Place, own: list[Counts], before, first) -> dict:
    scores, together = [counts.average_f1 for counts in own], mean_score(own)
    return {
        "step": step["step"],
        "model": step["model"],
        **dict(zip(("split", "against", "thresholds"), place)),
        **dict(zip(("average_f1", "ci_low", "ci_high"), astuple(together))),
        **in_columns("gain", before and mean_gain(own, before)),
        **in_columns("over_first", first and mean_gain(own, first)),
        "n": step["n"],
        "optimistic": step["optimistic"],
        "sd": spread(scores),
        "lowest": min(scores),
        "highest": max(scores),
        "scores": scores,
    }


def mean_score(runs: Sequence[Counts]) -> Interval:
    """The mean of the runs' average F1, its interval over cases and seeds."""
    return widened(score_interval(_different(runs)), [counts.average_f1 for counts in runs])


def mean_gain(better: Sequence[Counts], base: Sequence[Counts]) -> Interval:
    """The mean of `better` − `base`, run by run, its interval over cases and seeds.

    Args:
        better, base: a run each, in the same order.
    """
    gains = [one.average_f1 - other.average_f1 for one, other in zip(better, base, strict=True)]
    return widened(paired_gain(_different(better), _different(base)), gains)


def _different(runs: Sequence[Counts]) -> list[Counts]:
    """The runs, or one for all where they read alike: its score is their mean, to the last bit."""
    first = runs[0]
    alike = all(np.array_equal(a.hits, first.hits) and np.array_equal(a.errors, first.errors) for a in runs)
    return [first] if alike else list(runs)


def spread(values: Sequence[float]) -> float:
    """The standard deviation of the runs' values, with S − 1; 0 where all are equal, to the last bit."""
    return float(np.std(values, ddof=1)) if np.ptp(values) else 0.0


def seeds_half(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval of the mean of S values: s/√S · t(0.975; S − 1).

    0 where all are equal, one alone too.
    """
    swing = spread(values)
    return float(swing / len(values) ** 0.5 * t.ppf(0.975, len(values) - 1)) if swing else 0.0


def widened(cases: Interval, values: Sequence[float]) -> Interval:
    """An interval over cases with the seeds' part added, in quadrature on either side.

    Args:
        cases: around the mean of the values.
        values: of each run.
    """
    half = seeds_half(values)
    below, above = abs(cases.value - cases.low), abs(cases.high - cases.value)
    low = cases.low - (np.hypot(below, half) - below)
    return Interval(cases.value, float(low), float(cases.high + (np.hypot(above, half) - above)))


def is_certain(entry: Mapping, name: str = "gain") -> bool:
    """Whether a difference is larger than cases and seeds together could make: its interval excludes zero."""
    low, high = entry[f"{name}_low"], entry[f"{name}_high"]
    return low is not None and (low > 0 or high < 0)
