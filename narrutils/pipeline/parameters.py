"""What a notebook declares: the literals of its `parameters` cell, with type and help.

A declaration is one line, `epochs: Size = 3  # passes over the official fold`. Its annotation
(or, without one, its default) is the type that a profile's value must fit: a plain one, or one
that the notebook imports above the cell. The cell is read and never run.
"""

import ast
import io
import json
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from narrutils.data.settings import Fields
from narrutils.data.sources import imported
from narrutils.errors import InputError

INJECTED = "run_dir"  # set by the runner, never by a profile
PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; `kind` is its type, `within` the mapping of settings that it stands in."""

    name: str
    default: object
    kind: object
    help: str = ""
    within: str = ""


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
    cells = read_cells(path)
    tagged = [n for n, c in enumerate(cells) if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise InputError(f"{path}: {len(tagged)} cells are tagged `parameters`; tag exactly one")
    above = imported_by((cell["cell_type"], cell["source"]) for cell in cells[: tagged[0]])
    places = {name.rpartition(".")[2]: name.rpartition(".")[0] for name in above}
    found = parse_parameters(cells[tagged[0]]["source"], path, places)
    if INJECTED not in found:
        raise InputError(f'{path}: the parameters cell lacks `{INJECTED}: str = "../outputs/demo"`; add it')
    return found


def settable(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """All that a profile may set by name: parameters, and what those that are mappings of settings hold."""
    inner = {
        name: Parameter(name, None, kind, within=p.name)
        for p in parameters.values()
        for name, kind in Fields.of(p.kind).known.items()
    }
    return inner | {name: p for name, p in parameters.items() if name != INJECTED}


def parse_parameters(source: str, path: str | Path, places: Mapping[str, str]) -> dict[str, Parameter]:
    """The declarations in a parameters cell.

    Args:
        path: names the notebook in errors.
        places: the module of each type that is not plain.
    """
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError):
        raise InputError(f"{path}: the parameters cell is not valid Python") from None
    found = {}
    for node in statements:
        try:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            default, annotation = ast.literal_eval(node.value), getattr(node, "annotation", None)
            kind = _type(annotation, places) if annotation else PLAIN.get(type(default).__name__, Any)
            told = comments.get(node.lineno) or comments.get(node.end_lineno, "")
            found[target.id] = Parameter(target.id, default, kind, told)
        except KeyError as error:
            raise InputError(f"{path}: the parameters cell's type {error} is not imported above it") from None
        except (AttributeError, ValueError, TypeError):
            raise InputError(
                f"{path}: line {node.lineno} of the parameters cell is not `name: type = literal`; "
                "derive values in the next cell"
            ) from None
    return found


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _type(node: ast.expr, places: Mapping[str, str]) -> object:
    """The type that an annotation means: a plain one, or one of the package, by the module of its name."""
    match node:
        case ast.Name(id=name):
            return PLAIN.get(name) or getattr(import_module(places[name]), name)
        case ast.Constant():
            return node.value
        case ast.BinOp(op=ast.BitOr()):
            return _type(node.left, places) | _type(node.right, places)
        case ast.Subscript():
            return _type(node.value, places)[_type(node.slice, places)]
        case ast.Tuple():
            return tuple(_type(part, places) for part in node.elts)
    raise KeyError(ast.unparse(node))


def imported_by(cells: Iterable[Sequence[str]]) -> set[str]:
    """Full names of what the cells of a notebook import, each a pair of type and source."""
    names = set()
    for kind, source in cells:
        lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
        if kind == "code":
            with suppress(SyntaxError):  # the notebook itself will say so
                names |= imported(ast.parse("\n".join(lines)))
    return names
