"""What a notebook declares: the literals of its `parameters` cell, with type and help.

A declaration is one line, `epochs: int = 3  # passes over the official fold`. Its
annotation (or, without one, its default) is the type that a profile's value must fit.
"""

import ast
import io
import json
import tokenize
from pathlib import Path

from narrutils.data.values import Parameter
from narrutils.errors import InputError

INJECTED = "run_dir"  # set by the runner, never by a profile


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
