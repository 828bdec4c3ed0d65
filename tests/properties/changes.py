"""Another definition of a random flow: mended, and with nodes and edges added, moved and left out."""

from __future__ import annotations

from msgspec.structs import replace

from tests.properties.shapes import FAULTY, PLAIN, Chance, Edge, Flow, Graph, Node

FAULTS = set(FAULTY) - set(PLAIN)


def changed(flow: Flow, chance: Chance) -> Flow:
    """The next version of a flow, in which nothing fails by itself."""
    return replace(flow, graph=_graph(flow.graph, chance, 3))


def _graph(graph: Graph, chance: Chance, one_in: int) -> Graph:
    """A change of each kind, as often as one in so many times; inside branches less often."""

    def seldom() -> bool:
        return chance.integer(1, one_in) == 1

    nodes = [_mended(node, chance, one_in) for node in graph.nodes]
    edges = [replace(edge, forwarder=_fine(edge.forwarder)) for edge in graph.edges]
    names = [node.name for node in nodes]
    last = len(names) - 1
    if edges and seldom():
        edges.pop(chance.integer(0, len(edges) - 1))
    if last > 0 and seldom():
        early = chance.integer(0, last - 1)
        late = chance.integer(early + 1, last)
        if not any((e.source, e.target) == (names[early], names[late]) for e in edges):
            edges.append(Edge(names[early], names[late], execution_only=seldom()))
    if seldom():
        nodes.append(Node("new", works=("text",)))
        edges.append(Edge(names[chance.integer(0, last)], "new"))
    if last > 0 and seldom():
        before = chance.integer(1, last)
        nodes.insert(before, Node("mid", works=("text",)))
        edges.append(Edge(names[chance.integer(0, before - 1)], "mid"))
        edges.append(Edge("mid", names[before]))
    return Graph(tuple(nodes), tuple(edges))


def _mended(node: Node, chance: Chance, one_in: int) -> Node:
    return replace(
        node,
        works=tuple(_fine(op) or "" for op in node.works),
        aggregator=_fine(node.aggregator),
        rescue=_fine(node.rescue),
        value=_fine(node.value) or "",
        choose="fixed" if node.choose == "raise" else node.choose,
        fails=min(node.fails, node.retries),
        dags={key: _graph(inner, chance, 3 * one_in) for key, inner in node.dags.items()},
    )


def _fine(op: str | None) -> str | None:
    return "text" if op in FAULTS else op
