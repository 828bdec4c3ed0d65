"""A laid-out drawing in character cells: what stands where. Painters turn it into text or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from goflow.drawing.channel import Wire
from goflow.plan import Graph, Node

Role = Literal["node", "group", "key", "bundle", "cell"]


class Box(NamedTuple):
    """A rectangle of `w` by `h` cells for a node, a branch or sub-DAG (`group`), one `key` of a
    conditional branch, nodes side by side (`bundle`), or one of these (`cell`, without a border).

    `path` is static; `key` a condition, or a bundle's title.
    """

    role: Role
    x: int
    y: int
    w: int
    h: int
    path: str = ""
    node: Node | None = None
    key: str = ""


class Listed(NamedTuple):
    """A graph that no picture fits, as lines of text."""

    x: int
    y: int
    w: int
    graph: Graph
    prefix: str


class Curve(NamedTuple):
    """One edge as the points it passes, for painters that draw smooth lines: straight down from each
    even one to the next, and over to the left or right from each odd one."""

    points: tuple[tuple[int, int], ...]
    dashed: bool


class Block:
    """A drawing of `w` by `h` cells, built from others.

    `wires`, `joints` and `arrows` are the edges as cells show them, `curves` the same edges one by one;
    `links` are the places of arrows within a bundle's chains.
    """

    def __init__(self, w: int = 0, h: int = 0) -> None:
        self.w = w
        self.h = h
        self.boxes: list[Box] = []
        self.listed: list[Listed] = []
        self.wires: list[Wire] = []
        self.joints: list[tuple[int, int]] = []
        self.arrows: list[tuple[int, int]] = []
        self.curves: list[Curve] = []
        self.links: list[tuple[int, int]] = []

    def put(self, other: Block, x: int, y: int) -> None:
        """Draw another block at this place; grows to hold it."""
        self.boxes += [b._replace(x=b.x + x, y=b.y + y) for b in other.boxes]
        self.listed += [each._replace(x=each.x + x, y=each.y + y) for each in other.listed]
        self.wire(other.wires, other.joints, x, y)
        self.arrows += [(ax + x, ay + y) for ax, ay in other.arrows]
        self.links += [(lx + x, ly + y) for lx, ly in other.links]
        for points, dashed in other.curves:
            self.curves.append(Curve(tuple((px + x, py + y) for px, py in points), dashed))
        self.w = max(self.w, x + other.w)
        self.h = max(self.h, y + other.h)

    def wire(
        self, wires: Sequence[Wire], joints: Sequence[tuple[int, int]], x: int, y: int
    ) -> None:
        """Add wires that were routed from (0, 0)."""
        for x1, y1, x2, y2, dashed in wires:
            self.wires.append(Wire(x1 + x, y1 + y, x2 + x, y2 + y, dashed))
        self.joints += [(jx + x, jy + y) for jx, jy in joints]


def shelves(blocks: Sequence[Block], room: int, gap: int) -> Block:
    """Blocks side by side, in rows no wider than `room` where each alone fits."""
    whole = Block()
    x = y = height = 0
    for block in blocks:
        if x and x + block.w > room:
            x, y, height = 0, y + height, 0
        whole.put(block, x, y)
        x += block.w + gap
        height = max(height, block.h)
    return whole
