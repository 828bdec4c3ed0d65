"""Random flows as data: drawn by Hypothesis or from a seed, written down as JSON, built anywhere.

A shape holds no functions, only what they do (`produce`), so a flow can be built again from its JSON
in a child process that knows nothing else.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from goflow import Context, Dag, Payload, Workflow
from goflow.payload import encode
from goflow.unnested import Computation, computed

#: condition and foreach keys, among them some that node paths must encode
KEYS = ("k", "l", "a/b", "é [%]", "7")
#: what harmless functions return
PLAIN = ("text", "json", "none", "empty", "list", "number", "echo")
#: what may make a join or the function itself fail
FAULTY = (*PLAIN, "raw", "raise", "nan")


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    source: str
    target: str
    execution_only: bool = False
    forwarder: str | None = None


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """`fails` attempts raise; `reads` looks up what the nodes before it noted in the run's store."""

    name: str
    kind: Literal["node", "sub_dag", "conditional", "foreach"] = "node"
    works: tuple[str, ...] = ()
    aggregator: str | None = None
    fails: int = 0
    retries: int = 0
    rescue: str | None = None
    notes: bool = False
    reads: bool = False
    execution_only: bool = False
    max_parallel: int | None = None
    #: a condition's choice or a foreach's keys (None: positions); `width` items, "data": by what came
    chosen: tuple[str, ...] | None = None
    width: int = 0
    choose: Literal["fixed", "data", "raise"] = "fixed"
    value: str = "text"
    dags: dict[str, Graph] = {}


class Graph(msgspec.Struct, frozen=True, omit_defaults=True):
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()


class Flow(msgspec.Struct, frozen=True, omit_defaults=True):
    graph: Graph
    data: str = "text"
    on_failure: bool = False
    finally_: bool = False

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_json(text: str) -> Flow:
        return msgspec.json.decode(text, type=Flow)

    def payload(self) -> Payload:
        """What a run of it is given."""
        return encode(produce(self.data, "input", b""))


# -- drawing --------------------------------------------------------------------------------------


class Chance(Protocol):
    """Where the dice come from."""

    def integer(self, low: int, high: int) -> int: ...


class Seeded:
    """The same dice for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Artist:
    """Draws flows. The smallest numbers give the simplest ones, so that Hypothesis shrinks towards them."""

    def __init__(self, chance: Chance, *, faulty: bool = True, depth: int = 3) -> None:
        self._chance = chance
        self._depth = depth
        self._faulty = faulty and self.seldom(2)

    def flow(self) -> Flow:
        data = self.pick(("text", "json", "raw", "none"))
        return Flow(self._graph(0), data, self.seldom(3), self.seldom(3))

    def seldom(self, one_in: int) -> bool:
        return self._chance.integer(0, one_in - 1) == one_in - 1

    def pick(self, values: tuple[Any, ...]) -> Any:
        return values[self._chance.integer(0, len(values) - 1)]

    def _op(self) -> str:
        return str(self.pick(FAULTY if self._faulty and self.seldom(4) else PLAIN))

    def _graph(self, depth: int) -> Graph:
        size = self._chance.integer(1, 5 if depth == 0 else 3)
        # names in another order than positions: nothing may sort by name
        names = ["dab", "cat", "abe", "zoe", "bob"][:size]
        nodes = tuple(self._node(name, depth) for name in names)
        edges = []
        for later in range(1, size):
            for earlier in range(later):
                if self.seldom(2):
                    only = self.seldom(4)
                    forwarder = self._op() if not only and self.seldom(4) else None
                    edges.append(Edge(names[earlier], names[later], only, forwarder))
        if self.seldom(2):
            edges.reverse()
        return Graph(nodes, tuple(edges))

    def _node(self, name: str, depth: int) -> Node:
        kinds = ("node", "node", "sub_dag", "conditional", "foreach")
        kind = self.pick(kinds if depth < self._depth else ("node",))
        if kind == "node":
            return self.plain(name)
        if kind == "sub_dag":
            return Node(name, kind, dags={"": self._graph(depth + 1)})
        branch = {
            "aggregator": self._op() if self.seldom(3) else None,
            "execution_only": self.seldom(4),
            "choose": self.pick(("fixed", "data")),
        }
        if self._faulty and self.seldom(8):
            branch["choose"] = "raise"
        if kind == "foreach":
            width = self._chance.integer(0, 3)
            return Node(
                name,
                kind,
                chosen=KEYS[:width] if self.seldom(2) else None,
                width=width,
                value=self._op(),
                max_parallel=self.pick((None, 1, 2)),
                dags={"": self._graph(depth + 1)},
                **branch,
            )
        keys = KEYS[: self._chance.integer(1, 3)]
        options = (*keys, "unknown") if self._faulty and self.seldom(8) else keys
        chosen = tuple(self.pick(options) for _ in range(self._chance.integer(0, 3)))
        dags = {key: self._graph(depth + 1) for key in keys}
        return Node(name, kind, chosen=chosen, dags=dags, **branch)

    def plain(self, name: str) -> Node:
        fails = self.pick((0, 0, 0, 1, 2))
        retries = self.pick((0, 1, 2)) if self._faulty else fails
        return Node(
            name,
            works=tuple(self._op() for _ in range(self._chance.integer(0, 2))),
            aggregator=self._op() if self.seldom(3) else None,
            fails=fails,
            retries=retries,
            rescue=self._op() if self.seldom(3) else None,
            notes=self.seldom(3),
            reads=self.seldom(3),
        )


def deepened(flow: Flow, chance: Chance, levels: int) -> Flow:
    """The flow with its graph as the innermost of so many more."""
    artist, graph = Artist(chance, faulty=False), flow.graph
    for _ in range(levels):
        kind = artist.pick(("sub_dag", "conditional", "foreach"))
        key = "" if kind != "conditional" else "a/b"
        keyed = ("é [%]",) if kind == "foreach" else ("a/b",)
        inner = Node("zoe", kind, chosen=keyed, width=1, dags={key: graph})
        nodes: tuple[Node, ...] = (inner,)
        edges: tuple[Edge, ...] = ()
        if artist.seldom(2):
            nodes, edges = (artist.plain("cat"), inner), (Edge("cat", "zoe"),)
        graph = Graph(nodes, edges)
    return msgspec.structs.replace(flow, graph=graph)


# -- what functions do ----------------------------------------------------------------------------


def mark(data: bytes) -> str:
    """A few characters that tell one piece of data from another."""
    return hashlib.sha256(data).hexdigest()[:6]


def produce(op: str, label: str, data: bytes) -> Any:
    """What a function that does `op` in the node `label` makes of some data."""
    of = mark(data)
    if op == "raise":
        raise ValueError(f"{label} raises")
    made: dict[str, Any] = {
        "text": f"{label} {of}",
        "json": Payload(json.dumps({"by": label, "of": of}).encode(), "application/json"),
        "none": None,
        "empty": "",
        "list": [label, of, None, 1.5],
        "number": int(of, 16),
        "echo": data,
        "raw": b"\xff" + label.encode(),
        "nan": float("nan"),
    }
    return made[op]


def see(inputs: Mapping[str, bytes]) -> bytes:
    """Inputs by name as one piece of data: what an aggregator, or a look around, goes by."""
    return repr(list(inputs.items())).encode()


def note_key(prefix: str, name: str) -> str:
    return f"note {mark(prefix.encode())} {name}"  # a key of the store has a bound, a path has none


# -- building -------------------------------------------------------------------------------------


def define(shape: Flow) -> Callable[[Workflow, Context], None]:
    """The definition function of this shape's flow."""

    def define_workflow(workflow: Workflow, context: Context) -> None:
        workflow.dag = computed(build(shape.graph, {}))
        if shape.on_failure:
            workflow.on_failure(lambda error: f"{error.node} failed")
        if shape.finally_:
            workflow.finally_(lambda state: str(state))

    return define_workflow


def build(graph: Graph, known: dict[bytes, Dag]) -> Computation[Dag]:
    """The Dag of a graph; equal graphs inside one flow are one and the same Dag."""
    inside: dict[str, dict[str, Dag]] = {}
    for node in graph.nodes:
        inside[node.name] = {}
        for key, inner in node.dags.items():
            inside[node.name][key] = yield build(inner, known)
    dags = [[(key, id(dag)) for key, dag in each.items()] for each in inside.values()]
    bare = [msgspec.structs.replace(node, dags={}) for node in graph.nodes]
    alike = msgspec.json.encode([bare, dags, graph.edges])
    if alike in known:
        return known[alike]
    dag = known[alike] = Dag()
    for node in graph.nodes:
        _ADD[node.kind](dag, node, graph, inside[node.name])
    for edge in graph.edges:
        forwarder = None if edge.forwarder is None else _forwarder(edge)
        dag.edge(edge.source, edge.target, forwarder=forwarder, execution_only=edge.execution_only)
    return dag


def _add_node(dag: Dag, node: Node, graph: Graph, inside: dict[str, Dag]) -> None:
    before = [edge.source for edge in graph.edges if edge.target == node.name]
    dag.node(
        node.name,
        _first_work(node, before),
        aggregator=_aggregator(node),
        on_failure=None if node.rescue is None else _rescue(node.rescue),
        retries=node.retries,
        retry_delay=0,
    )
    for op in node.works:
        dag.node(node.name, _work(op))


def _add_sub_dag(dag: Dag, node: Node, graph: Graph, inside: dict[str, Dag]) -> None:
    dag.sub_dag(node.name, inside[""])


def _add_conditional(dag: Dag, node: Node, graph: Graph, inside: dict[str, Dag]) -> None:
    branches = dag.conditional_branch(
        node.name,
        node.dags,
        lambda data: choice(node, data),
        aggregator=_aggregator(node),
        execution_only=node.execution_only,
    )
    for key, inner in inside.items():
        branches[key].append(inner)


def _add_foreach(dag: Dag, node: Node, graph: Graph, inside: dict[str, Dag]) -> None:
    dag.foreach_branch(
        node.name,
        lambda data: items(node, data),
        aggregator=_aggregator(node),
        execution_only=node.execution_only,
        max_parallel=node.max_parallel,
    ).append(inside[""])


_ADD = {
    "node": _add_node,
    "sub_dag": _add_sub_dag,
    "conditional": _add_conditional,
    "foreach": _add_foreach,
}


def _first_work(node: Node, before: list[str]) -> Callable[[bytes, Any, Context], Any]:
    """Notes, reads and fails as its shape says, and lets the data through."""

    def work(data: bytes, options: object, context: Context) -> Any:
        prefix = context.node.removesuffix(node.name)
        found = context.node_input
        if node.reads:
            notes = {name: context.get(note_key(prefix, name), b"-") for name in before}
            data = see(notes | {"": see(found), "data": data})
        if node.notes:
            context.set(note_key(prefix, node.name), see(found))
        if context.attempt <= node.fails:
            raise ValueError(f"{context.node} fails")
        return data

    return work


def _work(op: str) -> Callable[[bytes, Any, Context], Any]:
    return lambda data, options, context: produce(op, context.node, data)


def _rescue(op: str) -> Callable[[Any, Any, Context], Any]:
    return lambda error, options, context: produce(op, f"rescued {context.node}", b"")


def _aggregator(node: Node) -> Callable[[dict[str, bytes], Any, Context], Any] | None:
    op = node.aggregator
    if op is None:
        return None
    return lambda inputs, options, context: produce(op, f"all of {context.node}", see(inputs))


def _forwarder(edge: Edge) -> Callable[[bytes, Any, Context], Any]:
    op, label = edge.forwarder, f"to {edge.target}"
    assert op is not None
    return lambda data, options, context: produce(op, f"{context.node} {label}", data)


def choice(node: Node, data: bytes) -> Any:
    """What a condition returns: a key, several or none."""
    if node.choose == "raise":
        raise ValueError("condition raises")
    if node.choose == "data":
        return list(node.dags)[int(mark(data), 16) % len(node.dags)]
    return list(node.chosen or ()) or None


def items(node: Node, data: bytes) -> Any:
    """What a foreach returns: values by key, or one after the other."""
    if node.choose == "raise":
        raise ValueError("foreach raises")
    width = node.width if node.choose == "fixed" else int(mark(data), 16) % (node.width + 1)
    if node.chosen is not None:
        return {key: produce(node.value, f"item {key}", data) for key in node.chosen[:width]}
    return (produce(node.value, f"item {n}", data) for n in range(width))
