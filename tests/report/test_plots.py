"""What the figures show, read back from their axes."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

from narrutils.report import plots  # noqa: E402

PLACES = pd.DataFrame(
    {
        "group": ["official"] * 3 + ["one"] * 3 + ["two"] * 2,
        "kept": [True, True, True, True, True, False, True, False],
        "x": range(8),
        "y": range(8),
    }
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def marks(axis):
    return {c.get_label(): c for c in axis.collections}


def test_the_landscape_draws_every_case_once():
    shown = marks(plots.landscape(PLACES))
    counts = {name: len(c.get_offsets()) for name, c in shown.items()}
    assert counts == {"official": 3, "refused": 2, "one, kept": 2, "two, kept": 1}
    assert shown["refused"].get_offsets().tolist() == [[5, 5], [7, 7]]


def test_pools_of_the_landscape_differ_in_mark_and_colour():
    shown = marks(plots.landscape(PLACES))
    one, two = shown["one, kept"], shown["two, kept"]
    assert to_hex(one.get_edgecolor()[0]) != to_hex(two.get_edgecolor()[0])
    assert one.get_paths()[0].vertices.shape != two.get_paths()[0].vertices.shape


def test_a_landscape_without_generated_rows_is_drawn():
    assert list(marks(plots.landscape(PLACES.head(3)))) == ["official"]


class Shell:
    """What runs a notebook, as far as figures go."""

    kernel = "one"

    def __init__(self):
        self.magics = []

    def run_line_magic(self, *words):
        self.magics.append(words)


def test_figures_have_twice_the_pixels_in_a_notebook_only(monkeypatch):
    shell = Shell()
    monkeypatch.setattr(plots, "get_ipython", lambda: shell)
    plots.use_style()
    assert shell.magics == [("config", "InlineBackend.figure_format = 'retina'")]
    monkeypatch.setattr(plots, "get_ipython", lambda: None)
    plots.use_style()


def test_two_dollars_in_a_title_are_no_formula(monkeypatch):
    with plt.rc_context():
        plots.use_style()
        titles = {"First": "below $5_000 to $10^", "Second": "$\\frac{"}
        words = pd.DataFrame({"First": [1, 2], "Second": [3, 4]})
        figure = plots.lengths({"cases": words}, titles)
        figure.canvas.draw()
        assert [axis.get_title(loc="left") for axis in figure.axes] == list(titles.values())
        names = pd.DataFrame({"variable": ["a$b$"], "class": ["$x^$"], "cases": [1], "share": [0.5]})
        plots.prevalence(names).figure.canvas.draw()
    plt.close("all")


def by_group(levels: list, too_small: list, figures: list) -> pd.DataFrame:
    table = pd.DataFrame({"column": "site", "level": levels, "too_small": too_small, "flagged": figures})
    for name in plots.PANELS:
        table[name], table[f"{name}_low"], table[f"{name}_high"] = (
            figures,
            [x - 0.1 for x in figures],
            [x + 0.2 for x in figures],
        )
    return table


def test_levels_with_figures_stand_in_every_panel():
    table = by_group(["a", "b", "c"], [False, True, True], [0.5, 0.7, float("nan")])
    figure = plots.by_group(table)
    assert [axis.get_xlabel() for axis in figure.axes] == list(plots.PANELS.values())
    for axis in figure.axes:
        whiskers, dots = axis.collections
        assert dots.get_offsets().tolist() == [[0.5, 0], [0.7, 1]]
        assert [to_hex(face) for face in dots.get_facecolors()] == [plots.BLUE.lower(), "#ffffff"]
        ends = [segment[:, 0].tolist() for segment in whiskers.get_segments()]
        assert ends == [pytest.approx([0.4, 0.7]), pytest.approx([0.6, 0.9])]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["site: a", "site: b"]
