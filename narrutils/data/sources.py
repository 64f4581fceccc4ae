"""What a result depends on: the modules of the package that its module imports, at any depth.

Every key of an artefact is made here. What a module says to people, its docstrings, comments,
printed lines and messages of errors, is left out of its digest, so that words cost no training.
"""

import ast
import os
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from narrutils.data.files import digest

PACKAGE = Path(__file__).resolve().parents[1]
#: Modules that change no result though others import them, each with its reason.
NEUTRAL = {
    "narrutils": "nothing is done there but to quieten a warning",
    "narrutils.cluster": "where workers run",
    "narrutils.errors": "what a fault says",
    "narrutils.paths": "where files lie; their content is in every key",
    "narrutils.versions": "no key holds versions; what goes on with parts looks at them",
    "narrutils.data.files": "how bytes are kept, not which",
    "narrutils.data.settings": "what a value may be; what became of it is in the key of all that it decides",
    "narrutils.data.sources": "this list and the digests themselves",
    "narrutils.data.stages": "whether a run folder may be read at all",
    "narrutils.workers": "who makes a part; what it is, is in the keys of those who ask for it",
    "narrutils.models.speed": "what `auto` stands for; the precision itself is in every key",
}


def modules_behind(*modules: str, without: Collection[str] = ()) -> dict[str, Path]:
    """Name -> file of these modules and of all that they import from the package, at any depth.

    Args:
        modules: full names, such as `narrutils.models.text`. Packages on the way to one count too.
        without: modules that are not followed.
    """
    found, waiting, seen = {}, list(modules), set(without)
    while waiting:
        name = waiting.pop()
        if name in seen:  # whether it is a module or a name in one: the disk is asked once
            continue
        seen.add(name)
        path = _file(name)
        if path:
            found[name] = path
            waiting += [*_imports(path), *([name.rpartition(".")[0]] if "." in name else [])]
    return dict(sorted(found.items()))


def source_digests(modules: Iterable[str]) -> dict[str, str]:
    """Name -> digest of every module behind these that can change a result."""
    return {name: _digest(path) for name, path in modules_behind(*modules).items() if name not in NEUTRAL}


def source_digest(*modules: str) -> str:
    """One digest of all that can change what these modules make."""
    return digest(source_digests(modules))


def imported(tree: ast.AST, at_once: bool = False) -> set[str]:
    """Full names of everything that a piece of code imports, inside functions too.

    Args:
        at_once: only what is imported when the module is.
    """
    names = set()
    for node in ast.iter_child_nodes(tree) if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _file(name: str) -> Path | None:
    package, *names = name.split(".")
    if package != "narrutils":
        return None
    path = os.path.join(PACKAGE, *names)  # most names are no module, and a `Path` of each takes its time
    return next(
        (Path(p) for p in (f"{path}.py", os.path.join(path, "__init__.py")) if os.path.isfile(p)), None
    )


def _imports(path: Path) -> list[str]:
    return _imports_of(path, path.stat().st_mtime_ns)


@cache
def _imports_of(path: Path, changed: int) -> list[str]:
    return sorted(imported(ast.parse(path.read_text(encoding="utf-8"))))


def _digest(path: Path) -> str:
    return _digest_of(path, path.stat().st_mtime_ns)


@cache
def _digest_of(path: Path, changed: int) -> str:
    """Digest of what a file does."""
    return digest(ast.dump(_Wordless().visit(ast.parse(path.read_text(encoding="utf-8")))))


class _Wordless(ast.NodeTransformer):
    """Takes out what is said to people: docstrings, printed lines, the words of an exception."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        says = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "print"
        return None if says or isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)
