"""Reading the file: a `Recorded` run that needs no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from goflow.backend import Access, Attempt, LogLine, NodeRun, Run
from goflow.errors import GoflowError, VersionGone
from goflow.message import UNREADABLE, Failure, Request
from goflow.payload import Payload, known
from goflow.plan import Plan
from goflow.runfile.words import (
    FORMAT,
    LINES,
    VERSION,
    Bytes,
    ContextLine,
    DefinitionLine,
    NodeLine,
    RequestLine,
    RunLine,
    Why,
)


class InFile:
    """A run out of a file. Raises GoflowError for a file that `goflow export` did not write."""

    def __init__(self, lines: Iterable[bytes], name: str) -> None:
        found = _read(lines, name)
        run: RunLine = _one(found, "run", name)
        asked: RequestLine = _one(found, "request", name)
        known: DefinitionLine = _one(found, "definition", name)
        self.plan = _plan(known, name)
        self.file = known.file
        self.run = _run(run)
        self.request = _request(run, asked, self.plan)
        self._lines: dict[str, NodeLine] = {node.path: node for node in found["node"]}
        self._context: dict[str, ContextLine] = {each.key: each for each in found["context"]}
        self._versions: dict[tuple[str, int], Bytes | None] = {
            (each.key, each.number): each.value for each in (*found["context"], *found["past"])
        }
        self.accesses: Sequence[Access] = found["access"]
        self.nodes: Mapping[str, NodeRun] = {p: _node_run(n) for p, n in self._lines.items()}
        self.attempts: Sequence[Attempt] = found["attempt"]
        self.logs: Sequence[LogLine] = [
            LogLine(
                id=number,
                path=piece.path,
                round=piece.round,
                attempt=piece.attempt,
                time=piece.time,
                data=_bytes(piece.data),
            )
            for number, piece in enumerate(found["log"], 1)
        ]
        self.context_keys: Sequence[str] = sorted(self._context)

    def arrivals(self, path: str) -> dict[str, Payload | None]:
        line = self._lines.get(path)
        if line is None:
            return {}
        if line.inputs is not None:
            return {name: None if p is None else _payload(p) for name, p in line.inputs.items()}
        place = self.plan.locate(path)
        edges = place.scope.graph.edges_in[place.node.name]
        if not edges:
            return {"": self.request.payload}
        found: dict[str, Payload | None] = {}
        for edge in edges:
            output = self.output(place.scope.prefix + edge.source)
            if output is not None:
                found[edge.source] = None if edge.execution_only else output
        return found

    def output(self, path: str) -> Payload | None:
        line = self._lines.get(path)
        return None if line is None or line.output is None else _payload(line.output)

    def outputs(self, paths: Sequence[str]) -> list[Payload | None]:
        return [self.output(path) for path in paths]

    def all_arrivals(self, paths: Sequence[str]) -> list[dict[str, Payload | None]]:
        return [self.arrivals(path) for path in paths]

    def context(self, key: str) -> Payload | None:
        line = self._context.get(key)
        return None if line is None else _payload(line.value)

    def version(self, key: str, number: int) -> Payload | None:
        if (key, number) in self._versions:
            value = self._versions[key, number]
            return None if value is None else _payload(value)
        if number == 0 and key not in self._context:
            return None
        raise VersionGone(key, number)


def _read(lines: Iterable[bytes], name: str) -> dict[str, list[Any]]:
    """The records of the file by kind."""
    found: dict[str, list[Any]] = {kind: [] for kind in LINES}
    decoders = {kind: msgspec.json.Decoder(word) for kind, word in LINES.items()}
    count, number, ended = 0, 0, False
    for number, line in enumerate(lines, 1):
        if number == 1:
            _check_header(line, name)
            continue
        try:
            record = _record.decode(line)
            for kind, raw in record.items():
                if kind == "end":
                    ended = msgspec.json.decode(raw, type=int) == count
                elif kind in decoders:  # others come from a later goflow, and can be done without
                    found[kind].append(decoders[kind].decode(raw))
            count += 1
        except UNREADABLE as error:
            raise GoflowError(f"{name}, line {number}: {error}") from None
    if not number:
        _check_header(b"", name)
    if not ended:
        raise GoflowError(f"{name} was cut off: its last line says nothing of an end")
    return found


def _check_header(line: bytes, name: str) -> None:
    try:
        header = msgspec.json.decode(line, type=dict[str, Any])
    except UNREADABLE:
        header = {}
    if header.get("format") != FORMAT:
        raise GoflowError(f"{name} is no run: expected a file that `goflow export RUN` wrote")
    if header.get("version") != VERSION:
        raise GoflowError(
            f"{name} has version {header.get('version')} of the format, expected {VERSION}:"
            " use the goflow that wrote it, or a newer one"
        )


def _one(found: dict[str, list[Any]], kind: str, name: str) -> Any:
    if len(found[kind]) != 1:
        raise GoflowError(f"{name}: expected one record {kind!r}, got {len(found[kind])}")
    return found[kind][0]


def _plan(line: DefinitionLine, name: str) -> Plan:
    try:
        return Plan.from_json(bytes(line.plan))
    except UNREADABLE as error:
        raise GoflowError(f"{name}: its definition cannot be read: {error}") from None


def _run(line: RunLine) -> Run:
    return Run(
        id=line.id,
        flow=line.flow,
        state=line.state,
        created=line.created,
        started=line.started,
        finished=line.finished,
        error=line.error,
        fingerprint=line.fingerprint,
        round=line.round,
        ending=line.ending,
        failure=_failure(line.failure),
    )


def _request(run: RunLine, asked: RequestLine, plan: Plan) -> Request:
    from goflow.engine import request

    payload = _payload(asked.payload)
    return request(plan, run.id, payload, asked.query, headers=asked.headers)


def _node_run(line: NodeLine) -> NodeRun:
    failure = _failure(line.failure)
    return NodeRun(
        path=line.path,
        state=line.state,
        attempt=line.attempt,
        round=line.round,
        ready=line.ready,
        started=line.started,
        finished=line.finished,
        error=None if failure is None else str(failure),
        failure=failure,
        width=line.width,
        done=line.done,
        keys=line.keys,
        digest=line.digest,
    )


def _bytes(told: Bytes) -> bytes:
    return told.base64 if told.base64 is not None else (told.text or "").encode()


def _payload(told: Bytes) -> Payload:
    data = _bytes(told)
    return known(Payload(data, told.media_type))


def _failure(why: Why | None) -> Failure | None:
    if why is None:
        return None
    return Failure(why.type, why.message, why.node, why.detail, why.attempt)


_record: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
