"""The run folder: the one place that reads and writes artefacts.

`Run("outputs/demo", stage="01_eda")` reads what earlier stages wrote and writes
what this stage makes. Every file is written beside its place and then moved into
it, so a reader never meets half a file; everything that holds narratives is
readable by its owner alone. Each write is noted under the stage's name, which is
how the runner knows, by content, what a rerun may skip.
"""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from narrutils.errors import InputError
from narrutils.schema import Schema

#: Folders and files that hold narrative text.
PRIVATE = ("cases.parquet", "generated/")


@contextmanager
def atomic(path: str | Path):
    """Yield a temporary path that becomes `path` if the block ends without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    for rest in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = rest.name.split(".")[-2]
        if rest == temporary or (pid.isdigit() and not psutil.pid_exists(int(pid))):
            _remove(rest)  # of this process, or of one that was killed
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write JSON, indented, NumPy numbers as numbers and NaN as null."""
    with atomic(path) as part:
        part.write_text(json.dumps(_plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> object:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


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


def write_stream(path: str | Path, tables: Iterable[pd.DataFrame]) -> None:
    """Write tables of the same columns as one private Parquet file; one of them is held at a time.

    Raises:
        ValueError: there is no table at all, or a later one has other columns than the first.
    """
    with table_writer(path, private=True) as write:
        written = [write(table) for table in tables]
        if not written:
            raise ValueError(f"{path}: no table to write")


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


def _groups(path: Path) -> Iterable[pd.DataFrame]:
    """The row groups of a Parquet file, one at a time."""
    with pq.ParquetFile(path) as file:
        for n in range(file.num_row_groups):
            yield file.read_row_group(n).to_pandas()


def read_table(path: str | Path) -> pd.DataFrame:
    return pd.read_csv(path) if Path(path).suffix == ".csv" else pd.read_parquet(path)


def digest(*values: object) -> str:
    """A content key of tables, arrays, paths' contents and plain values (SHA-256, 16 digits)."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame):
            total.update(repr(list(value.columns)).encode())
            total.update(pd.util.hash_pandas_object(value).to_numpy().tobytes())
        elif isinstance(value, Path):
            with value.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(json.dumps(_plain(value), sort_keys=True, default=str).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


class Run:
    """One run folder, seen from one stage.

    Args:
        folder: `outputs/<run>`.
        stage: the notebook's name, such as `01_eda`; None only reads.
    """

    def __init__(self, folder: str | Path, stage: str | None = None):
        self.folder = Path(folder)
        self.stage = stage
        if stage is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, stage={self.stage!r})"

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def write(self, name: str, value: pd.DataFrame | dict | list) -> Path:
        """Write a table (`.parquet`, `.csv`) or plain values (`.json`) by the name's ending."""
        path = self.path(name)
        if path.suffix == ".json":
            write_json(path, value)
        else:
            write_table(path, value, private=name.startswith(PRIVATE))
        self._note(name)
        return path

    def write_stream(self, name: str, tables: Iterable[pd.DataFrame]) -> Path:
        """Write tables of the same columns as one Parquet file, which its owner alone may read."""
        write_stream(self.path(name), tables)
        self._note(name)
        return self.path(name)

    def read(self, name: str) -> pd.DataFrame | dict | list:
        """Read what `write` wrote.

        Raises:
            InputError: the artefact is missing.
        """
        path = self.path(name)
        if not path.exists():
            raise InputError(f"{path} is missing; run the earlier notebooks of this run first")
        return read_json(path) if path.suffix == ".json" else read_table(path)

    def write_probabilities(self, name: str, table: pd.DataFrame, schema: Schema) -> Path:
        """Write probabilities indexed by uid, or by (uid, held_out_fold), after checking them."""
        keys = [k for k in ("uid", "held_out_fold") if k in (table.index.names or [])]
        if not keys:
            raise ValueError(f"{name}: probabilities are indexed by uid")
        return self.write(name, schema.check_probabilities(table).reset_index())

    def read_probabilities(self, name: str, schema: Schema, uids=None) -> pd.DataFrame:
        """Probabilities indexed by uid, in the order of `uids` if given.

        Raises:
            InputError: the artefact is missing, or lacks one of `uids`.
        """
        table = self.read(name).set_index("uid")
        if uids is not None:
            table = by_uid(table, uids, name)
        return schema.check_probabilities(table)

    def cases(self, split: str | None = None) -> pd.DataFrame:
        """`cases.parquet` indexed by uid, of one split (`train`, `test`) if named."""
        cases = self.read("cases.parquet").set_index("uid")
        return cases if split is None else cases[cases["split"] == split]

    def labels(self, schema: Schema, split: str = "train") -> pd.DataFrame | None:
        """Given codes of a split, indexed by uid; None where the split came without labels."""
        given = self.cases(split)[schema.names]
        return None if given.isna().any(axis=None) else given.astype(int)

    def truth(self) -> pd.DataFrame | None:
        """True codes of all cases, where they are known; for evaluation only, never for training."""
        return self.read("truth.parquet").set_index("uid") if self.has("truth.parquet") else None

    def folds(self) -> pd.Series:
        """Fold numbers of the training cases, indexed by uid."""
        return self.read("folds.parquet").set_index("uid")["fold"]

    def pools(self, schema: Schema, kept: bool = True) -> pd.DataFrame:
        """Generated rows of every pool, indexed by uid; only the kept ones unless told otherwise."""
        files = sorted(self.path("generated").glob("*.parquet"))
        columns = ["uid", *schema.text_columns, "pool", "seen_folds", "kept", "reason"]
        tables = [read_table(f) for f in files] or [pd.DataFrame(columns=columns).astype({"kept": bool})]
        rows = pd.concat(tables).set_index("uid")
        return rows[rows["kept"]] if kept else rows

    def take_pools(self, other: "Run") -> list[str]:
        """Copy the pools of another run, which this one goes on from; their names."""
        files = sorted(other.path("generated").glob("*.parquet"))
        for file in files:
            self.write_stream(f"generated/{file.name}", _groups(file))
        return [file.stem for file in files]

    def drop_pools(self, but: list[str]) -> None:
        """Remove the pools of an earlier configuration, so that nothing learns from them."""
        for path in self.path("generated").glob("*.parquet"):
            if path.stem not in but:
                path.unlink()

    def write_folder(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Make a folder whole or not at all; `make` fills the temporary one that it is given.

        A folder that already carries `key` is left as it is and `make` is not called:
        this is how an interrupted training resumes at the next fold.
        """
        folder = self.path(name)
        if not self.is_current(name, key):
            with atomic(folder) as part:
                part.mkdir(parents=True)
                make(part)
                write_json(part / "key.json", {"key": key})
        self._note(f"{name}/key.json")
        return folder

    def is_current(self, name: str, key: str) -> bool:
        """Whether the folder `name` was made whole under `key`."""
        marker = self.path(name) / "key.json"
        return marker.exists() and read_json(marker)["key"] == key

    def written_by(self, stage: str) -> list[str]:
        """Names of the artefacts that a stage wrote, in order."""
        note = self.path(f".stages/{stage}.json")
        return read_json(note) if note.exists() else []

    def forget(self, stage: str) -> None:
        """Empty a stage's list of artefacts, before it runs again."""
        self.path(f".stages/{stage}.json").unlink(missing_ok=True)

    def _note(self, name: str) -> None:
        if self.stage is None:
            raise ValueError("a Run without a stage only reads")
        written = self.written_by(self.stage)
        if name not in written:
            write_json(self.path(f".stages/{self.stage}.json"), [*written, name])


def by_uid(table: pd.DataFrame, uids, name: str) -> pd.DataFrame:
    """The rows of `uids`, in that order, joined by uid and never by position.

    Raises:
        InputError: a uid is missing or stands twice.
    """
    if table.index.has_duplicates:
        raise InputError(f"{name}: uid {table.index[table.index.duplicated()][0]} stands twice")
    missing = pd.Index(uids).difference(table.index)
    if len(missing):
        raise InputError(f"{name}: no row for uid {missing[0]} ({len(missing)} missing)")
    return table.loc[list(uids)]


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Write arrays as safetensors."""
    with atomic(path) as part:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, part)


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    return load_file(path)
