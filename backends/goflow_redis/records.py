"""The records of runs and node instances, as `_records.lua` describes them, and what the seam shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from goflow.backend import Attempt, NodeRun, Run
from goflow.message import Failure
from goflow.state import NodeState, RunState
from goflow_redis.words import queued_at, token

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
#: what becomes of a node that its run's end overtook
_OVERTAKEN: Final = {RunState.STOPPED: NodeState.STOPPED, RunState.FAILED: NodeState.SKIPPED}


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
    date: int
    timeout: int
    handlers: str

    @property
    def created(self) -> int:
        """When it was accepted, in ms since the epoch."""
        return self.date // 1000


class RunRecord(NamedTuple):
    """A run's two records."""

    now: RunLine
    id: IdLine


read_line = msgspec.msgpack.Decoder(RunLine).decode
_id_line = msgspec.msgpack.Decoder(IdLine)


def read_run(state: bytes, identity: bytes) -> RunRecord:
    """The records that `:s` and `:i` hold."""
    return RunRecord(read_line(state), _id_line.decode(identity))


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


def new_run(run_id: str, flow: str, fingerprint: str, created: int, state: bytes) -> Run:
    """The run that was accepted at that time (ms) and has this record `:s`: nothing has happened to it."""
    now = read_line(state)
    return Run(
        id=run_id,
        flow=flow,
        state=now.state,
        created=created / 1000,
        fingerprint=fingerprint,
        round=now.round,
        revision=now.rev,
    )


class NodeRecord(msgspec.Struct, array_like=True):
    """A node instance's record; see `_records.lua`. Times are ms since the run was created."""

    state: str
    entry: str
    act: int
    worker: int
    seq: int
    ready: int | bool
    started: int | bool
    finished: int | bool
    have: int
    expects: int
    digest: str
    inbox: str
    attempt: int = 1
    lost: int = 0
    round: int = 1
    last: int = 1
    due: int = 0
    flags: str = ""
    width: int | None = None
    released: int = 0
    window: int = 0
    closings: int = 0
    closed: int = 0


#: the first byte of a record that tells nothing of further attempts, and how many elements another one has before the same
_SHORT: Final = b"\x9c"
_FURTHER: Final = 6
_short = msgspec.msgpack.Decoder(NodeRecord).decode
_long = msgspec.msgpack.Decoder(list[int | bool | str]).decode


def read_node(record: bytes) -> NodeRecord:
    """The record of a node instance."""
    if record[:1] == _SHORT:
        return _short(record)
    told, first, all_ = _long(record), _FURTHER, _FURTHER + 12
    return msgspec.convert([*told[first:all_], *told[:first], *told[all_:]], NodeRecord)


def _at(run: RunRecord, offset: int | bool) -> float | None:
    """A node's time, in seconds since the epoch."""
    return None if offset is False else (run.id.created + offset) / 1000


def _unparked(record: NodeRecord, run: RunRecord) -> NodeRecord:
    """A node that is parked for a round as it was, until that round has begun; then as one that begins."""
    if not record.due:
        return record
    if record.due > run.now.round:
        was = record.flags.strip(ascii_lowercase)
        return replace(record, state=was, flags=record.flags.replace(was, ""), due=0)
    return replace(record, attempt=1, lost=0, started=False, finished=False, digest="", flags="")


def as_node(
    path: str,
    record: NodeRecord,
    run: RunRecord,
    failure: Failure | None,
    keys: tuple[str, ...] | None,
) -> NodeRun:
    """The node instance as the seam shows it."""
    if record.state == "K":
        record = _unparked(record, run)
    failure = failure if "e" in record.flags else None
    state = _NODE_STATES[record.state]
    if record.state not in "DFC" and run.now.state.terminal:
        state = _OVERTAKEN.get(run.now.state, NodeState.SKIPPED)
        if record.state == "T" and run.now.state is not RunState.STOPPED:
            state = NodeState.FAILED
    created = run.id.date // 1000
    return NodeRun(
        path=path,
        state=state,
        attempt=record.attempt if record.seq else 0,
        round=record.round,
        started=None if record.started is False else (created + record.started) / 1000,
        finished=None if record.finished is False else (created + record.finished) / 1000,
        ready=None if record.ready is False else (created + record.ready) / 1000,
        due=record.due / 1000 if record.state == "T" else None,
        error=None if failure is None else str(failure),
        failure=failure,
        worker=record.worker,
        width=record.width,
        done=min(record.closed, record.width or 0),
        keys=keys,
        digest=record.digest,
    )


def last_attempts(
    run: RunRecord, nodes: Mapping[str, NodeRecord], failures: Mapping[str, Failure]
) -> list[tuple[int, Attempt]]:
    """The attempts that settled node instances' own records tell, each after its number in the run."""
    return [
        _last_attempt(path, record, run, failures.get(path))
        for path, record in nodes.items()
        if record.state in "DFC" and record.started is not False and record.finished is not False
    ]


def _last_attempt(
    path: str, record: NodeRecord, run: RunRecord, failure: Failure | None
) -> tuple[int, Attempt]:
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
