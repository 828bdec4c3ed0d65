"""From a plan to a drawing that fits: boxes for nodes, frames for branches and sub-DAGs, all edges.

Each graph is drawn in layers, the graphs inside its nodes first. What is too wide for the columns there
are is tried in the order a reader would prefer: nodes that come after and before the very same others are
gathered in one bundle; a layer is broken into several; at last the graph becomes a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from goflow.plan import Graph, Node, Plan
from goflow_cli.views.block import Block, Box, Curve, Listed, shelves
from goflow_cli.views.channel import Ports, Wire, channel
from goflow_cli.views.columns import columns
from goflow_cli.views.labels import Labels
from goflow_cli.views.layers import Edge, Layered, layered
from goflow_cli.views.listing import inside, listing
from goflow_cli.views.text import width

#: columns between two boxes of a layer, and beside a line that passes between them
GAP: Final = 2
BESIDE_LINE: Final = 1
#: columns kept free for passing lines when layers are broken: each is tried
SLACKS: Final = (0, 4, 10, 20)
#: in how deeply nested graphs only one of them is: attempts multiply with depth
DEEP: Final = 3
#: how many like nodes make a bundle, how many columns are between them, how wide one gets at most
BUNDLE: Final = 3
LEAST: Final = 3
PAGE: Final = 120
#: what stands between the nodes of a chain in a bundle
LINK: Final = " → "
#: how far from its middle an edge may leave a box to be straight
ALIGN: Final = 2
#: wide enough for anything: for painters on an endless page
ENDLESS: Final = 1_000_000


def layout(plan: Plan, labels: Labels, room: int = ENDLESS) -> Block:
    """Draw a plan in at most `room` columns."""
    return _Layout(labels).graph(plan.graph, "", room)


#: the vertices at the other ends, by vertex and style
Ends = dict[int, dict[bool, list[int]]]


class _Piece(NamedTuple):
    """A vertex of a drawing: one node of the graph or several as a bundle."""

    names: tuple[str, ...]
    block: Block


class _Layout:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._known: dict[tuple[str, int], Block] = {}

    def graph(self, graph: Graph, prefix: str, room: int) -> Block:
        """The best drawing of a graph in so many columns."""
        block = self._known.get((prefix, room))
        if block is None:
            block = self._picture(graph, prefix, room) or self._listed(graph, prefix, room)
            self._known[prefix, room] = block
        return block

    def _picture(self, graph: Graph, prefix: str, room: int) -> Block | None:
        """Whole layers if they fit, broken ones else; None where no picture fits."""
        slacks = SLACKS if prefix.count("/") < DEEP else SLACKS[:1]
        for slack in slacks:
            single = {
                name: _Piece((name,), self._node(prefix + name, node, room - slack))
                for name, node in graph.nodes.items()
            }
            if any(piece.block.w > room for piece in single.values()):
                return None
            bundlings = list(self._bundlings(graph, prefix, single, room))
            tries = [(pieces, ENDLESS) for pieces in bundlings] if not slack else []
            tries += [(pieces, room - slack) for pieces in reversed(bundlings)]
            for pieces, most in tries:
                block = _drawn(graph, pieces, most, room)
                if block is not None and block.w <= room:
                    return block
        return None

    def _bundlings(
        self, graph: Graph, prefix: str, single: dict[str, _Piece], room: int
    ) -> Iterator[list[_Piece]]:
        """The graph's vertices: all single, then with the widest set of like chains bundled, ...."""
        yield list(single.values())
        sets = [chains for chains in _alike(graph) if len(chains) >= BUNDLE]
        sets.sort(
            key=lambda chains: -sum(single[name].block.w for chain in chains for name in chain)
        )
        pieces = dict(single)
        for chains in sets:
            names = tuple(name for chain in chains for name in chain)
            bundle = self._bundle(graph, prefix, chains, room)
            if bundle.w <= room:
                pieces = {name: piece for name, piece in pieces.items() if name not in names[1:]}
                pieces[names[0]] = _Piece(names, bundle)
                yield list(pieces.values())

    # what stands in a vertex' place

    def _node(self, path: str, node: Node, room: int) -> Block:
        if node.kind != "node":
            return self._group(path, node, room)
        block = Block(self.labels.node_width(path, node) + 4, 3)
        block.boxes.append(Box("node", 0, 0, block.w, 3, path, node))
        return block

    def _bundle(
        self, graph: Graph, prefix: str, chains: Sequence[Sequence[str]], room: int
    ) -> Block:
        """Nodes, or chains of nodes, in a grid within one frame."""
        widths = [
            max(self.labels.node_width(prefix + name, graph.nodes[name]) for name in step)
            for step in zip(*chains, strict=True)
        ]
        cell = sum(widths) + len(LINK) * (len(widths) - 1)
        across = max(min((min(room, PAGE) - 4 + LEAST) // (cell + LEAST), len(chains)), 1)
        down = -(-len(chains) // across)
        across = -(-len(chains) // down)
        title = bundle_title(len(chains), len(widths))
        block = Block(max(across * (cell + LEAST) - LEAST, len(title) + 2) + 4, down + 2)
        block.boxes.append(Box("bundle", 0, 0, block.w, block.h, prefix, key=title))
        for i, chain in enumerate(chains):
            x, y = 2 + i % across * (cell + LEAST), 1 + i // across
            for name, w in zip(chain, widths, strict=True):
                if name is not chain[0]:
                    block.links.append((x - len(LINK), y))
                box = Box("cell", x, y, w, 1, prefix + name, graph.nodes[name])
                block.boxes.append(box)
                x += w + len(LINK)
        return block

    def _group(self, path: str, node: Node, room: int) -> Block:
        title = self.labels.title_width(path, node)
        if node.kind != "conditional":
            (_, prefix, inner), *_ = inside(path, node)
            return _framed(
                self.graph(inner, prefix, room - 4), Box("group", 0, 0, 0, 0, path, node), title
            )
        frames = []
        for key, prefix, inner in inside(path, node):
            box = Box("key", 0, 0, 0, 0, path, node, key)
            frames.append(
                _framed(self.graph(inner, prefix, room - 8), box, self.labels.key_width(key))
            )
        block = shelves(frames, room - 4, 1)
        return _framed(block, Box("group", 0, 0, 0, 0, path, node), title)

    def _listed(self, graph: Graph, prefix: str, room: int) -> Block:
        lines = listing(graph, prefix, self.labels, room)
        block = Block(max(sum(width(text) for text, _ in line) for line in lines), len(lines))
        block.listed.append(Listed(0, 0, room, graph, prefix))
        return block


def bundle_title(count: int, length: int) -> str:
    """What the frame around nodes or chains that stand side by side says."""
    return f"{count} {'nodes' if length == 1 else 'chains'} side by side"


def _alike(graph: Graph) -> list[list[tuple[str, ...]]]:
    """Chains of plain nodes by what they come after and before; a single node is a chain too."""
    alike: dict[object, list[tuple[str, ...]]] = {}
    for name, node in graph.nodes.items():
        if node.kind != "node" or _continues(graph, name):
            continue
        chain = [name]
        while (following := _only_next(graph, chain[-1])) and _continues(graph, following):
            chain.append(following)
        before = frozenset((e.source, e.execution_only) for e in graph.edges_in[chain[0]])
        after = frozenset((e.target, e.execution_only) for e in graph.edges_out[chain[-1]])
        alike.setdefault((before, after, len(chain)), []).append(tuple(chain))
    return list(alike.values())


def _only_next(graph: Graph, name: str) -> str:
    edges = graph.edges_out[name]
    return edges[0].target if len(edges) == 1 and not edges[0].execution_only else ""


def _continues(graph: Graph, name: str) -> bool:
    """Whether a plain node only goes on from one other plain node, which only leads to it."""
    edges = graph.edges_in[name]
    if len(edges) != 1 or graph.nodes[name].kind != "node":
        return False
    source = edges[0].source
    return graph.nodes[source].kind == "node" and _only_next(graph, source) == name


def _framed(block: Block, box: Box, title: int) -> Block:
    """A block with a frame around it that is wide enough for its title."""
    framed = Block(max(block.w, title + 2) + 4, block.h + 2)
    framed.boxes.append(box._replace(w=framed.w, h=framed.h))
    framed.put(block, 2 + (framed.w - 4 - block.w) // 2, 1)
    return framed


def _drawn(graph: Graph, pieces: Sequence[_Piece], most: int, room: int) -> Block | None:
    """The graph with these vertices, its unconnected parts one beside the other."""
    of = {name: i for i, piece in enumerate(pieces) for name in piece.names}
    edges = list(
        dict.fromkeys(
            (of[e.source], of[e.target], e.execution_only)
            for e in graph.edges
            if of[e.source] != of[e.target]
        )
    )
    parts = []
    for part in _parts(len(pieces), edges):
        number = {v: i for i, v in enumerate(part)}
        inner = [(number[a], number[b], dashed) for a, b, dashed in edges if a in number]
        block = _connected([pieces[v].block for v in part], inner, most, room)
        if block is None or block.w > room:
            return None
        parts.append(block)
    return shelves(parts, room, 3)


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
        routed = channel(below, self.out, self.into, self._sides(below))
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
