"""What each narrative says by itself: so, not so, or nothing.

A narrative is silent on a variable unless a sentence of it moves the variable's log-odds further than
`NEUTRAL` of the sentences raise them of cases that are coded otherwise. It says so where a sentence
raises them so far, is worded as those that assert (`wording`), and the narrative alone, its wording heard
and calibrated against the labels, reads above its threshold. It says not where no sentence says so and one
denies it: it holds a word that denies, is more probably worded as those that do not assert, and lowers
the variable's log-odds far, or, where the models hear the topic only, raises them no less than half of the
sentences that assert. Of a categorical variable a narrative says its most probable class, where it is so
with a probability of `SURE` and a sentence raises it so far.

All of it is found without the fold that is answered for: the readings, and from the other folds the
calibration, the thresholds, the wording, and both limits. For test cases it is found on all folds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.calibration import Calibration, fit_calibration
from narrutils.evaluation.thresholds import search_named
from narrutils.findings.settings import Findings
from narrutils.findings.sources.alone import Alone, read_test, read_training
from narrutils.findings.sources.wording import Wording, deny

SO, NOT = 1, 0  # of a binary variable; a categorical one has its codes
NEUTRAL = 0.975  # share of sentences of cases coded otherwise whose effect counts as none
LEAST = 0.1  # log-odds; an effect below counts as none, whatever other sentences do
ASSERTS = 0.6  # probability of the wording from which a sentence asserts; below one half it does not
SURE = 0.8  # probability of a class from which a narrative says it
LOWERS = 2  # times the largest effect that counts as none: by so much a sentence lowers that denies
WEIGHT = 0.5  # a denial weighs no less than so many of the sentences that assert

COLUMNS = ["uid", "split", "source", "variable", "says", "probability", "start", "end"]


@dataclass(frozen=True)
class Rule:
    """How narratives that were read alone are answered for, found on labelled cases.

    Attributes:
        heard: weights of a narrative's log-odds, of the log-odds of its strongest sentence's wording, and
            of there being one, and the intercept: over all binary variables.
        calibration, thresholds: of each text column; of one that was always empty there are none, and a
            narrative of it is silent.
        neutral: of binary and of categorical variables: largest effect that counts as none, in log-odds.
        weight: least effect of a sentence that denies and yet raises.
        denials: see `wording.deny`.
    """

    schema: Schema
    heard: np.ndarray
    calibration: Mapping[str, Calibration]
    thresholds: Mapping[str, Mapping[str, float]]
    neutral: tuple[float, float]
    weight: float
    wording: Wording
    denials: str

    @classmethod
    def fit(
        cls, schema: Schema, alone: Alone, labels: pd.DataFrame, folds: pd.Series, way: str, denials: str
    ) -> "Rule":
        """The rule that these cases teach.

        Args:
            labels: given codes of at least their cases, indexed by uid; null where none is given.
            folds: fold of each case; the wording of a fold is read by what the others taught.
            way: how thresholds are searched, a name of `thresholds.SEARCHES`.
        """
        targets = schema.to_targets(labels.loc[alone.places["uid"]]).to_numpy()
        binary = np.isin(np.arange(schema.width), schema.binary_index)
        neutral = tuple(_neutral(alone.effects[:, at], targets[:, at]) for at in (binary, ~binary))
        effects, answers = alone.effects[:, binary], targets[:, binary]
        on, fold = np.abs(effects) > neutral[0], folds.loc[alone.places["uid"]].to_numpy()
        said = np.full(on.shape, np.nan)
        for k in np.unique(fold):
            own, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
            taught = Wording.fit([alone.words[n] for n in rest], effects[rest], on[rest], answers[rest])
            said[own] = taught.read([alone.words[n] for n in own], effects[own], on[own])
        wording = Wording.fit(alone.words, effects, on, answers)
        found = cls(schema, _weights(schema, alone, labels, said), {}, {}, neutral, 0.0, wording, denials)
        return found._tuned(alone, labels, said, way)

    def _tuned(self, alone: Alone, labels: pd.DataFrame, said: np.ndarray, way: str) -> "Rule":
        """The rule with calibration, thresholds and weight, found on readings by wording of other folds."""
        calibration, thresholds = {}, {}
        for source, read in self._hear(alone, said).groupby(level="source", sort=False):
            read = read.droplevel("source")
            given = labels.loc[read.index]
            calibration[source] = fit_calibration(self.schema, given, read)
            thresholds[source] = search_named(way)(self.schema, given, calibration[source].apply(read))
        made = replace(self, calibration=calibration, thresholds=thresholds)
        asserting = alone.effects[:, self.schema.binary_index][made.sentences(alone, said)[0]]
        return replace(made, weight=float(np.quantile(asserting, WEIGHT)) if len(asserting) else np.inf)

    def said(self, alone: Alone) -> np.ndarray:
        """Probability of each sentence's wording, `[sentences, binary variables]`; NaN where on none."""
        effects = alone.effects[:, self.schema.binary_index]
        return self.wording.read(alone.words, effects, np.abs(effects) > self.neutral[0])

    def _hear(self, alone: Alone, said: np.ndarray) -> pd.DataFrame:
        """The readings of narratives once their wording is heard, in the order of `alone.whole`."""
        read, names = alone.whole.copy(), [v.name for v in self.schema.binary]
        read[names] = expit(_features(self.schema, alone, said) @ self.heard[:3] + self.heard[3])
        return read

    def calibrated(self, alone: Alone, said: np.ndarray) -> pd.DataFrame:
        """Probabilities of the label by each narrative alone, as `alone.whole`; NaN without a calibration."""
        heard = self._hear(alone, said)
        parts = [
            self.calibration[source].apply(part) if source in self.calibration else part * np.nan
            for source, part in heard.groupby(level="source")
        ]
        return pd.concat([heard[:0], *parts]).loc[alone.whole.index]

    def sentences(self, alone: Alone, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which sentences say so and which deny, each `[sentences, binary variables]`."""
        effects = alone.effects[:, self.schema.binary_index]
        raises = effects > self.neutral[0]
        above = self._above(alone, said)[_owner(alone)]
        denies = (said < 0.5) & ((effects >= self.weight) | (effects <= -LOWERS * self.neutral[0]))
        taught = alone.places["source"].isin(list(self.calibration)).to_numpy()
        denies &= (deny(alone.words, self.denials) & taught)[:, None]
        return raises & (said >= ASSERTS) & above, denies

    def _above(self, alone: Alone, said: np.ndarray) -> np.ndarray:
        """Whether each narrative alone reads above its threshold, `[narratives, binary variables]`."""
        names = [v.name for v in self.schema.binary]
        cuts = [[self.thresholds.get(source, {}).get(name, np.inf) for name in names]
                for source in alone.whole.index.get_level_values("source")]  # fmt: skip
        return self.calibrated(alone, said)[names].to_numpy() > np.array(cuts).reshape(len(cuts), len(names))

    def answers(self, alone: Alone) -> pd.DataFrame:
        """What each narrative says of each variable: `COLUMNS` without `split`; see `read_apart`."""
        said, owner = self.said(alone), _owner(alone)
        read, (so, no) = self.calibrated(alone, said), self.sentences(alone, said)
        effects = alone.effects[:, self.schema.binary_index]
        parts = []
        for n, v in enumerate(self.schema.binary):
            says, places = _strongest(alone, owner, np.abs(effects[:, n]), {NOT: no[:, n], SO: so[:, n]})
            parts.append(_rows(v.name, read, says, read[v.name].to_numpy(), places))
        for v in self.schema.categorical:
            p, at = read[list(v.columns)].to_numpy(), self.schema.slices[v.name]
            best = p.argmax(axis=1)
            effect = alone.effects[np.arange(len(owner)), at.start + best[owner]]
            raises = (effect > self.neutral[1]) & (p.max(axis=1) > SURE)[owner]
            told, places = _strongest(alone, owner, effect, {SO: raises})
            says = np.where(np.isnan(told), np.nan, np.array(v.codes)[best])
            parts.append(_rows(v.name, read, says, p.max(axis=1), places))
        return pd.concat(parts, ignore_index=True)


def _features(schema: Schema, alone: Alone, said: np.ndarray) -> np.ndarray:
    """Log-odds of a narrative, of the wording of its strongest sentence (0 without one), and if there is one.

    Returns:
        `[narratives, binary variables, 3]`.
    """
    whole = alone.whole[[v.name for v in schema.binary]].to_numpy()
    effects, owner = np.abs(alone.effects[:, schema.binary_index]), _owner(alone)
    features = np.zeros((*whole.shape, 3))
    features[..., 0] = logit(np.clip(whole, 1e-6, 1 - 1e-6))
    for n in range(whole.shape[1]):
        rows = np.flatnonzero(~np.isnan(said[:, n]))
        rows = rows[np.argsort(effects[rows, n], kind="stable")]  # of one narrative the strongest stays
        features[owner[rows], n, 1] = logit(said[rows, n])
        features[owner[rows], n, 2] = 1
    return features


def _weights(schema: Schema, alone: Alone, labels: pd.DataFrame, said: np.ndarray) -> np.ndarray:
    """See `Rule.heard`; the narrative's own log-odds where all labels are the same."""
    names = [v.name for v in schema.binary]
    answers = labels.loc[alone.whole.index.get_level_values("uid"), names].to_numpy(
        dtype=float, na_value=np.nan
    )
    given = ~np.isnan(answers)
    if len(np.unique(answers[given])) < 2:
        return np.array([1.0, 0.0, 0.0, 0.0])
    model = LogisticRegression(C=1.0).fit(_features(schema, alone, said)[given], answers[given])
    return np.append(model.coef_[0], model.intercept_)


def _neutral(effects: np.ndarray, targets: np.ndarray) -> float:
    otherwise = np.maximum(effects[targets == 0], 0)  # that a class is told lowers all others far
    return max(float(np.quantile(otherwise, NEUTRAL)), LEAST) if len(otherwise) else np.inf


def _owner(alone: Alone) -> np.ndarray:
    """Number of the narrative of each sentence, in the order of `alone.whole`."""
    return alone.whole.index.get_indexer(pd.MultiIndex.from_frame(alone.places[["uid", "source"]]))


def _strongest(
    alone: Alone, owner: np.ndarray, effect: np.ndarray, kinds: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """What each narrative says, NaN where it is silent, and the `[start, end]` of the sentence that decides.

    Args:
        effect: of each sentence; the one of the largest decides.
        kinds: answer -> which sentences give it; a later one overrules those before it.
    """
    n = len(alone.whole)
    says, places = np.full(n, np.nan), np.full((n, 2), np.nan)
    spans = alone.places[["start", "end"]].to_numpy(dtype=float)
    for answer, which in kinds.items():
        rows = np.flatnonzero(which)
        rows = rows[np.argsort(effect[rows], kind="stable")]  # of one narrative the last, strongest one stays
        says[owner[rows]], places[owner[rows]] = answer, spans[rows]
    return says, places


def _rows(name: str, read: pd.DataFrame, says: np.ndarray, p: np.ndarray, places: np.ndarray) -> pd.DataFrame:
    table = read.index.to_frame(index=False).assign(variable=name, says=says, probability=p)
    return table.assign(start=places[:, 0], end=places[:, 1])


def read_apart(study: Study, options: Findings) -> pd.DataFrame:
    """What each narrative of all cases says by itself: the table `findings/sources.parquet`.

    Returns:
        A row a case, text column and variable, in the order of the cases, text columns and variables:
        `uid`; `split` (`train`, `test`); `source`, the text column; `variable`; `says`, 1 where it says so, 0
        where it says not, the code of a categorical variable, null where it is silent; `probability`, of
        the label 1, or of the most probable class, given this narrative alone, calibrated (training cases out
        of fold); null for an empty narrative, and for one whose text column is empty in all cases that teach;
        `start`, `end`: where in it, in characters, the sentence
        stands that decides, null where it is silent. It holds no text.
    """
    schema, labels = study.schema, study.labels
    alone, parts = read_training(study, options.sources_model), []
    for k in sorted(study.folds.unique()):
        own = study.folds.index[study.folds == k]
        others = study.folds.index.difference(own)
        rule = Rule.fit(
            schema, alone.of(others), labels, study.folds, study.threshold_search, options.denials
        )
        parts.append(rule.answers(alone.of(own)).assign(split="train"))
    if len(study.test):
        rule = Rule.fit(schema, alone, labels, study.folds, study.threshold_search, options.denials)
        parts.append(rule.answers(read_test(study, options.sources_model)).assign(split="test"))
    return _whole(study, pd.concat(parts, ignore_index=True))


def _whole(study: Study, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers in order, with a row for each narrative that is empty."""
    splits = {"train": study.train.index, "test": study.test.index}
    keys = [(uid, split, source, name) for split, uids in splits.items() for uid in uids
            for source in study.schema.text_columns for name in study.schema.names]  # fmt: skip
    index = pd.MultiIndex.from_tuples(keys, names=COLUMNS[:4])
    table = answers.set_index(COLUMNS[:4]).reindex(index).reset_index()
    return table.astype({name: "Int64" for name in ("says", "start", "end")})[COLUMNS]
