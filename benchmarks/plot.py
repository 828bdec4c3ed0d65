"""Pictures of figures as SVG: groups of bars on a logarithmic scale, and curves side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

#: goflow's colour, and the others'; curves take more
OURS: Final = "#0b6e4f"
THEIRS: Final = "#9aa5ab"
COLOURS: Final = (OURS, "#b4552d", "#3b5b92", "#8a6d1f", "#7a3b69")
INK: Final = "#1f2428"
GRID: Final = "#dfe3e6"

#: pixels: a bar with its gap, the names on the left, the widest bar, the title of a group
BAR, LEFT, WIDE, TITLE = 15, 110, 470, 26
#: pixels: a chart, the space around its plane, and how many stand in a row
CHART_WIDE, CHART_HIGH, MARGIN, ROW = 410, 220, 46, 2


class Bars(NamedTuple):
    """A group of bars, longest first or, where `lower` is better, shortest first. Values above 0."""

    title: str
    values: Mapping[str, float]
    lower: bool = False


class Chart(NamedTuple):
    """Curves over one axis. Points are (x, y), x ascending; a logarithmic axis takes values above 0."""

    title: str
    x: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


def bars(label: str, groups: Sequence[Bars]) -> str:
    """One picture, a group below the other, each on a logarithmic scale of its own."""
    parts, top = [], 10
    for group in groups:
        order = sorted(group.values, key=lambda name: group.values[name])
        names = order if group.lower else order[::-1]
        low, high = _ends(group.values.values())
        parts.append(_text(10, top + 14, group.title, "start", bold=True))
        top += TITLE
        for name in names:
            value = group.values[name]
            width = max(1.0, (math.log10(value) - low) / (high - low) * WIDE)
            colour = OURS if name.startswith("goflow") else THEIRS
            parts += [
                _text(LEFT - 6, top + 10, name, "end"),
                f'<rect x="{LEFT}" y="{top + 1}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>',
                _text(LEFT + width + 5, top + 10, short(value), "start"),
            ]
            top += BAR
        top += 10
    return _picture(label, LEFT + WIDE + 90, top, parts)


def curves(label: str, charts: Sequence[Chart]) -> str:
    """One picture, two charts in a row. Linear axes begin at 0."""
    parts = []
    for place, chart in enumerate(charts):
        left, top = place % ROW * CHART_WIDE, place // ROW * CHART_HIGH
        parts.append(f'<g transform="translate({left} {top})">')
        parts += _chart(chart)
        parts.append("</g>")
    rows = -(-len(charts) // ROW)
    return _picture(label, CHART_WIDE * min(ROW, len(charts)), CHART_HIGH * rows, parts)


def short(value: float) -> str:
    """A figure as one reads it: three digits, thousands set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}".rstrip("0").removesuffix(".")


def _chart(chart: Chart) -> list[str]:
    points = [point for curve in chart.curves.values() for point in curve]
    right, bottom = CHART_WIDE - 32, CHART_HIGH - 36
    across = _Axis([x for x, _ in points], chart.log_x, MARGIN, right)
    up = _Axis([y for _, y in points], chart.log_y, bottom, 44)
    parts = [
        _text(10, 16, chart.title, "start", bold=True),
        _text((MARGIN + right) / 2, CHART_HIGH - 6, chart.x, "middle"),
    ]
    for value in up.marks():
        y = up.place(value)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{right}" stroke="{GRID}"/>')
        parts.append(_text(MARGIN - 5, y + 4, short(value), "end"))
    for value in sorted({x for x, _ in points}):
        parts.append(_text(across.place(value), bottom + 15, short(value), "middle"))
    at = MARGIN
    for number, (name, curve) in enumerate(chart.curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in curve)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        parts += [
            f'<circle cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="2.4" fill="{colour}"/>'
            for x, y in curve
        ]
        parts.append(f'<rect x="{at}" y="25" width="9" height="9" fill="{colour}"/>')
        parts.append(_text(at + 13, 33, name, "start"))
        at += 22 + 6 * len(name)
    return parts


class _Axis:
    """Where values lie between two pixels."""

    def __init__(self, values: Sequence[float], log: bool, start: float, end: float) -> None:
        self._log, self._start, self._end = log, start, end
        if log:
            self._low, self._high = _ends(values)
        else:
            self._low, self._high = 0.0, _ceiling(max(values, default=1.0))

    def place(self, value: float) -> float:
        shown = math.log10(value) if self._log else value
        return self._start + (shown - self._low) / (self._high - self._low) * (
            self._end - self._start
        )

    def marks(self) -> list[float]:
        if self._log:
            low, high = round(self._low), round(self._high)
            step = -(-(high - low) // 5)
            return [10.0**power for power in range(low, high + 1, step)]
        return [self._high * part / 4 for part in range(5)]


def _ends(values: Iterable[float]) -> tuple[float, float]:
    """Powers of ten around all values."""
    found = list(values)
    low = math.floor(math.log10(min(found)))
    high = math.ceil(math.log10(max(found)))
    return float(low), float(max(high, low + 1))


def _ceiling(value: float) -> float:
    """A round number that is not below."""
    unit = 10.0 ** math.floor(math.log10(value or 1.0))
    return next(unit * part for part in (1, 2, 4, 6, 8, 10) if unit * part >= value)


def _text(x: float, y: float, words: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>'
        f"{escape(words)}</text>"
    )


def _picture(label: str, wide: float, high: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}"'
        f' font-family="sans-serif" font-size="11" role="img" aria-label="{escape(label)}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )
