"""Small charts within tables, as inline SVG; and whole figures, which `plots` draws, as images.

Places along an axis are percentages, so that a chart is as wide as its column while
text and marks keep their size, on a phone as in print. Colours are classes of the
style sheet, which knows light and dark. Shapes differ as well as colours. Every small
chart stands beside its figures in text and is hidden from screen readers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from narrutils.report.plots import STYLE
from narrutils.report.render import embedded

SHAPES = {
    "dot": '<circle r="4.5"/>',
    "diamond": '<path d="M0-6 6 0 0 6-6 0z"/>',
    "square": '<path d="M-4.2-4.2h8.4v8.4h-8.4z"/>',
    "cross": '<path d="M-4.5-4.5 4.5 4.5M-4.5 4.5 4.5-4.5"/>',
}


@dataclass(frozen=True)
class Mark:
    """A value with its shape, its interval if known, and its height in the strip in pixels."""

    value: float
    shape: str
    low: float | None = None
    high: float | None = None
    y: int = 12


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    null: float | None = None  # where nothing differs; marked

    def place(self, value: float) -> float:
        """Where a value stands, in per cent of the width; values beyond the ends stand at them."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


class RatioAxis(Axis):
    """The same of ratios: as far from 1 to 2 as from 1 to a half."""

    def place(self, value: float) -> float:
        low, high = math.log(self.low), math.log(self.high)
        share = (math.log(max(value, self.low)) - low) / (high - low)
        return round(100 * min(share, 1.0), 2)


def fit_ratio_axis(values: Sequence[float]) -> RatioAxis:
    """The axis of powers of 2 that holds 1 and all values, which are above 0."""
    ends = [math.log2(value) for value in (*values, 0.5, 2.0)]
    low, high = math.floor(min(ends)), math.ceil(max(ends))
    step = max(1, (high - low) // 5)
    ticks = tuple(2.0**n for n in range(low, high + 1) if n % step == 0)
    return RatioAxis(2.0**low, 2.0**high, ticks, null=1.0)


def fit_axis(values: Sequence[float], ticks: int = 6) -> Axis:
    """The axis with about so many round steps that holds all values, with a little room at its ends."""
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.01
    low, high = low - room, high + room
    round_ones = MaxNLocator(ticks, steps=(1, 2, 5, 10)).tick_values(low, high).round(10)
    return Axis(low, high, tuple(float(tick) for tick in round_ones if low <= tick <= high))


def strip(axis: Axis, marks: Sequence[Mark], height: int = 24) -> Markup:
    """Marks with their intervals over the grid of the axis: one row of a chart."""
    kinds = {t: "null" if t == axis.null else "grid" for t in axis.ticks}
    grid = "".join(_line(axis.place(t), axis.place(t), 0, height, kind) for t, kind in kinds.items())
    drawn = "".join(_mark(axis, mark) for mark in marks)
    return _svg("strip", height, grid + drawn)


def scale(axis: Axis) -> Markup:
    """The labels of the ticks: the last row of a chart."""
    digits = max(len(f"{t:.6g}".partition(".")[2]) for t in axis.ticks)
    labels = "".join(
        f'<text x="{axis.place(t)}%" y="13" text-anchor="middle">{t:.{digits}f}</text>' for t in axis.ticks
    )
    return _svg("strip scale", 18, labels)


def panel(
    head: str,
    rows: Sequence[Mapping],
    signs: Mapping[str, str],
    columns: Sequence[str],
    fit: Callable[[Sequence[float]], Axis] = fit_axis,
) -> dict:
    """Rows of marks on one axis, with figures beside them, as `ladder.html.j2` shows them.

    Args:
        head: what a row is.
        rows: each with `step`, its name; `marks`; `figures`, a value and what stands under it for each of
            `columns`; `remark` and `optimistic`.
        signs: shape of a mark -> what it means.
    """
    values = [v for row in rows for m in row["marks"] for v in (m.value, m.low, m.high) if v is not None]
    axis = fit(values)
    return {
        "head": head,
        "legend": [(sign(shape), name) for shape, name in signs.items()],
        "columns": columns,
        "rows": [{**row, "strip": strip(axis, row["marks"], height=50)} for row in rows],
        "scale": scale(axis),
    }


def sign(shape: str) -> Markup:
    """One mark, for a legend."""
    size = 'width="14" height="14" viewBox="-7 -7 14 14"'
    return Markup(f'<svg class="sign {shape}" {size} aria-hidden="true">{SHAPES[shape]}</svg>')


def bar(shares: Sequence[float], height: int = 12) -> Markup:
    """A bar of one or more segments, each a share of the column's width; they sum to at most 1."""
    parts, left = [], 0.0
    for n, share in enumerate(shares):
        parts.append(
            f'<rect class="part{n}" x="{100 * left:.2f}%" width="{100 * share:.2f}%" height="100%"/>'
        )
        left += share
    return _svg("bar", height, "".join(parts))


def sparkline(said: Sequence[float], came: Sequence[float], size: int = 38) -> Markup:
    """A reliability curve: what was said to the right, what came true upwards, the diagonal is perfect."""
    points = [(round(3 + (size - 6) * x, 1), round(3 + (size - 6) * (1 - y), 1)) for x, y in zip(said, came)]
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="1.6"/>' for x, y in points)
    return Markup(
        f'<svg class="spark" width="{size}" height="{size}" viewBox="0 0 {size} {size}" aria-hidden="true">'
        f'<path class="frame" d="M3 3h{size - 6}v{size - 6}h{6 - size}z"/>'
        f'<path class="grid" d="M3 {size - 3} {size - 3} 3"/><polyline points="{line}"/>{dots}</svg>'
    )


def picture(draw: Callable[[Axes], object], width: float, height: float) -> str:
    """A figure as the source of an image, so many inches large; equal figures are equal byte by byte.

    Args:
        draw: draws on the figure's only axes, such as a function of `plots`.
    """
    plain = {"svg.fonttype": "none", "svg.hashsalt": "narrutils", "savefig.facecolor": "none"}
    with style.context(STYLE | plain, after_reset=True):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(file := StringIO(), format="svg", metadata={"Date": None, "Creator": None})
    return embedded("image/svg+xml", file.getvalue())


def _mark(axis: Axis, mark: Mark) -> str:
    whisker = ""
    if mark.low is not None and mark.high is not None:
        whisker = _line(axis.place(mark.low), axis.place(mark.high), mark.y, mark.y, "whisker")
    shape = f'<g transform="translate(0 {mark.y})">{SHAPES[mark.shape]}</g>'
    place = axis.place(mark.value)
    return f'<g class="{mark.shape}">{whisker}<svg x="{place}%" overflow="visible">{shape}</svg></g>'


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}%" x2="{x2}%" y1="{y1}" y2="{y2}"/>'


def _svg(kind: str, height: int, inside: str) -> Markup:
    return Markup(f'<svg class="{kind}" width="100%" height="{height}" aria-hidden="true">{inside}</svg>')
