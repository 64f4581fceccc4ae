"""What new narratives are held against: how the cases of the run are distributed; no text, no single case."""

import pandas as pd

from narrutils.crossfit.stored import words_known
from narrutils.data.folds import REFIT
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation import drift
from narrutils.evaluation.flags import doubt


def reference(study: Study, members: list[str], codes: pd.DataFrame, calibrated: pd.DataFrame) -> dict:
    """The content of `findings/reference.json`, which `predict` holds new cases against.

    Of the test cases where there are enough of them: there the deployed ensemble reads, as it will read new
    cases. Else of the training cases, and of their texts alone: a fold's model reads otherwise than the mean,
    and a refit knows the words of all.

    Args:
        members: of the ensemble.
        codes, calibrated: of the test cases, by the deployed ensemble.

    Returns:
        `of`: `test` or `train`; `cases`, how many; `numbers`: see `drift.reference`. Empty where there are
        fewer than `drift.LEAST_CASES`.
    """
    if len(study.test) >= drift.LEAST_CASES:
        texts = drift.of_texts(study.schema, study.test, known_in(study, members, 0))
        read = drift.of_readings(doubt(study.schema, codes, calibrated), calibrated)
        return _told("test", texts.join(read))
    if len(study.train) < drift.LEAST_CASES:
        return {}
    refit = any(StoredModel(study.run, name).has_refit for name in members)
    parts = [
        drift.of_texts(study.schema, study.train[study.folds.loc[study.train.index] == k], known)
        for k in sorted(study.folds.unique())
        for known in [None if refit else known_in(study, members, int(k))]  # which never saw them
    ]
    return _told("train", pd.concat(parts))


def known_in(study: Study, members: list[str], fold: int) -> frozenset[str] | None:
    """Words of the vocabulary of a fold's model, of the first member that has one; None without.

    A member whose refit reads new cases has the refit's words.
    """
    models = [StoredModel(study.run, name) for name in members]
    return words_known(model.path(REFIT if model.has_refit else (fold,)) for model in models)


def _told(of: str, table: pd.DataFrame) -> dict:
    return {"of": of, "cases": len(table), "numbers": drift.reference(table)}
