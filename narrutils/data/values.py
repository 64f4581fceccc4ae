"""Values as the type that a declaration gives them."""

import ast
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; `kind` is its type as written, "" where any value fits."""

    name: str
    default: object
    kind: str
    help: str = ""


def coerce(value: object, parameter: Parameter) -> object:
    """The value as the parameter's type: an int or `"1e-5"` becomes a float, little else bends.

    Raises:
        TypeError: the value does not fit.
    """
    return _fit(value, ast.parse(parameter.kind, mode="eval").body) if parameter.kind else value


def _fit(value: object, kind: ast.expr) -> object:
    match kind:
        case ast.BinOp(op=ast.BitOr()):
            return _fit_either(value, kind.left, kind.right)
        case ast.Subscript(value=ast.Name(id="list")) if isinstance(value, list):
            return [_fit(item, kind.slice) for item in value]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple()) if isinstance(value, dict):
            key, item = kind.slice.elts
            return {_fit(k, key): _fit(v, item) for k, v in value.items()}
        case ast.Name(id="float") if not isinstance(value, bool):
            return _finite(value)
        case ast.Name(id="int") if isinstance(value, int) and not isinstance(value, bool):
            return value
        case ast.Name(id="bool" | "str" | "list" | "dict") if type(value).__name__ == kind.id:
            return value
        case ast.Constant(value=None) if value is None:
            return value
    raise TypeError(f"not {ast.unparse(kind)}")


def _fit_either(value: object, left: ast.expr, right: ast.expr) -> object:
    try:
        return _fit(value, left)
    except TypeError:
        return _fit(value, right)


def _finite(value: object) -> float:
    try:
        number = float(value)
    except ValueError:
        raise TypeError("not a number") from None
    if not math.isfinite(number):
        raise TypeError("not finite")
    return number


def from_text(text: str, parameter: Parameter, parsed: object) -> object:
    """A value typed on the command line: `parsed` is its YAML reading, `text` what was typed.

    Where the parameter is a string, `-p note 12` means "12" and an empty word "".
    """
    try:
        return coerce(parsed, parameter)
    except TypeError:
        return coerce(text, parameter)
