"""A flow as one SVG file: the terminal's layout on a wide page, edges as smooth lines.

It needs nothing else (no script, no font, no link), follows the reader's light or dark preference, and
says what it shows in `title` and `desc` for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from goflow.drawing.block import Block, Box, Curve
from goflow.drawing.bundles import LINK
from goflow.drawing.captions import tally
from goflow.drawing.fold import fold, is_fold
from goflow.drawing.labels import Labels
from goflow.drawing.layout import MOST, layout
from goflow.drawing.listing import listing
from goflow.drawing.look import BOLD, DIM, LOOKS, RED, Line
from goflow.drawing.text import clean, width
from goflow.overview import Overview
from goflow.plan import Plan

#: columns of a page, if a picture fits: what is wider can only be scrolled
PAGE: Final = 180
#: pixels of a character cell, and around the drawing
CELL_W: Final = 8
CELL_H: Final = 17
MARGIN: Final = 16

#: boxes that have their text on the border
TITLED: Final = ("group", "key", "bundle")

#: the classes of what is painted with these SGR parameters on a terminal
_CLASSES: Final = {DIM: "dim", BOLD: "bold", RED: "failed"} | {
    look.sgr: state.value for state, look in LOOKS.items() if look.sgr != DIM
}


def render(plan: Plan, overview: Overview | None = None) -> str:
    """A complete SVG document."""
    return _drawing(plan, overview, f"<style>{_style()}</style>", None)


def inline(
    plan: Plan, overview: Overview | None = None, link: Callable[[str], str] | None = None
) -> str:
    """The same as an element of a page, whose style sheet gives it its colours.

    `link` answers where a node's box leads, by its static path.
    """
    return _drawing(plan, overview, "", link)


def _drawing(
    plan: Plan, overview: Overview | None, style: str, link: Callable[[str], str] | None
) -> str:
    labels = Labels(overview)
    block = layout(plan, labels, PAGE)
    if block.listed and all(len(each.graph.nodes) <= MOST for each in block.listed):
        block = layout(plan, labels)
    titles = [_title_place(box, labels) for box in block.boxes if box.role in TITLED]
    w, h = block.w * CELL_W + 2 * MARGIN, block.h * CELL_H + 2 * MARGIN
    role = "group" if link else "img"  # an image would hide its links
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}"'
        f' height="{h}" role="{role}" aria-labelledby="goflow-title goflow-desc">',
        f'<title id="goflow-title">{_escaped(_name(plan, overview))}</title>',
        f'<desc id="goflow-desc">{_escaped(_description(plan, labels))}</desc>',
        *([style] if style else []),
        '<defs><marker id="goflow-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6"'
        ' markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="page" width="{w}" height="{h}"/>',
        f'<g transform="translate({MARGIN} {MARGIN})">',
        *(_box(box, labels) for box in block.boxes if box.role != "cell"),
        *(_back(*place) for place in titles),
        *(_curve(curve, titles) for curve in block.curves),
        *(_text(x, y, line) for x, y, line in _labels(block, labels)),
        *(_text(x, y, [(LINK, DIM)]) for x, y in block.links),
        *_listed(block, labels),
        *(
            _hit(box, labels, link)
            for box in block.boxes
            if link and box.node is not None and not is_fold(box.node)
        ),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _hit(box: Box, labels: Labels, link: Callable[[str], str]) -> str:
    """What is clicked: a plain node's whole box, a frame's title."""
    x, y, columns, rows = box.x, box.y, box.w, box.h
    if box.role in TITLED:
        x, y, columns = _title_place(box, labels)
        rows = 1
    summary = labels.summary(box.path)
    name = box.path if summary is None else f"{box.path}: {summary.state}"
    return (
        f'<a data-soft="" href="{_escaped(link(box.path))}" aria-label="{_escaped(name)}"><rect class="hit"'
        f' x="{x * CELL_W}" y="{y * CELL_H}" width="{columns * CELL_W}" height="{rows * CELL_H}"'
        ' rx="6"/></a>'
    )


def _name(plan: Plan, overview: Overview | None) -> str:
    if overview is None:
        return f"Flow {plan.flow}"
    return f"Flow {plan.flow}, run {overview.run.id}: {overview.run.state}"


def _description(plan: Plan, labels: Labels) -> str:
    """The flow in words, for screen readers."""
    told = []
    if labels.overview is not None:
        counts = ["".join(text for text, _ in line) for line in tally(labels.overview, True)]
        told.append(", ".join(each[2:] for each in counts))
    for line in listing(fold(plan.graph), "", Labels(), 10_000):
        told.append(" ".join("".join(text for text, _ in line).split()))
    return "; ".join(told)


def _style() -> str:
    def colors(dark: bool) -> str:
        page, ink, line, box = (
            ("#111827", "#f3f4f6", "#9ca3af", "#1f2937")
            if dark
            else ("#ffffff", "#111827", "#6b7280", "#f9fafb")
        )
        rules = [
            f".page{{fill:{page}}}text{{fill:{ink}}}.dim{{fill:{line}}}",
            f".box,.frame{{stroke:{line};fill:{box}}}.frame{{fill:none}}",
            f".edge{{stroke:{line}}}marker path{{fill:{line}}}.back{{fill:{page}}}",
        ]
        for state, look in LOOKS.items():
            tone = look.dark if dark else look.light
            rules.append(f"rect.{state}{{stroke:{tone}}}tspan.{state}{{fill:{tone}}}")
        return "".join(rules)

    return (
        "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}"
        ".bold{font-weight:bold}.box,.frame{stroke-width:1.5}.edge{fill:none;stroke-width:1.3}"
        f".dashed{{stroke-dasharray:5 4}}{colors(False)}"
        f"@media(prefers-color-scheme:dark){{{colors(True)}}}"
    )


def _box(box: Box, labels: Labels) -> str:
    """A border, half a cell inside the cells that a terminal draws it in."""
    kind = "box" if box.role == "node" else "frame"
    state = None
    if box.role == "key":
        state = labels.key_state(box.path, box.key)
    elif box.role != "bundle" and (summary := labels.summary(box.path)) is not None:
        state = summary.state
    x, y = box.x * CELL_W + CELL_W / 2, box.y * CELL_H + CELL_H / 2
    w, h = (box.w - 1) * CELL_W, (box.h - 1) * CELL_H
    told = f"{kind} {state}" if state is not None else kind
    return f'<rect class="{told}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6"/>'


def _curve(curve: Curve, titles: Sequence[tuple[int, int, int]]) -> str:
    """From border to border; to above the title of a frame where that is in the way."""
    points = [_pixel(*point) for point in curve.points]
    x, y = curve.points[-1]
    covered = any(row == y and left - 1 <= x <= left + columns for left, row, columns in titles)
    points[0] = (points[0][0], points[0][1] - CELL_H / 2)
    points[-1] = (points[-1][0], points[-1][1] + (1 if covered else CELL_H / 2 - 1))
    path = f"M{points[0][0]:g} {points[0][1]:g}" + "".join(_pieces(points))
    told = "edge dashed" if curve.dashed else "edge"
    return f'<path class="{told}" d="{path}" marker-end="url(#goflow-arrow)"/>'


def _pieces(points: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Straight down through a layer, in an S from one layer to the next."""
    for i, ((x1, y1), (x2, y2)) in enumerate(pairwise(points)):
        if x1 == x2 or i % 2 == 0:
            yield f"L{x2:g} {y2:g}"
        else:
            middle = (y1 + y2) / 2
            yield f"C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"


def _pixel(x: int, y: int) -> tuple[float, float]:
    return x * CELL_W + CELL_W / 2, float(y * CELL_H)


def _title_line(box: Box, labels: Labels) -> Line:
    if box.role == "group" and box.node is not None:
        return labels.title(box.path, box.node)
    return [(box.key, DIM)] if box.role == "bundle" else labels.key(box.path, box.key)


def _title_place(box: Box, labels: Labels) -> tuple[int, int, int]:
    """Column, row and columns of a frame's title."""
    return box.x + 2, box.y, sum(width(text) for text, _ in _title_line(box, labels)) + 2


def _back(x: int, y: int, columns: int) -> str:
    """What interrupts a border behind a title."""
    return (
        f'<rect class="back" x="{x * CELL_W}" y="{y * CELL_H}" width="{columns * CELL_W}"'
        f' height="{CELL_H}"/>'
    )


def _labels(block: Block, labels: Labels) -> Iterator[tuple[int, int, Line]]:
    for box in block.boxes:
        if box.role in TITLED:
            yield box.x + 3, box.y, _title_line(box, labels)
        elif box.node is not None:
            inset = 2 if box.role == "node" else 0
            line = labels.node(box.path, box.node, box.w - 2 * inset)
            yield box.x + inset, box.y + inset // 2, line


def _listed(block: Block, labels: Labels) -> Iterator[str]:
    for x, y, w, graph, prefix in block.listed:
        for row, line in enumerate(listing(graph, prefix, labels, w)):
            yield _text(x, y + row, line)


def _text(x: int, y: int, line: Line) -> str:
    """A line of text. Every column is placed by hand, so that any monospaced font will do."""
    spans, at = "", x
    for text, sgr in line:
        if text.strip():
            lead = len(text) - len(text.lstrip(" "))
            shown = text.strip(" ")
            told = f' class="{_CLASSES[sgr]}"' if sgr in _CLASSES else ""
            length = f' textLength="{len(shown) * CELL_W}"' if shown.isascii() else ""
            spans += f'<tspan x="{(at + lead) * CELL_W}"{told}{length}>{_escaped(shown)}</tspan>'
        at += width(text)
    return f'<text y="{y * CELL_H + CELL_H - 4}">{spans}</text>'


def _escaped(text: str) -> str:
    text = clean(text)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, entity)
    return text
