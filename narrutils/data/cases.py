"""The competition's CSV files, read whole and checked before anything is built on them.

Every fault that a person can mend is one line naming the file, the line as a text
editor counts it (a record with newlines inside quotes is named by its first line),
the column, and the mend.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from narrutils.data.csv_sheets import Sheet, read_sheet, shown
from narrutils.data.files import altered, atomic, digest, note_contents
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.paths import cache_folder

TRAIN_FEATURES, TRAIN_LABELS = "train_features.csv", "train_labels.csv"
TEST_FEATURES, TEST_LABELS = "test_features.csv", "test_labels.csv"
SUBMISSION, TRUTH = "submission_format.csv", "truth.csv"
NEEDED = (TRAIN_FEATURES, TRAIN_LABELS, TEST_FEATURES)
KNOWN = (*NEEDED, TEST_LABELS, SUBMISSION, TRUTH)


@dataclass
class Dataset:
    """One folder of cases, indexed by uid.

    Attributes:
        train, test: the text columns (str, "" where the file has nothing) and one
            nullable-integer column a variable; test labels are null without
            `test_labels.csv`.
        truth: planted true labels of all cases, or None without `truth.csv`; for
            evaluation only, never for training.
        submission_uids: test uids in the order that a submission must have.
        hashes: SHA-256 of every file that was read, by file name.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    truth: pd.DataFrame | None
    submission_uids: list[str]
    hashes: dict[str, str] = field(default_factory=dict)


def load_data(folder: str | Path, schema: Schema) -> Dataset:
    """Read and check a folder with the competition's file names.

    `test_labels.csv`, `submission_format.csv` and `truth.csv` may be absent.

    Raises:
        InputError: a file, column or uid is missing, repeated or unknown, a label
            is not one of its variable's codes, or two files do not match.
    """
    folder = Path(folder)
    present = _present(folder)
    train = _cases(folder / TRAIN_FEATURES, folder / TRAIN_LABELS, schema)
    test_labels = folder / TEST_LABELS if TEST_LABELS in present else None
    test = _cases(folder / TEST_FEATURES, test_labels, schema)
    _check_overlap(folder, train, test)
    return Dataset(
        train=train,
        test=test,
        truth=_truth(folder / TRUTH, schema, [*train.index, *test.index]) if TRUTH in present else None,
        submission_uids=_submission(folder, schema, test) if SUBMISSION in present else list(test.index),
        hashes={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in present},
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


def _present(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; data_dir must hold {', '.join(NEEDED)}")
    for name in NEEDED:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file; data_dir must hold {', '.join(NEEDED)}")
    return [name for name in KNOWN if (folder / name).is_file()]


def _cases(features: Path, labels: Path | None, schema: Schema) -> pd.DataFrame:
    """Text and label columns of one split, in the order of its features."""
    texts = read_sheet(features, [schema.uid, *schema.text_columns], schema.uid)
    table = pd.DataFrame(
        {c: texts.column(c) for c in schema.text_columns}, index=_index(texts.uids), dtype=str
    )
    if labels is None:
        return table.assign(**{v: pd.array([pd.NA] * len(table), dtype="Int64") for v in schema.names})
    given = read_sheet(labels, [schema.uid, *schema.names], schema.uid)
    _check_same(texts, given)
    return table.join(_codes(given, schema))


def _truth(path: Path, schema: Schema, uids: list[str]) -> pd.DataFrame:
    sheet = read_sheet(path, [schema.uid, *schema.names], schema.uid)
    _check_uids(sheet, uids, "the features files")
    return _codes(sheet, schema).loc[uids]


def _submission(folder: Path, schema: Schema, test: pd.DataFrame) -> list[str]:
    columns = [schema.uid, *schema.names]
    sheet = read_sheet(folder / SUBMISSION, columns, schema.uid)
    for n, (found, right) in enumerate(zip(sheet.header, columns, strict=True), 1):
        if found != right:
            raise InputError(
                f"{sheet.path}: line 1: column {n} is {found}; in the schema's order it is {right}"
            )
    _check_uids(sheet, test.index, TEST_FEATURES)
    return list(sheet.uids)


def _codes(sheet: Sheet, schema: Schema) -> pd.DataFrame:
    codes = {}
    for v in schema.variables:
        allowed = {str(code): code for code in v.codes}
        cells = [cell.strip() for cell in sheet.column(v.name)]
        for line, cell in zip(sheet.lines, cells, strict=True):
            if cell not in allowed:
                fault = _label_fault(cell, v.codes)
                raise InputError(f"{sheet.path}: line {line}, column {v.name}: {fault}")
        codes[v.name] = pd.array([allowed[cell] for cell in cells], dtype="Int64")
    return pd.DataFrame(codes, index=_index(sheet.uids))


def _label_fault(cell: str, codes: tuple[int, ...]) -> str:
    said = cell if re.fullmatch(r"[\d.eE+-]{1,12}", cell) else "the label"
    fault = "out of range" if re.fullmatch(r"[+-]?\d+", cell) else "not an integer" if cell else "empty"
    return f"{said} is {fault}; write one of {', '.join(map(str, codes))}"


def _index(uids) -> pd.Index:
    return pd.Index(list(uids), name="uid", dtype=str)


def _check_same(texts: Sheet, labels: Sheet) -> None:
    for one, other in ((texts, labels), (labels, texts)):
        _check_known(one, other.uids, other.path.name, "features and labels must list the same cases")


def _check_known(sheet: Sheet, known, source: str, mend: str) -> None:
    odd = [uid for uid in sheet.uids if uid not in known]
    if odd:
        raise InputError(f"{sheet.where(odd[0])}: uid {shown(odd[0])} is not in {source}{_more(odd)}; {mend}")


def _check_uids(sheet: Sheet, uids, source: str) -> None:
    """Whether a sheet lists exactly the cases of the features, in any order."""
    _check_known(sheet, set(uids), source, "remove the row")
    lacking = [uid for uid in uids if uid not in sheet.uids]
    if lacking:
        raise InputError(
            f"{sheet.path}: no row for uid {shown(lacking[0])} of {source}{_more(lacking)}; add it"
        )


def _check_overlap(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> None:
    both = test.index[test.index.isin(train.index)]
    if len(both):
        raise InputError(
            f"{folder / TEST_FEATURES}: uid {shown(both[0])} is in {TRAIN_FEATURES} too{_more(both)}; "
            "a case belongs to one of them"
        )


def _more(faults) -> str:
    return f" ({len(faults)} such cases)" if len(faults) > 1 else ""


def stack_splits(data: Dataset, train_cases: int = 0, seed: int = 0) -> pd.DataFrame:
    """Both splits as `cases.parquet` holds them: `split` first, test rows in submission order.

    Args:
        train_cases: keep only so many training cases, drawn at random; 0 keeps all.

    Raises:
        InputError: more cases are asked for than there are.
    """
    train = data.train
    if train_cases > len(train):
        raise InputError(f"train_cases is {train_cases}, but there are {len(train)} training cases")
    if train_cases:
        drawn = train.sample(n=train_cases, random_state=seed).index
        train = train[train.index.isin(drawn)]
    splits = {"train": train, "test": data.test.loc[data.submission_uids]}
    cases = pd.concat([table.assign(split=name) for name, table in splits.items()])
    return cases[["split", *[c for c in cases.columns if c != "split"]]].rename_axis("uid")
