"""Promises: what of the codes that go out unreviewed holds with confidence, and what that costs in review.

"Of the positives of this variable that go out unreviewed at least 90 % are found, with 95 % confidence."
A promise is bought with review: the codes of least probability go to a person (`evaluation.bands`), the more
of them the surer the rest. How many suffices is settled by learn-then-test (Angelopoulos et al. 2021,
arXiv 2110.01052). A path of candidates leads from a cautious cut to none at all. Each candidate is tested by
the exact binomial p value of "less than promised", and the tests stop at the first that is not significant
(fixed-sequence testing); so the chance that the last one passed breaks the promise is at most 1 − confidence,
however many candidates there are. The path never sees the labels that test it.

The threshold of every candidate is that of the run, and only the cut moves: the codes of `predict` stay those
that were scored and handed in. To code more cases 1 instead, all positives found at a ruined precision, would
be cheaper only where a wrong code costs less than 1 / (1 − threshold) looks at a case.

- `exact`: the path comes from the out-of-fold training cases and is tested on the labelled test cases, which
  nothing consulted, as the deployed ensemble codes them. Test cases with a twin among the training cases take
  no part. So wherever the training cases let it be hoped for, and the test has enough cases to pass at all.
- `approximate`: otherwise the path of each fold comes from the other folds and is tested on the pooled
  out-of-fold codes. Those cases fitted weights, and one fold's model reads otherwise than the deployed mean.

Only labelled cases count, and of cases that belong together one, drawn at random: the binomial wants them
independent. Cases without a word take no part, since `predict` gives them to a person in any case.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from narrutils.data.cases import Dataset
from narrutils.data.clusters import Together, similarity_of
from narrutils.data.intake.incoming import blank
from narrutils.data.schema import Schema, Variable
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation.calibration import Calibration
from narrutils.findings.learn_then_test import (
    STEPS,
    Coded,
    Judged,
    fixed_sequence,
    judge,
    needed,
    path,
    tail,
)
from narrutils.findings.settings import Findings


def learn(
    schema: Schema,
    out_of_fold: Coded,
    folds: pd.Series,
    tested: Coded | None,
    thresholds: Mapping[str, float],
    calibration: Calibration,
    settings: Findings,
) -> dict:
    """The content of `findings/promises.json`.

    Args:
        out_of_fold: training cases, thresholds and calibration of each fold found on the others.
        folds: fold of each of them.
        tested: test cases with labels that nothing consulted, as `on_test` gives them; None without.
        thresholds, calibration: those of the run, for new cases.

    Returns:
        `promise`, `promised`, `confidence`, `promise_review`: the settings; `needed`: cases without which no
        promise can be made; `variables`: variable -> a record of

        - `kind`: `recall`, `precision`, or `accuracy` of a categorical variable;
        - `outcome`: `promised`; `too few`, fewer than `needed` cases count; or `not reached`: no candidate
          passes, or, where the basis is approximate, more than `promise_review` of the codes would go to
          people (an exact promise may cost more: that it would not, the training cases said);
        - `basis`: `exact` or `approximate`, what was tested;
        - `counted`: labelled cases of the basis that the kind speaks of, before review, one a set: positives,
          codes 1, or all;
        - `reviewed`: share of all codes of this variable that go to a person, labelled or not; where that is
          too large, what it would be; null where no candidate passes;

        and for a promise, else null,

        - `cut`: codes that may be reviewed go to a person up to this calibrated probability of theirs;
        - `threshold`: of a binary variable, the run's, of the uncalibrated probability; `low`, `high`: the
          band of review, in calibrated probability of a 1 (of a categorical variable: of the code given);
        - `tested`: of `counted` those that go out unreviewed; `kept`: those of them whose code is right;
          `observed`: their share, in [0, 1];
        - `precision`, `recall`: of the unreviewed labelled codes of a binary variable, each case counted.
    """
    per_variable = {}
    for v in schema.variables:
        kind = settings.promise if v.is_binary else "accuracy"
        record = _promise(v, kind, out_of_fold, folds, tested, settings)
        if record["outcome"] == "promised":
            record |= _band(v, kind, record["cut"], thresholds, calibration)
        per_variable[v.name] = record
    told = ("promise", "promised", "confidence", "promise_review")
    return {name: getattr(settings, name) for name in told} | {
        "needed": needed(settings.promised, settings.confidence),
        "variables": per_variable,
    }


def table(made: Mapping) -> pd.DataFrame:
    """A row a variable of what `learn` gave: what is promised or why not, on what it rests, what it costs."""
    columns = ["kind", "outcome", "basis", "counted", "reviewed", "observed", "precision", "recall"]
    rows = pd.DataFrame.from_dict(made["variables"], orient="index")[columns]
    rows = rows.astype(dict.fromkeys(columns[4:], float))
    return rows.rename_axis("variable").reset_index()


def on_test(study: Study, codes: pd.DataFrame, calibrated: pd.DataFrame) -> Coded | None:
    """The test cases on which promises can be tested; None where no label of them is known.

    Those that belong to a training case are left out, and those without a word.

    Args:
        codes, calibrated: of all test cases, as the deployed ensemble reads them.
    """
    if study.test_labels is None:
        return None
    labels = study.test_labels
    data = Dataset(study.test, study.test[:0], None, [], {}, study.run.groups())
    sets = Together(data, study.schema, similarity_of(study.run.record())).clusters
    alone = study.run.clusters()["twin"].reindex(labels.index).eq("") & ~blank(study.test)
    order = [by_uid(table, labels.index, "test cases") for table in (codes, calibrated, sets)]
    return Coded(labels, *order).only(alone)


def out_of_fold(study: Study, codes: pd.DataFrame, calibrated: pd.DataFrame) -> Coded:
    """The training cases with a word, as `on_test` gives the test cases."""
    sets = study.run.clusters()["cluster"]
    order = [by_uid(table, study.labels.index, "cases") for table in (codes, calibrated, sets)]
    return Coded(study.labels, *order).only(~blank(study.train))


def _promise(
    v: Variable, kind: str, out_of_fold: Coded, folds: pd.Series, tested: Coded | None, settings: Findings
) -> dict:
    """The record of a variable, without its band."""
    least, counted = needed(settings.promised, settings.confidence), 0
    if tested is not None:
        cuts, judged, hoped = on_tested(v, kind, out_of_fold, tested, settings)
        counted = int(judged.counts.sum())
        if hoped and judged.tally(cuts)[0][0] >= least:
            return _proven(v, kind, "exact", tested, judged, cuts, cuts, settings)
    cuts, judged, deployed = across_folds(v, kind, out_of_fold, folds, settings.promised)
    if judged.tally(cuts)[0][0] < least:
        counted = max(counted, int(judged.counts.sum()))
        return _record(kind, "not reached" if counted >= least else "too few", "approximate", counted)
    found = _proven(v, kind, "approximate", out_of_fold, judged, cuts, deployed, settings)
    too_dear = found["outcome"] == "promised" and found["reviewed"] > settings.promise_review
    none = _record(kind, "not reached", "approximate", found["counted"])
    return none | {"reviewed": found["reviewed"]} if too_dear else found


def _proven(
    v: Variable,
    kind: str,
    basis: str,
    coded: Coded,
    judged: Judged,
    cuts: np.ndarray,
    deployed: np.ndarray,
    settings: Findings,
) -> dict:
    """The record of the last candidate that passes on these cases, if the first does."""
    cases, right = judged.tally(cuts)
    last = fixed_sequence(tail(right, cases, settings.promised), 1 - settings.confidence)
    told = _record(kind, "not reached" if last < 0 else "promised", basis, int(judged.counts.sum()))
    if last < 0:
        return told
    reviewed = judged.reviewed(cuts[..., last])
    told |= {"cut": float(deployed[last]), "reviewed": float(reviewed.mean())}
    told |= {"tested": int(cases[last]), "kept": int(right[last])}
    told["observed"] = told["kept"] / told["tested"]
    return told | (_beside(v, coded, reviewed) if v.is_binary else {})


def _record(kind: str, outcome: str, basis: str, counted: int) -> dict:
    empty = ("cut", "threshold", "low", "high", "tested", "kept", "observed")
    told = {"kind": kind, "outcome": outcome, "basis": basis, "counted": counted}
    return told | dict.fromkeys((*empty, "reviewed", "precision", "recall"))


def on_tested(
    v: Variable, kind: str, out_of_fold: Coded, tested: Coded, settings: Findings
) -> tuple[np.ndarray, Judged, bool]:
    """Cuts that the training cases choose, `[STEPS]`; the test cases; whether a promise is to be hoped for.

    That too the training cases say: that enough cases are to be expected, and that the review is not too
    dear. Did the test say it, promises would be made by its luck, and more of those that are made be broken.
    """
    own, scale = judge(v, kind, out_of_fold), tested.labelled(v.name) / max(out_of_fold.labelled(v.name), 1)
    cuts = path(own, scale, settings.promised)
    cases, right = (scale * number for number in own.tally(cuts))
    last = fixed_sequence(tail(right, cases, settings.promised), 1 - settings.confidence)
    enough = cases[0] >= needed(settings.promised, settings.confidence) and last >= 0
    hoped = enough and own.reviewed(cuts[last]).mean() <= settings.promise_review
    return cuts, judge(v, kind, tested), hoped


def across_folds(
    v: Variable, kind: str, coded: Coded, folds: pd.Series, promised: float
) -> tuple[np.ndarray, Judged, np.ndarray]:
    """Cuts of each case, `[cases, STEPS]`, which the other folds choose; the cases; cuts that all choose."""
    folds, cuts = by_uid(folds, coded.labels.index, "folds"), np.zeros((len(coded.labels), STEPS))
    for k in sorted(folds.unique()):
        others = coded.only(folds.ne(k))
        scale = coded.labelled(v.name) / max(others.labelled(v.name), 1)
        cuts[folds.eq(k)] = path(judge(v, kind, others), scale, promised)
    judged = judge(v, kind, coded)
    return cuts, judged, path(judged, 1.0, promised)


def _beside(v: Variable, coded: Coded, reviewed: np.ndarray) -> dict[str, float | None]:
    """Precision and recall of the unreviewed labelled codes of a binary variable; null without any."""
    truth = coded.labels[v.name].to_numpy(dtype=float, na_value=np.nan)
    out = ~reviewed & ~np.isnan(truth)
    positive, called = truth[out] == 1, coded.codes[v.name].to_numpy()[out] == 1
    hits = (positive & called).sum()
    sums = {"precision": called.sum(), "recall": positive.sum()}
    return {name: float(hits / total) if total else None for name, total in sums.items()}


def _band(v: Variable, kind: str, cut: float, thresholds: Mapping, calibration: Calibration) -> dict:
    """Threshold and bounds of the band of review."""
    if not v.is_binary:
        return {"low": 0.0, "high": cut}
    threshold = thresholds[v.name]
    at = calibration.scales[v.name].at(threshold)
    low, high = (min(1 - cut, at), at) if kind == "recall" else (at, max(cut, at))
    return {"threshold": threshold, "low": low, "high": high}
