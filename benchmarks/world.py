"""What the benchmarks share: the demo corpus in a run folder, pools written for it, and a student.

All that takes long lies in the folder under a key of what decides it, as in the notebooks:
the same command, given again after it was killed, goes on where it stopped.
"""

import argparse
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import generated_phase, given_labels, official_phase
from narrutils.crossfit.teachers import Teachers
from narrutils.data.cases import embedded_data, load_data, stack_splits
from narrutils.data.folds import HeldOut, draw_folds, for_fold
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.metrics import Counts, count
from narrutils.evaluation.thresholds import decide_cross_fitted
from narrutils.generation.generate import generate_pool
from narrutils.generation.pools import Adapting, Pool
from narrutils.generation.screening import Screener, own_fold_teachers
from narrutils.models.backbones import load_tokenizer, resolve
from narrutils.models.learner import Learner, Phase
from narrutils.models.precision import fastest
from narrutils.models.settings import Body
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner

from .demo_corpus import EPOCHS, RECIPE

FOLDS = 3
NVDRS = "params/schemas/nvdrs.yaml"
#: How a generator may be used: shown cases or adapted to them, with or without labels to write for.
VARIANTS = ("few_shot", "few_shot_labelled", "adapted", "adapted_labelled")
STUDENTS = ("encoder", "tfidf")
#: Tokens of a narrative at most. A completion is limited part by part, a chat answer as a whole.
PART_TOKENS = 320


def add_options(parser: argparse.ArgumentParser, folder: str) -> None:
    """The options of every benchmark that writes pools and trains students."""
    parser.add_argument("--folder", default=folder, help="run folder; what is there is not made again")
    parser.add_argument("--cases", type=int, default=450, help="of the corpus, four fifths for training")
    parser.add_argument("--epochs", type=int, default=3, help="of adapting a generator")
    parser.add_argument("--soft-epochs", type=int, default=1, help="of the encoder on generated rows")
    parser.add_argument("--student", choices=STUDENTS, default="encoder")
    parser.add_argument("--engine", default="auto", help="auto, vllm or transformers")
    parser.add_argument("--chunk-size", type=int, default=30, help="rows that are generated together")


@dataclass(frozen=True)
class World:
    """The corpus as notebook 01 hands it on: `texts`, `labels` and `folds` of the training cases."""

    run: Run
    schema: Schema
    texts: pd.DataFrame
    labels: pd.DataFrame
    folds: pd.Series

    @classmethod
    def open(
        cls, folder: str | Path, cases: int, seed: int = 0, data: str = "", schema_file: str = NVDRS
    ) -> "World":
        """Write the cases and folds into the run folder.

        Args:
            cases: of the made corpus, four fifths for training.
            data: folder of another corpus; then `cases` are drawn from its training cases, 0 being all.
        """
        schema, run = load_schema(schema_file), Run(folder, stage="benchmark")
        if data:
            table = stack_splits(load_data(data, schema), cases, seed)
        else:
            table = stack_splits(load_data(embedded_data(cases, seed), schema))
        run.write("schema.json", schema.to_dict())
        run.write("cases.parquet", table)
        train, labels = run.cases("train"), run.labels(schema)
        folds = draw_folds(schema, labels, FOLDS, seed)
        run.write("folds.parquet", folds.rename_axis("uid").reset_index())
        return cls(run, schema, train[schema.text_columns], labels, folds)

    @cached_property
    def readers(self) -> list:
        """Who reads label-conditioned rows."""
        return own_fold_teachers(self.schema, self.texts, self.labels, self.folds)

    def screener(self, labelled: bool = False) -> Screener:
        """A fresh one, which has kept nothing yet; with teachers if it is to read labelled rows."""
        teachers = self.readers if labelled else ()
        return Screener(self.texts, self.folds, self.schema, teachers=teachers)

    def write_pool(self, pool: Pool, engine: str, chunk_size: int) -> pd.DataFrame:
        """The rows of a pool, screened by a screener of its own, indexed by uid."""
        made = generate_pool(
            self.run, self.schema, pool, self.texts, self.folds, self.labels, chunk_size, engine, fastest()
        )
        name = f"generated/{pool.pool}.parquet"
        self.run.write_stream(name, self.screener(pool.labelled).stream(made))
        return self.run.read(name).set_index("uid")

    @cached_property
    def teachers(self) -> Teachers:
        """The TF-IDF models of the folds, as notebook 01 trains them."""
        tfidf = CrossFit(
            Study(self.run, self.schema, self.texts, self.folds, self.texts[:0]),
            "tfidf",
            TfidfLearner(self.schema),
        )
        tfidf.fit(given_labels(tfidf.study, labels=self.labels))
        return Teachers(self.run, "tfidf", self.schema)

    def learn(
        self, name: str, kind: str, pool: pd.DataFrame | None = None, soft_epochs: int = 1, seed: int = 0
    ) -> Counts:
        """Train a student on each fold; its out-of-fold counts, thresholds cross-fitted.

        The encoder learns first from the generated rows, with the soft labels of the
        teachers, then from the official rows with the given labels. TF-IDF learns from all
        of them at once and takes a soft label above one half, or the likeliest class, as
        the label.

        Args:
            pool: kept generated rows, indexed by uid; none: the student of the official rows alone.
        """
        pool = self.texts[:0].assign(seen_folds=[]) if pool is None else pool
        soft = self.teachers.pool_soft_labels(pool)
        targets, columns = self.schema.to_targets(self.labels), self.schema.text_columns

        def phases_of(held_out: HeldOut) -> list[Phase]:
            made = generated_phase(pool, for_fold(soft, held_out[0]), held_out, columns, soft_epochs)
            official = official_phase(self.texts, targets, self.folds, held_out, EPOCHS)
            return [made, official] if kind == "encoder" else [_at_once(made, official)]

        model = CrossFit(
            Study(self.run, self.schema, self.texts, self.folds, self.texts[:0]),
            f"{kind}_{name}_seed{seed}",
            self._student(kind, seed),
            pool,
        )
        decided = decide_cross_fitted(
            self.schema, self.labels, model.fit(phases_of).out_of_fold(), self.folds
        )
        return count(self.schema, self.labels, decided)

    def _student(self, kind: str, seed: int) -> Learner:
        if kind == "tfidf":
            return TfidfLearner(self.schema)
        return NeuralLearner(self.schema, Body("minilm", dropout=0.0), recipe=replace(RECIPE, seed=seed))


def variant(name: str, backbone: str, rows: int, epochs: int, seed: int) -> Pool:
    """A pool of one of `VARIANTS`; the same seed shows the same cases with labels and without."""
    adapted, labelled = name.startswith("adapted"), name.endswith("labelled")
    chat = not adapted and load_tokenizer(resolve(backbone)).chat_template
    return Pool(
        pool=f"{name}_{re.sub(r'[^a-zA-Z0-9-]+', '-', backbone)}",
        backbone=backbone,
        rows=rows,
        seed=seed,
        labelled=labelled,
        adapt=Adapting(epochs=epochs) if adapted else None,
        max_examples=0 if adapted else 2,
        max_words=400,
        max_new_tokens=PART_TOKENS * (2 if chat else 1),
        # A default such as SmolLM2's 0.2 has an adapted model turn in circles.
        temperature=1.0 if adapted else None,
    )


def _at_once(*phases: Phase) -> Phase:
    return Phase(pd.concat([p.texts for p in phases]), pd.concat([p.targets for p in phases]))
