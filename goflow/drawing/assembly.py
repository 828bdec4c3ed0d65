"""Puts boxes together to one drawing, given the graph between them: layers, columns, channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from goflow.drawing.block import Block, Curve, shelves
from goflow.drawing.channel import Ports, Wire, channel
from goflow.drawing.columns import columns
from goflow.drawing.layers import Edge, Layered, layered

#: columns between two boxes of a layer, beside a line that passes between them, between two parts of a
#: drawing that nothing connects
GAP: Final = 2
BESIDE_LINE: Final = 1
APART: Final = 3
#: how far from its middle an edge may leave a box to be straight
ALIGN: Final = 2

#: the vertices at the other ends, by vertex and style
Ends = dict[int, dict[bool, list[int]]]


def assembled(blocks: Sequence[Block], edges: Sequence[Edge], most: int, room: int) -> Block | None:
    """The blocks (vertices 0, 1, ...) and the edges between them in `room` columns.

    No layer's boxes take more than `most` columns, so that lines can pass. Parts that nothing connects
    stand beside each other. None where it does not fit or could not be read.
    """
    drawn = []
    for part in _parts(len(blocks), edges):
        number = {v: i for i, v in enumerate(part)}
        inner = [(number[a], number[b], dashed) for a, b, dashed in edges if a in number]
        block = _connected([blocks[v] for v in part], inner, most, room)
        if block is None or block.w > room:
            return None
        drawn.append(block)
    whole = shelves(drawn, room, APART)
    return whole if whole.w <= room else None


def _parts(n: int, edges: Sequence[Edge]) -> list[list[int]]:
    """The vertices of each connected part, parts by their first vertex."""
    part = list(range(n))

    def find(v: int) -> int:
        while part[v] != v:
            part[v] = part[part[v]]
            v = part[v]
        return v

    for a, b, _ in edges:
        part[max(find(a), find(b))] = min(find(a), find(b))
    parts: dict[int, list[int]] = {}
    for v in range(n):
        parts.setdefault(find(v), []).append(v)
    return list(parts.values())


def _connected(
    blocks: Sequence[Block], edges: Sequence[Edge], most: int, room: int
) -> Block | None:
    n = len(blocks)
    drawing = layered(n, edges, [block.w for block in blocks], most, room, GAP)
    if drawing is None:
        return None
    count = max((v for layer in drawing.layers for v in layer), default=0) + 1
    widths = [block.w for block in blocks] + [1] * (count - n)
    middles = columns(
        drawing, widths, n, lambda u, v: GAP if u < n and v < n else BESIDE_LINE, room
    )
    try:
        return _Drawing(blocks, drawing, widths, middles).block()
    except _Unreadable:
        return None


class _Drawing:
    """Puts the pieces of one layered graph together, top down."""

    def __init__(
        self, blocks: Sequence[Block], drawing: Layered, widths: list[int], middles: list[int]
    ) -> None:
        self.blocks = blocks
        self.drawing = drawing
        self.lefts = [x - w // 2 for x, w in zip(middles, widths, strict=True)]
        self.widths = widths
        self.out, self.into = self._ports()
        self.entries: dict[Edge, int] = {}
        self.tops: dict[int, int] = {}
        self.bottoms: dict[int, int] = {}
        self.floors: dict[int, int] = {}

    def block(self) -> Block:
        whole, y = Block(), 0
        layer_of = {v: i for i, layer in enumerate(self.drawing.layers) for v in layer}
        segments: list[list[Edge]] = [[] for _ in self.drawing.layers]
        for edge in self.drawing.segments:
            segments[layer_of[edge[0]]].append(edge)
        for layer, below in zip(self.drawing.layers, segments, strict=True):
            y = self._layer(whole, layer, below, y)
        for route, dashed in self._routes():
            whole.curves.append(Curve(tuple(self._points(route, dashed)), dashed))
        return whole

    def _layer(self, whole: Block, layer: list[int], below: list[Edge], y: int) -> int:
        """Draw a layer and the edges below it; where the next one begins."""
        height = max((self.blocks[v].h for v in layer if v < len(self.blocks)), default=1)
        bottom = y + height
        for v in layer:
            self.tops[v], self.floors[v] = y, bottom
            self.bottoms[v] = bottom if v >= len(self.blocks) else y + self.blocks[v].h
            if v < len(self.blocks):
                whole.put(self.blocks[v], self.lefts[v], y)
        for (v, dashed), x in self.out.items():
            if self.tops.get(v) == y and v in layer:
                start = y if v >= len(self.blocks) else self.bottoms[v] - 1
                whole.wires.append(Wire(x, start, x, bottom - 1, dashed))
        if not below:
            return bottom
        n = len(self.blocks)  # a short dashed line needs a row more to be seen as such
        short = any(dashed and a < n and b < n for a, b, dashed in below)
        routed = channel(below, self.out, self.into, self._sides(below), spare=short)
        if routed is None:
            raise _Unreadable
        self.entries |= routed.entries
        whole.wire(routed.wires, routed.joints, 0, bottom)
        whole.w = max(whole.w, max(wire.x2 for wire in whole.wires) + 1)
        for x in {x for (_, b, _), x in routed.entries.items() if b < len(self.blocks)}:
            whole.arrows.append((x, bottom + routed.height - 1))
        return bottom + routed.height

    def _ports(self) -> tuple[Ports, Ports]:
        """The column at which the plain and the dashed edges of each vertex leave and enter it."""
        leave: Ends = {}
        enter: Ends = {}
        for a, b, dashed in self.drawing.segments:
            leave.setdefault(a, {}).setdefault(dashed, []).append(b)
            enter.setdefault(b, {}).setdefault(dashed, []).append(a)
        out = {(v, d): self._port(v, d, of) for v, of in leave.items() for d in of}
        into = {(v, d): self._port(v, d, of) for v, of in enter.items() for d in of}
        self._align(out, leave, into)
        self._align(into, enter, out)
        for a, b, dashed in self.drawing.segments:
            if leave[a] == {dashed: [b]} and enter[b] == {dashed: [a]}:
                x = self._common(a, b)
                if x is not None:
                    out[a, dashed] = into[b, dashed] = x
        return out, into

    def _port(self, v: int, dashed: bool, styles: dict[bool, list[int]]) -> int:
        """The middle; beside it where edges of both styles come, each on the side it goes to."""
        middle = self.lefts[v] + self.widths[v] // 2
        if len(styles) == 1:
            return middle
        means = {d: sum(self.lefts[w] for w in ends) / len(ends) for d, ends in styles.items()}
        aside = 2 if self.widths[v] >= 9 else 1
        return middle + (
            aside if (means[dashed], dashed) > (means[not dashed], not dashed) else -aside
        )

    def _align(self, ports: Ports, ends: Ends, others: Ports) -> None:
        """Move ports a little where that makes an edge straight."""
        for (v, dashed), x in ports.items():
            if v < len(self.blocks) and len(ends[v]) == 1:
                low, high = self.lefts[v] + 1, self.lefts[v] + self.widths[v] - 2
                near = [others[w, dashed] for w in ends[v][dashed]]
                near = [y for y in near if low <= y <= high and abs(y - x) <= ALIGN]
                if near:
                    ports[v, dashed] = min(near, key=lambda y: abs(y - x))

    def _common(self, a: int, b: int) -> int | None:
        """A column in which a line between the two is straight: nearest to the narrower one's middle."""
        edge = [0 if self.widths[v] == 1 else 1 for v in (a, b)]
        low = max(self.lefts[v] + e for v, e in zip((a, b), edge, strict=True))
        high = min(
            self.lefts[v] + self.widths[v] - 1 - e for v, e in zip((a, b), edge, strict=True)
        )
        if low > high:
            return None
        narrow = a if self.widths[a] <= self.widths[b] else b
        return min(max(self.lefts[narrow] + self.widths[narrow] // 2, low), high)

    def _routes(self) -> Iterator[tuple[list[int], bool]]:
        styles = dict.fromkeys(((a, b), d) for a, b, d in self.drawing.segments)
        for route in self.drawing.routes:
            for dashed in (False, True):
                if (tuple(route[:2]), dashed) in styles:
                    yield route, dashed

    def _points(self, route: list[int], dashed: bool) -> Iterator[tuple[int, int]]:
        """Down from each vertex to the end of its layer, and over to the next vertex."""
        for a, b in pairwise(route):
            x = self.out[a, dashed]
            yield x, self.bottoms[a]
            yield x, self.floors[a]
            yield self.entries[a, b, dashed], self.tops[b]

    def _sides(self, below: list[Edge]) -> dict[int, tuple[int, int]]:
        """Where the lower vertices can be entered."""
        sides = {}
        for _, v, _ in below:
            left, right = self.lefts[v], self.lefts[v] + self.widths[v] - 1
            sides[v] = (left + 1, right - 1) if v < len(self.blocks) else (left, right)
        return sides


class _Unreadable(Exception):
    """The edges of this drawing cannot be told apart."""
