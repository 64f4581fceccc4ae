"""What goes stale when a module of the package is edited: all that can depend on it, and nothing else."""

import ast
import shutil

import pytest

from narrutils.data import sources
from narrutils.data.sources import NEUTRAL, modules_behind, source_digest, source_digests
from narrutils.paths import PROJECT
from narrutils.pipeline.parameters import imported_by, read_cells

#: What is trained or made under a key of its own, by the module that the key is taken of.
MADE = {
    "a TF-IDF model": "narrutils.models.tfidf",
    "a linear student": "narrutils.models.terms.student",
    "a frozen model": "narrutils.models.frozen",
    "a neural model": "narrutils.training.neural",
    "states of frozen layers": "narrutils.models.reading",
    "an adapter": "narrutils.generation.adapters",
    "a pool": "narrutils.generation.generate",
    "a report": "narrutils.report.build",
}
NOTEBOOKS = {"01", "02", "03", "04", "05", "06"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, read once: `stale` edits a module of it and puts it back."""
    folder = tmp_path_factory.mktemp("copy") / "narrutils"
    copy = shutil.copytree(sources.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PACKAGE", copy)
        yield copy


def keys():
    """Digest of everything that is made, and of every notebook of the project."""
    found = {name: source_digest(module) for name, module in MADE.items()}
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [[cell["cell_type"], cell["source"]] for cell in read_cells(path)]
        found[path.stem[:2]] = source_digest(*imported_by(cells))
    return found


def stale(package, module, edit):
    """What another key stands for once the text of a module was edited."""
    before, path = keys(), package / f"{module}.py"
    text = path.read_text()
    path.write_text(edit(text))
    after = keys()
    path.write_text(text)
    return {name for name in before if before[name] != after[name]}


def another_value(text):
    return text + "\nANOTHER = 1\n"


@pytest.mark.parametrize(
    "module, expected",
    [
        ("data/schema", {*MADE, *NOTEBOOKS}),
        ("training/losses", {"a neural model", "03", "04", "05"}),
        (
            "models/tfidf",
            {"a TF-IDF model", "a linear student", "a frozen model", "a report", *NOTEBOOKS} - {"05"},
        ),  # 05 reads soft labels, and loads no stored model
        ("models/terms/student", {"a linear student", "04"}),
        ("generation/rules", {"a report", "02"}),
        ("labels/review_queue", {"a report", "06"}),
        ("report/pages", {"a report"}),
        ("pipeline/runner", set()),
    ],
)
def test_an_edited_module_makes_stale_what_depends_on_it(package, module, expected):
    assert stale(package, module, another_value) == expected


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_a_module_that_changes_no_result_makes_nothing_stale(package, name):
    module = "/".join(name.split(".")[1:]) or "__init__"
    assert stale(package, module, another_value) == set()


def test_words_make_nothing_stale(package):
    def reworded(text):
        tree = ast.parse(text)
        said = next(n for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call))
        say = ast.get_source_segment(text, said)
        text = text.replace(say, 'raise InputError("in other words")')
        return text.replace('"""', '"""In other words. ', 1) + "\n# and a comment\nprint('done')\n"

    assert stale(package, "models/text", reworded) == set()


def test_imports_are_followed_into_functions_and_packages():
    found = modules_behind("narrutils.crossfit.stored")
    assert "narrutils.models.classifier" in found  # imported where it is needed
    assert "narrutils.models" in found
    assert not set(source_digests(["narrutils.models.text"])) & set(NEUTRAL)
    assert all(modules_behind(name) for name in NEUTRAL)


def test_no_import_escapes_the_search_for_what_stands_behind():
    for path in modules_behind("narrutils.cli", *MADE.values()).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level and node.names[0].name != "*", path.name
