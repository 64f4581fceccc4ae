"""The pages for who carries on speak of what is there: files, headings, modules, and names in them."""

import ast
import re
from functools import cache

import pytest

from narrutils.data.sources import NEUTRAL
from narrutils.paths import PROJECT

PAGES = [
    "README.md",
    "LOG.md",
    "CONTRIBUTING.md",
    "MODELS.md",
    "docs/architecture.md",
    "docs/files.md",
    "docs/results.md",
]
ROOMS = sorted(path.parent.name for path in (PROJECT / "narrutils").glob("*/__init__.py"))
#: `room.module`, or `room.module.name` and deeper, as the pages write it.
NAME = re.compile(rf"`(?:narrutils\.)?((?:{'|'.join(ROOMS)})(?:\.(?!json)\w+)+)[(`]")

each_page = pytest.mark.parametrize("page", PAGES)


def read(page):
    return (PROJECT / page).read_text(encoding="utf-8")


def anchors(page):
    """What a link to a heading of the page may say."""
    headings = [line.lstrip("# ").lower() for line in read(page).splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", read(page)):
        name, _, anchor = target.partition("#")
        path = ((PROJECT / page).parent / name).resolve() if name else PROJECT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.relative_to(PROJECT)), target


@cache
def defined(path):
    """Names that a module or its classes define, methods and fields among them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names |= {node.name} if isinstance(node, (ast.ClassDef, ast.FunctionDef)) else set()
        names |= {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()
    return names


@each_page
def test_names_of_the_package_are_there(page):
    for name in NAME.findall(read(page)):
        folder, (module, *inside) = PROJECT / "narrutils", name.split(".")
        while (folder / module).is_dir():
            folder, (module, *inside) = folder / module, inside
        path = folder / f"{module}.py"
        assert path.is_file() and set(inside) <= defined(path), name


def test_every_room_and_every_neutral_module_is_on_the_page():
    page = read("docs/architecture.md")
    assert all(f"| `{room}` |" in page for room in ROOMS)
    assert all(f"`{name.removeprefix('narrutils.')}`" in page for name in NEUTRAL)
