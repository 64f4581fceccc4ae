"""The run folder: the one place that reads and writes artefacts.

`Run("outputs/demo", stage="01_eda")` reads what earlier stages wrote and writes
what this stage makes. Everything that holds narratives is readable by its owner alone.
Each write is noted under the stage's name, which is how the runner knows, by content,
what a rerun may skip.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
from filelock import FileLock

from narrutils.data.files import altered, atomic, gone, note_contents, read_json, write_json
from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid, read_table, row_groups, table_writer, write_table
from narrutils.errors import InputError

UNLABELLED = "unlabelled.parquet"  # further narratives; see `data.unlabelled`
#: Folders and files that hold narrative text, or columns that may say who a case is of.
PRIVATE = ("cases.parquet", "groups.parquet", UNLABELLED, "generated/")


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

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether an artefact is there; the `key.json` of a folder stands for all that lies in it."""
        path = self.path(name)
        return path.exists() and not (path.name == "key.json" and gone(path.parent))

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
        """Write tables of the same columns as one private Parquet file; one of them is held at a time.

        Raises:
            ValueError: there is no table at all, or a later one has other columns than the first.
        """
        with table_writer(self.path(name), private=True) as write:
            if not [write(table) for table in tables]:
                raise ValueError(f"{name}: no table to write")
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

    def write_probabilities(
        self, name: str, table: pd.DataFrame, schema: Schema, partial: bool = False
    ) -> Path:
        """Write probabilities indexed by uid, or by (uid, held_out_fold), after checking them.

        Args:
            partial: whether they are labels, of which some may be missing.
        """
        keys = [k for k in ("uid", "held_out_fold") if k in (table.index.names or [])]
        if not keys:
            raise ValueError(f"{name}: probabilities are indexed by uid")
        return self.write(name, schema.check_probabilities(table, partial).reset_index())

    def read_probabilities(self, name: str, schema: Schema, uids=None) -> pd.DataFrame:
        """Probabilities indexed by uid, in the order of `uids` if given.

        Raises:
            InputError: the artefact is missing, or lacks one of `uids`.
        """
        table = self.read(name).set_index("uid")
        if uids is not None:
            table = by_uid(table, uids, name)
        return schema.check_probabilities(table)

    @property
    def schema(self) -> Schema:
        """The task, auxiliary variables and all: what the models of the run read."""
        return Schema.from_dict(self.read("schema.json"))

    def record(self) -> dict:
        """The content of `run.json`, or an empty record."""
        return {"stages": {}} | (self.read("run.json") if self.has("run.json") else {})

    @property
    def states(self) -> Path:
        """Where what frozen layers gave of cases is kept until the run ends; see `lower`."""
        return self.path("states")

    def drop_states(self) -> None:
        """Remove what frozen layers gave of cases: text can be made of it again."""
        shutil.rmtree(self.states, ignore_errors=True)

    def models(self) -> list[str]:
        """Names of the models with out-of-fold predictions, in order."""
        files = self.path("predictions").glob("*_oof.parquet")
        return sorted(file.name.removesuffix("_oof.parquet") for file in files)

    def cases(self, split: str | None = None) -> pd.DataFrame:
        """`cases.parquet` indexed by uid, of one split (`train`, `test`) if named."""
        cases = self.read("cases.parquet").set_index("uid")
        return cases if split is None else cases[cases["split"] == split]

    def labels(self, schema: Schema, split: str = "train") -> pd.DataFrame | None:
        """Codes given in a split, indexed by uid, as of `Schema.given`; None where it came without labels."""
        return schema.given(self.cases(split))

    def truth(self) -> pd.DataFrame | None:
        """True codes of all cases, where they are known; for evaluation only, never for training."""
        return self.read("truth.parquet").set_index("uid") if self.has("truth.parquet") else None

    def truth_by_source(self) -> pd.DataFrame | None:
        """What each narrative was made to say, where it is known; for evaluation only, never for training.

        `uid`, `source` (text column), `variable`, `said`: 1 says so, 0 says not, or the code of a
        categorical variable; no row where the narrative is silent.
        """
        name = "truth_by_source.parquet"
        return self.read(name) if self.has(name) else None

    def folds(self) -> pd.Series:
        """Fold numbers of the training cases, indexed by uid."""
        return self.read("folds.parquet").set_index("uid")["fold"]

    def clusters(self) -> pd.DataFrame:
        """What belongs together, indexed by uid: `cluster` of each training case, `twin` of each test case.

        `twin` is "" where there is none. In a run that wrote none every case stands alone.
        """
        if self.has("clusters.parquet"):
            return self.read("clusters.parquet").set_index("uid")
        train, cases = self.cases("train").index, self.cases().index
        alone = pd.Series(range(len(train)), train, dtype="Int64").reindex(cases)
        return pd.DataFrame({"cluster": alone, "twin": ""}, index=cases)

    def groups(self) -> pd.DataFrame:
        """Further columns of the cases, such as a site, indexed by uid; none where none were read."""
        if self.has("groups.parquet"):
            return self.read("groups.parquet").set_index("uid")
        return pd.DataFrame(index=self.cases().index)

    def pools(self, schema: Schema, kept: bool = True) -> pd.DataFrame:
        """Generated rows of every pool, indexed by uid; only the kept ones unless told otherwise."""
        files = sorted(self.path("generated").glob("*.parquet"))
        columns = ["uid", *schema.text_columns, "pool", "seen_folds", "kept", "reason"]
        tables = [read_table(f) for f in files] or [pd.DataFrame(columns=columns).astype({"kept": bool})]
        rows = pd.concat(tables).set_index("uid")
        return rows[rows["kept"]] if kept else rows

    def unlabelled(self, schema: Schema) -> pd.DataFrame:
        """Further narratives with `seen_folds`, indexed by uid; none where none were given."""
        if not self.has(UNLABELLED):
            return pd.DataFrame({name: [] for name in (*schema.text_columns, "seen_folds")}, dtype=object)
        return self.read(UNLABELLED).set_index("uid")

    def take_pools(self, other: "Run") -> list[str]:
        """Copy the pools of another run, which this one goes on from; their names."""
        files = sorted(other.path("generated").glob("*.parquet"))
        for file in files:
            self.write_stream(f"generated/{file.name}", row_groups(file))
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
        if not self.take_folder(name, key):
            with atomic(folder) as part:
                part.mkdir(parents=True)
                make(part)
                note_contents(part)
                write_json(part / "key.json", {"key": key})
            self._note(f"{name}/key.json")
        return folder

    def take_folder(self, name: str, key: str) -> bool:
        """Whether the folder `name` was made under `key` and is whole; then it counts as this stage's own."""
        folder = self.path(name)
        marker = folder / "key.json"
        found = marker.exists() and read_json(marker) == {"key": key} and not altered(folder)
        if found:
            self._note(f"{name}/key.json")
        return found

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
        note = self.path(f".stages/{self.stage}.json")
        note.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(note.with_suffix(".lock")):  # trainings side by side write it too
            written = self.written_by(self.stage)
            if name not in written:
                write_json(note, [*written, name])
