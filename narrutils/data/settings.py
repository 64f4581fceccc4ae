"""Settings: what each may be, said once, and one line for a value that it may not be.

The types below are those of the classes of settings (`checked`) and of the parameters that notebooks
declare, so that a profile is held against them before anything runs. A value bends little: an int
becomes a float; `"3"` is no int and `true` no number.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Literal, NewType, get_args

import pydantic
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import dataclass_transform  # in typing from 3.11 on; bundles run on 3.10

from narrutils.errors import InputError, did_you_mean

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

Positive = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Smoothing = Annotated[float, Field(ge=0, lt=0.5)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Folds = Annotated[int, Field(ge=3)]  # a nested teacher leaves two out
Seed = Annotated[int, Field(ge=0, lt=2**32)]

Precision = Literal["float32", "bfloat16", "float16"]
AnyPrecision = Literal["auto", "float32", "bfloat16", "float16"]  # auto: what is fast here
Truncation = Literal["balanced", "right"]  # of over-long cases: the longest narrative first; the author's
Loss = Literal["cross_entropy", "f1", "lovasz"]
Companion = Literal["tfidf", "nb", "lasso", "chars", "frozen"]
Engine = Literal["auto", "vllm", "transformers"]  # auto: vLLM wherever the platform has it
Reader = Literal["tfidf", "encoder"]  # on whose readings labels are corrected
Teacher = NewType("Teacher", str)  # of the finished run that a stage starts from, or the ensemble
Method = Literal["author", "cleanlab", "noise_model"]
RowKind = Literal["labelled", "unlabelled"]  # of rows that a teacher labels: asked for with labels, or not
ThresholdSearch = Literal["grid", "shrunk", "half"]
ThresholdsFrom = Literal["ensemble", "members"]  # searched on the ensemble, or the mean of the members'
Weighting = Literal["given", "fitted"]


@dataclass_transform(frozen_default=True)
def checked(cls: type) -> type:
    """A frozen dataclass whose every value is held against its type, as `fitting` does it.

    To make one raises `InputError` for a value that does not fit, a name that is unknown or missing,
    and for whatever its `__post_init__` refuses.
    """
    made = pydantic.dataclasses.dataclass(cls, frozen=True, config=STRICT)
    build = made.__init__

    @wraps(build)
    def __init__(self, /, *values, **named):
        try:
            build(self, *values, **named)
        except ValidationError as error:
            raise InputError(_told(error, names=[f.name for f in fields(made)])) from None

    made.__init__ = __init__
    return made


def fitting(value: object, kind: object, name: str) -> object:
    """The value as the type that is asked for.

    Args:
        kind: a type, such as those above; `name`: how the setting is called.

    Raises:
        InputError: it does not fit; one line says what it should be.
    """
    try:
        return TypeAdapter(kind, config=STRICT).validate_python(value)
    except ValidationError as error:
        raise InputError(_told(error, name)) from None


def settings(kind: type, *given: Mapping[str, object]):
    """The settings of a class among all that is declared, such as the `globals()` of a notebook.

    Args:
        kind: a class under `checked`.
        given: name to value; names that the class does not know are passed over, and of two
            values of a name the later holds.
    """
    names = {f.name for f in fields(kind)}
    return kind(**{n: value for mapping in given for n, value in mapping.items() if n in names})


def restored(kind: type, stored: Mapping[str, object]):
    """The settings with which something was stored.

    Raises:
        KeyError: another version stored it, whose settings have other names or values.
    """
    try:
        return kind(**stored)
    except InputError as error:
        raise KeyError(str(error)) from None


@dataclass(frozen=True)
class Fields:
    """The type of a mapping that holds some of the fields of these classes: `Fields[Body, Recipe]`."""

    kinds: tuple[type, ...]

    def __class_getitem__(cls, kinds):
        some = cls(kinds if isinstance(kinds, tuple) else (kinds,))
        return Annotated[dict, AfterValidator(some), some]

    @classmethod
    def of(cls, kind: object) -> "Fields":
        """Those that a type speaks of; of no class for another type."""
        return next((part for part in get_args(kind) if isinstance(part, cls)), cls(()))

    @property
    def known(self) -> dict[str, object]:
        """Name -> type of every field."""
        return {f.name: f.type for kind in self.kinds for f in fields(kind)}

    def __call__(self, given: dict) -> dict:
        """The values as the types of their fields.

        Raises:
            InputError: a name is unknown, or a value does not fit.
        """
        for name in given:
            if name not in self.known:
                raise InputError(_unknown(name, self.known))
        return {name: fitting(value, self.known[name], name) for name, value in given.items()}


def _told(error: ValidationError, name: str = "", names=()) -> str:
    """The first fault in one line."""
    fault = error.errors(include_url=False)[0]
    place = [str(part) for part in ([name] if name else []) + list(fault["loc"]) if part != "[key]"]
    name = "".join(place[:1] + [f"[{part}]" for part in place[1:]])
    if fault["type"] == "value_error":  # our own line
        return str(fault["ctx"]["error"])
    if fault["type"] == "missing":
        return f"{name} must be given"
    if fault["type"] == "unexpected_keyword_argument":
        return _unknown(name, names)
    choices = re.findall("'([^']*)'", fault["msg"]) if fault["type"] == "literal_error" else []
    near = did_you_mean(fault["input"], choices)
    should = re.sub(r"\bNone\b", "null", fault["msg"].replace("Input should", "it should"))
    should = should.replace("a valid boolean", "true or false")
    return f"{name} is {_as_yaml(fault['input'])}; {should}{near and f'; {near}'}"


def _as_yaml(value: object) -> str:
    """A value as a profile has it: what Python calls None is null there."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _unknown(name: str, names) -> str:
    otherwise = f"it may be {', '.join(names)}"
    return f"unknown name {name}; {did_you_mean(name, names, otherwise)}"
