"""From a plan to a drawing that fits: boxes for nodes, frames for branches and sub-DAGs, all edges.

Each graph is drawn in layers, the graphs inside its nodes first. What is too wide for the columns there
are is tried in the order a reader would prefer: nodes that come after and before the very same others are
gathered in one bundle; a layer is broken into several; at last the graph becomes a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from goflow.drawing.assembly import assembled
from goflow.drawing.block import Block, Box, Listed, shelves
from goflow.drawing.bundles import alike, bundle
from goflow.drawing.fold import fold
from goflow.drawing.labels import Labels
from goflow.drawing.listing import inside, listing
from goflow.drawing.text import width
from goflow.plan import Graph, Node, Plan
from goflow.unnested import Computation, computed

#: columns kept free for passing lines when layers are broken: each is tried
SLACKS: Final = (0, 4, 10, 20)
#: in how deeply nested graphs only one of them is: attempts multiply with depth
DEEP: Final = 3
#: nodes of one graph that are drawn; nobody finds their way in a picture of more, and it took 27 s of 50,000
MOST: Final = 2_000
#: wide enough for anything: for painters on an endless page
ENDLESS: Final = 1_000_000


def layout(plan: Plan, labels: Labels, room: int = ENDLESS) -> Block:
    """Draw a plan in at most `room` columns, what is nested too deep for any folded (see fold.py)."""
    return computed(_Layout(labels).graph(fold(plan.graph), "", 0, room))


class _Piece(NamedTuple):
    """A vertex of a drawing: one node of the graph or several as a bundle."""

    names: tuple[str, ...]
    block: Block


class _Layout:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._known: dict[tuple[str, int], Block] = {}

    def graph(self, graph: Graph, prefix: str, depth: int, room: int) -> Computation[Block]:
        """The best drawing of a graph in so many columns."""
        block = self._known.get((prefix, room))
        if block is None:
            picture = None
            if len(graph.nodes) <= MOST:
                picture = yield self._picture(graph, prefix, depth, room)
            block = picture or self._listed(graph, prefix, room)
            self._known[prefix, room] = block
        return block

    def _picture(
        self, graph: Graph, prefix: str, depth: int, room: int
    ) -> Computation[Block | None]:
        """Whole layers if they fit, broken ones else; None where no picture fits."""
        slacks = SLACKS if depth < DEEP else SLACKS[:1]
        for slack in slacks:
            single = {}
            for name, node in graph.nodes.items():
                block = yield self._node(prefix + name, node, depth, room - slack)
                single[name] = _Piece((name,), block)
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
        sets = alike(graph)
        sets.sort(
            key=lambda chains: -sum(single[name].block.w for chain in chains for name in chain)
        )
        pieces = dict(single)
        for chains in sets:
            names = tuple(name for chain in chains for name in chain)
            block = bundle(graph, prefix, chains, self.labels, room)
            if block.w <= room:
                for name in names[1:]:
                    pieces.pop(name, None)
                pieces[names[0]] = _Piece(names, block)
                yield list(pieces.values())

    # what stands in a vertex' place

    def _node(self, path: str, node: Node, depth: int, room: int) -> Computation[Block]:
        if node.kind != "node":
            framed: Block = yield self._group(path, node, depth, room)
            return framed
        block = Block(self.labels.node_width(path, node) + 4, 3)
        block.boxes.append(Box("node", 0, 0, block.w, 3, path, node))
        return block

    def _group(self, path: str, node: Node, depth: int, room: int) -> Computation[Block]:
        title = self.labels.title_width(path, node)
        if node.kind != "conditional":
            (_, prefix, inner), *_ = inside(path, node)
            block = yield self.graph(inner, prefix, depth + 1, room - 4)
            return _framed(block, Box("group", 0, 0, 0, 0, path, node), title)
        frames = []
        for key, prefix, inner in inside(path, node):
            box = Box("key", 0, 0, 0, 0, path, node, key)
            block = yield self.graph(inner, prefix, depth + 1, room - 8)
            frames.append(_framed(block, box, self.labels.key_width(key)))
        block = shelves(frames, room - 4, 1)
        return _framed(block, Box("group", 0, 0, 0, 0, path, node), title)

    def _listed(self, graph: Graph, prefix: str, room: int) -> Block:
        lines = listing(graph, prefix, self.labels, room)
        block = Block(max(sum(width(text) for text, _ in line) for line in lines), len(lines))
        block.listed.append(Listed(0, 0, room, graph, prefix))
        return block


def _framed(block: Block, box: Box, title: int) -> Block:
    """A block with a frame around it that is wide enough for its title."""
    framed = Block(max(block.w, title + 2) + 4, block.h + 2)
    framed.boxes.append(box._replace(w=framed.w, h=framed.h))
    framed.put(block, 2 + (framed.w - 4 - block.w) // 2, 1)
    return framed


def _drawn(graph: Graph, pieces: Sequence[_Piece], most: int, room: int) -> Block | None:
    """The graph with these pieces as vertices."""
    of = {name: i for i, piece in enumerate(pieces) for name in piece.names}
    edges = ((of[e.source], of[e.target], e.execution_only) for e in graph.edges)
    between = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1]))
    return assembled([piece.block for piece in pieces], between, most, room)
