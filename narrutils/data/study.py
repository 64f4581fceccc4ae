"""What every notebook of a run works on: the task, its cases, given labels, folds and rows to soft-label."""

from dataclasses import dataclass, field, replace

import pandas as pd

from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.stages import check_whole
from narrutils.errors import InputError

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


def same_cases(other: Run, cases: pd.DataFrame, folds: pd.Series, schema: Schema) -> None:
    """Check that another run has the same official training rows, texts and folds.

    Args:
        cases: the official rows of this run, indexed by uid; `folds`: their fold numbers.

    Raises:
        InputError: they differ; one line names the first uid that does.
    """
    name, theirs = other.folder.name, other.cases("train")
    unshared = cases.index.symmetric_difference(theirs.index)
    if len(unshared):
        raise InputError(
            f"{name}: its training cases differ: uid {unshared[0]} is in only one; use the same data"
        )
    for column in schema.text_columns:
        if column not in theirs:
            raise InputError(f"{name}: its cases have no column {column}; start from a run with this schema")
        differs = cases[column].to_numpy() != theirs.loc[cases.index, column].to_numpy()
        if differs.any():
            uid = cases.index[differs][0]
            raise InputError(f"{name}: {column} of uid {uid} differs from this run's; use the same data")
    here, there = folds.loc[cases.index], other.folds().reindex(cases.index)
    moved = cases.index[here.to_numpy() != there.to_numpy()]
    if len(moved):
        raise InputError(
            f"{name}: its folds differ, and its models would have learned from what is tested here: uid "
            f"{moved[0]} is in fold {there[moved[0]]} there and {here[moved[0]]} here; use one fold seed"
        )
