"""The cases of a run as a reader looks through them: labels beside readings, errors, neighbours.

Tables only; `explore` puts them on the screen.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.evaluation.scores import score_stored

#: What a reader may ask for of one variable and one model.
ALL, AGREE, MISSED, ADDED, OTHER = (
    "all cases",
    "coded alike",
    "coded 1, read as 0",
    "coded 0, read as 1",
    "another class",
)


@dataclass(frozen=True)
class Casebook:
    """The official cases of a run and what its models made of them, each row out of fold.

    Args:
        study: of a run that is only read.
    """

    study: Study
    _known: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = field(default_factory=dict, repr=False)

    @cached_property
    def models(self) -> list[str]:
        """Models with out-of-fold predictions; the ensemble first, then by name."""
        return sorted(self.study.run.models(), key=lambda name: name != ENSEMBLE)

    def probabilities(self, model: str) -> pd.DataFrame:
        """A model's out-of-fold probabilities, `schema.columns` wide, in the order of the cases.

        Raises:
            InputError: the run holds none of this model.
        """
        return self._read_once(model)[0]

    def codes(self, model: str) -> pd.DataFrame:
        """What a model would code, its thresholds cross-fitted."""
        return self._read_once(model)[1]

    def errors(self, variable: str) -> list[str]:
        """What can be asked for of a variable."""
        return [ALL, MISSED, ADDED, AGREE] if self.study.schema[variable].is_binary else [ALL, OTHER, AGREE]

    def select(self, variable: str, model: str, error: str = ALL) -> pd.Series:
        """Cases by kind of error, the widest gap between label and reading first.

        Args:
            variable: name of a variable; `model`: one of `models`; `error`: one of `errors`.

        Returns:
            uid -> probability that the model gives to the given code, in [0, 1]. A case without a
            label is no kind of error: it stands among all cases alone, last, with NaN.
        """
        given, read = self.study.labels[variable], self.codes(model)[variable]
        wanted = {
            ALL: pd.Series(True, given.index),
            AGREE: given == read,
            MISSED: (given == 1) & (read == 0),
            ADDED: (given == 0) & (read == 1),
            OTHER: given != read,
        }[error]
        wanted = wanted.fillna(False).astype(bool)
        return self._of_given(variable, model)[wanted].sort_values(kind="stable")

    def readings(self, uid: str) -> pd.DataFrame:
        """One case, a row a variable: the given code, and for each model the probability of that code.

        A model's entry ends in ` → code` where it would code something else; where no label is given,
        this is all of it.
        """
        labels = self.study.labels.loc[uid]
        table = pd.DataFrame({"given": labels.astype(object).where(labels.notna(), "")})
        for model in self.models:
            codes = self.codes(model).loc[uid]
            shares = [self._of_given(v, model)[uid] for v in table.index]
            table[model] = [
                _told(*of_variable) for of_variable in zip(table["given"], shares, codes[table.index])
            ]
        return table.rename_axis(index="variable", columns=None)

    def neighbours(self, uid: str, n: int = 5) -> pd.Series:
        """The n official cases whose words are most like a case's.

        Returns:
            uid -> cosine of their TF-IDF vectors, in [0, 1], the highest first.
        """
        cases = self.study.train
        at = cases.index.get_loc(uid)
        cosine = (self._vectors @ self._vectors[at].T).toarray().ravel()
        cosine[at] = -1.0
        best = np.argsort(-cosine, kind="stable")[: min(n, len(cosine) - 1)]
        return pd.Series(cosine[best], index=cases.index[best], name="similarity")

    def _of_given(self, variable: str, model: str) -> pd.Series:
        """Probability that a model gives to each case's given code; NaN where there is none."""
        table = self.probabilities(model)
        shares = self.study.schema[variable].of_codes(table, self.study.labels[variable])
        return pd.Series(shares, index=table.index)

    def _read_once(self, model: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        if model not in self._known:
            study = self.study
            table = StoredModel(study.run, model).predictions("oof", study.schema, study.labels.index)
            self._known[model] = table, score_stored(study, model).codes
        return self._known[model]

    @cached_property
    def _vectors(self):
        texts = self.study.train.agg("\n".join, axis=1)
        return normalize(TfidfVectorizer(sublinear_tf=True).fit_transform(texts)).tocsr()


def _told(given: int | str, share: float, code: int) -> str:
    """How a model reads one variable of a case: the probability of the given code, and its own if another."""
    known = "" if given == "" else f"{share:.2f}"
    return known if code == given else f"{known} → {code}".lstrip()
