"""Plan: a flow's shape as data, checked, frozen and fingerprinted. No functions in it.

A plan can be written down as JSON and read back on another machine, so drawing a run, retrying
from a node and judging whether two workers mean the same flow need no user code.

Node paths. The root's nodes are called by their names. A sub-DAG `kyc` puts its nodes at `kyc/NODE`; a
branch puts those of the scope opened for key K at `each[K]/NODE`; nested to any depth. The *static* path
of a node leaves out foreach keys (`each[]/NODE`): there is one per node of the definition.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from heapq import heappop, heappush
from typing import Any, Literal, NamedTuple

import msgspec

from goflow.errors import UnknownNode

Kind = Literal["node", "sub_dag", "conditional", "foreach"]

#: how many scopes of a foreach are on their way at a time unless its author says otherwise: enough to
#: keep any fleet busy, few enough that a fan-out of a million keeps store and queue small
WINDOW = 1000


class Edge(msgspec.Struct, frozen=True):
    """A dependency. `forwarder`: a function reshapes what it carries."""

    source: str
    target: str
    execution_only: bool = False
    forwarder: bool = False


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step and its options; a branch or sub-DAG holds the DAG of each condition.

    `dags` is keyed by condition; a foreach and a sub-DAG have the one key "".
    """

    name: str
    kind: Kind = "node"
    aggregator: bool = False
    on_failure: bool = False
    retries: int = 0
    retry_delay: float = 1.0
    retry_backoff: float = 2.0
    timeout: float | None = None
    on_worker_lost: Literal["retry", "fail"] = "retry"
    execution_only: bool = False
    max_parallel: int | None = None
    dags: dict[str, Graph] = msgspec.field(default_factory=dict)


class Graph(msgspec.Struct, frozen=True, dict=True):
    """A DAG as data: nodes by name in the order they were declared, and edges in theirs."""

    nodes: dict[str, Node]
    edges: tuple[Edge, ...] = ()

    @cached_property
    def edges_in(self) -> dict[str, list[Edge]]:
        """Edges by the node they lead to, in declared order."""
        found: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    @cached_property
    def edges_out(self) -> dict[str, list[Edge]]:
        """Edges by the node they leave, in declared order."""
        found: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge)
        return found

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """Nodes without a dependency, in declared order."""
        return tuple(name for name in self.nodes if not self.edges_in[name])

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Nodes nothing depends on, in declared order."""
        return tuple(name for name in self.nodes if not self.edges_out[name])

    @cached_property
    def in_order(self) -> tuple[Node, ...]:
        """The nodes, none before one it depends on; apart from that in declared order."""
        place = {name: i for i, name in enumerate(self.nodes)}
        nodes = list(self.nodes.values())
        missing = {name: len(edges) for name, edges in self.edges_in.items()}
        ready = [place[name] for name in self.starts]
        told: list[Node] = []
        while ready:
            node = nodes[heappop(ready)]
            told.append(node)
            for edge in self.edges_out[node.name]:
                missing[edge.target] -= 1
                if not missing[edge.target]:
                    heappush(ready, place[edge.target])
        return tuple(told)

    def after(self, name: str) -> list[str]:
        """The node and everything downstream of it, in declared order."""
        seen = {name}
        stack = [name]
        while stack:
            for edge in self.edges_out[stack.pop()]:
                if edge.target not in seen:
                    seen.add(edge.target)
                    stack.append(edge.target)
        return [other for other in self.nodes if other in seen]


class Scope(NamedTuple):
    """A DAG that is running inside a run: the root's, a sub-DAG's, or one key's of a branch.

    `owner` is the path of the branch or sub-DAG it belongs to ("" for the root), `key` the encoded key (""
    for a sub-DAG), `prefix` what its nodes' paths begin with.
    """

    graph: Graph
    prefix: str
    owner: str
    key: str
    static: str


class Place(NamedTuple):
    """Where a node path lies: its node, its scope and its static path."""

    path: str
    node: Node
    scope: Scope
    static: str


class Plan(msgspec.Struct, frozen=True, dict=True):
    """A flow as data. `on_failure` and `finally_` say that it has such handlers."""

    flow: str
    graph: Graph
    on_failure: bool = False
    finally_: bool = False
    timeout: float | None = None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over everything here: what workers must share to work on the same run.

        Nodes and edges count in declared order, since joins see that order.
        """
        shape = msgspec.json.encode([list(_canonical(self.graph)), self.flow, *self._rest()])
        return hashlib.sha256(shape).hexdigest()[:16]

    def _rest(self) -> tuple[object, ...]:
        return (self.on_failure, self.finally_, self.timeout)

    @cached_property
    def _places(self) -> dict[str, Place]:
        return {}

    @property
    def root(self) -> Scope:
        """The scope of the nodes that are inside nothing."""
        return Scope(self.graph, "", "", "", "")

    def locate(self, path: str) -> Place:
        """The place of a node path. Raises UnknownNode where the flow has none such.

        >>> plan.locate("each[alice]/verify").static  # doctest: +SKIP
        'each[]/verify'
        """
        place = self._places.get(path)
        if place is None:
            place = self._locate(path)
            if len(self._places) > 4 * WINDOW:  # a foreach of a million must not fill the memory
                self._places.clear()
            self._places[path] = place
        return place

    def _locate(self, path: str) -> Place:
        head, slash, name = path.rpartition("/")
        scope = self.scope(head) if slash else self.root
        node = scope.graph.nodes.get(name)
        if node is None:
            raise UnknownNode(path, (scope.prefix + other for other in scope.graph.nodes))
        return Place(path, node, scope, scope.static + name)

    def scope(self, head: str) -> Scope:
        """The scope called `kyc`, `each[alice]` or `outer[x]/inner[y]` (a path without its last name)."""
        match = _KEYED.fullmatch(head)
        owner, key = (match[1], match[2]) if match else (head, "")
        place = self.locate(owner)
        node = place.node
        if (node.kind == "sub_dag") == bool(match) or node.kind == "node":
            raise UnknownNode(head)
        if node.kind == "conditional":  # by their encoded keys: a path has one spelling
            graph = {encode_key(each): inner for each, inner in node.dags.items()}.get(key)
        else:
            graph = node.dags.get("")
        if graph is None:
            raise UnknownNode(head, (f"{owner}[{encode_key(k)}]" for k in node.dags))
        mark = "" if match is None else f"[{key}]" if node.kind == "conditional" else "[]"
        return Scope(graph, head + "/", owner, key, f"{place.static}{mark}/")

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every node of the definition with its static path, none before one it depends on or lies in."""
        yield from _walk(self.graph, "")

    @property
    def size(self) -> int:
        """How many steps the flow has: its plain nodes, at any depth."""
        return sum(1 for _, node in self.walk() if node.kind == "node")

    @property
    def single(self) -> bool:
        """One `dag.node`, no branch, no sub-DAG: HTTP answers such a flow in the request."""
        return len(self.graph.nodes) == 1 and next(iter(self.graph.nodes.values())).kind == "node"

    @property
    def handlers(self) -> tuple[str, ...]:
        """The node paths of the handlers this flow has, in the order they run."""
        return ("~on_failure",) * self.on_failure + ("~finally",) * self.finally_

    def to_json(self) -> bytes:
        """The plan as JSON that `from_json` reads back, for a store's directory."""
        return msgspec.json.encode(self)

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """The plan a worker registered. Raises msgspec.ValidationError for anything else."""
        return msgspec.json.decode(data, type=Plan)

    def definition(self) -> dict[str, Any]:
        """The JSON-able definition for people and programs (see `Dag.definition`)."""
        return {
            "flow": self.flow,
            "fingerprint": self.fingerprint,
            "timeout": self.timeout,
            "on_failure": self.on_failure,
            "finally": self.finally_,
            **define(self.graph),
        }


def define(graph: Graph) -> dict[str, Any]:
    """A graph for people and programs: the seed's DagExporter, with names instead of indices."""
    return {
        "starts": list(graph.starts),
        "ends": list(graph.ends),
        "nodes": [_define_node(graph, node) for node in graph.nodes.values()],
    }


def _define_node(graph: Graph, node: Node) -> dict[str, Any]:
    options = {
        field: getattr(node, field)
        for field in ("retries", "retry_delay", "retry_backoff", "timeout", "on_worker_lost")
    }
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
        told |= options
    elif node.kind == "conditional":
        told["conditions"] = {key: define(inner) for key, inner in node.dags.items()}
    else:
        told["dag"] = define(node.dags[""])
    if node.kind == "foreach":
        told["max_parallel"] = node.max_parallel
    return told


def encode_key(key: str) -> str:
    """A foreach or condition key as it stands in a node path: percent-encoded where it would confuse.

    >>> encode_key("a/b 100%")
    'a%2Fb%20100%25'
    """
    return _UNSAFE.sub(lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), key)


def decode_key(key: str) -> str:
    """The key again; of what `encode_key` did not make, what can be read."""
    return _ESCAPES.sub(
        lambda m: bytes.fromhex(m[0].replace("%", "")).decode(errors="replace"), key
    )


def _walk(graph: Graph, prefix: str) -> Iterator[tuple[str, Node]]:
    for node in graph.in_order:
        path = prefix + node.name
        yield path, node
        for key, inner in node.dags.items():
            mark = {"conditional": f"[{encode_key(key)}]", "foreach": "[]"}.get(node.kind, "")
            yield from _walk(inner, f"{path}{mark}/")


def _canonical(graph: Graph) -> Iterator[object]:
    for node in graph.nodes.values():
        options = {f: getattr(node, f) for f in node.__struct_fields__ if f != "dags"}
        yield [options, [[key, list(_canonical(inner))] for key, inner in node.dags.items()]]
    yield [[e.source, e.target, e.execution_only, e.forwarder] for e in graph.edges]


_KEYED = re.compile(r"(.*)\[([^\[\]/]*)\]", re.DOTALL)
_UNSAFE = re.compile(r"[%/\[\]\s\x00-\x1f\x7f-\x9f]+")
_ESCAPES = re.compile(r"(?:%[0-9A-F]{2})+")
