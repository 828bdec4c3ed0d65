"""Plan: a flow's shape as data, checked, frozen and fingerprinted. No functions in it.

A plan can be written down as JSON and read back on another machine, so drawing a run, retrying
from a node and judging whether two workers mean the same flow need no user code. Node paths are
nodepath.py's, what is written down is written.py's and dagexport.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from heapq import heappop, heappush
from typing import Any, Literal

import msgspec

from goflow.digests import sha256
from goflow.errors import UnknownNode
from goflow.message import FINALLY, ON_FAILURE
from goflow.nodepath import Place, Scope, Way, mark, root
from goflow.unnested import Walk, flattened

Kind = Literal["node", "sub_dag", "conditional", "foreach"]

#: how many scopes of a foreach are on their way at a time unless its author says otherwise: enough to
#: keep any fleet busy, few enough that a fan-out of a million keeps store and queue small
WINDOW = 1000
#: characters of places that a plan remembers: deep ones have long paths
_REMEMBERED = 2_000_000
#: places inside of branches and sub-DAGs that it remembers, 550 bytes each: as many as a child is given tasks, and few, since
#: those of a wide fan-out lie among what it was made of, and keep all the memory of that
_INNER = 128


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

    def inside(self) -> Iterator[Graph]:
        """The graphs inside its nodes."""
        for node in self.nodes.values():
            if node.dags:
                yield from node.dags.values()

    def deeper_than(self, levels: int) -> bool:
        """Whether graphs are nested more than so many levels deep in it, itself counted."""
        level = [self]
        while level and levels >= 0:
            level = [inner for graph in level for inner in graph.inside()]
            levels -= 1
        return levels < 0

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
        digest = sha256(b"[")
        for piece in flattened(_canonical(self.graph)):
            digest.update(piece)
        rest = [self.flow, self.on_failure, self.finally_, self.timeout]
        digest.update(b"," + msgspec.json.encode(rest)[1:])
        return digest.hexdigest()[:16]

    @cached_property
    def _places(self) -> dict[str, Place]:
        """What `locate` has found: a run asks for the same few paths again and again."""
        return {}

    @cached_property
    def _inner_places(self) -> dict[str, Place]:
        """The same of what lies in branches and sub-DAGs: none of another key comes again once its task is over."""
        return {}

    @cached_property
    def _last_way(self) -> list[Way | None]:
        """The way that was walked last, for the next one (see `Way`); in a list, since a plan is frozen."""
        return [None]

    @property
    def root(self) -> Scope:
        """The scope of the nodes that are inside nothing."""
        return root(self.graph)

    def locate(self, path: str) -> Place:
        """The place of a node path. Raises UnknownNode where the flow has none such.

        >>> plan.locate("each[alice]/verify").static  # doctest: +SKIP
        'each[]/verify'
        """
        inner = "/" in path
        known = self._inner_places if inner else self._places
        place = known.get(path)
        if place is None:
            place = self._locate(path)
            most = min(_INNER if inner else 4 * WINDOW, _REMEMBERED // (len(path) + 1))
            if len(known) > most:  # a foreach of a million must not fill the memory
                known.clear()
            known[path] = place
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
        return self._way(head).scope()

    def around(self, path: str) -> Iterator[Place]:
        """The branches and sub-DAGs that a node path lies in, the inmost first."""
        head, slash, _ = path.rpartition("/")
        if slash:
            yield from self._way(head).outwards()

    def _way(self, head: str) -> Way:
        if "/" not in head:
            return Way(self.graph, head)
        way = self._last_way[0] = Way(self.graph, head, self._last_way[0])
        return way

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every node of the definition with its static path, none before one it depends on or lies in."""
        yield from flattened(_walk(self.graph, ""))

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
        return (ON_FAILURE,) * self.on_failure + (FINALLY,) * self.finally_

    def to_json(self) -> bytes:
        """The plan as JSON that `from_json` reads back, for a store's directory."""
        from goflow import written  # late: most processes neither write nor read a plan

        return written.to_json(self)

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """The plan a worker registered. Raises msgspec.ValidationError for anything else."""
        from goflow import written

        return written.from_json(data)

    def definition(self) -> dict[str, Any]:
        """The JSON-able definition for people and programs (see `Dag.definition`)."""
        from goflow.dagexport import define

        return {
            "flow": self.flow,
            "fingerprint": self.fingerprint,
            "timeout": self.timeout,
            "on_failure": self.on_failure,
            "finally": self.finally_,
            **define(self.graph),
        }


def _walk(graph: Graph, prefix: str) -> Walk[tuple[str, Node]]:
    """The nodes of a graph whose static paths begin with a prefix, and of all graphs inside them."""
    for node in graph.in_order:
        path = prefix + node.name
        yield path, node
        for key, inner in node.dags.items():
            yield _walk(inner, path + mark(node.kind, key))


def _canonical(graph: Graph) -> Walk[bytes]:
    """A graph as a JSON list in pieces: its nodes with what is inside them, then a list of its edges.

    Plain nodes are encoded many at a time; `between` is what joins them to what was yielded before.
    """
    encode = msgspec.json.encode
    plain: list[object] = []
    between = b"["
    for node in graph.nodes.values():
        options = {f: getattr(node, f) for f in node.__struct_fields__ if f != "dags"}
        if not node.dags:
            plain.append([options, []])
            continue
        if plain:
            yield between + encode(plain)[1:-1]
            plain, between = [], b","
        yield between + b"[" + encode(options) + b",["
        for number, (key, inner) in enumerate(node.dags.items()):
            yield (b",[" if number else b"[") + encode(key) + b","
            yield _canonical(inner)
            yield b"]"
        yield b"]]"
        between = b","
    plain.append([[e.source, e.target, e.execution_only, e.forwarder] for e in graph.edges])
    yield between + encode(plain)[1:]
