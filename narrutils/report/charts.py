"""Small charts as inline SVG: intervals on a shared axis, bars, curves.

Places along an axis are percentages, so that a chart is as wide as its column while
text and marks keep their size, on a phone as in print. Colours are classes of the
style sheet, which knows light and dark. Shapes differ as well as colours. Every
chart stands beside its figures in text and is hidden from screen readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

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

    def place(self, value: float) -> float:
        """Where a value stands, in per cent of the width; values beyond the ends stand at them."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def fit_axis(values: Sequence[float], ticks: int = 6) -> Axis:
    """The axis with about so many round steps that holds all values, with a little room at its ends."""
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.01
    low, high = low - room, high + room
    step = _round_step((high - low) / ticks)
    first, last = math.ceil(low / step), math.floor(high / step)
    return Axis(low, high, tuple(round(n * step, 10) for n in range(first, last + 1)))


def _round_step(width: float) -> float:
    size = 10 ** math.floor(math.log10(width))
    return next(size * n for n in (1, 2, 5, 10) if size * n >= width)


def strip(axis: Axis, marks: Sequence[Mark], height: int = 24) -> Markup:
    """Marks with their intervals over the grid of the axis: one row of a chart."""
    grid = "".join(_line(axis.place(t), axis.place(t), 0, height, "grid") for t in axis.ticks)
    drawn = "".join(_mark(axis, mark) for mark in marks)
    return _svg("strip", height, grid + drawn)


def scale(axis: Axis) -> Markup:
    """The labels of the ticks: the last row of a chart."""
    digits = max(len(f"{t:.6g}".partition(".")[2]) for t in axis.ticks)
    labels = "".join(
        f'<text x="{axis.place(t)}%" y="13" text-anchor="middle">{t:.{digits}f}</text>' for t in axis.ticks
    )
    return _svg("strip scale", 18, labels)


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


def curve(
    points: Sequence[tuple[float, float]], across: Axis, up: Axis, chosen: float | None = None
) -> Markup:
    """A line over two axes, the chosen place across marked; ticks are labelled in per cent."""
    height, base = 220, 200

    def y(value: float) -> float:
        return round(base * (1 - up.place(value) / 100), 1)

    lines = [
        _line(across.place(a), across.place(b), y(p), y(q), "line") for (a, p), (b, q) in pairwise(points)
    ]
    rows = [
        _line(0, 100, y(t), y(t), "grid") + f'<text x="-6" y="{y(t) + 4}" text-anchor="end">{t:.0%}</text>'
        for t in up.ticks
    ]
    columns = []
    for t in across.ticks:
        x = across.place(t)
        label = f'<text x="{x}%" y="{height - 5}" text-anchor="{_anchor(x)}">{t:.0%}</text>'
        columns.append(_line(x, x, 0, base, "grid") + label)
    at = [] if chosen is None else [_line(across.place(chosen), across.place(chosen), 0, base, "chosen")]
    return _svg("curve", height, "".join([*rows, *columns, *at, *lines]))


def _anchor(place: float) -> str:
    """Labels at the ends stay inside."""
    return "start" if place < 4 else "end" if place > 96 else "middle"


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
