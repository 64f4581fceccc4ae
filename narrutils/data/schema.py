"""What is coded: the variables, their classes, and the columns of the target matrix.

A label is a row of probabilities. Given labels, corrected labels, soft labels,
model outputs and ensemble outputs all share one layout: a table indexed by uid
with `schema.columns` (one column a binary variable, one a class of a categorical
variable). No other module knows a column's position.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from narrutils.errors import InputError

PLACE = "{class}"  # in the description of a categorical variable, where a class's title stands
#: Cells of a label file, in lower case, that say that nothing is known, unless a schema names its own.
UNKNOWN = ("", "na", "nan", ".")
#: Keys that name columns of the features.
COLUMN_LISTS = ("groups", "optional_groups", "keep_together")


@dataclass(frozen=True)
class Variable:
    """One coded variable: binary without `classes`, categorical with them."""

    name: str
    description: str
    classes: Mapping[int, str] | None = None
    column: str = ""  # its column in files; empty: its name
    missing: tuple[str, ...] = UNKNOWN  # cells, in lower case, that leave a case without a label
    auxiliary: bool = False  # trained on, neither scored nor submitted; its column may be missing

    @property
    def heading(self) -> str:
        """What its column is called in files."""
        return self.column or self.name

    @property
    def is_binary(self) -> bool:
        return self.classes is None

    @property
    def codes(self) -> tuple[int, ...]:
        """The integers that a label file may hold for this variable."""
        return (0, 1) if self.classes is None else tuple(self.classes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Its probability columns: the name itself, or `name_code` for each class."""
        if self.classes is None:
            return (self.name,)
        return tuple(f"{self.name}_{code}" for code in self.classes)

    def column_of(self, code: int) -> str:
        """The probability column that speaks of a code; of a binary variable there is one for both."""
        return self.name if self.is_binary else f"{self.name}_{code}"

    def of_codes(self, table: pd.DataFrame, codes) -> np.ndarray:
        """Probability `[n]` that each row of a table gives to the code beside it; NaN where there is none.

        Args:
            codes: `[n]`, each one of `codes` or null, in the order of the table.
        """
        p = np.column_stack([table[column] for column in self.columns]).astype(float)
        p = np.hstack([1 - p, p]) if self.is_binary else p
        at = pd.Index(self.codes).get_indexer(codes)
        return np.where(at < 0, np.nan, p[np.arange(len(table)), at])

    def sentence(self, code: int = 1) -> str:
        """The description that is true of a case coded `code`."""
        if self.classes is None:
            return self.description
        return self.description.replace(PLACE, self.classes[code])


@dataclass(frozen=True)
class TextColumn:
    """One narrative of a case."""

    name: str
    title: str
    column: str = ""  # its column in files; empty: its name

    @property
    def heading(self) -> str:
        """What its column is called in files."""
        return self.column or self.name


@dataclass(frozen=True)
class Schema:
    """The abstraction task: text columns, variables in file order, one target matrix."""

    name: str
    title: str
    uid: str
    text: tuple[TextColumn, ...]
    variables: tuple[Variable, ...]
    note: str = ""  # what a reader should know before reading, such as a content note
    caution: str = ""  # what a generator of such texts is told to heed
    extra_columns: str = "ignore"  # further columns of the features: refuse, ignore, or keep with `groups`
    groups: tuple[str, ...] = ()  # columns of the features to report on, such as a site
    optional_groups: tuple[str, ...] = ()  # such columns where the features have them
    keep_together: tuple[str, ...] = ()  # columns whose cases stay in one fold, such as an incident

    @property
    def names(self) -> list[str]:
        """Variable names in file order."""
        return [v.name for v in self.variables]

    @property
    def scored(self) -> "Schema":
        """The schema without its auxiliary variables: what is scored and submitted; itself without any."""
        kept = tuple(v for v in self.variables if not v.auxiliary)
        return self if len(kept) == len(self.variables) else replace(self, variables=kept)

    @property
    def text_columns(self) -> list[str]:
        return [t.name for t in self.text]

    @property
    def binary(self) -> list[Variable]:
        return [v for v in self.variables if v.is_binary]

    @property
    def categorical(self) -> list[Variable]:
        return [v for v in self.variables if not v.is_binary]

    @property
    def columns(self) -> list[str]:
        """The probability columns, in order; the head has one logit for each."""
        return [column for v in self.variables for column in v.columns]

    @property
    def width(self) -> int:
        """Number of probability columns (39 for NVDRS: 21 + 6 + 12)."""
        return len(self.columns)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each variable stands in the target matrix, by name."""
        slices, start = {}, 0
        for v in self.variables:
            slices[v.name] = slice(start, start + len(v.columns))
            start += len(v.columns)
        return slices

    @property
    def binary_index(self) -> np.ndarray:
        """Positions of the binary variables' columns, in variable order."""
        return np.array([self.slices[v.name].start for v in self.binary], dtype=int)

    @property
    def headings(self) -> dict[str, str]:
        """What each text column and variable is called in files, by name."""
        return {entry.name: entry.heading for entry in (*self.text, *self.variables)}

    def in_file(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of text columns or codes, indexed by uid, with the columns of a file, the uid first."""
        return table.rename(columns=self.headings).rename_axis(self.uid).reset_index()

    def to_dict(self) -> dict:
        """All that `from_dict` needs, as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Schema":
        """What `to_dict` gave, also after it went through JSON, where codes became words."""
        text = tuple(TextColumn(**t) for t in values["text"])
        variables = []
        for v in values["variables"]:
            classes = v["classes"] and {int(code): title for code, title in v["classes"].items()}
            more = {
                name: tuple(v[name]) if name == "missing" else v[name]
                for name in ("column", "missing", "auxiliary")
                if name in v
            }
            variables.append(Variable(v["name"], v["description"], classes, **more))
        lists = {name: tuple(values.get(name, ())) for name in COLUMN_LISTS}
        return cls(**{**values, **lists, "text": text, "variables": tuple(variables)})

    def __getitem__(self, name: str) -> Variable:
        for v in self.variables:
            if v.name == name:
                return v
        raise KeyError(f"{name} is not a variable of schema {self.name}")

    def given(self, codes: pd.DataFrame) -> pd.DataFrame | None:
        """The codes of its variables; None where no case has one.

        Integers where every code is given; else nullable ones (`Int64`), null where there is none.
        """
        own = codes[self.names]
        if own.isna().all(axis=None):
            return None
        return own.astype("Int64") if own.isna().any(axis=None) else own.astype(int)

    def to_targets(self, labels: pd.DataFrame) -> pd.DataFrame:
        """Codes (one column a variable) to targets in [0, 1], `schema.columns` wide.

        A variable without a label has NaN in all its columns.

        Raises:
            InputError: a label is not one of the variable's codes.
        """
        targets = np.zeros((len(labels), self.width), order="F")
        for v, columns in zip(self.variables, self.slices.values()):
            column = labels[v.name]
            given = column.notna().to_numpy()
            bad = given & ~column.isin(v.codes).to_numpy()
            if bad.any():
                uid, value = labels.index[bad][0], labels.loc[bad, v.name].iloc[0]
                takes = ", ".join(map(str, v.codes))
                raise InputError(f"{v.name} of case {uid} is {value}; it takes {takes}")
            named = v.codes[-1:] if v.is_binary else v.codes
            targets[given, columns] = column[given].to_numpy(dtype=int)[:, None] == np.array(named)
            targets[~given, columns] = np.nan
        return pd.DataFrame(targets, labels.index, self.columns)

    def to_labels(self, probabilities: pd.DataFrame, thresholds=0.5) -> pd.DataFrame:
        """Probabilities to integer codes.

        Args:
            probabilities: `schema.columns` wide, indexed by uid.
            thresholds: one number, or a mapping of binary variable to number; a
                variable is 1 where its probability is *above* its threshold. A
                categorical variable takes its most probable class.
        """
        codes, table = {}, probabilities[self.columns].to_numpy()
        for v, columns in zip(self.variables, self.slices.values()):
            values = table[:, columns]
            if v.is_binary:
                cut = thresholds[v.name] if isinstance(thresholds, Mapping) else thresholds
                codes[v.name] = (values[:, 0] > cut).astype(int)
            else:
                codes[v.name] = np.array(v.codes)[values.argmax(axis=1)]
        return pd.DataFrame(codes, index=probabilities.index)

    def from_logits(self, logits: np.ndarray, index: pd.Index) -> pd.DataFrame:
        """Logits `[n, width]` to probabilities: sigmoid, or softmax within a categorical variable."""
        z = np.asarray(logits, dtype=np.float64)
        out = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
        for v in self.categorical:
            columns = self.slices[v.name]
            odds = np.exp(z[:, columns] - z[:, columns].max(axis=1, keepdims=True))
            out[:, columns] = odds / odds.sum(axis=1, keepdims=True)
        return pd.DataFrame(out, index=index, columns=self.columns)

    def check_probabilities(self, probabilities: pd.DataFrame, partial: bool = False) -> pd.DataFrame:
        """The same table, its columns in order, after checking ranges and sums.

        Args:
            partial: whether a variable may have no label: NaN in all its columns.

        Raises:
            ValueError: a column is missing, a value is outside [0, 1], or the
                classes of a categorical variable do not sum to 1.
        """
        wanted, there = self.columns, list(probabilities.columns)
        missing = [c for c in wanted if c not in there]
        if missing:
            raise ValueError(f"probability columns are missing: {', '.join(missing[:5])}")
        table = probabilities.copy(deep=False) if there == wanted else probabilities[wanted]
        values = table.to_numpy(dtype=float)
        none = np.zeros(values.shape, dtype=bool)
        for columns in self.slices.values() if partial else ():
            none[:, columns] = np.isnan(values[:, columns]).all(axis=1, keepdims=True)
        if not (none | (values >= 0) & (values <= 1)).all():
            raise ValueError("a probability is outside [0, 1] or not a number")
        for v in self.categorical:
            columns = self.slices[v.name]
            sums = values[~none[:, columns.start], columns].sum(axis=1)
            if len(sums) and not np.allclose(sums, 1, atol=1e-3):
                raise ValueError(
                    f"the classes of {v.name} sum to {sums[np.abs(sums - 1).argmax()]:.4f}, not 1"
                )
        return table
