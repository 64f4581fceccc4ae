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
  no part. So wherever the test has enough cases to pass at all.
- `approximate`: otherwise the path of each fold comes from the other folds and is tested on the pooled
  out-of-fold codes. Those cases fitted weights, and one fold's model reads otherwise than the deployed mean.

Only labelled cases count, and of cases that belong together one, drawn at random: the binomial wants them
independent. Cases without a word take no part, since `predict` gives them to a person in any case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log

import numpy as np
import pandas as pd
from scipy.special import betainc

from narrutils.data.cases import Dataset
from narrutils.data.clusters import Together
from narrutils.data.intake.incoming import blank
from narrutils.data.schema import Schema, Variable
from narrutils.data.study import Study
from narrutils.data.tables import by_uid
from narrutils.evaluation.bands import may_be_reviewed
from narrutils.evaluation.calibration import Calibration
from narrutils.findings.settings import Findings

#: Candidates of a path.
STEPS = 400


@dataclass(frozen=True)
class Coded:
    """Labelled cases as an ensemble codes them, all tables indexed by the same uids in one order.

    Attributes:
        labels: given codes, null where there is none.
        codes: one column a variable; `calibrated`: calibrated probabilities, `schema.columns` wide.
        sets: number of the set of each case: cases of one set belong together.
    """

    labels: pd.DataFrame
    codes: pd.DataFrame
    calibrated: pd.DataFrame
    sets: pd.Series

    def only(self, which: pd.Series) -> "Coded":
        """Those cases of which this says True, by uid."""
        kept = self.labels.index[by_uid(which, self.labels.index, "cases")]
        return Coded(*(by_uid(part, kept, "cases") for part in vars(self).values()))


@dataclass(frozen=True)
class Judged:
    """One variable of some cases, each array `[cases]`.

    Attributes:
        open: whether its code may be reviewed.
        sure: calibrated probability of its code.
        counts: whether the promise speaks of it; one case of a set at most.
        right: whether its code is the label.
    """

    open: np.ndarray
    sure: np.ndarray
    counts: np.ndarray
    right: np.ndarray

    def tally(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many cases that count go out unreviewed at each cut, and how many of them are right.

        Args:
            cuts: `[steps]`, or a row a case, `[cases, steps]`.
        """
        rows = self.counts
        cuts = cuts[rows] if cuts.ndim == 2 else cuts
        out = ~(self.open[rows, None] & (self.sure[rows, None] <= cuts))
        return out.sum(axis=0), (out & self.right[rows, None]).sum(axis=0)


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
          passes, or the one that does asks people for a larger share than `promise_review`;
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
    given = study.run.record().get("parameters", {}).get("01_eda", {})
    data = Dataset(study.test, study.test[:0], None, [], {}, study.run.groups())
    sets = Together(data, study.schema, given.get("duplicate_similarity", 0.7)).clusters
    alone = study.run.clusters()["twin"].reindex(labels.index).eq("") & ~blank(study.test)
    order = [by_uid(table, labels.index, "test cases") for table in (codes, calibrated, sets)]
    return Coded(labels, *order).only(alone)


def out_of_fold(study: Study, codes: pd.DataFrame, calibrated: pd.DataFrame) -> Coded:
    """The training cases with a word, as `on_test` gives the test cases."""
    sets = study.run.clusters()["cluster"]
    order = [by_uid(table, study.labels.index, "cases") for table in (codes, calibrated, sets)]
    return Coded(study.labels, *order).only(~blank(study.train))


def needed(promised: float, confidence: float) -> int:
    """Cases without which no promise can be made: fewer, all of them right, are no evidence."""
    return ceil(log(1 - confidence) / log(promised))


def tail(right: np.ndarray, cases: np.ndarray, promised: float) -> np.ndarray:
    """P(X ≥ right), X binomial of so many cases: the p value of "less than promised"; 1 without a case.

    By the incomplete beta function, which also takes what is no whole number.
    """
    right, cases = np.asarray(right, dtype=float), np.asarray(cases, dtype=float)
    some = np.maximum(right, 1e-9)  # P(X ≥ 0) is 1
    return np.where(right > 0, betainc(some, cases - right + 1, promised), 1.0)


def fixed_sequence(p: np.ndarray, level: float) -> int:
    """Number of the last of the leading tests that are significant; −1 if the first is not."""
    return int(np.argmax(np.append(p > level, True))) - 1


def path(judged: Judged, scale: float, promised: float) -> np.ndarray:
    """Cuts from cautious to none, `[STEPS]`, in even steps of the share that is reviewed.

    It begins where these cases let the strongest evidence be expected, at the most cautious of equals.

    Args:
        scale: how many cases will test it, for each of these.
    """
    sure = np.sort(judged.sure[judged.open])
    cuts = _cuts(sure, 1.0)
    cases, right = judged.tally(cuts)
    start = int(np.argmin(tail(right * scale, cases * scale, promised)))
    return _cuts(sure, 1 - start / (STEPS - 1))


def judge(v: Variable, kind: str, coded: Coded) -> Judged:
    """What a promise of this kind looks at."""
    truth = coded.labels[v.name].to_numpy(dtype=float, na_value=np.nan)
    codes, labelled = coded.codes[v.name].to_numpy(), ~np.isnan(truth)
    sure = v.of_codes(coded.calibrated, codes)
    counts = {"recall": truth == 1, "precision": labelled & (codes == 1), "accuracy": labelled}[kind]
    one = _one_of_each(counts, coded.sets.to_numpy())
    return Judged(may_be_reviewed(kind, codes), sure, one, codes == truth)


def _promise(
    v: Variable, kind: str, out_of_fold: Coded, folds: pd.Series, tested: Coded | None, settings: Findings
) -> dict:
    """The record of a variable, without its band."""
    told = _record(kind, "too few", "approximate", 0)
    least = needed(settings.promised, settings.confidence)
    for basis, own in {"exact": tested, "approximate": out_of_fold}.items():
        if own is None:
            continue
        find = on_tested if basis == "exact" else across_folds
        cuts, deployed, judged = find(v, kind, out_of_fold, folds, own, settings.promised)
        cases, right = judged.tally(cuts)
        counted = int(judged.counts.sum())
        told = _record(kind, "not reached" if counted >= least else "too few", basis, counted)
        if cases[0] >= least:  # enough to pass
            last = fixed_sequence(tail(right, cases, settings.promised), 1 - settings.confidence)
            reviewed = judged.open & (judged.sure <= cuts[..., last])
            if last < 0:
                return told
            told["reviewed"] = float(reviewed.mean())
            if told["reviewed"] > settings.promise_review:
                return told
            passed = {
                "outcome": "promised",
                "cut": float(deployed[last]),
                "observed": right[last] / cases[last],
            }
            passed |= {"tested": int(cases[last]), "kept": int(right[last])}
            return told | passed | (_beside(v, own, reviewed) if v.is_binary else {})
    return told


def _record(kind: str, outcome: str, basis: str, counted: int) -> dict:
    empty = ("cut", "threshold", "low", "high", "tested", "kept", "observed")
    told = {"kind": kind, "outcome": outcome, "basis": basis, "counted": counted}
    return told | dict.fromkeys((*empty, "reviewed", "precision", "recall"))


def on_tested(v, kind, out_of_fold: Coded, folds, tested: Coded, promised: float):
    """Cuts that the training cases choose, the same as deployed, and the test cases."""
    scale = len(tested.labels) / len(out_of_fold.labels)
    cuts = path(judge(v, kind, out_of_fold), scale, promised)
    return cuts, cuts, judge(v, kind, tested)


def across_folds(v, kind, out_of_fold: Coded, folds: pd.Series, own: Coded, promised: float):
    """Cuts of each training case, which the other folds choose; those that all of them choose; the cases."""
    folds, cuts = by_uid(folds, own.labels.index, "folds"), np.zeros((len(own.labels), STEPS))
    for k in sorted(folds.unique()):
        others = own.only(folds.ne(k))
        scale = len(own.labels) / len(others.labels)
        cuts[folds.eq(k)] = path(judge(v, kind, others), scale, promised)
    judged = judge(v, kind, own)
    return cuts, path(judged, 1.0, promised), judged


def _cuts(sure: np.ndarray, most: float) -> np.ndarray:
    """Cuts that let shares from `most` down to none of these sorted probabilities go to a person."""
    shares = np.linspace(most, 0, STEPS)
    numbers = np.floor(shares * len(sure)).astype(int)
    cuts = np.append(0.0, sure)[numbers]
    return np.where(shares == 1, 1.0, cuts)


def _one_of_each(counts: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """One of the cases that count in each set, drawn at random."""
    order = np.random.default_rng(0).permutation(len(counts))
    order = order[counts[order]]
    found = np.zeros(len(counts), dtype=bool)
    found[order[~pd.Series(sets[order]).duplicated().to_numpy()]] = True
    return found


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
    at = float(calibration.scales[v.name].apply(np.array([[threshold]]))[0, 0])
    low, high = (min(1 - cut, at), at) if kind == "recall" else (at, max(cut, at))
    return {"threshold": threshold, "low": low, "high": high}
