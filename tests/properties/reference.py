"""What a flow must compute, straight from its shape: naive, recursive (see goflow/unnested.py), and none of the engine's code.

Everything that can run, runs; what follows a failure never starts. A run succeeds when nothing failed, and
then its result is `Told.result`. Where something failed, the run must fail at one of `Told.failed`, and
whatever it recorded until then is among `Told.outputs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from goflow import Payload
from goflow.unnested import Computation, computed
from tests.properties.shapes import Edge, Flow, Graph, Node, choice, items, produce, see

OCTETS, TEXT, JSON = "application/octet-stream", "text/plain", "application/json"
EMPTY = Payload(b"", OCTETS)

#: what a node made and what each of its edges carries; None: it was not reached or has failed
Made = tuple[Payload, dict[str, Payload]] | None

#: the results of a DAG's ends
Ends = dict[str, Payload | None]


class Place(NamedTuple):
    """A node where it stands: its path, what leads to it and what leaves it."""

    node: Node
    path: str
    edges_in: list[Edge]
    edges_out: list[Edge]


class Told:
    """What the reference says about a run: outputs by node path, how often each node is executed, and
    where the run may fail."""

    def __init__(self, flow: Flow) -> None:
        self.outputs: dict[str, Payload] = {}
        self.executed: dict[str, int] = {}
        self.failed: set[str] = set()
        self._notes: dict[str, bytes] = {}
        ends = computed(self._graph(flow.graph, "", flow.payload()))
        self.result = self._combine(ends, "~result")

    def _graph(self, graph: Graph, prefix: str, given: Payload) -> Computation[Ends]:
        """The results of a DAG's ends."""
        made: dict[str, Made] = {}
        for node in graph.nodes:  # in a shape, sources stand before targets
            place = Place(
                node,
                prefix + node.name,
                [edge for edge in graph.edges if edge.target == node.name],
                [edge for edge in graph.edges if edge.source == node.name],
            )
            made[node.name] = yield self._node(place, made, given)
        last = [n.name for n in graph.nodes if n.name not in {e.source for e in graph.edges}]
        return {name: each[0] if (each := made[name]) is not None else None for name in last}

    def _node(self, place: Place, made: Mapping[str, Made], given: Payload) -> Computation[Made]:
        inputs: dict[str, Payload] = {}
        for edge in place.edges_in:
            before = made[edge.source]
            if before is None:
                return None
            if not edge.execution_only:
                inputs[edge.source] = before[1][edge.target]
        if not place.edges_in:
            inputs = {"": given}
        if place.node.kind == "node":
            return self._plain(place, inputs)
        try:
            data = gather(inputs)
            output = yield self._branch(place.node, place.path, data)
            return None if output is None else self._send(place, output)
        except Broken:
            self.failed.add(place.path)
            return None

    # -- nodes ------------------------------------------------------------------------------------

    def _plain(self, place: Place, inputs: Mapping[str, Payload]) -> Made:
        node, path = place.node, place.path
        try:
            if node.fails > node.retries:
                raise Broken
            sent = self._send(place, self._work(place, inputs))
        except Broken:
            self.executed[path] = node.retries + 1
        else:
            self.executed[path] = node.fails + 1
            if node.notes:
                self._notes[path] = see({name: each.data for name, each in inputs.items()})
            return sent
        if node.rescue is not None:
            self.executed[path] += 1
            try:
                return self._send(place, call(node.rescue, f"rescued {path}", b""))
            except Broken:
                pass
        self.failed.add(path)
        return None

    def _work(self, place: Place, inputs: Mapping[str, Payload]) -> Payload:
        node, path = place.node, place.path
        found = {name: each.data for name, each in inputs.items()}
        if node.aggregator is not None and place.edges_in and inputs:
            made = call(node.aggregator, f"all of {path}", see(found))
        else:
            made = gather(inputs)
        data = made.data
        if node.reads:
            prefix = path.removesuffix(node.name)
            notes = {e.source: self._notes.get(prefix + e.source, b"-") for e in place.edges_in}
            data = see(notes | {"": see(found), "data": data})
        made = Payload(data, OCTETS)  # every plain node's first function returns bytes
        for op in node.works:
            made = call(op, path, made.data)
        return made

    def _send(self, place: Place, output: Payload) -> tuple[Payload, dict[str, Payload]]:
        """What goes over each edge. Raises Broken for a forwarder that does: its node has failed."""
        sent = {}
        for edge in place.edges_out:
            sent[edge.target] = output
            if edge.forwarder is not None:
                label = f"{place.path} to {edge.target}"
                sent[edge.target] = call(edge.forwarder, label, output.data)
        self.outputs[place.path] = output
        return output, sent

    # -- branches and sub-DAGs --------------------------------------------------------------------

    def _branch(self, node: Node, path: str, data: Payload) -> Computation[Payload | None]:
        self.executed[path] = 1
        if node.kind == "sub_dag":
            ends: Ends = yield self._graph(node.dags[""], f"{path}/", data)
            if None in ends.values():
                return None
            self.executed[path] = 2
            return one_or_object(ends)
        scopes = self._scopes(node, data)
        results = {}
        for key, (graph, given) in scopes.items():
            name = f"{path}[{in_path(key)}]"
            ends = yield self._graph(graph, name + "/", given)
            results[key] = self._combine(ends, name, node.execution_only)
        if None in results.values():
            return None
        self.executed[path] = 2 if scopes else 1
        if node.execution_only:
            return EMPTY
        if node.kind == "conditional" and not scopes:
            return data
        return self._close(node, path, {k: v for k, v in results.items() if v is not None})

    def _scopes(self, node: Node, data: Payload) -> dict[str, tuple[Graph, Payload]]:
        """The DAG and the input of each chosen key or item."""
        if node.kind == "conditional":
            chosen = attempt(lambda: choice(node, data.data))
            keys = {chosen} if isinstance(chosen, str) else set(chosen or ())
            if not keys <= node.dags.keys():
                raise Broken
            return {key: (graph, data) for key, graph in node.dags.items() if key in keys}
        found = attempt(lambda: items(node, data.data))
        if not isinstance(found, dict):
            found = dict(enumerate(attempt(lambda: list(found))))
        return {str(key): (node.dags[""], encode(value)) for key, value in found.items()}

    def _close(self, node: Node, path: str, results: dict[str, Payload]) -> Payload:
        if node.aggregator is not None:
            found = {key: each.data for key, each in results.items()}
            return call(node.aggregator, f"all of {path}", see(found))
        if node.kind == "conditional":
            return one_or_object(results)
        if node.chosen is not None:
            return json_object(results)
        return Payload(b"[" + b",".join(map(json_value, results.values())) + b"]", JSON)

    def _combine(
        self, ends: Mapping[str, Payload | None], join: str, nothing: bool = False
    ) -> Payload | None:
        """The result of a scope, or of the run; several ends make a join that is executed as one."""
        if None in ends.values():
            return None
        if len(ends) > 1:
            self.executed[join] = 1
        try:
            made = EMPTY if nothing else one_or_object(ends)
        except Broken:
            self.failed.add(join)
            return None
        if len(ends) > 1:
            self.outputs[join] = made
        return made


# -- retries ---------------------------------------------------------------------------------------


def repeated(shape: Flow, executed: dict[str, int], path: str) -> dict[str, int]:
    """How often `retry --from path` executes each node: read off the shape, level by level outwards."""
    levels: list[tuple[Graph, str, str, str]] = []
    graph, prefix = shape.graph, ""
    for part in path.split("/"):
        name, _, key = part.removesuffix("]").partition("[")
        levels.append((graph, prefix, name, prefix + part))
        (node,) = [node for node in graph.nodes if node.name == name]
        by_path = {in_path(key): graph for key, graph in node.dags.items()}
        if node.kind == "conditional" and key:
            graph = by_path[key]
        elif node.kind == "sub_dag" or key:
            graph = node.dags[""]
        prefix += part + "/"
    found: dict[str, int] = {}
    for graph, prefix, name, scope in reversed(levels):
        again = after(graph, name)
        if scope != path:  # the branch around it closes again, and a join before that
            again.remove(name)
            found[prefix + name] = 1
            found |= {scope: 1} if scope in executed and scope.endswith("]") else {}
        for each in again:
            inside = (prefix + each, f"{prefix}{each}/", f"{prefix}{each}[")
            found |= {
                p: n for p, n in executed.items() if p == inside[0] or p.startswith(inside[1:])
            }
    return found | ({"~result": 1} if "~result" in executed else {})


def after(graph: Graph, name: str) -> list[str]:
    found = [name]
    for each in found:
        found += [e.target for e in graph.edges if e.source == each and e.target not in found]
    return found


# -- values ---------------------------------------------------------------------------------------


class Broken(Exception):
    """Something a flow's author wrote raises, or makes what cannot be encoded or joined."""


def attempt(function: Callable[[], Any]) -> Any:
    """What it returns; Broken for whatever it raises."""
    try:
        return function()
    except ValueError:
        raise Broken from None


def call(op: str, label: str, data: bytes) -> Payload:
    return encode(attempt(lambda: produce(op, label, data)))


def encode(value: object) -> Payload:
    if isinstance(value, Payload):
        return value
    if value is None:
        return EMPTY
    if isinstance(value, bytes):
        return Payload(value, OCTETS)
    if isinstance(value, str):
        return Payload(value.encode(), TEXT)
    text = attempt(
        lambda: json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    )
    return Payload(text.encode(), JSON)


def gather(inputs: Mapping[str, Payload]) -> Payload:
    return one_or_object(inputs) if inputs else EMPTY


def one_or_object(parts: Mapping[str, Payload | None]) -> Payload:
    given = {name: each for name, each in parts.items() if each is not None}
    return next(iter(given.values())) if len(given) == 1 else json_object(given)


def json_object(parts: Mapping[str, Payload]) -> Payload:
    members = [
        json.dumps(name, ensure_ascii=False).encode() + b":" + json_value(each)
        for name, each in parts.items()
    ]
    return Payload(b"{" + b",".join(members) + b"}", JSON)


def json_value(payload: Payload) -> bytes:
    if payload.media_type == JSON:
        return payload.data
    if payload == EMPTY:
        return b"null"
    return json.dumps(attempt(payload.data.decode), ensure_ascii=False).encode()


def in_path(key: str) -> str:
    """A key as it stands in a node path."""
    hard = {c for c in key if c in "%/[]" or c.isspace() or ord(c) < 32}
    return "".join("".join(f"%{b:02X}" for b in c.encode()) if c in hard else c for c in key)
