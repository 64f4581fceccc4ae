"""How probable it is that a given label is wrong, by a model of how labels go wrong.

What decides the truth of a binary variable is learned from two things: how the teacher
reads the case, and the labels given for all *other* variables. That being told implies
intent, or that a fracture is no burn, is found in the data and written down nowhere.
`noisy_logistic` separates the truth from the labels, whose two error rates it estimates;
the rates of a variable are shrunk towards those of all variables, found in a first pass.

A categorical code is wrong at a single rate, any other class as likely as the next, and
its truth follows the calibrated teacher.

A fold's cases are judged by fits on the other folds. No rate is known beforehand: weak priors,
that of `noisy_logistic` and `WRONG_CODE` here, hold the rates where cases are few. They can't
hold the reading itself: a teacher that learned from no case of a code reads it nowhere, and is
sure of it. So its doubt is bounded by the `examples` that it had.

A label that is not given is never wrong. A fit learns from the labelled cases of its variable,
and takes the mean for a missing label of another one.
"""

import numpy as np
import pandas as pd
from scipy.special import logit

from narrutils.data.schema import Schema, Variable
from narrutils.data.tables import by_uid
from narrutils.evaluation.calibration import fit_calibration
from narrutils.labels.noisy_logistic import LEAST, PRIOR, Rates, fit_noisy_logistic

WRONG_CODE, CODE_WEIGHT = 0.02, 100  # prior rate of wrong codes, and the cases that it weighs as much as
ENOUGH = 3  # cases of a code from which a teacher knows it well enough to be believed


def examples(schema: Schema, labels: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """How many cases a label's judge has learned its code from, `[cases, schema.names]`; NaN without a label.

    They are the cases of other folds with the same code. To tell the two codes of a binary
    variable apart takes cases of both: the rarer one counts.

    Args:
        labels: given codes, indexed by uid.
        folds: fold of each case, in the order of `labels`.
    """
    found, (fold, kinds) = {}, pd.factorize(folds)
    for v in schema.variables:
        code = pd.Index(v.codes).get_indexer(labels[v.name])  # -1 without a label
        of_fold = np.zeros((len(kinds), len(v.codes)))
        np.add.at(of_fold, (fold[code >= 0], code[code >= 0]), 1)
        elsewhere = of_fold.sum(axis=0) - of_fold
        if v.is_binary:
            elsewhere = elsewhere.min(axis=1, keepdims=True).repeat(2, axis=1)
        found[v.name] = elsewhere[fold, code]
    return pd.DataFrame(found, labels.index).where(labels.notna())


def most_probable(schema: Schema, labels: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """The probability that a given label may be called wrong with at most; args as of `examples`.

    It is 0 where its judge had no example: nobody has a say. With fewer than `ENOUGH` it is one
    half: the label may be doubted, and is not likelier wrong than right. Else it is 1.
    """
    found = examples(schema, labels, folds)
    return (found.gt(0) * 0.5 + found.ge(ENOUGH) * 0.5).where(found.notna())


def probability_wrong(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, folds: pd.Series
) -> pd.DataFrame:
    """Probability that each given label is wrong, `[cases, schema.names]`, in the order of `labels`.

    It is 0 where no other fold has a case of the code, and NaN where there is no label.

    Args:
        labels: given codes, indexed by uid; null where there is none.
        probabilities: readings of the same cases by models that did not learn from
            them, `schema.columns` wide; matched by uid.
        folds: fold of each case, two folds or more; a fold is judged by what the others say.
    """
    read = by_uid(probabilities, labels.index, "teacher's readings")
    folds = by_uid(folds, labels.index, "folds")
    parts = [_judge(schema, labels, read, folds.ne(k).to_numpy()) for k in sorted(folds.unique())]
    wrong, most = pd.concat(parts).loc[labels.index], most_probable(schema, labels, folds)
    return wrong.where(wrong <= most, most)


def propose(
    schema: Schema, labels: pd.DataFrame, probabilities: pd.DataFrame, folds: pd.Series, least: float = 0.5
) -> pd.DataFrame:
    """Labels likelier wrong than right: `uid`, `variable`, `before`, `after`, `probability`.

    The `probability` of a change is that of the given label being wrong. Args as in
    `probability_wrong`; `least` is the probability above which a label is proposed.
    """
    wrong = probability_wrong(schema, labels, probabilities, folds)
    read = by_uid(probabilities, labels.index, "teacher's readings")
    found = proposals(schema, labels, read, wrong)
    return found[found["probability"] > least].reset_index(drop=True)


def proposals(schema: Schema, labels: pd.DataFrame, read: pd.DataFrame, wrong: pd.DataFrame) -> pd.DataFrame:
    """Another code for every label that may be wrong: `uid`, `variable`, `before`, `after`, `probability`.

    By variable. Missing labels and those that nobody may judge (probability 0) are left out.

    Args:
        read: readings that the code comes from, in the order of `labels`.
        wrong: the probability that each label is wrong, as of `probability_wrong`.
    """
    parts = []
    for v in schema.variables:
        rows = wrong.index[wrong[v.name] > 0]
        before = labels.loc[rows, v.name].to_numpy(dtype=int)
        after = _other_code(v, before, read.loc[rows, list(v.columns)].to_numpy())
        columns = {"uid": rows, "variable": v.name, "before": before, "after": after}
        parts.append(pd.DataFrame(columns | {"probability": wrong.loc[rows, v.name].to_numpy()}))
    return pd.concat(parts, ignore_index=True)


def _judge(schema: Schema, labels: pd.DataFrame, read: pd.DataFrame, others: np.ndarray) -> pd.DataFrame:
    """The cases outside `others` `[n]`, judged by fits on `others`."""
    features = _features(schema, labels, read, others)
    given = {name: labels[name].to_numpy(dtype=float, na_value=np.nan) for name in features}
    learned = {name: others & ~np.isnan(codes) for name, codes in given.items()}
    fits = [fit_noisy_logistic(features[n][rows], given[n][rows]) for n, rows in learned.items()]
    pooled = Rates(*np.mean([fit.rates for fit in fits] or [PRIOR], axis=0))
    wrong = {}
    for name, rows in learned.items():
        x, y = features[name], given[name]
        wrong[name] = fit_noisy_logistic(x[rows], y[rows], pooled).wrong(x[~others], y[~others])
    wrong |= _wrong_codes(schema, labels, read, others)
    return pd.DataFrame(wrong, index=labels.index[~others])[schema.names]


def _features(
    schema: Schema, labels: pd.DataFrame, read: pd.DataFrame, others: np.ndarray
) -> dict[str, np.ndarray]:
    """Of each binary variable: the teacher's logit in units of its spread, and the labels of all others."""
    targets = schema.to_targets(labels)
    centred = (targets - targets[others].mean()).fillna(0.0)
    features = {}
    for v in schema.binary:
        z = logit(np.clip(read[v.name].to_numpy(dtype=float), LEAST, 1 - LEAST))
        z = (z - z[others].mean()) / max(z[others].std(), LEAST)
        features[v.name] = np.column_stack([z, centred.drop(columns=v.name).to_numpy()])
    return features


def _wrong_codes(
    schema: Schema, labels: pd.DataFrame, read: pd.DataFrame, others: np.ndarray
) -> dict[str, np.ndarray]:
    """P(wrong) of each categorical variable's codes in the cases outside `others`."""
    calibrated = fit_calibration(schema, labels[others], read[others]).apply(read)
    targets = schema.to_targets(labels)
    wrong = {}
    for v in schema.categorical:
        columns = list(v.columns)
        right = (calibrated[columns] * targets[columns]).sum(axis=1).to_numpy()
        rate = _code_rate(right[others & labels[v.name].notna().to_numpy()], len(columns))
        wrong[v.name] = _wrong_code(right[~others], rate, len(columns))
    return wrong


def _code_rate(right: np.ndarray, classes: int) -> float:
    """The rate of wrong codes by expectation and maximisation; `right` is P(given code) `[n]`."""
    rate = WRONG_CODE
    for _ in range(50):
        expected = _wrong_code(right, rate, classes).sum()
        rate = (expected + CODE_WEIGHT * WRONG_CODE) / (len(right) + CODE_WEIGHT)
    return float(rate)


def _wrong_code(right: np.ndarray, rate: float, classes: int) -> np.ndarray:
    """P(the code is wrong) `[n]`, where the teacher gives it the probability `right`."""
    astray = rate / (classes - 1) * (1 - right)
    return astray / (astray + (1 - rate) * right)


def _other_code(v: Variable, before: np.ndarray, p: np.ndarray) -> np.ndarray:
    """What to write instead: the other code, or the likeliest other class; `p` is `[n, columns]`."""
    if v.is_binary:
        return 1 - before
    codes = np.array(v.codes)
    return codes[np.where(codes == before[:, None], -1.0, p).argmax(axis=1)]
