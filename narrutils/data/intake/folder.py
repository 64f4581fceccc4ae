"""The files of a folder of cases: which are there, what each holds, and that they belong together."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from narrutils.data.intake.formats import ENDINGS
from narrutils.data.intake.sheets import Sheet, read_sheet, shown
from narrutils.data.schema import Schema
from narrutils.errors import InputError

#: The files of a folder; each may be of any kind, which its ending says (`formats.ENDINGS`).
TRAIN_FEATURES, TRAIN_LABELS = "train_features.csv", "train_labels.csv"
TEST_FEATURES, TEST_LABELS = "test_features.csv", "test_labels.csv"
SUBMISSION, TRUTH = "submission_format.csv", "truth.csv"
NEEDED = (TRAIN_FEATURES, TRAIN_LABELS, TEST_FEATURES)
TRUTH_BY_SOURCE = "truth_by_source.csv"
KNOWN = (*NEEDED, TEST_LABELS, SUBMISSION, TRUTH, TRUTH_BY_SOURCE)
#: What features and labels in one file may be called.
TOGETHER = {TRAIN_FEATURES: "train.csv", TEST_FEATURES: "test.csv"}


@dataclass(frozen=True)
class Split:
    """The files of one split: `labels` are the features themselves where these hold them, or None."""

    features: Sheet
    labels: Sheet | None


class Folder:
    """The known files of a folder, each under its plain name, and what people are told of them.

    Raises:
        InputError: there is no such folder, a file is missing, or two are one.
    """

    def __init__(self, path: Path, schema: Schema):
        self.path, self.schema = path, schema
        self.remarks: dict[str, list[str]] = {}  # remark -> files
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; data_dir must hold {', '.join(NEEDED)}")
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        found = {known: self._file(names, known) for known in KNOWN}
        for known, together in TOGETHER.items():
            for name in self._files(names, together) if found[known] else []:
                self.tell(path / name, f"not read, as {found[known]} is there")
            found[known] = found[known] or self._file(names, together)
            if not found[known]:
                mend = f"data_dir must hold {', '.join(NEEDED)}, or the same as {', '.join(ENDINGS[1:])}"
                raise InputError(f"{path / known}: no such file; {mend}")
        self.files = {known: path / name for known, name in found.items() if name}

    def _file(self, names: list[str], known: str) -> str:
        """The one file of a stem, whatever its ending; "" if there is none."""
        found = self._files(names, known)
        if len(found) > 1:
            raise InputError(f"{self.path}: {found[0]} and {found[1]} are one; remove one of them")
        return found[0] if found else ""

    @staticmethod
    def _files(names: list[str], known: str) -> list[str]:
        """All files of a stem."""
        may_be = [Path(known).stem + ending for ending in ENDINGS]
        return [name for name in names if name.lower() in may_be]

    def tell(self, file: Path, remark: str) -> None:
        """Note what people should know of a file; what holds of several is said once."""
        files = self.remarks.setdefault(remark, [])
        files += [file.name] if file.name not in files else []

    @property
    def notes(self) -> list[str]:
        return [f"{', '.join(files)}: {remark}" for remark, files in self.remarks.items()]

    def _opened(self, sheet: Sheet, further: str = "not read") -> Sheet:
        for remark in sheet.records.remarks:
            self.tell(sheet.path, remark)
        if sheet.records.further:
            self.tell(sheet.path, f"further columns are {further}: {', '.join(sheet.records.further)}")
        return sheet

    def split(self, features: str, labels: str) -> Split:
        """Both files of a split, or the one that holds both.

        Raises:
            InputError: one is faulty, they do not list the same cases, or labels are missing.
        """
        schema, headings = self.schema, [v.heading for v in self.schema.variables]
        needed = [schema.uid, *(t.heading for t in schema.text), *schema.groups, *schema.keep_together]
        needed = list(dict.fromkeys(needed))
        optional = [*headings, *(name for name in schema.optional_groups if name not in needed)]
        texts = read_sheet(self.files[features], needed, schema.uid, optional, schema.extra_columns)
        self._opened(texts, "kept as groups" if schema.extra_columns == "keep" else "not read")
        beside = [heading for heading in headings if heading in texts.header]
        if labels in self.files:
            given = self.labels(labels)
            check_known(given, texts.uids, texts.path.name, "features and labels must list the same cases")
            if labels in NEEDED:
                mend = f"add its row to {given.path.name}, with empty cells where there is no label"
                check_known(texts, given.uids, given.path.name, mend)
            if beside:
                self.tell(texts.path, f"{given.path.name} holds the labels; not read: {', '.join(beside)}")
            return Split(texts, given)
        lacking = [v.heading for v in schema.scored.variables if v.heading not in beside]
        none = len(lacking) == len(schema.scored.variables)  # auxiliary labels alone are none
        if lacking and (not none or labels in NEEDED):
            there = f"{self.path / labels}: no such file, and {texts.path.name} has no column {lacking[0]}"
            raise InputError(f"{there}; labels stand in the one or the other")
        return Split(texts, None if none else texts)

    @property
    def auxiliary(self) -> list[str]:
        """Headings of the auxiliary variables, whose columns may be missing."""
        return [v.heading for v in self.schema.variables if v.auxiliary]

    def labels(self, known: str) -> Sheet:
        """A file of labels alone."""
        columns = [self.schema.uid, *(v.heading for v in self.schema.scored.variables)]
        further = "refuse" if self.schema.extra_columns == "refuse" else "ignore"
        return self._opened(read_sheet(self.files[known], columns, self.schema.uid, self.auxiliary, further))

    def submission(self, uids: Collection[str], source: str) -> list[str]:
        """The uids of the submission format, whose columns must stand in the schema's order.

        An auxiliary variable is not submitted: where it has a column, that is told.
        """
        columns = [self.schema.uid, *(v.heading for v in self.schema.scored.variables)]
        sheet = self._opened(read_sheet(self.files[SUBMISSION], columns, self.schema.uid, self.auxiliary))
        further = [heading for heading in sheet.header if heading in self.auxiliary]
        if further:
            self.tell(sheet.path, f"auxiliary, so in no submission: {', '.join(further)}")
        asked = [heading for heading in sheet.header if heading not in further]
        for n, (found, right) in enumerate(zip(asked, columns, strict=True), 1):
            if found != right:
                raise InputError(f"{sheet.path}: column {n} is {found}; in the schema's order it is {right}")
        check_uids(sheet, uids, source)
        return list(sheet.uids)


def check_known(sheet: Sheet, known: Collection[str], source: str, mend: str) -> None:
    """That a sheet lists no case that is not known."""
    odd = [uid for uid in sheet.uids if uid not in known]
    if odd:
        bare = {_bare(uid) for uid in known}
        if _bare(odd[0]) in bare:
            mend = "there it is written with other zeros, such as .0, blanks or capitals; write it alike"
        raise InputError(f"{sheet.where(odd[0])}: uid {shown(odd[0])} is not in {source}{_more(odd)}; {mend}")


def _bare(uid: str) -> str:
    return uid.strip().lstrip("0").removesuffix(".0").casefold()


def check_uids(sheet: Sheet, uids: Collection[str], source: str) -> None:
    """Whether a sheet lists exactly the cases of the features, in any order."""
    check_known(sheet, set(uids), source, "remove the row")
    lacking = [uid for uid in uids if uid not in sheet.uids]
    if lacking:
        raise InputError(
            f"{sheet.path}: no row for uid {shown(lacking[0])} of {source}{_more(lacking)}; add it"
        )


def check_apart(one: Sheet, other: Sheet) -> None:
    """That no case is in both of two sheets."""
    both = [uid for uid in one.uids if uid in other.uids]
    if both:
        there = f"{other.path.name} too ({other.line(both[0])})"
        raise InputError(
            f"{one.where(both[0])}: uid {shown(both[0])} is in {there}{_more(both)}; "
            "a case belongs to one of them"
        )


def _more(faults) -> str:
    return f" ({len(faults)} such cases)" if len(faults) > 1 else ""
