"""The words on the wire: frozen, and never more than names, numbers and bytes.

They travel between a store, a supervisor and its children (msgpack, arrays rather than maps: a task
is a few dozen bytes beyond its payload). No function, no class of a user's and no pickle is ever in one,
so any machine that has the flow file can pick up where another stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from goflow.payload import Payload

#: node paths that no flow author can choose: the joint result of several ends, and the handlers
RESULT: Final = "~result"
ON_FAILURE: Final = "~on_failure"
FINALLY: Final = "~finally"

#: why an attempt failed when no exception tells: the process died, took too long, or its worker was lost
DIED: Final = "ProcessDied"
TIMED_OUT: Final = "TimedOut"
WORKER_LOST: Final = "WorkerLost"


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt, a node or a run failed. Every text is cut to a bounded length.

    `type` is the exception's type name, `message` its text, `node` the node path, `detail` a traceback,
    `attempt` which attempt at that node it was (0 where none was: a run's timeout).
    """

    type: str
    message: str
    node: str = ""
    detail: str = ""
    attempt: int = 0

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class Arrival(msgspec.Struct, frozen=True, array_like=True):
    """A datum on its way over one edge, to be written once under (`target`, `closing`, `source`).

    `target` is ready when it holds `expects` arrivals; a `closing` arrival goes to a branch or sub-DAG
    that is already open and says itself how many it waits for, so there `expects` is 0. `payload` None
    means: what the committing node recorded as its output (stored once, referred to here).
    `carries` is False for an execution-only edge: it orders and brings nothing.
    """

    target: str
    source: str
    expects: int
    payload: Payload | None = None
    carries: bool = True
    closing: bool = False


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One scope a branch or sub-DAG opens.

    `prefix` is the path before its inner nodes (`each[alice]/`), `starts` the names of those that start
    it, each of which gets `payload`.
    """

    prefix: str
    starts: tuple[str, ...]
    payload: Payload


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """A branch or sub-DAG that opened its scopes, all at once, in this commit.

    `expects` closing arrivals complete it; at most `window` scopes are on their way at a time (0: no
    limit). `keys` are the scopes' names in order; None means positions 0, 1, .... `items` are those
    that were not staged before.
    """

    expects: int
    window: int
    keys: tuple[str, ...] | None
    items: tuple[Item, ...]


class Step(msgspec.Struct, frozen=True, array_like=True):
    """What one executed task made.

    `output` is what the node instance recorded (None while it is open), `arrivals` go to others, `ends`
    says that `output` is the run's result, `writes` are the context's (None deletes).
    """

    output: Payload | None = None
    arrivals: tuple[Arrival, ...] = ()
    opened: Opened | None = None
    ends: bool = False
    writes: dict[str, Payload | None] = msgspec.field(default_factory=dict)


class Input(msgspec.Struct, frozen=True, array_like=True):
    """One recorded arrival as its target sees it. `payload` is None where it carries nothing."""

    source: str
    payload: Payload | None


class Task(msgspec.Struct, frozen=True, array_like=True):
    """One attempt at one node instance.

    `token` is the fence: a commit is accepted only while the instance is still held under it. `attempt`
    counts from 1 in each round and goes up with each retry (a rescue belongs to the attempt that
    failed, and what closes a branch counts from its opening); `lost` counts workers that vanished over it,
    and is 0 again after a retry, a rescue or an opening.
    `round` is the one that gave the instance its `idempotency_key`. `failure` is set when the task is
    to run a handler: the node's `on_failure`, or `~on_failure`. `closing` says that the instance is a
    branch or sub-DAG whose scopes have all arrived: `keys` and `width` are what it opened. `outcome` is
    how the run is about to end, for `~finally`. `ready` is since when (epoch seconds, by the store's clock) it
    waited to be claimed.
    """

    run_id: str
    flow: str
    fingerprint: str
    path: str
    token: str
    attempt: int = 1
    lost: int = 0
    round: int = 1
    query: dict[str, list[str]] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    failure: Failure | None = None
    closing: bool = False
    keys: tuple[str, ...] | None = None
    width: int = 0
    outcome: str = ""
    ready: float = 0.0


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A task and its inputs. `complete` is False where the inputs are too many to hand over at once:
    the holder then reads them with `Backend.inputs`."""

    task: Task
    inputs: tuple[Input, ...]
    complete: bool = True


class Reads(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt was given of its run's store.

    `seen` holds by key the versions it was given one after the other, each with how many times in a row.
    `whole` is False where it read more than is recorded.
    """

    seen: dict[str, tuple[tuple[int, int], ...]] = msgspec.field(default_factory=dict)
    whole: bool = True


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of a task, ready to commit. Exactly one of the five fields after `log` says it.

    `step` succeeded; `retry_at` (epoch seconds, with `failure`) failed and comes again; `rescue` (with
    `failure`) failed, the node's own handler comes next; `failure` alone failed for good; `stopped` was killed
    because its run is stopping; `released` was handed back unstarted, without an attempt penalty. `log` is what
    it printed and `Printing.printed` has not recorded. `reads` is what it was given of its run's store, None where
    it read nothing.
    """

    task: Task
    started: float
    finished: float
    step: Step | None = None
    failure: Failure | None = None
    retry_at: float | None = None
    rescue: bool = False
    stopped: bool = False
    released: bool = False
    log: bytes = b""
    digest: str = ""
    reads: Reads | None = None

    @property
    def touches(self) -> bool:
        """Whether it read from its run's store, or writes into it."""
        return self.reads is not None or (self.step is not None and bool(self.step.writes))


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A run to be accepted.

    `digest` covers flow, payload and query: the same id with the same digest is the same run, with
    another a conflict. `starts` are the root's start nodes, `handlers` those of `~on_failure` and
    `~finally` the flow has. `owner` is the worker that alone may execute it (0: anyone).
    `timeout` is in seconds from its first task. `made` is when (epoch seconds) the caller began to hand
    it over.
    """

    run_id: str
    flow: str
    fingerprint: str
    payload: Payload
    query: dict[str, list[str]]
    digest: str
    starts: tuple[str, ...]
    handlers: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout: float | None = None
    owner: int = 0
    made: float = 0.0


class Rewind(msgspec.Struct, frozen=True, array_like=True):
    """What `retry --from` (and `--adopt`) undoes or adds before a round opens; made from the plan.

    `removed` are node paths whose results vanish with all that is inside them (`each` holds `each[a]/x`
    and `each/x`; `each[a]`, the join of a scope, holds nothing); what came to them over edges stays, save
    what is `dropped`: the (target, source, closing) arrivals to forget. Those in `ready` start the
    round where all they wait for is there, beside whatever else is unfinished. `reopened` are branches
    and sub-DAGs around them that go back to waiting for their scopes. All these may name what the run
    never recorded.
    `arrivals` are added under `by`, the recorded source of each, and those that are there already change
    nothing; `fingerprint` replaces the run's.
    """

    removed: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str, bool], ...] = ()
    reopened: tuple[str, ...] = ()
    arrivals: tuple[tuple[str, Arrival], ...] = ()
    fingerprint: str | None = None


#: what decoding raises over bytes that are none of our words: over a text that is not UTF-8 msgspec raises
#: Python's own error
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def pack(word: Any) -> bytes:
    """A word (or a plain tuple of them) as msgpack."""
    return _encoder.encode(word)


_encoder = msgspec.msgpack.Encoder()

Query = Mapping[str, Sequence[str]]
