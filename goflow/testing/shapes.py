"""Small random flows for the machine, and what their nodes would send on."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from goflow.message import RESULT, Arrival, Claim, Item, Opened, Step
from goflow.payload import OCTETS, Payload
from goflow.plan import Edge, Graph, Node, Plan

#: the branch of a plan opens scopes called by these keys
_KEYS = ("k", "l", "m", "n")


class Shape(NamedTuple):
    """A flow in a few characters, since Hypothesis prints it.

    `edges` are like `a>b` (data) or `a-b` (execution only); `branch` is a node that opens scopes of
    `inner` (`x`, a chain `x>y`, or the two ends `x y`), `window` at a time.
    """

    nodes: str
    edges: tuple[str, ...] = ()
    branch: str = ""
    inner: str = "x"
    window: int = 1
    handlers: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """The flow as data."""
        nodes = {name: Node(name) for name in self.nodes}
        if self.branch:
            inner = {name: Node(name) for name in self.inner if name.isalpha()}
            graph = Graph(inner, (Edge("x", "y"),) if ">" in self.inner else ())
            nodes[self.branch] = Node(
                self.branch, "foreach", dags={"": graph}, max_parallel=self.window
            )
        edges = tuple(Edge(e[0], e[2], execution_only=e[1] == "-") for e in self.edges)
        graph = Graph(nodes, edges)
        return Plan("flow", graph, "~on_failure" in self.handlers, "~finally" in self.handlers)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Chains, diamonds and whatever else up to four nodes make, perhaps with a branch among them."""
    names = "abcd"[: draw(st.integers(1, 4))]
    pairs = [(a, b) for number, b in enumerate(names) for a in names[:number]]
    kinds = [draw(st.sampled_from(["", ">", ">", "-"])) for _ in pairs]
    return Shape(
        nodes=names,
        edges=tuple(a + kind + b for (a, b), kind in zip(pairs, kinds, strict=True) if kind),
        branch=draw(st.sampled_from(["", *names])),
        inner=draw(st.sampled_from(["x", "x>y", "x y"])),
        window=draw(st.integers(1, 3)),
        handlers=draw(st.sampled_from([(), ("~finally",), ("~on_failure", "~finally")])),
    )


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
