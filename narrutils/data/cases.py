"""The cases of a folder, read whole and checked before anything is built on it.

Every fault that a person can mend is one line naming the file, the line as a text
editor counts it (a record with newlines inside quotes is named by its first line),
the column, and the mend. What was read otherwise than it was written is noted.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from narrutils.data.files import altered, atomic, digest, note_contents
from narrutils.data.intake.cells import missing_labels, read_labels
from narrutils.data.intake.folder import (
    SUBMISSION,
    TEST_FEATURES,
    TEST_LABELS,
    TRAIN_FEATURES,
    TRAIN_LABELS,
    TRUTH,
    TRUTH_BY_SOURCE,
    Folder,
    Split,
    check_apart,
    check_uids,
)
from narrutils.data.intake.sheets import Sheet, open_records
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.paths import cache_folder


@dataclass
class Dataset:
    """One folder of cases, indexed by uid.

    Attributes:
        train, test: the text columns (str, "" where the file has nothing) and one
            nullable-integer column a variable, null where there is no label.
        truth: planted true labels of all cases, or None without `truth.csv`; for
            evaluation only, never for training.
        submission_uids: test uids in the order that a submission must have.
        hashes: SHA-256 of every file that was read, by file name.
        truth_by_source: what each narrative was made to say, or None without `truth_by_source.csv`:
            `uid`, `source` (a text column), `variable`, `said` (1 says so, 0 says not, a code of a
            categorical variable; no row where it is silent); for evaluation only.
        groups: columns of the features to report on, to keep together, or kept, as text; of all cases.
        notes: how files and labels were read, where that is not as the schema spells them; a line each.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    truth: pd.DataFrame | None
    submission_uids: list[str]
    hashes: dict[str, str] = field(default_factory=dict)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: list[str] = field(default_factory=list)
    truth_by_source: pd.DataFrame | None = None


def load_data(folder: str | Path, schema: Schema) -> Dataset:
    """Read and check a folder with the competition's file names.

    `test_labels`, `submission_format`, `truth` and `truth_by_source` may be absent; `train_labels` too,
    where the features hold the labels.

    Raises:
        InputError: a file, column or uid is missing, repeated or unknown, a label
            cannot be read, or two files do not match.
    """
    folder = Folder(Path(folder), schema)
    train = folder.split(TRAIN_FEATURES, TRAIN_LABELS)
    test = folder.split(TEST_FEATURES, TEST_LABELS)
    check_apart(test.features, train.features)
    tables = [_cases(folder, train), _cases(folder, test)]
    _tell_bare(folder, train, tables[0])
    uids = [*tables[0].index, *tables[1].index]
    asked = None
    if SUBMISSION in folder.files:
        asked = folder.submission(test.features.uids, test.features.path.name)
    return Dataset(
        *tables,
        truth=_truth(folder, uids) if TRUTH in folder.files else None,
        submission_uids=asked or list(tables[1].index),
        hashes={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.files.values()},
        groups=_groups([train.features, test.features], schema),
        notes=folder.notes,
        truth_by_source=_truth_by_source(folder, uids) if TRUTH_BY_SOURCE in folder.files else None,
    )


def embedded_data(cases: int, seed: int) -> Path:
    """The folder of the embedded made corpus, made on first use and kept in the cache.

    The cache is `NARRUTILS_CACHE`, or `~/.cache/narrutils`; a corpus made by other
    sources of `narrutils.data.demo` is another folder.
    """
    from narrutils.data import demo

    sources = Path(demo.__file__).parent
    paths = sorted(p for p in sources.iterdir() if p.suffix in (".py", ".yaml"))
    folder = cache_folder() / "demo-data" / f"{cases}-{seed}-{digest([p.name for p in paths], *paths)}"
    if not folder.is_dir() or altered(folder):
        with atomic(folder) as part:
            demo.write_demo_data(part, cases=cases, seed=seed)
            note_contents(part)
    return folder


def _cases(folder: Folder, split: Split) -> pd.DataFrame:
    """Text and label columns of one split, in the order of its features."""
    texts, schema = split.features, folder.schema
    index = _index(texts.uids)
    table = pd.DataFrame({t.name: texts.column(t.heading) for t in schema.text}, index=index, dtype=str)
    if split.labels is None:
        return table.join(pd.DataFrame(pd.NA, index, schema.names, dtype="Int64"))
    return table.join(_codes(folder, split.labels, index))


def _codes(folder: Folder, sheet: Sheet, index: pd.Index) -> pd.DataFrame:
    codes, remarks = read_labels(sheet, folder.schema)
    codes = codes.reindex(index)
    there = [v.name for v in folder.schema.variables if v.heading in sheet.header]
    for remark in [*remarks, *missing_labels(codes[there])]:
        folder.tell(sheet.path, remark)
    return codes


def _tell_bare(folder: Folder, split: Split, train: pd.DataFrame) -> None:
    """Tell of variables that nothing can be learned of; without any label there is nothing to learn."""
    file, codes = split.labels.path, {name: train[name].dropna().unique() for name in folder.schema.names}
    if not any(len(codes[name]) for name in folder.schema.scored.names):
        raise InputError(f"{file}: no training case has a label; add some")
    bare = [name for name, found in codes.items() if not len(found)]
    same = [f"{name} {found[0]}" for name, found in codes.items() if len(found) == 1]
    if bare:
        folder.tell(file, f"no case has a label of {', '.join(bare)}")
    if same:
        folder.tell(file, f"all cases have the same label of {', '.join(same)}")


def _groups(features: list[Sheet], schema: Schema) -> pd.DataFrame:
    """The columns besides uid, texts and labels of both splits, as text; "" where one has no such column."""
    known = {schema.uid, *(x.heading for x in (*schema.text, *schema.variables))}
    tables = []
    for sheet in features:
        names = [name for name in sheet.header if name not in known]
        if "uid" in names:
            raise InputError(f"{sheet.path}: a kept column cannot be called uid; rename or remove it")
        tables.append(pd.DataFrame({n: sheet.column(n) for n in names}, index=_index(sheet.uids), dtype=str))
    return pd.concat(tables).fillna("")


def _truth(folder: Folder, uids: list[str]) -> pd.DataFrame:
    sheet = folder.labels(TRUTH)
    check_uids(sheet, uids, "the features files")
    table = _codes(folder, sheet, _index(uids))
    for v in folder.schema.variables:
        if v.auxiliary and v.heading not in sheet.header:
            continue
        bare = table.index[table[v.name].isna()]
        if len(bare):
            raise InputError(f"{sheet.where(bare[0])}, column {v.heading}: no label; the truth must be whole")
    return table


def _truth_by_source(folder: Folder, uids: list[str]) -> pd.DataFrame:
    schema = folder.schema
    sources, variables = ({x.heading: x for x in part} for part in (schema.text, schema.variables))
    columns = [schema.uid, "source", "variable", "said"]
    records = open_records(folder.files[TRUTH_BY_SOURCE], columns)
    rows, known = [], set(uids)
    for line, cells in records.rows:
        told = dict(zip(records.header, cells))
        uid, source, variable, said = (told[column] for column in columns)
        codes = {str(code): code for code in variables[variable].codes} if variable in variables else {}
        fits = (uid in known, source in sources, variable in variables, said in codes)
        if not all(fits):
            where = records.at(line, columns[fits.index(False)])
            raise InputError(f"{where}: the cell is none of this task's; mend it or remove the row")
        rows.append((uid, sources[source].name, variables[variable].name, codes[said]))
    return pd.DataFrame(rows, columns=["uid", "source", "variable", "said"])


def _index(uids: Iterable[str]) -> pd.Index:
    return pd.Index(list(uids), name="uid", dtype=str)


def stack_splits(
    data: Dataset, train_cases: int = 0, seed: int = 0, clusters: pd.Series | None = None
) -> pd.DataFrame:
    """Both splits as `cases.parquet` holds them: `split` first, test rows in submission order.

    Args:
        train_cases: keep only so many training cases, drawn at random; 0 keeps all.
        clusters: number of the set that each training case belongs to; whole sets are drawn, so that
            there may be fewer cases than asked for.

    Raises:
        InputError: more cases are asked for than there are, or fewer than the smallest set has.
    """
    train = data.train
    if train_cases > len(train):
        raise InputError(f"train_cases is {train_cases}, but there are {len(train)} training cases")
    if train_cases:
        train = train[train.index.isin(_drawn(train.index, train_cases, seed, clusters))]
    splits = {"train": train, "test": data.test.loc[data.submission_uids]}
    cases = pd.concat([table.assign(split=name) for name, table in splits.items()])
    return cases[["split", *[c for c in cases.columns if c != "split"]]].rename_axis("uid")


def _drawn(uids: pd.Index, most: int, seed: int, clusters: pd.Series | None) -> list[str]:
    """At most so many cases in a random order, a case with all of its set or not at all."""
    order = uids.to_series().sample(frac=1, random_state=seed)
    sets = order.groupby(pd.Series(uids, uids) if clusters is None else clusters, sort=False)
    drawn = []
    for _, of_set in sets:
        drawn += list(of_set) if len(drawn) + len(of_set) <= most else []
    if not drawn:
        raise InputError(f"train_cases is {most}; the smallest set of cases that stay together has more")
    return drawn
