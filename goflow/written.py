"""A plan as JSON, for a store's directory.

Its graphs stand inside one another as they do in memory, until they are nested deeper than JSON can be trusted to:
what reads and writes JSON recurses (msgspec gives up between 150 and 300 of these levels). Such a plan is written
flat, as a list of graphs and the place of each in one before it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from goflow.plan import Graph, Plan

#: levels up to which graphs stand inside one another: every version of goflow reads what is written so
NESTED: Final = 100


class _Flat(msgspec.Struct, frozen=True):
    """A plan whose graphs are taken out of their nodes, the root's first. `inside` says of each further one the
    number of an earlier one, and the node and the key in that under which it belongs."""

    flow: str
    graphs: list[Graph]
    inside: list[tuple[int, str, str]]
    on_failure: bool = False
    finally_: bool = False
    timeout: float | None = None


def to_json(plan: Plan) -> bytes:
    """What `from_json` reads back."""
    return msgspec.json.encode(_flat(plan) if plan.graph.deeper_than(NESTED) else plan)


def from_json(data: bytes) -> Plan:
    """Raises msgspec.ValidationError for what is no plan."""
    try:
        return msgspec.json.decode(data, type=Plan)
    except msgspec.ValidationError:
        if b'"graphs"' not in data:
            raise
    return _nested(msgspec.json.decode(data, type=_Flat))


def _flat(plan: Plan) -> _Flat:
    graphs: list[Graph] = []
    inside: list[tuple[int, str, str]] = []
    waiting = [plan.graph]
    for graph in waiting:  # which grows meanwhile
        bare = dict(graph.nodes)
        for name, node in graph.nodes.items():
            for key, inner in node.dags.items():
                inside.append((len(graphs), name, key))
                waiting.append(inner)
            if node.dags:
                bare[name] = msgspec.structs.replace(node, dags={})
        graphs.append(Graph(bare, graph.edges))
    return _Flat(plan.flow, graphs, inside, plan.on_failure, plan.finally_, plan.timeout)


def _nested(flat: _Flat) -> Plan:
    graphs = flat.graphs
    if len(graphs) != len(flat.inside) + 1:
        raise msgspec.ValidationError("expected a place for each graph but the first")
    for number, (outer, name, key) in enumerate(flat.inside, 1):
        node = graphs[outer].nodes.get(name) if 0 <= outer < number else None
        if node is None or key in node.dags:
            raise msgspec.ValidationError(f"graph {number} lies in nothing: {name!r} of {outer}")
        node.dags[key] = graphs[number]
    return Plan(flat.flow, graphs[0], flat.on_failure, flat.finally_, flat.timeout)
