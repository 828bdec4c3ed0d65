"""One frame of the live view: the picture where the terminal can hold it, else the compact list."""

from __future__ import annotations

from goflow.drawing.block import Block
from goflow.drawing.captions import footing, heading
from goflow.drawing.labels import Labels
from goflow.drawing.layout import layout
from goflow.drawing.look import Line
from goflow.overview import Overview
from goflow.plan import Plan
from goflow_cli.views.compact import compact
from goflow_cli.views.drawing import Screen
from goflow_cli.views.terminal import picture


class Frame:
    """Draws one plan again and again; lays it out only when a width has changed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._layout: tuple[object, Block] | None = None

    def lines(self, overview: Overview, screen: Screen, spare: int) -> list[Line]:
        """The run as lines; at least `spare` lines of the screen are left free."""
        width, height, _, unicode = screen
        labels = Labels(overview, unicode)
        block = self._laid_out(labels, width)
        dashed = any(wire.dashed for wire in block.wires)
        above = heading(self._plan, overview, width, unicode)
        below = footing(self._plan, overview, width, unicode, dashed=dashed)
        if len(above) + block.h + len(below) + 2 <= height - spare:
            return [*above, [], *picture(block, labels), *([[]] if below else []), *below]
        return compact(self._plan, overview, width, height - spare, unicode)

    def _laid_out(self, labels: Labels, width: int) -> Block:
        sizes = [
            labels.node_width(path, node) if node.kind == "node" else labels.title_width(path, node)
            for path, node in self._plan.walk()
        ]
        if self._layout is None or self._layout[0] != (width, sizes):
            self._layout = ((width, sizes), layout(self._plan, labels, width))
        return self._layout[1]
