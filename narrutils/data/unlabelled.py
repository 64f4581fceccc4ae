"""Narratives of the same kind that nobody coded: a teacher reads them, and its pupils learn from that.

`unlabelled.parquet` is private and holds `uid`, the text columns, and `seen_folds`, as generated rows
have it: the folds of all training cases that a narrative belongs to. No model that is tested on one of
these learns from it, since it would know its cases already. One that belongs to a test case is left out,
and so are those without a word and those in the words of one before.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from narrutils.data.cases import Dataset
from narrutils.data.clusters import Together, words
from narrutils.data.intake.incoming import Incoming
from narrutils.data.run import UNLABELLED, Run
from narrutils.data.schema import Schema, TextColumn
from narrutils.errors import InputError
from narrutils.paths import locate

PREFIX = "unlabelled:"  # of their uids: no generated row is called so
PART = 2**14  # rows that are read at a time


def check_unlabelled(path: str | Path, schema: Schema) -> tuple[Path, ...]:
    """The files of a table, or of a folder of tables, once all of it was read and no fault found.

    Raises:
        InputError: see `Incoming.check`.
    """
    return _incoming(path, schema).files


def read_unlabelled(path: str | Path, schema: Schema) -> pd.DataFrame:
    """All rows of a table, or of a folder of tables, as `Incoming` reads them.

    Returns:
        The text columns and those of `schema.keep_together`, indexed by uid, `PREFIX` before each.

    Raises:
        InputError: see `Incoming.check`.
    """
    incoming = _incoming(path, schema)
    rows = pd.concat([incoming.part(number) for number in range(len(incoming.places))])
    return rows.set_index((PREFIX + rows.index).rename("uid"))


def take_unlabelled(run: Run, schema: Schema, path: str | Path, similarity: float) -> pd.Series:
    """Write `unlabelled.parquet` of the rows that may be learned from, where a path is given.

    Args:
        run: its cases, groups and folds are written.
        similarity: as of `Together`; where it is 0, equal texts alone count as the same.

    Returns:
        Counts of the narratives: `given`, `without a word or said before`, `of a test case`, `taken`, and
        of these, `of a training case`. All 0 where no path is given.

    Raises:
        InputError: see `Incoming.check`; or a case of the run has the uid of one.
    """
    if not path:
        return _counts(0, 0, 0, 0, 0)
    given, cases = read_unlabelled(path, schema), run.cases()
    both = given.index.intersection(cases.index)
    if len(both):
        raise InputError(f"{path}: a case of the run is called {both[0]}; rename it, or that narrative")
    told = given[schema.text_columns].agg("\n".join, axis=1).map(lambda text: " ".join(words(text)))
    rows = given[told.ne("") & ~told.duplicated()]
    seen, tested = belonging(rows, cases, run.groups(), run.folds(), schema, similarity)
    taken = rows.loc[~tested, schema.text_columns].assign(seen_folds=seen[~tested])
    run.write(UNLABELLED, taken)
    known = taken["seen_folds"].map(len).gt(0).sum()
    return _counts(len(given), len(given) - len(rows), tested.sum(), len(taken), known)


def belonging(
    rows: pd.DataFrame,
    cases: pd.DataFrame,
    groups: pd.DataFrame,
    folds: pd.Series,
    schema: Schema,
    similarity: float,
) -> tuple[pd.Series, pd.Series]:
    """The folds of all training cases that each narrative hangs together with, and whether a test case does.

    Whatever hangs together by single links is one set, as it is for training cases; further narratives
    are links too.

    Args:
        rows: the text columns and those of `schema.keep_together`, indexed by uid.
        cases: the text columns and `split` of all cases, `groups` their further columns.
    """
    columns = list(schema.keep_together)
    shared = pd.concat([groups.loc[cases.index].reindex(columns=columns), rows[columns]]).fillna("")
    texts = pd.concat([cases[schema.text_columns], rows[schema.text_columns]])
    sets = Together(Dataset(texts, texts[:0], None, [], groups=shared), schema, similarity or 1.0).clusters
    of_set = folds.groupby(sets[folds.index]).agg(lambda found: sorted({*map(int, found)}))
    own, tested = sets[rows.index], sets[cases.index[cases["split"] == "test"]]
    seen = pd.Series([of_set.get(one, []) for one in own], rows.index, dtype=object)
    return seen, own.isin(tested)


def _incoming(path: str | Path, schema: Schema) -> Incoming:
    """With the columns that keep cases together beside the texts."""
    more = tuple(TextColumn(name, name) for name in schema.keep_together)
    return Incoming.check(locate(path), replace(schema, text=(*schema.text, *more)), PART)


def _counts(*numbers: int) -> pd.Series:
    names = ["given", "without a word or said before", "of a test case", "taken", "of a training case"]
    return pd.Series(dict(zip(names, map(int, numbers))), name="narratives")
