"""Between the seam's words and the flat texts that scripts read and write.

A payload is stored as one letter for its media type and its bytes. Records are the lines that `_records.lua`
describes. What people wrote is never decoded by a script: it goes through as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from goflow.backend import Attempt, LogLine, NodeRun, Run
from goflow.blobs.words import REFERS
from goflow.message import Arrival, Claim, Failure, Input, Item, Outcome, Request, Step, Task, pack
from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow.state import NodeState, RunState

Word = bytes | str | int

_LETTERS: Final = {OCTETS: b"o", TEXT: b"t", JSON: b"j"} | {
    REFERS[OCTETS]: b"O", REFERS[TEXT]: b"T", REFERS[JSON]: b"J",
}  # fmt: skip
_TYPES: Final = {ord(letter): media_type for media_type, letter in _LETTERS.items()}
_NODE_STATES: Final = {
    "W": NodeState.WAITING,
    "Q": NodeState.READY,
    "K": NodeState.READY,
    "R": NodeState.RUNNING,
    "T": NodeState.RETRYING,
    "O": NodeState.RUNNING,
    "D": NodeState.SUCCEEDED,
    "F": NodeState.FAILED,
    "C": NodeState.STOPPED,
}
#: arrivals in a node's own record, and in one chunk of a wide inbox: as in `_ready.lua`
INLINE: Final = 32
#: a reference to the result of the source itself, in the target's scope: most are, and this is short
SIBLING: Final = "="
#: where a head of an outcome counts the words after it
_WORDS: Final = 4
#: what becomes of a node that its run's end overtook
_OVERTAKEN: Final = {RunState.STOPPED: NodeState.STOPPED, RunState.FAILED: NodeState.SKIPPED}


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What every task of a run is told: packed once, stored once."""

    query: dict[str, list[str]]
    headers: dict[str, str]
    starts: tuple[str, ...]
    made: float = 0.0


_head = msgspec.msgpack.Decoder(Head)
_failure = msgspec.msgpack.Decoder(Failure)
_keys = msgspec.msgpack.Decoder(tuple[str, ...])
_task = msgspec.msgpack.Decoder(list[Any])


# -- payloads -------------------------------------------------------------------------------------


def enclose(payload: Payload) -> bytes:
    """A payload as it is stored."""
    return _LETTERS.get(payload.media_type, b"o") + payload.data


def disclose(stored: bytes) -> Payload:
    """The payload again."""
    return Payload(stored[1:], _TYPES.get(stored[0], OCTETS))


def read_failure(stored: bytes | None) -> Failure | None:
    """A stored failure."""
    return _failure.decode(stored) if stored else None


# -- what a script is told ------------------------------------------------------------------------


def submit_args(request: Request, late: Failure | None) -> list[Word]:
    """A run's arguments of SUBMIT."""
    return [
        pack(
            (
                request.run_id,
                request.flow,
                request.fingerprint,
                request.digest,
                _timeout_of(request),
                _letters_of(request),
                request.starts,
            )
        ),
        pack(Head(request.query, request.headers, request.starts, request.made)),
        enclose(request.payload),
        b"" if late is None else pack(late),
    ]


def _timeout_of(request: Request) -> int:
    """In ms, 0 for none."""
    return 0 if request.timeout is None else max(1, int(request.timeout * 1000))


def _letters_of(request: Request) -> str:
    names = (name[1] for name in ("~on_failure", "~finally") if name in request.handlers)
    return "".join(names) or "-"


def submitted(request: Request, now: int, told: Any) -> Run | None:
    """What SUBMIT tells of one run, at that time (ms); None for a conflict."""
    if isinstance(told, bytes):
        timeout, letters = _timeout_of(request), _letters_of(request)
        fixed = IdLine(request.flow, request.fingerprint, now, timeout, letters)
        return as_run(request.run_id, RunRecord(_run_line.decode(told), fixed), None)
    how, state, identity, failure = told
    if how == b"conflict":
        return None
    return as_run(request.run_id, read_run(state, identity), read_failure(failure))


def outcome_args(outcome: Outcome, staged: int, now: float, who: str) -> list[Word]:
    """One outcome as COMMIT reads it: a packed head, then what is not ours to pack. `staged` scopes were
    staged before (-1: unknown)."""
    task, step, failure = outcome.task, outcome.step, outcome.failure
    attempt = _attempt(outcome, who)
    head: list[object] = [
        task.run_id,
        task.path,
        entry_of(task),
        _kind(outcome),
        0,
        round(outcome.started * 1000),
        round(outcome.finished * 1000),
        outcome.digest,
        bool(outcome.log),
        bool(attempt),
    ]
    args: list[Word] = [b""]
    if outcome.log:
        args.append(log_piece(task, outcome.finished, outcome.log))
    if attempt:
        args.append(attempt)
    if step is not None and step.opened is not None:
        opened = step.opened
        head += (opened.expects, opened.window, opened.keys is not None, staged, len(opened.items))
        if opened.keys is not None:
            args.append(pack(opened.keys))
        _add_writes(head, args, step)
        args += map(scope, opened.items)
    elif step is not None:
        head += (step.output is not None, step.ends)
        if step.output is not None:
            args.append(enclose(step.output))
        _add_writes(head, args, step)
        head.append([_arrival(args, arrival, task.path) for arrival in step.arrivals] or False)
    elif failure is not None:
        if outcome.retry_at is not None:
            head.append(max(0, round((outcome.retry_at - now) * 1000)))
        args.append(pack(failure))
    head[_WORDS] = len(args) - 1
    args[0] = pack(head)
    return args


def _arrival(args: list[Word], arrival: Arrival, by: str) -> tuple[object, ...]:
    """One arrival for a head; a payload of its own goes to the arguments."""
    source, ref, payload = _bring(arrival, by)
    if payload is not None:
        args.append(enclose(payload))
    return (
        arrival.target,
        arrival.closing,
        arrival.expects,
        crc32(source.encode()),
        source,
        ref,
        payload is not None,
    )


def add_arrival(args: list[Word], arrival: Arrival, by: str) -> None:
    """One arrival as RETRY reads it; `by` is the node path that recorded what it brings."""
    source, ref, payload = _bring(arrival, by)
    args += (
        arrival.target,
        1 if arrival.closing else 0,
        arrival.expects,
        crc32(source.encode()),
        source,
        ref,
        0 if payload is None else 1,
        b"" if payload is None else enclose(payload),
    )


def _bring(arrival: Arrival, by: str) -> tuple[str, str, Payload | None]:
    """An arrival's source, the data field of what it brings ("" for nothing), and its own payload."""
    source = escape(arrival.source)
    if not arrival.carries:
        return source, "", None
    if arrival.payload is None:
        near = not arrival.closing and by == _scope_of(arrival.target) + arrival.source
        return source, SIBLING if near and source == arrival.source else f"o:{by}", None
    mark = "c" if arrival.closing else ""
    return source, f"p:{arrival.target}\2{mark}\2{source}", arrival.payload


def _scope_of(path: str) -> str:
    return path[: path.rfind("/") + 1]


def expand(path: str, source: str, ref: str) -> str:
    """The data field that a reference in a node instance's inbox means."""
    return f"o:{_scope_of(path)}{source}" if ref == SIBLING else ref


def scope(item: Item) -> bytes:
    """A scope as it is staged: prefix and starts, then what they get."""
    return "\0".join((item.prefix, *item.starts)).encode() + b"\1" + enclose(item.payload)


def escape(source: str) -> str:
    """A source without the characters that separate arrivals in an inbox."""
    if source.isprintable():
        return source
    for code in "\3\0\1\2":
        source = source.replace(code, f"\3{ord(code) + 64:c}")
    return source


def unescape(source: str) -> str:
    """The source again."""
    if "\3" not in source:
        return source
    for code in "\2\1\0\3":
        source = source.replace(f"\3{ord(code) + 64:c}", code)
    return source


@cache
def _mark(flow: str, fingerprint: str) -> str:
    return f"{crc32(f'{flow}:{fingerprint}'.encode()):08x}:"


def token(flow: str, fingerprint: str, entry: str) -> str:
    """A task's token: its stream's mark and its entry, since entry ids are unique in one stream only."""
    return _mark(flow, fingerprint) + entry


def entry_of(task: Task) -> str:
    """The stream entry a task is held under."""
    return task.token.rpartition(":")[2]


def queued_at(entry: str) -> float:
    """When an entry was made, which is since when its task was ready; a stream entry's id says so."""
    return int(entry.partition("-")[0]) / 1000


def _kind(outcome: Outcome) -> str:
    if outcome.step is not None:
        return "ok" if outcome.step.opened is None else "open"
    if outcome.released:
        return "release"
    if outcome.stopped:
        return "stop"
    if outcome.retry_at is not None:
        return "retry"
    return "rescue" if outcome.rescue else "fail"


def _add_writes(head: list[object], args: list[Word], step: Step) -> None:
    if not step.writes:
        head += (False, False)
        return
    head.append([f"v:{key}" for key in step.writes])
    head.append([value is not None for value in step.writes.values()])
    args += [enclose(value) for value in step.writes.values() if value is not None]


def _attempt(outcome: Outcome, who: str) -> bytes:
    """An attempt that the node record will not tell: another one follows it."""
    task, failure = outcome.task, outcome.failure
    opened = outcome.step is not None and outcome.step.opened is not None
    if not opened and outcome.retry_at is None and not outcome.rescue:
        return b""
    state = NodeState.SUCCEEDED if opened else NodeState.FAILED
    error = None if failure is None else str(failure)
    return pack(
        (
            task.path,
            task.attempt,
            state.value,
            outcome.started,
            outcome.finished,
            error,
            who,
            outcome.digest,
            task.token,
        )
    )


def log_piece(task: Task, when: float, data: bytes) -> bytes:
    """A piece of what a task printed, as its run's list keeps it behind the round."""
    return pack((task.path, task.attempt, when, data))


# -- what a script tells --------------------------------------------------------------------------


def read_claim(told: Sequence[bytes]) -> Claim:
    """A held task as `describe` in `_take.lua` tells of it."""
    head, known, failure, keys, *stored = told
    (
        run_id,
        flow,
        fingerprint,
        path,
        entry,
        attempt,
        lost,
        round_,
        closing,
        width,
        outcome,
        complete,
        *sources,
    ) = _task.decode(head)
    query, headers = _head_of(known)
    task = Task(
        run_id,
        flow,
        fingerprint,
        path,
        token(flow, fingerprint, entry),
        attempt,
        lost,
        round_,
        query,
        headers,
        _failure.decode(failure) if failure else None,
        closing,
        _keys.decode(keys) if keys else None,
        width if closing else 0,
        outcome,
        queued_at(entry),
    )
    inputs = tuple(
        Input(unescape(source), disclose(value) if value else None)
        for source, value in zip(sources, stored, strict=True)
    )
    return Claim(task, inputs, complete == 1)


def _head_of(stored: bytes) -> tuple[dict[str, list[str]], dict[str, str]]:
    head = _head.decode(stored)
    return head.query, head.headers


class RunLine(msgspec.Struct, array_like=True):
    """The record `:s`; see `_records.lua`."""

    state: RunState
    ending: str
    phase: int
    kill: int
    held: int
    rev: int
    seq: int
    acts: int
    round: int
    started: int
    finished: int
    uses: str


class IdLine(msgspec.Struct, array_like=True):
    """The record `:i`."""

    flow: str
    fingerprint: str
    created: int
    timeout: int
    handlers: str


class RunRecord(NamedTuple):
    """A run's two records."""

    now: RunLine
    id: IdLine


_run_line = msgspec.msgpack.Decoder(RunLine)
_id_line = msgspec.msgpack.Decoder(IdLine)


def read_run(state: bytes, identity: bytes) -> RunRecord:
    """The records that `:s` and `:i` hold."""
    return RunRecord(_run_line.decode(state), _id_line.decode(identity))


def as_run(run_id: str, record: RunRecord, failure: Failure | None) -> Run:
    """The run as the seam shows it."""
    now, fixed = record
    error = None
    if failure is not None:
        error = f"{failure.node}: {failure}" if failure.node else str(failure)
    terminal = now.state.terminal
    return Run(
        id=run_id,
        flow=fixed.flow,
        state=now.state,
        created=fixed.created / 1000,
        started=now.started / 1000 if now.started else None,
        finished=now.finished / 1000 if now.finished else None,
        error=error,
        fingerprint=fixed.fingerprint,
        round=now.round,
        revision=now.rev,
        ending=None if terminal or now.ending == "-" else RunState(now.ending),
        failure=failure,
    )


class NodeRecord(msgspec.Struct, array_like=True):
    """A node instance's record; see `_records.lua`. Times are ms since the run was created."""

    state: str
    entry: str
    attempt: int
    lost: int
    round: int
    last: int
    act: int
    worker: int
    seq: int
    ready: int | bool
    started: int | bool
    finished: int | bool
    due: int
    have: int
    expects: int
    flags: str
    digest: str
    inbox: str
    width: int | None = None
    released: int = 0
    window: int = 0
    closings: int = 0
    closed: int = 0


read_node = msgspec.msgpack.Decoder(NodeRecord).decode


def _at(run: RunRecord, offset: int | bool) -> float | None:
    """A node's time, in seconds since the epoch."""
    return None if offset is False else (run.id.created + offset) / 1000


def as_node(
    path: str,
    record: NodeRecord,
    run: RunRecord,
    failure: Failure | None,
    keys: tuple[str, ...] | None,
) -> NodeRun:
    """The node instance as the seam shows it."""

    state = _NODE_STATES[record.state]
    if run.now.state.terminal and record.state not in "DFC":
        state = _OVERTAKEN.get(run.now.state, NodeState.SKIPPED)
        if record.state == "T":
            state = NodeState.FAILED
    return NodeRun(
        path=path,
        state=state,
        attempt=record.attempt if record.seq else 0,
        round=record.round,
        started=_at(run, record.started),
        finished=_at(run, record.finished),
        ready=_at(run, record.ready),
        due=record.due / 1000 if record.state == "T" else None,
        error=None if failure is None else str(failure),
        failure=failure,
        worker=record.worker,
        width=record.width,
        done=min(record.closed, record.width or 0),
        keys=keys,
        digest=record.digest,
    )


def last_attempt(
    path: str, record: NodeRecord, run: RunRecord, failure: Failure | None
) -> tuple[int, Attempt]:
    """The attempt that a settled node instance's own record tells, and its number in the run."""
    return record.act, Attempt(
        path=path,
        round=record.last,
        attempt=record.attempt,
        state=_NODE_STATES[record.state].value,
        started=_at(run, record.started) or 0.0,
        finished=_at(run, record.finished) or 0.0,
        error=str(failure) if failure is not None and record.state == "F" else None,
        worker=str(record.worker),
        digest=record.digest,
        ready=queued_at(record.entry),
        token=token(run.id.flow, run.id.fingerprint, record.entry),
    )


def read_request(run_id: str, lines: Sequence[bytes], payload: bytes) -> Request:
    """What was submitted, from `:s`, `:i`, `:h`, `:d` and the stored input."""
    record, head = read_run(lines[0], lines[1]), _head.decode(lines[2])
    names = {"o": "~on_failure", "f": "~finally"}
    return Request(
        run_id=run_id,
        flow=record.id.flow,
        fingerprint=record.id.fingerprint,
        payload=disclose(payload),
        query=head.query,
        digest=lines[3].decode(),
        starts=head.starts,
        handlers=tuple(names[letter] for letter in record.id.handlers if letter in names),
        headers=head.headers,
        timeout=record.id.timeout / 1000 if record.id.timeout else None,
        made=head.made,
    )


def read_keys(stored: bytes | None) -> tuple[str, ...] | None:
    """The keys a branch opened."""
    return _keys.decode(stored) if stored else None


def read_inbox(text: str) -> Iterator[tuple[str, str]]:
    """Source and field of each arrival in an inbox or a chunk of one."""
    for part in text.split("\0")[1:]:
        source, _, ref = part.partition("\1")
        yield source, ref


def write_inbox(arrivals: Iterable[tuple[str, str]]) -> str:
    """The inbox that holds these."""
    return "".join(f"\0{source}\1{ref}" for source, ref in arrivals)


def read_attempt(stored: bytes, flow: str, fingerprint: str) -> tuple[int, Attempt]:
    """An attempt from its list, and its number in the run: the round, the number, the packed rest."""
    round_, act, packed = stored.split(b" ", 2)
    path, attempt, state, started, finished, error, worker, digest, held = msgspec.msgpack.decode(
        packed
    )
    mark, _, entry = held.rpartition(":")
    return int(act), Attempt(
        path=path,
        round=int(round_),
        attempt=attempt,
        state=state,
        started=started,
        finished=finished,
        error=error,
        worker=worker,
        digest=digest,
        ready=queued_at(entry),
        token=held if mark else token(flow, fingerprint, entry),
    )


def write_attempt(act: int, attempt: Attempt) -> bytes:
    """An attempt for its list, round and number first."""
    return f"{attempt.round} {act} ".encode() + pack(
        (
            attempt.path,
            attempt.attempt,
            attempt.state,
            attempt.started,
            attempt.finished,
            attempt.error,
            attempt.worker,
            attempt.digest,
            attempt.token,
        )
    )


def read_log(number: int, stored: bytes) -> LogLine:
    """A piece of a log from its list."""
    round_, _, packed = stored.partition(b" ")
    path, attempt, when, data = msgspec.msgpack.decode(packed)
    return LogLine(id=number, path=path, round=int(round_), attempt=attempt, time=when, data=data)
