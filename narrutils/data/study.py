"""What every notebook of a run works on: the task, its cases, given labels, folds and rows to soft-label."""

from dataclasses import dataclass, field, replace

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole

#: Columns that every row of a pool has, for a study without any.
NO_POOL = pd.DataFrame({"seen_folds": []})


@dataclass(frozen=True)
class Study:
    """The official cases of a run, and what is known of them before any model.

    Attributes:
        run: where models and predictions go.
        schema: the task; of `scored` without its auxiliary variables.
        train: text columns of the official training rows, indexed by uid.
        folds: fold of each training row.
        test: text columns of the test rows.
        labels: given codes of the training rows; the only ones that anything learns from.
        test_labels: given codes of the test rows; None where they are not known.
        pool: what teachers label: kept generated rows and further narratives that nobody coded, with
            `seen_folds`. A further narrative is of no `pool`.
        threshold_search: how every model's thresholds are searched, a name of `thresholds.SEARCHES`.
    """

    run: Run
    schema: Schema
    train: pd.DataFrame
    folds: pd.Series
    test: pd.DataFrame
    labels: pd.DataFrame | None = None
    test_labels: pd.DataFrame | None = None
    pool: pd.DataFrame = field(default_factory=lambda: NO_POOL)
    threshold_search: str = "shrunk"

    @classmethod
    def open(cls, run: Run, threshold_search: str = "") -> "Study":
        """The study of a run folder, once `01_eda` has written cases and folds.

        A folder that is only read, by a `Run` without a stage, must be whole.

        Args:
            threshold_search: empty: what the run's notebooks were given.

        Raises:
            InputError: schema, cases or folds are missing, or the stages do not belong together.
        """
        if run.stage is None:
            check_whole(run)
        schema = run.schema
        train, test = (run.cases(split)[schema.text_columns] for split in ("train", "test"))
        labels = (run.labels(schema), run.labels(schema, "test"))
        ways = [values.get("threshold_search") for values in run.record().get("parameters", {}).values()]
        way = threshold_search or next(filter(None, ways), cls.threshold_search)
        pool, more = run.pools(schema), run.unlabelled(schema)
        pool = pd.concat([pool, more]) if len(more) else pool
        return cls(run, schema, train, run.folds(), test, *labels, pool, way)

    @property
    def scored(self) -> "Study":
        """The study without auxiliary variables: of what is scored, coded and found; itself without any."""
        schema = self.schema.scored
        if schema is self.schema:
            return self
        kinds = (self.labels, self.test_labels)
        labels, test_labels = (None if codes is None else schema.given(codes) for codes in kinds)
        return replace(self, schema=schema, labels=labels, test_labels=test_labels)
