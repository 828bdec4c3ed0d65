"""Small random flows for the machine, and what their nodes would send on."""

from __future__ import annotations

from hypothesis import strategies as st

from goflow.message import RESULT, Arrival, Claim, Item, Opened, Step
from goflow.payload import OCTETS, Payload
from goflow.plan import Edge, Graph, Node, Plan

#: the branch of a plan opens scopes called by these keys
_KEYS = ("k", "l", "m", "n")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Chains, diamonds and whatever else up to four nodes make, perhaps with a branch among them."""
    size = draw(st.integers(1, 4))
    names = [f"n{number}" for number in range(size)]
    edges = []
    for later in range(1, size):
        for earlier in range(later):
            if draw(st.booleans()):
                edges.append(Edge(names[earlier], names[later], execution_only=draw(st.booleans())))
    nodes = {name: Node(name) for name in names}
    if draw(st.booleans()):
        name = draw(st.sampled_from(names))
        nodes[name] = draw(_branches(name))
    return Plan("flow", Graph(nodes, tuple(edges)), draw(st.booleans()), draw(st.booleans()))


@st.composite
def _branches(draw: st.DrawFn, name: str) -> Node:
    """A foreach of one node, a chain of two, or two ends that a scope joins."""
    inner = {"x": Node("x"), "y": Node("y")} if draw(st.booleans()) else {"x": Node("x")}
    chained = len(inner) == 2 and draw(st.booleans())
    graph = Graph(inner, (Edge("x", "y"),) if chained else ())
    return Node(name, "foreach", dags={"": graph}, max_parallel=draw(st.integers(1, 3)))


def perform(plan: Plan, claim: Claim, output: bytes, width: int) -> Step:
    """What the engine would make of a task whose node returned `output` (or `width` items)."""
    task = claim.task
    payload = Payload(output, OCTETS)
    if task.path in ("~on_failure", "~finally"):
        return Step(output=payload)
    if task.path == RESULT:
        return Step(output=payload, ends=True)
    if task.path.endswith("]"):
        owner, _, key = task.path.removesuffix("]").rpartition("[")
        return Step(output=payload, arrivals=(Arrival(owner, key, 0, closing=True),))
    place = plan.locate(task.path)
    if place.node.kind == "foreach" and not task.closing:
        items = tuple(
            Item(f"{task.path}[{key}]/", place.node.dags[""].starts, Payload(key.encode()))
            for key in _KEYS[:width]
        )
        return Step(opened=Opened(width, place.node.max_parallel or 0, _KEYS[:width], items))
    graph, scope = place.scope.graph, place.scope
    arrivals = tuple(
        Arrival(
            scope.prefix + edge.target,
            edge.source,
            len(graph.edges_in[edge.target]),
            carries=not edge.execution_only,
        )
        for edge in graph.edges_out[place.node.name]
    )
    if arrivals:
        return Step(output=payload, arrivals=arrivals)
    if not scope.prefix:
        if len(graph.ends) == 1:
            return Step(output=payload, ends=True)
        return Step(output=payload, arrivals=(Arrival(RESULT, task.path, len(graph.ends)),))
    if len(graph.ends) == 1:
        arrival = Arrival(scope.owner, scope.key, 0, closing=True)
    else:
        arrival = Arrival(scope.prefix.removesuffix("/"), place.node.name, len(graph.ends))
    return Step(output=payload, arrivals=(arrival,))
