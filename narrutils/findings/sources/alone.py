"""Each narrative read alone: all other text columns blank, whole and once without each of its sentences.

A training case is read by the models that left its fold out, a test case by the mean of all folds'
models. What a sentence does is told on the scale of log-odds, where the effects of a cautious model and of a
bold one differ by a factor alone; one reading of a sentence serves all variables.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from scipy.special import logit

from narrutils.crossfit.stored import kind, load_models
from narrutils.crossfit.teachers import Teachers
from narrutils.data.clusters import words
from narrutils.data.folds import singles
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import ENSEMBLE, Blend, combine, without_fold
from narrutils.evaluation.evidence import Variant, variants
from narrutils.findings.settings import LINEAR

BASELINE = "tfidf"  # of every run
PLACES = ["uid", "source", "start", "end"]
CASES = 1000  # whose narratives are read in one call
LEAST = 1e-6  # probabilities are held this far from 0 and 1 before a logarithm

Read = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Alone:
    """Narratives, each read alone.

    Attributes:
        whole: probabilities, `schema.columns` wide, indexed by `uid` and `source` (the text column); an
            empty narrative is not in it.
        places: `uid`, `source`, `start`, `end`: where each sentence stands, in characters; of one that stands
            in its narrative twice, the first place.
        words: the words of each sentence, in lower case.
        effects: `[sentences, width]`: log-odds of the narrative less those of it without the sentence.
    """

    whole: pd.DataFrame
    places: pd.DataFrame
    words: Sequence[list[str]]
    effects: np.ndarray

    def of(self, uids: pd.Index) -> "Alone":
        """The narratives of some cases."""
        rows = self.places["uid"].isin(uids).to_numpy()
        whole = self.whole[self.whole.index.get_level_values("uid").isin(uids)]
        kept = [self.words[n] for n in np.flatnonzero(rows)]
        return Alone(whole, self.places[rows].reset_index(drop=True), kept, self.effects[rows])


@dataclass(frozen=True)
class LinearTeachers(Teachers):
    """The linear members of a run's ensemble, with its weights; the baseline where it has none."""

    @cached_property
    def members(self) -> dict[str, float]:
        made = self.run.read("ensemble.json")["weights"] if self.run.has("ensemble.json") else {}
        linear = {m: w for m, w in made.items() if w and self._counts_terms(m)}
        return linear or {BASELINE: 1.0}

    def read(self, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        """As `Teachers.read`; members read together, so that each text is analysed once for all of them."""
        models = load_models([StoredModel(self.run, m).path((fold,)) for m in self.members], self.run.schema)
        readings = type(models[0]).predict_together(models, texts[self.schema.text_columns])
        return combine(self.schema, dict(zip(self.members, readings)), self._recipe(fold))

    def _counts_terms(self, member: str) -> bool:
        return kind(StoredModel(self.run, member).path(singles(self.folds)[0])) == "linear"

    def _recipe(self, fold: int) -> Mapping:
        made = self.run.read("ensemble.json") if self.run.has("ensemble.json") else {"weights": {}}
        of_ensemble = set(self.members) <= set(made["weights"])
        return without_fold(made, fold) if of_ensemble else Blend(self.members).to_dict()


def teachers_of(run: Run, model: str, schema: Schema) -> Teachers:
    """Who reads: a model of the run, its ensemble, or `LINEAR`."""
    return LinearTeachers(run, ENSEMBLE, schema) if model == LINEAR else Teachers(run, model, schema)


def read_training(study: Study, model: str) -> Alone:
    """The narratives of the training cases, read by the models that left the case's fold out.

    Args:
        model: see `teachers_of`; sentences are read by the linear members whatever it is.
    """
    parts = [
        read_alone(*_readers(study, model, fold), study.train[study.folds == fold], study.schema)
        for (fold,) in singles(study.folds)
    ]
    return _joined(parts)


def read_test(study: Study, model: str) -> Alone:
    """The narratives of the test cases: the mean of what all folds' models read."""
    parts = [
        read_alone(*_readers(study, model, fold), study.test, study.schema)
        for (fold,) in singles(study.folds)
    ]
    first = parts[0]
    whole, effects = (sum(tables) / len(parts) for tables in zip(*((p.whole, p.effects) for p in parts)))
    return Alone(whole, first.places, first.words, effects)


def _readers(study: Study, model: str, fold: int) -> tuple[Read, Read | None]:
    """Who reads whole narratives, and who reads sentences where that is another."""
    read = partial(teachers_of(study.run, model, study.schema).read, fold)
    linear = partial(teachers_of(study.run, LINEAR, study.schema).read, fold)
    return (read, None) if model == LINEAR else (read, linear)


def _joined(parts: list[Alone]) -> Alone:
    return Alone(
        pd.concat([part.whole for part in parts]),
        pd.concat([part.places for part in parts], ignore_index=True),
        [own for part in parts for own in part.words],
        np.vstack([part.effects for part in parts]),
    )


def read_alone(read: Read, of_sentences: Read | None, texts: pd.DataFrame, schema: Schema) -> Alone:
    """Each narrative of some cases alone.

    Args:
        read: text columns, indexed by uid -> probabilities, `schema.columns` wide.
        of_sentences: who reads narratives without a sentence; None: the same.
        texts: the text columns, indexed by uid.
    """
    texts = texts[schema.text_columns].fillna("")
    starts = range(0, max(len(texts), 1), CASES)
    return _joined([_of_block(read, of_sentences, texts.iloc[n : n + CASES], schema) for n in starts])


def _of_block(read: Read, of_sentences: Read | None, texts: pd.DataFrame, schema: Schema) -> Alone:
    told = [(uid, *of_case) for uid, row in texts.to_dict("index").items() for of_case in row.items()]
    made = [(source, v) for uid, source, text in told for v in _variants(uid, source, text, schema)]
    whole = np.array([not v.places for _, v in made], dtype=bool)
    index = pd.Index([f"{n}" for n in range(len(made))], name="uid")
    table = pd.DataFrame([v.texts for _, v in made], index, schema.text_columns, dtype=object)
    keys = pd.MultiIndex.from_tuples([(v.uid, source) for source, v in made], names=["uid", "source"])
    if not len(made):
        return Alone(pd.DataFrame(columns=schema.columns, index=keys, dtype=float), *_no_sentence(schema))
    p = np.array((of_sentences or read)(table)[schema.columns], dtype=float)
    odds = logit(np.clip(p, LEAST, 1 - LEAST))
    effects = odds[whole][np.cumsum(whole) - 1] - odds
    if of_sentences:
        p[whole] = read(table[whole])[schema.columns]
    places = pd.DataFrame([(v.uid, *v.places[0]) for _, v in made if v.places], columns=PLACES)
    spoken = [_words(texts.at[v.uid, source], v) for source, v in made if v.places]
    return Alone(pd.DataFrame(p[whole], keys[whole], schema.columns), places, spoken, effects[~whole])


def _no_sentence(schema: Schema) -> tuple:
    return pd.DataFrame(columns=PLACES), [], np.zeros((0, schema.width))


def _variants(uid: str, source: str, text: str, schema: Schema) -> Iterable[Variant]:
    """A narrative whole and without each sentence, the other columns blank; none of an empty one."""
    blank = dict.fromkeys(schema.text_columns, "")
    return variants(uid, blank | {source: text}) if text.strip() else ()


def _words(text: str, variant: Variant) -> list[str]:
    said = " ".join(text[start:end] for _, start, end in variant.places)
    return words(said.replace("n't", " not").replace("n\u2019t", " not"))
