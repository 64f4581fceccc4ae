"""One model, trained once for each set of held-out folds.

`CrossFit` gives every notebook the same three tables of a model: out-of-fold
predictions, test predictions (the mean of the fold models, or what a refit reads), and
soft labels of what the model may teach. What it trains is a `models.learner.Learner`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from narrutils.crossfit.attempts import train_and_read
from narrutils.crossfit.side_by_side import at_once, for_each
from narrutils.data.files import digest, write_json
from narrutils.data.folds import (
    PLAIN,
    REFIT,
    HeldOut,
    allowed,
    folder_name,
    learns_from,
    pairs,
    singles,
    stack,
)
from narrutils.data.schema import Schema
from narrutils.data.sources import source_digest
from narrutils.data.store import StoredModel, base_folder
from narrutils.data.study import NO_POOL, Study
from narrutils.data.tables import write_table
from narrutils.models.learner import Learner, Phase


@dataclass
class CrossFit:
    """A named model over the folds of a study.

    Args:
        study: its cases and folds; weights and predictions go to its run.
        name: such as `deberta`.
        learner: how one model is trained.
        pool: kept generated rows with `seen_folds`, to be soft-labelled; none unless given.
        learner_of: the learner of a model with these held-out folds, where it is not the same for
            all: it may start from weights that were pretrained on what this model may see.
        teaches: whether its models read the pool, so that they can label it; false where nobody asks.
        at_once: trainings that run side by side, each in a process of its own with its share of the
            cores; 0 leaves it to the machine: one for every two cores, a single one on a GPU.

    Attributes:
        optimistic: whether something that the models learned from crossed the folds, so that their
            scores flatter; known once they were fitted.
        refit: whether one model of all official rows reads new cases; known once it was fitted.
    """

    study: Study
    name: str
    learner: Learner
    pool: pd.DataFrame = field(default_factory=lambda: NO_POOL)
    learner_of: Callable[[HeldOut], Learner] | None = None
    at_once: int = 1
    teaches: bool = True
    optimistic: bool = field(default=False, init=False)
    refit: bool = field(default=False, init=False)

    @property
    def stored(self) -> StoredModel:
        """Where it lies."""
        return StoredModel(self.study.run, self.name)

    @property
    def schema(self) -> Schema:
        return self.study.schema

    @property
    def folds(self) -> pd.Series:
        return self.study.folds

    def fit(self, phases_of: Callable[[HeldOut], list[Phase]], held_outs: list[HeldOut] | None = None):
        """Train the models that are not there yet; an interrupted run resumes at the next one.

        Args:
            phases_of: what the model with these held-out folds learns from.
            held_outs: `singles(folds)` unless told otherwise.
        """
        held_outs = held_outs or singles(self.folds)
        abreast = at_once(self.at_once, len(held_outs), self.learner.whole_machine)
        for_each(self._fit_one, self._tasks(phases_of, held_outs), len(held_outs), abreast)
        return self

    def fit_pairs(self, phases_of: Callable[[HeldOut], list[Phase]]):
        """Train the nested teachers, which leave two folds out; only their readings are kept."""
        return self.fit(phases_of, pairs(self.folds))

    def fit_all(self, phases_of: Callable[[HeldOut], list[Phase]]):
        """Train the refit, which learns from all official rows and reads new cases in place of the others.

        It has no honest score of its own: scores, thresholds and weights stay those of the fold models.
        """
        self.refit = True
        return self.fit(phases_of, [REFIT])

    def out_of_fold(self) -> pd.DataFrame:
        """Each official row read by the one model that left its fold out; in training order."""
        return out_of_fold(self.stored, self.schema, self.folds).loc[self.study.train.index]

    def on_test(self) -> pd.DataFrame:
        """The refit's probabilities on the test rows; without one the mean of the fold models'."""
        if self.refit:
            return self._read(REFIT).loc[self.study.test.index]
        parts = [self.fold_on_test(fold) for (fold,) in singles(self.folds)]
        return sum(parts) / len(parts)

    def fold_on_test(self, fold: int) -> pd.DataFrame:
        """One fold model's probabilities on the test rows."""
        return self._read((fold,)).loc[self.study.test.index]

    def official_soft_labels(self) -> pd.DataFrame:
        """Readings of official rows for each held-out fold, see the function of this name."""
        return official_soft_labels(self.stored, self.schema, self.folds.loc[self.study.train.index])

    def pool_soft_labels(self) -> pd.DataFrame:
        """Readings of generated rows for each held-out fold k, by the model that left k out."""
        return stack({h[0]: self._read(h).loc[allowed(self.pool, h).index] for h in singles(self.folds)})

    def histories(self) -> dict[str, list[dict]]:
        """Training history of each fold's model, an entry an epoch."""
        return {folder_name(h): self.stored.history(h) for h in singles(self.folds)}

    def publish(self, title: str, order: int = 0, instead: str = "") -> None:
        """Write the model's predictions and what the ladder says of it.

        Args:
            title: the ladder's step.
            order: among the models of one notebook.
            instead: the model that is kept in place of this one, where it was refused.
        """
        run = self.study.run
        self.stored.write_predictions("oof", self.out_of_fold(), self.schema)
        self.stored.write_predictions("test", self.on_test(), self.schema)
        about = {"model": self.name, "step": title, "stage": run.stage, "order": order}
        about |= {"folds": [fold for (fold,) in singles(self.folds)], "refit": self.refit}
        about |= {"base": self.learner.base}
        self.stored.write_about(about | {"optimistic": self.optimistic, "instead": instead})
        if self.learner.base:
            key = digest(self.learner.config()["weights"], source_digest("narrutils.models.classifier"))
            run.write_folder(base_folder(self.learner.base), key, self.learner.save_base)

    def _tasks(
        self, phases_of: Callable[[HeldOut], list[Phase]], held_outs: list[HeldOut]
    ) -> Iterator[tuple | None]:
        """What `_fit_one` takes, of each model; None for one that is there already."""
        prepared = False
        for held_out in held_outs:
            phases = phases_of(held_out)
            self._check(phases, held_out)
            self.optimistic |= any(phase.optimistic for phase in phases)
            learner = self.learner_of(held_out) if self.learner_of else self.learner
            reads = self._reads(held_out)
            sources = source_digest(type(learner).__module__, train_and_read.__module__)
            key = digest(learner.config(), sources, [p.key() for p in phases], reads)
            if self.study.run.take_folder(self.stored.fold(held_out), key):
                print(f"{self._label(held_out)}: already trained", flush=True)
                yield None
                continue
            if not prepared:  # test rows by themselves first, as they are read
                tables = (self.study.test, self.study.train, self.pool)
                learner.prepare([table[self.schema.text_columns] for table in tables if len(table)])
            prepared = True
            yield held_out, learner, phases, reads, key

    def _fit_one(
        self, held_out: HeldOut, learner: Learner, phases: list[Phase], reads: pd.DataFrame, key: str
    ) -> None:
        def make(part: Path) -> None:
            # The test rows are read by themselves, as they are when the stored model reads them again.
            tested = reads.index.isin(self.study.test.index)
            parts = [reads[~tested], reads[tested]]
            trained = train_and_read(learner, phases, parts, self.schema, self._label(held_out))
            write_table(part / "predictions.parquet", trained.predictions.rename_axis("uid"))
            about = {"model": self.name, "held_out": held_out, "config": learner.config()}
            about["phases"] = [{"rows": len(p.texts), "epochs": p.epochs, "soft": p.soft} for p in phases]
            about |= {"history": trained.model.history, "attempts": trained.attempts}
            write_json(part / "training.json", about)
            if len(held_out) < 2:  # a nested teacher's readings are all that is asked of it
                trained.model.save(part)

        self.study.run.write_folder(self.stored.fold(held_out), key, make)

    def _reads(self, held_out: HeldOut) -> pd.DataFrame:
        """What this model reads: its held-out rows and allowed pool; but a nested teacher, the test too.

        A refit reads the test alone: there is nothing else that it did not learn from.
        """
        train = self.study.train
        parts = [train[self.folds.loc[train.index].isin(held_out).to_numpy()]]
        if len(held_out) < 2:
            parts.append(self.study.test)
        if self.teaches and len(self.pool) and held_out != REFIT:
            parts.append(allowed(self.pool, held_out))
        return pd.concat([p[self.schema.text_columns] for p in parts])

    def _check(self, phases: list[Phase], held_out: HeldOut) -> None:
        """Every phase's rows are official rows of other folds, or pool rows that saw none of these folds."""
        known = set(learns_from(self.folds, held_out)) | set(allowed(self.pool, held_out).index)
        for phase in phases:
            leaked = set(phase.texts.index) - known
            if leaked:
                raise ValueError(
                    f"{self.name} {folder_name(held_out)} may not learn from {min(leaked)}: "
                    "held out, generated from what is held out, or of unknown origin"
                )

    def _label(self, held_out: HeldOut) -> str:
        return f"{self.name} {folder_name(held_out)}"

    def _read(self, held_out: HeldOut) -> pd.DataFrame:
        return self.stored.read(held_out, self.schema)


def out_of_fold(model: StoredModel, schema: Schema, folds: pd.Series) -> pd.DataFrame:
    """Each official row as the model that left its fold out reads it, indexed by uid."""
    return pd.concat([model.read(h, schema).loc[folds.index[folds == h[0]]] for h in singles(folds)])


def official_soft_labels(model: StoredModel, schema: Schema, folds: pd.Series) -> pd.DataFrame:
    """Readings of official rows for each held-out fold k: row of fold j by teacher (j, k).

    Indexed by (`uid`, `held_out_fold`); −1 holds the plain out-of-fold readings.
    """
    readings = {h[0]: [] for h in singles(folds)}
    for j, k in pairs(folds):
        table = model.read((j, k), schema)
        readings[k].append(table.loc[folds.index[folds == j]])
        readings[j].append(table.loc[folds.index[folds == k]])
    plain = out_of_fold(model, schema, folds).loc[folds.index]
    return stack({PLAIN: plain} | {k: pd.concat(parts) for k, parts in readings.items()})
