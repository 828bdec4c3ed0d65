"""Writing the file, a line at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from goflow.backend import NodeRun, Run
from goflow.errors import VersionGone
from goflow.message import Failure
from goflow.nodepath import is_planned
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.recorded import Recorded
from goflow.runfile.words import (
    FORMAT,
    VERSION,
    Bytes,
    ContextLine,
    DefinitionLine,
    LogPiece,
    NodeLine,
    PastLine,
    RequestLine,
    RunLine,
    Why,
)

#: nodes whose payloads are read together, and so are in memory at once
PAGE: Final = 64


def export(recorded: Recorded) -> Iterator[bytes]:
    """The lines of the file, each with its newline."""
    header = {"format": FORMAT, "version": VERSION, "exported": time.time()}
    yield msgspec.json.encode(header) + b"\n"
    count = 0
    for kind, word in _words(recorded):
        yield msgspec.json.encode({kind: word}) + b"\n"
        count += 1
    yield msgspec.json.encode({"end": count}) + b"\n"


def _words(recorded: Recorded) -> Iterator[tuple[str, object]]:
    yield "run", _run_line(recorded.run)
    asked = recorded.request
    yield (
        "request",
        RequestLine(
            payload=_told(asked.payload),
            query=asked.query,
            headers=asked.headers,
            timeout=asked.timeout,
        ),
    )
    yield "definition", DefinitionLine(msgspec.Raw(recorded.plan.to_json()), recorded.file)
    yield from _values(recorded)
    nodes = iter(recorded.nodes.values())
    while some := list(islice(nodes, PAGE)):
        yield from (("node", each) for each in _node_lines(recorded, some))
    for attempt in recorded.attempts:
        yield "attempt", attempt
    for access in recorded.accesses:
        yield "access", access
    for line in recorded.logs:
        piece = _piece(line.data)
        yield "log", LogPiece(line.path, line.round, line.attempt, line.time, piece)


def _values(recorded: Recorded) -> Iterator[tuple[str, object]]:
    """The run's store: each key as it is, and what it was as far as that is kept."""
    last = dict.fromkeys(recorded.context_keys, 0)
    for access in recorded.accesses:
        for key, number in access.writes.items():
            last[key] = max(last.get(key, 0), number)
    for key, number in last.items():
        value = recorded.context(key)
        if value is not None:
            yield "context", ContextLine(key, _told(value), number)
        for earlier in range(number if value is not None else number + 1):
            try:
                past = recorded.version(key, earlier)
            except VersionGone:
                continue
            yield "past", PastLine(key, earlier, None if past is None else _told(past))


def _run_line(run: Run) -> RunLine:
    return RunLine(
        id=run.id,
        flow=run.flow,
        fingerprint=run.fingerprint,
        state=run.state,
        created=run.created,
        started=run.started,
        finished=run.finished,
        error=run.error,
        failure=_why(run.failure),
        ending=run.ending,
        round=run.round,
    )


def _node_lines(recorded: Recorded, nodes: list[NodeRun]) -> Iterator[NodeLine]:
    """Some nodes, whose payloads are read together."""
    own = [node.path for node in nodes if _own_inputs(recorded.plan, node.path)]
    arrived = dict(zip(own, recorded.all_arrivals(own), strict=True))
    outputs = recorded.outputs([node.path for node in nodes])
    for node, output in zip(nodes, outputs, strict=True):
        yield _node_line(node, arrived.get(node.path), output)


def _node_line(
    node: NodeRun, arrived: dict[str, Payload | None] | None, output: Payload | None
) -> NodeLine:
    inputs = None
    if arrived is not None:
        inputs = {name: None if p is None else _told(p) for name, p in arrived.items()}
    return NodeLine(
        path=node.path,
        state=node.state,
        attempt=node.attempt,
        round=node.round,
        ready=node.ready,
        started=node.started,
        finished=node.finished,
        failure=_why(node.failure),
        width=node.width,
        done=node.done,
        keys=node.keys,
        digest=node.digest,
        inputs=inputs,
        output=None if output is None else _told(output),
    )


def _own_inputs(plan: Plan, path: str) -> bool:
    """Whether a node gets something that no other record holds: it starts a scope, or an edge of it has
    a forwarder."""
    if not is_planned(path):
        return False
    place = plan.locate(path)
    edges = place.scope.graph.edges_in[place.node.name]
    return any(edge.forwarder for edge in edges) if edges else bool(place.scope.prefix)


def _told(payload: Payload) -> Bytes:
    return msgspec.structs.replace(_piece(payload.data), media_type=payload.media_type)


def _piece(data: bytes) -> Bytes:
    try:
        return Bytes(text=data.decode())
    except UnicodeDecodeError:
        return Bytes(base64=data)


def _why(failure: Failure | None) -> Why | None:
    if failure is None:
        return None
    return Why(failure.type, failure.message, failure.node, failure.detail, failure.attempt)
