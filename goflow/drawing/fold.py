"""What is nested too deep to be looked at becomes one box that says how much of it there is."""

from __future__ import annotations

from typing import Final

import msgspec

from goflow.plan import Graph, Node
from goflow.unnested import Computation, computed

#: levels of DAGs inside DAGs that are all drawn: a terminal of 80 columns has no room for more frames in frames
LEVELS: Final = 20
#: levels that are drawn of what is deeper, so that the last of them has room for what it says of the others
KEPT: Final = 10
#: what the name of such a box begins with, and no node's does
SIGN: Final = "+"


def fold(graph: Graph) -> Graph:
    """The graph with what is below the drawn levels folded; the graph itself where nothing is."""
    return computed(_fold(graph, 1)) if graph.deeper_than(LEVELS) else graph


def is_fold(node: Node) -> bool:
    """Whether this stands for what is folded, and is no node of the flow."""
    return node.name.startswith(SIGN)


def _fold(graph: Graph, level: int) -> Computation[Graph]:
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        dags = {}
        for key, inner in node.dags.items():
            dags[key] = (yield _fold(inner, level + 1)) if level < KEPT else _box(inner)
        if dags:
            nodes[name] = msgspec.structs.replace(node, dags=dags)
    return Graph(nodes, graph.edges)


def _box(graph: Graph) -> Graph:
    levels = nodes = 0
    level = [graph]
    while level:
        levels += 1
        nodes += sum(len(each.nodes) for each in level)
        level = [inner for each in level for inner in each.inside()]
    name = f"{SIGN}{nodes:,} nodes, {levels:,} levels"
    return Graph({name: Node(name)})
