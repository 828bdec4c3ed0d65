"""The drawn DAG on a terminal: a heading, the picture, what failed and the handlers below it."""

from __future__ import annotations

from goflow.drawing.block import Block, Box
from goflow.drawing.bundles import LINK
from goflow.drawing.captions import footing, heading
from goflow.drawing.labels import Labels
from goflow.drawing.layout import layout
from goflow.drawing.listing import listing
from goflow.drawing.look import DIM, LOOKS, Line, paint
from goflow.overview import Overview
from goflow.plan import Plan
from goflow_cli.views.canvas import Canvas, E, N, S, W


def render(
    plan: Plan,
    overview: Overview | None = None,
    *,
    width: int = 80,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """A plan, painted with a run where there is one, as lines no wider than `width` columns."""
    return "".join(paint(line, color) + "\n" for line in page(plan, overview, width, unicode))


def page(plan: Plan, overview: Overview | None, width: int, unicode: bool) -> list[Line]:
    """The same as lines, before colour is decided."""
    labels = Labels(overview, unicode)
    block = layout(plan, labels, width)
    above = heading(plan, overview, width, unicode)
    below = footing(plan, overview, width, unicode, dashed=any(wire.dashed for wire in block.wires))
    return [*above, [], *picture(block, labels), *([[]] if below else []), *below]


def picture(block: Block, labels: Labels) -> list[Line]:
    """A laid-out drawing as lines of text."""
    canvas = Canvas(block.w, block.h, labels.unicode)
    for box in block.boxes:
        if box.role != "cell":
            canvas.box(box.x, box.y, box.w, box.h, _border(box, labels), round=box.role != "node")
    _wires(canvas, block)
    for x, y in block.arrows:
        canvas.arrow(x, y, DIM)
    for box in block.boxes:
        _label(canvas, box, labels)
    for x, y in block.links:
        canvas.text(x, y, [(LINK if labels.unicode else " > ", DIM)])
    for x, y, w, graph, prefix in block.listed:
        for row, line in enumerate(listing(graph, prefix, labels, w)):
            canvas.text(x, y + row, line)
    return canvas.lines()


def _wires(canvas: Canvas, block: Block) -> None:
    """Lines across first; lines down pass over them, but for the joints."""
    joints = set(block.joints)
    borders = {
        (b.x + i, b.y + b.h - 1) for b in block.boxes if b.role != "cell" for i in range(b.w)
    }
    for x1, y1, x2, y2, dashed in block.wires:
        if y1 == y2:
            for x in range(x1, x2 + 1):
                bits = (W if x > x1 else 0) | (E if x < x2 else 0)
                if bits:
                    canvas.join(x, y1, bits, DIM, dashed=dashed)
    for x1, y1, x2, y2, dashed in block.wires:
        if x1 == x2:
            for y in range(y1, y2 + 1):
                bits = (N if y > y1 else 0) | (S if y < y2 else 0)
                if (x1, y) in joints:
                    canvas.join(x1, y, bits, DIM, dashed=dashed)
                elif (x1, y) in borders:
                    if bits & S:
                        canvas.exit(x1, y)
                else:
                    canvas.over(x1, y, bits or N, DIM, dashed=dashed)


def _border(box: Box, labels: Labels) -> str:
    if box.role == "bundle" or labels.overview is None:
        return DIM if box.role == "bundle" else ""
    if box.role == "key":
        state = labels.key_state(box.path, box.key)
        return DIM if state is None else LOOKS[state].sgr
    return labels.color(box.path)


def _label(canvas: Canvas, box: Box, labels: Labels) -> None:
    if box.role == "bundle":
        canvas.text(box.x + 2, box.y, [(f" {box.key} ", DIM)])
    elif box.role == "key":
        canvas.text(box.x + 2, box.y, [(" ", ""), *labels.key(box.path, box.key), (" ", "")])
    elif box.node is not None and box.role == "group":
        canvas.text(box.x + 2, box.y, [(" ", ""), *labels.title(box.path, box.node), (" ", "")])
    elif box.node is not None:
        inset = 0 if box.role == "cell" else 2
        line = labels.node(box.path, box.node, box.w - 2 * inset)
        canvas.text(box.x + inset, box.y + inset // 2, line)
