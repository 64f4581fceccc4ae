"""The search space of a study: which settings of a stage vary and how far, as a YAML file names them.

    space:
      learning_rate: {low: 1.0e-5, high: 3.0e-4, log: true}
      epochs: {low: 1, high: 6} # whole numbers, if the setting is one
      batch_size: {choices: [4, 8, 16]}
    first: {learning_rate: 5.0e-5} # the first trial; what it leaves out is the profile's own
    proxy: {cases: 300, max_tokens: 96} # laid over every trial, so that it is cheap; {}: none

Names and values are held against what the stage declares, as those of a profile are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from narrutils.data.settings import Size, checked, fitting
from narrutils.errors import InputError, concerning, did_you_mean

#: Name and value of a setting -> the value as the stage takes it; an InputError where it does not.
Check = Callable[[str, object], object]

Plain = bool | int | float | str | None
KEYS = Literal["space", "first", "proxy"]
CASES = "cases"  # of a proxy: how many training cases take part


@checked
class Dimension:
    """How one setting varies: between two bounds, which belong to it, or over some choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False  # as likely from 1e-5 to 1e-4 as from 1e-4 to 1e-3
    choices: list[Plain] = field(default_factory=list)

    def __post_init__(self):
        bounds = self.low is not None and self.high is not None
        if bounds == bool(self.choices) or (self.choices and (self.low, self.high) != (None, None)):
            raise InputError("give low and high, or choices")
        if bounds and self.low >= self.high:
            raise InputError(f"low is {self.low} and high is {self.high}; low must be below high")
        if self.log and (not bounds or self.low <= 0):
            raise InputError("log needs low above 0")
        if any(value in self.choices[:n] for n, value in enumerate(self.choices)):
            raise InputError("a choice stands twice")

    def fitted(self, name: str, check: Check) -> "Dimension":
        """The same with bounds or choices as the stage takes them, so that 1 becomes 1.0 where it must."""
        if self.choices:
            return Dimension(choices=[check(name, value) for value in self.choices])
        return Dimension(check(name, self.low), check(name, self.high), self.log)

    def holds(self, value: object) -> bool:
        """Whether a value lies in it."""
        if self.choices:
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Space:
    """A checked search space.

    Attributes:
        first: of every dimension the value of the first trial.
        proxy: settings of all trials, without `cases`; `cases` 0 is all.
    """

    dimensions: dict[str, Dimension]
    first: dict[str, object]
    proxy: dict[str, object] = field(default_factory=dict)
    cases: int = 0

    @property
    def has_proxy(self) -> bool:
        return bool(self.proxy or self.cases)

    def holds(self, setting: Mapping[str, object]) -> bool:
        """Whether every value lies in its dimension."""
        return all(dimension.holds(setting[name]) for name, dimension in self.dimensions.items())

    def to_dict(self) -> dict:
        """Plain values, for records and keys."""
        dimensions = {name: vars(dimension) for name, dimension in self.dimensions.items()}
        return {"space": dimensions, "first": self.first, "proxy": self.proxy, CASES: self.cases}


def parse_space(raw: object, check: Check, own: Mapping[str, object]) -> Space:
    """The space that the content of a YAML file means.

    Args:
        check: see `Check`.
        own: the profile's value of every setting of the stage.

    Raises:
        InputError: a name is unknown, a value does not fit, or the first trial lies outside.
    """
    if not isinstance(raw, Mapping) or not raw.get("space"):
        raise InputError("a search space is a mapping with `space`, and `first` and `proxy` where wanted")
    parts = {key: value or {} for key, value in fitting(dict(raw), dict[KEYS, dict | None], "space").items()}
    dimensions = {name: _dimension(name, given, check) for name, given in parts["space"].items()}
    first, proxy = parts.get("first", {}), dict(parts.get("proxy", {}))
    for name in first:
        if name not in dimensions:
            mend = did_you_mean(name, dimensions, f"it may be {', '.join(dimensions)}")
            raise InputError(f"first: {name} is not in the space; {mend}")
    cases = fitting(proxy.pop(CASES, 1), Size, CASES) if CASES in proxy else 0
    with concerning("proxy"):
        laid = {name: check(name, value) for name, value in proxy.items()}
        for name in laid.keys() & dimensions.keys():
            raise InputError(f"{name} is tuned, and cannot be set for all trials")
    with concerning("first"):
        begun = {name: check(name, first.get(name, own[name])) for name in dimensions}
        for name, dimension in dimensions.items():
            if not dimension.holds(begun[name]):
                origin = "" if name in first else ", the profile's own,"
                raise InputError(f"{name} is {begun[name]!r}{origin} and lies outside the space; widen it")
    return Space(dimensions, begun, laid, cases)


def _dimension(name: str, given: object, check: Check) -> Dimension:
    if not isinstance(given, Mapping):
        raise InputError(f"{name} must be a mapping, such as {{low: 1, high: 5}} or {{choices: [4, 8]}}")
    with concerning(name):
        dimension = Dimension(**given)
    return dimension.fitted(name, check)
