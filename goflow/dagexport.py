"""A graph for people and programs: the seed's DagExporter, with names instead of indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from goflow.nodepath import mark

if TYPE_CHECKING:
    from goflow.plan import Graph, Node

#: levels of DAGs that are told inside one another; what reads JSON gives up somewhere (Python near 330 of them)
LEVELS: Final = 100


def define(graph: Graph) -> dict[str, Any]:
    """The JSON-able definition of a graph and of those inside its nodes.

    Each hundredth level of them is told apart: where it belongs stands `{"deeper": PATH}`, and what belongs there is
    in the outermost definition's `deeper`, by that static path.
    """
    deeper: dict[str, Any] = {}
    waiting = [("", graph)]
    told: dict[str, Any] = {}
    while waiting:
        path, inner = waiting.pop()
        made = _define(inner, path, 1, waiting)
        if path:
            deeper[path.removesuffix("/")] = made
        else:
            told = made
    return told | {"deeper": deeper} if deeper else told


def _define(
    graph: Graph, prefix: str, level: int, further: list[tuple[str, Graph]]
) -> dict[str, Any]:
    return {
        "starts": list(graph.starts),
        "ends": list(graph.ends),
        "nodes": [
            _define_node(graph, node, prefix, level, further) for node in graph.nodes.values()
        ],
    }


def _define_node(
    graph: Graph, node: Node, prefix: str, level: int, further: list[tuple[str, Graph]]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": node.name,
        "kind": node.kind,
        "dynamic": node.kind in ("conditional", "foreach"),
        "execution_only": node.execution_only,
        "aggregator": node.aggregator,
        "on_failure": node.on_failure,
        "in_degree": len(graph.edges_in[node.name]),
        "out_degree": len(graph.edges_out[node.name]),
        "children": [
            {"name": e.target, "execution_only": e.execution_only, "forwarder": e.forwarder}
            for e in graph.edges_out[node.name]
        ],
    }
    if node.kind == "node":
        for field in ("retries", "retry_delay", "retry_backoff", "timeout", "on_worker_lost"):
            told[field] = getattr(node, field)
        return told
    dags = {}
    for key, inner in node.dags.items():
        path = prefix + node.name + mark(node.kind, key)
        if level < LEVELS:
            dags[key] = _define(inner, path, level + 1, further)
        else:
            further.append((path, inner))
            dags[key] = {"deeper": path.removesuffix("/")}
    if node.kind == "conditional":
        told["conditions"] = dags
    else:
        told["dag"] = dags[""]
    if node.kind == "foreach":
        told["max_parallel"] = node.max_parallel
    return told
