"""Tables: Parquet and CSV, whole or in pieces, and rows joined by uid."""

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from narrutils.data.files import atomic, intact
from narrutils.errors import InputError


def write_table(path: str | Path, table: pd.DataFrame, private: bool = False) -> None:
    """Write Parquet or CSV by the name's ending; the index, if named, becomes a column."""
    if table.index.name is not None:
        table = table.reset_index()
    with atomic(path) as part:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600 if private else 0o644))
        if Path(path).suffix == ".csv":
            table.to_csv(part, index=False)
        else:
            table.to_parquet(part, index=False)


@contextmanager
def table_writer(path: str | Path, private: bool = False):
    """Yield a function that appends a table to a file that stands there whole at the end, or not at all.

    Parquet or CSV by the name's ending. Every table has the columns of the first.
    """
    with atomic(path) as part:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600 if private else 0o644))
        writer = (_CsvWriter if Path(path).suffix == ".csv" else _ParquetWriter)(part)
        try:
            yield writer.write
        finally:
            writer.close()


class _CsvWriter:
    def __init__(self, path: Path):
        self.file, self.columns = path.open("w", encoding="utf-8", newline=""), None

    def write(self, table: pd.DataFrame) -> None:
        if self.columns is not None and list(table.columns) != self.columns:
            raise ValueError(f"columns {list(table.columns)} after {self.columns}")
        table.to_csv(self.file, index=False, header=self.columns is None)
        self.columns = list(table.columns)

    def close(self) -> None:
        self.file.close()


class _ParquetWriter:
    def __init__(self, path: Path):
        self.path, self.writer = path, None

    def write(self, table: pd.DataFrame) -> None:
        if self.writer is None:
            self.layout = _stated(pa.Schema.from_pandas(table, preserve_index=False))
            self.writer = pq.ParquetWriter(self.path, self.layout)
        self.writer.write_table(pa.Table.from_pandas(table, schema=self.layout, preserve_index=False))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _stated(layout: pa.Schema) -> pa.Schema:
    """The layout with a type where the first table held nothing to tell it by: then it is text."""
    for n, column in enumerate(layout):
        if pa.types.is_null(column.type):
            layout = layout.set(n, column.with_type(pa.string()))
        elif pa.types.is_list(column.type) and pa.types.is_null(column.type.value_type):
            layout = layout.set(n, column.with_type(pa.list_(pa.string())))
    return layout


def row_groups(path: Path) -> Iterable[pd.DataFrame]:
    """The row groups of a Parquet file, one at a time.

    Raises:
        InputError: the file is damaged.
    """
    with intact(path), pq.ParquetFile(path) as file:
        for n in range(file.num_row_groups):
            yield file.read_row_group(n).to_pandas()


def read_table(path: str | Path) -> pd.DataFrame:
    """What `write_table` wrote.

    Raises:
        InputError: the file is damaged.
    """
    with intact(path):
        return pd.read_csv(path) if Path(path).suffix == ".csv" else pd.read_parquet(path)


def by_uid(table: pd.DataFrame | pd.Series, uids, name: str) -> pd.DataFrame | pd.Series:
    """The rows of `uids`, in that order, joined by uid and never by position.

    Raises:
        InputError: a uid is missing or stands twice.
    """
    if table.index.has_duplicates:
        raise InputError(f"{name}: uid {table.index[table.index.duplicated()][0]} stands twice")
    at = table.index.get_indexer(uids)
    if (at < 0).any():
        missing = pd.Index(uids).difference(table.index)
        raise InputError(f"{name}: no row for uid {missing[0]} ({len(missing)} missing)")
    return table.iloc[at]
