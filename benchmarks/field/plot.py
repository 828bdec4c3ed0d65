"""`python -m benchmarks.field.plot RESULT.json...`: one table and one picture of several measured parts.

The picture goes to docs/field.svg: nodes per second on a logarithmic scale, one group of bars a shape.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.field.figures import Figure
from benchmarks.field.report import table

PICTURE = Path(__file__).parents[2] / "docs" / "field.svg"
SHAPES = ("single", "chains", "chain", "fan-1000", "diamonds")
#: goflow's colour, and the others'
OURS, THEIRS = "#0b6e4f", "#9aa5ab"
#: pixels: a bar with its gap, the names on the left, the widest bar, the height of a shape's title
BAR, LEFT, WIDE, TITLE = 15, 110, 470, 26
#: nodes per second at the ends of the scale
LEAST, MOST = 10.0, 30_000.0

Measured = dict[str, dict[str, Figure]]


def main(files: list[str]) -> None:
    """Read, print, draw."""
    measured: Measured = {}
    for file in files:
        for name, figures in json.loads(Path(file).read_text())["figures"].items():
            read = {shape: Figure(**figure) for shape, figure in figures.items()}
            measured.setdefault(name, {}).update(read)
    print(table(measured))
    PICTURE.write_text(picture(measured))


def picture(measured: Mapping[str, Mapping[str, Figure]]) -> str:
    """The picture as SVG."""
    parts, top = [], 10
    for shape in SHAPES:
        rates = {
            name: figures[shape].value or 0.0
            for name, figures in measured.items()
            if shape in figures and figures[shape].value
        }
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{shape}, nodes/s</text>')
        top += TITLE
        for name in sorted(rates, key=lambda name: -rates[name]):
            parts.append(_bar(name, rates[name], top))
            top += BAR
        top += 10
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 90} {top}"'
        ' font-family="sans-serif" font-size="11" role="img"'
        ' aria-label="nodes per second by shape and peer">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _bar(name: str, rate: float, top: int) -> str:
    share = math.log(max(rate, LEAST) / LEAST) / math.log(MOST / LEAST)
    width = max(1.0, share * WIDE)
    colour = OURS if name.startswith("goflow") else THEIRS
    return (
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{top + 1}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>'
        f'<text x="{LEFT + width + 5:.1f}" y="{top + 10}">{rate:,.0f}</text>'
    )


if __name__ == "__main__":
    main(sys.argv[1:])
