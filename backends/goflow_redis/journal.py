"""A run's lists: the attempts that its node records do not tell, what its nodes printed, and what attempts read from
and wrote into its store."""

from __future__ import annotations

import msgspec

from goflow.backend import Access, Attempt, LogLine
from goflow.message import Outcome, Reads, Task, pack
from goflow.state import NodeState
from goflow_redis.words import queued_at, token


def followed(outcome: Outcome, who: str) -> bytes:
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


def read_attempt(stored: bytes, flow: str, fingerprint: str) -> tuple[int, Attempt]:
    """An attempt from its list, and its number in the run: the round, the number, the packed rest."""
    round_, act, packed = stored.split(b" ", 2)
    path, attempt, state, started, finished, error, worker, digest, held = msgspec.msgpack.decode(
        packed
    )
    mark, _, hold = held.rpartition(":")
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
        ready=queued_at(hold),
        token=held if mark else token(flow, fingerprint, hold),
    )


_Access = tuple[str, int, str, bool, bool, Reads, tuple[str, ...]]
_access = msgspec.msgpack.Decoder(_Access).decode


def access(outcome: Outcome) -> bytes:
    """What an attempt read and which keys it wrote, as its run's list keeps it behind the round, the time and the
    numbers of the versions it made."""
    task, step = outcome.task, outcome.step
    own = task.failure is not None and not task.path.startswith("~")
    writes = () if step is None else tuple(step.writes)
    told = (
        task.path,
        task.attempt,
        task.token,
        task.closing,
        own,
        outcome.reads or Reads(),
        writes,
    )
    return pack(told)


def read_access(stored: bytes) -> Access:
    """What an attempt read and wrote, from its list."""
    round_, when, made, packed = stored.split(b" ", 3)
    path, attempt, held, closing, own, reads, keys = _access(packed)
    numbers = [int(number) for number in made.split(b",")] if made else []
    return Access(
        path=path,
        round=int(round_),
        attempt=attempt,
        token=held,
        at=int(when) / 1000,
        closing=closing,
        handler=own,
        reads=reads,
        writes=dict(zip(keys, numbers, strict=True)),
    )


def log_piece(task: Task, when: float, data: bytes) -> bytes:
    """A piece of what a task printed, as its run's list keeps it behind the round."""
    return pack((task.path, task.attempt, when, data))


def read_log(number: int, stored: bytes) -> LogLine:
    """A piece of a log from its list."""
    round_, _, packed = stored.partition(b" ")
    path, attempt, when, data = msgspec.msgpack.decode(packed)
    return LogLine(id=number, path=path, round=int(round_), attempt=attempt, time=when, data=data)
