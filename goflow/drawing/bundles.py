"""Nodes that stand side by side in one frame: what a layer becomes that is too wide for its boxes.

Nodes, or chains of nodes, that come after and before the very same others are alike for whoever asks what
depends on what; one frame with edges stands for them all, and every name is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from goflow.drawing.block import Block, Box
from goflow.drawing.labels import Labels
from goflow.plan import Graph

#: how many chains make a bundle, how many columns are between them, how wide a bundle gets at most
FEWEST: Final = 3
BETWEEN: Final = 3
WIDEST: Final = 120
#: what stands between the nodes of a chain
LINK: Final = " → "


def alike(graph: Graph) -> list[list[tuple[str, ...]]]:
    """Sets of plain chains that come after and before the very same others; a single node is a chain
    too. Only sets that are worth a bundle."""
    sets: dict[object, list[tuple[str, ...]]] = {}
    for name, node in graph.nodes.items():
        if node.kind != "node" or _continues(graph, name):
            continue
        chain = [name]
        while (following := _only_next(graph, chain[-1])) and _continues(graph, following):
            chain.append(following)
        before = frozenset((e.source, e.execution_only) for e in graph.edges_in[chain[0]])
        after = frozenset((e.target, e.execution_only) for e in graph.edges_out[chain[-1]])
        sets.setdefault((before, after, len(chain)), []).append(tuple(chain))
    return [chains for chains in sets.values() if len(chains) >= FEWEST]


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


def bundle(
    graph: Graph, prefix: str, chains: Sequence[Sequence[str]], labels: Labels, room: int
) -> Block:
    """Chains of the same length in a grid within one frame, each node as its label alone."""
    widths = [
        max(labels.node_width(prefix + name, graph.nodes[name]) for name in step)
        for step in zip(*chains, strict=True)
    ]
    cell = sum(widths) + len(LINK) * (len(widths) - 1)
    across = max(min((min(room, WIDEST) - 4 + BETWEEN) // (cell + BETWEEN), len(chains)), 1)
    down = -(-len(chains) // across)
    across = -(-len(chains) // down)
    title = _title(len(chains), len(widths))
    block = Block(max(across * (cell + BETWEEN) - BETWEEN, len(title) + 2) + 4, down + 2)
    block.boxes.append(Box("bundle", 0, 0, block.w, block.h, prefix, key=title))
    for i, chain in enumerate(chains):
        x, y = 2 + i % across * (cell + BETWEEN), 1 + i // across
        for name, w in zip(chain, widths, strict=True):
            if name is not chain[0]:
                block.links.append((x - len(LINK), y))
            box = Box("cell", x, y, w, 1, prefix + name, graph.nodes[name])
            block.boxes.append(box)
            x += w + len(LINK)
    return block


def _title(count: int, length: int) -> str:
    """What the frame around nodes or chains that stand side by side says."""
    return f"{count} {'nodes' if length == 1 else 'chains'} side by side"
