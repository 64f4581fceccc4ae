"""What a notebook declares: the literals of its `parameters` cell, with type and help.

A declaration is one line, `epochs: int = 3  # passes over the official fold`. Its
annotation (or, without one, its default) is the type that a profile's value must fit.
"""

import ast
import io
import json
import math
import tokenize
from dataclasses import dataclass
from pathlib import Path

from narrutils.errors import InputError

INJECTED = "run_dir"  # set by the runner, never by a profile


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; `kind` is its type as written, "" where any value fits."""

    name: str
    default: object
    kind: str
    help: str = ""


def read_cells(path: Path) -> list[dict]:
    """The cells of a notebook file, each source as one string.

    Raises:
        InputError: the file is not a notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in cells]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not a notebook; save it from Jupyter again") from None


def declared(path: Path) -> dict[str, Parameter]:
    """The parameters that a notebook declares, by name, in order.

    Raises:
        InputError: no cell is tagged `parameters`, it holds more than literals, or
            `run_dir` is not among them.
    """
    cells = [c for c in read_cells(path) if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{path}: {len(cells)} cells are tagged `parameters`; tag exactly one")
    found = parse_parameters(cells[0]["source"], path)
    if INJECTED not in found:
        raise InputError(f'{path}: the parameters cell lacks `{INJECTED}: str = "../outputs/demo"`; add it')
    return found


def parse_parameters(source: str, path: str | Path) -> dict[str, Parameter]:
    """The declarations in a parameters cell; `path` names the notebook in errors."""
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError):
        raise InputError(f"{path}: the parameters cell is not valid Python") from None
    found = {}
    for node in statements:
        try:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            default = ast.literal_eval(node.value)
            name = target.id
        except (AttributeError, ValueError, TypeError):
            raise InputError(
                f"{path}: line {node.lineno} of the parameters cell is not `name: type = literal`; "
                "derive values in the next cell"
            ) from None
        annotation = getattr(node, "annotation", None)
        kind = ast.unparse(annotation) if annotation is not None else _kind_of(default)
        found[name] = Parameter(name, default, kind, comments.get(node.end_lineno, ""))
    return found


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _kind_of(default: object) -> str:
    return "" if default is None else type(default).__name__


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
