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
from goflow.message import Arrival, Claim, Failure, Input, Item, Outcome, Request, Step, Task, pack
from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow.state import NodeState, RunState

Word = bytes | str | int

_LETTERS: Final = {OCTETS: b"o", TEXT: b"t", JSON: b"j"}
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
#: what becomes of a node that its run's end overtook
_OVERTAKEN: Final = {RunState.STOPPED: NodeState.STOPPED, RunState.FAILED: NodeState.SKIPPED}


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What every task of a run is told: packed once, stored once."""

    query: dict[str, list[str]]
    headers: dict[str, str]
    starts: tuple[str, ...]


_head = msgspec.msgpack.Decoder(Head)
_failure = msgspec.msgpack.Decoder(Failure)
_keys = msgspec.msgpack.Decoder(tuple[str, ...])


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


def submit_args(request: Request, retention: int, late: Failure | None) -> list[Word]:
    """The arguments of SUBMIT."""
    letters = "".join(name[1] for name in ("~on_failure", "~finally") if name in request.handlers)
    return [
        retention,
        request.run_id,
        request.flow,
        request.fingerprint,
        request.digest,
        0 if request.timeout is None else max(1, int(request.timeout * 1000)),
        letters or "-",
        pack(Head(request.query, request.headers, request.starts)),
        enclose(request.payload),
        b"" if late is None else pack(late),
        len(request.starts),
        *request.starts,
    ]


def outcome_args(outcome: Outcome, staged: int, now: float, who: str) -> list[Word]:
    """One outcome as COMMIT reads it. `staged` scopes were staged before (-1: unknown)."""
    task, step, failure = outcome.task, outcome.step, outcome.failure
    args: list[Word] = [
        task.run_id,
        task.path,
        entry_of(task),
        _kind(outcome),
        _ms(outcome.started),
        _ms(outcome.finished),
        outcome.digest.replace(" ", "") or "-",
        _log(outcome) if outcome.log else b"",
        _attempt(outcome, who),
    ]
    if step is not None:
        if step.opened is not None:
            opened = step.opened
            keys = b"" if opened.keys is None else pack(opened.keys)
            args += (opened.expects, opened.window, keys, staged, len(opened.items))
            args += map(scope, opened.items)
            _add_writes(args, step)
        else:
            output = step.output
            args += (
                0 if output is None else 1,
                b"" if output is None else enclose(output),
                1 if step.ends else 0,
            )
            _add_writes(args, step)
            args.append(len(step.arrivals))
            for arrival in step.arrivals:
                add_arrival(args, arrival, task.path)
    elif failure is not None:
        if outcome.retry_at is not None:
            args.append(max(0, round((outcome.retry_at - now) * 1000)))
        args.append(pack(failure))
    return args


def add_arrival(args: list[Word], arrival: Arrival, by: str) -> None:
    """One arrival's arguments; `by` is the node path that recorded what it brings."""
    source = escape(arrival.source)
    payload = arrival.payload if arrival.carries else None
    if not arrival.carries:
        ref = ""
    elif payload is None:
        ref = f"o:{by}"
    else:
        ref = f"p:{arrival.target}\2{'c' if arrival.closing else ''}\2{source}"
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
def _mark(flow: bytes, fingerprint: bytes) -> str:
    return f"{crc32(flow + b':' + fingerprint):08x}:"


def token(flow: bytes, fingerprint: bytes, entry: bytes) -> str:
    """A task's token: its stream's mark and its entry, since entry ids are unique in one stream only."""
    return _mark(flow, fingerprint) + entry.decode()


def entry_of(task: Task) -> str:
    """The stream entry a task is held under."""
    return task.token.rpartition(":")[2]


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


def _add_writes(args: list[Word], step: Step) -> None:
    args.append(len(step.writes))
    for key, value in step.writes.items():
        args += (f"v:{key}", 0 if value is None else 1, b"" if value is None else enclose(value))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


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
        )
    )


def _log(outcome: Outcome) -> bytes:
    task = outcome.task
    return pack((task.path, task.attempt, outcome.finished, outcome.log))


# -- what a script tells --------------------------------------------------------------------------


def read_claim(told: Sequence[Any]) -> Claim:
    """A held task as `describe` in `_take.lua` tells of it."""
    (run, flow, fingerprint, path, entry, attempt, lost, round_, flags, width, outcome) = told[:11]
    head, failure, keys, complete = told[11:15]
    known = _head.decode(head)
    closing = b"c" in flags
    task = Task(
        run_id=run.decode(),
        flow=flow.decode(),
        fingerprint=fingerprint.decode(),
        path=path.decode(),
        token=token(flow, fingerprint, entry),
        attempt=attempt,
        lost=lost,
        round=round_,
        query=known.query,
        headers=known.headers,
        failure=read_failure(failure),
        closing=closing,
        keys=_keys.decode(keys) if keys else None,
        width=width if closing else 0,
        outcome=outcome.decode(),
    )
    words = iter(told[15:])
    inputs = tuple(
        Input(unescape(source.decode()), disclose(stored) if stored else None)
        for source, stored in zip(words, words, strict=True)
    )
    return Claim(task, inputs, complete == 1)


class RunRecord(NamedTuple):
    """A run's two lines."""

    state: RunState
    ending: RunState | None
    phase: int
    held: int
    revision: int
    round: int
    started: int
    finished: int
    flow: str
    fingerprint: str
    created: int
    timeout: int
    handlers: str


def read_run(state_line: bytes, id_line: bytes) -> RunRecord:
    """The record that `:s` and `:i` hold."""
    state, ending, phase, _kill, held, rev, _seq, _acts, round_, started, finished = (
        state_line.split()
    )
    flow, fingerprint, created, timeout, handlers = id_line.decode().split()
    return RunRecord(
        RunState(state.decode()),
        None if ending == b"-" else RunState(ending.decode()),
        int(phase),
        int(held),
        int(rev),
        int(round_),
        int(started),
        int(finished),
        flow,
        fingerprint,
        int(created),
        int(timeout),
        handlers,
    )


def as_run(run_id: str, record: RunRecord, failure: Failure | None) -> Run:
    """The run as the seam shows it."""
    error = None
    if failure is not None:
        error = f"{failure.node}: {failure}" if failure.node else str(failure)
    return Run(
        id=run_id,
        flow=record.flow,
        state=record.state,
        created=record.created / 1000,
        started=record.started / 1000 if record.started else None,
        finished=record.finished / 1000 if record.finished else None,
        error=error,
        fingerprint=record.fingerprint,
        round=record.round,
        revision=record.revision,
        ending=None if record.state.terminal else record.ending,
        failure=failure,
    )


class NodeRecord(NamedTuple):
    """A node's line, without its inbox, and the inbox."""

    state: str
    entry: str
    attempt: int
    lost: int
    round: int
    last: int
    act: int
    worker: int
    seq: int
    ready: int | None
    started: int | None
    finished: int | None
    due: int
    have: int
    expects: int
    width: int | None
    released: int
    window: int
    closings: int
    closed: int
    flags: str
    digest: str
    inbox: bytes


def read_node(line: bytes) -> NodeRecord:
    """The record of a node instance."""
    head, mark, rest = line.partition(b"\0")
    words = head.decode().split(" ")
    scopes = [int(word) for word in words[15].split("/")] if words[15] != "-" else None
    return NodeRecord._make(
        (
            words[0],
            words[1],
            *map(int, words[2:9]),
            *map(_offset, words[9:12]),
            *map(int, words[12:15]),
            *(scopes or (None, 0, 0, 0, 0)),
            words[16],
            "" if words[17] == "-" else words[17],
            mark + rest,
        )
    )


def _offset(word: str) -> int | None:
    return None if word == "-" else int(float(word))


def as_node(
    path: str,
    record: NodeRecord,
    run: RunRecord,
    failure: Failure | None,
    keys: tuple[str, ...] | None,
) -> NodeRun:
    """The node instance as the seam shows it."""

    def at(offset: int | None) -> float | None:
        return None if offset is None else (run.created + offset) / 1000

    state = _NODE_STATES[record.state]
    if run.state.terminal and record.state not in "DFC":
        state = _OVERTAKEN.get(run.state, NodeState.SKIPPED)
        if record.state == "T":
            state = NodeState.FAILED
    return NodeRun(
        path=path,
        state=state,
        attempt=record.attempt if record.seq else 0,
        round=record.round,
        started=at(record.started),
        finished=at(record.finished),
        ready=at(record.ready),
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
        started=(run.created + (record.started or 0)) / 1000,
        finished=(run.created + (record.finished or 0)) / 1000,
        error=str(failure) if failure is not None and record.state == "F" else None,
        worker=str(record.worker),
        digest=record.digest,
    )


def read_request(run_id: str, lines: Sequence[bytes], payload: bytes) -> Request:
    """What was submitted, from `:s`, `:i`, `:h`, `:d` and the stored input."""
    record, head = read_run(lines[0], lines[1]), _head.decode(lines[2])
    names = {"o": "~on_failure", "f": "~finally"}
    return Request(
        run_id=run_id,
        flow=record.flow,
        fingerprint=record.fingerprint,
        payload=disclose(payload),
        query=head.query,
        digest=lines[3].decode(),
        starts=head.starts,
        handlers=tuple(names[letter] for letter in record.handlers if letter in names),
        headers=head.headers,
        timeout=record.timeout / 1000 if record.timeout else None,
    )


def read_keys(stored: bytes | None) -> tuple[str, ...] | None:
    """The keys a branch opened."""
    return _keys.decode(stored) if stored else None


def read_inbox(text: bytes) -> Iterator[tuple[str, str]]:
    """Source and field of each arrival in an inbox or a chunk of one."""
    for part in text.split(b"\0")[1:]:
        source, _, ref = part.partition(b"\1")
        yield source.decode(), ref.decode()


def write_inbox(arrivals: Iterable[tuple[str, str]]) -> bytes:
    """The inbox that holds these."""
    return b"".join(f"\0{source}\1{ref}".encode() for source, ref in arrivals)


def read_attempt(stored: bytes) -> tuple[int, Attempt]:
    """An attempt from its list, and its number in the run: the round, the number, the packed rest."""
    round_, act, packed = stored.split(b" ", 2)
    path, attempt, state, started, finished, error, worker, digest = msgspec.msgpack.decode(packed)
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
        )
    )


def read_log(number: int, stored: bytes) -> LogLine:
    """A piece of a log from its list."""
    round_, _, packed = stored.partition(b" ")
    path, attempt, when, data = msgspec.msgpack.decode(packed)
    return LogLine(id=number, path=path, round=int(round_), attempt=attempt, time=when, data=data)
