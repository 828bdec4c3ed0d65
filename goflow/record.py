"""What a backend tells and is told: the records of the seam that goflow/backend.py describes."""

from __future__ import annotations

from typing import Literal

import msgspec

from goflow.message import Failure, Reads, Rewind
from goflow.state import NodeState, RunState

#: a definition workers can execute: flow name and plan fingerprint
FlowKey = tuple[str, str]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a flow. Times are seconds since the epoch: `created` when it was accepted, `started`
    and `finished` of its present round. `error` is why it failed: `NODE: TYPE: MESSAGE`, without the node
    where none failed."""

    id: str
    flow: str
    state: RunState
    created: float
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    fingerprint: str = ""
    round: int = 1
    #: the worker that alone may execute it, and whether that one is gone; 0: any worker, or it has ended
    owner: int = 0
    abandoned: bool = False
    #: goes up with every change of the run or of a node of it
    revision: int = 0
    #: how it is about to end while siblings of a failed node and handlers finish: a terminal state
    ending: RunState | None = None
    failure: Failure | None = None


# gc=False: nothing in them leads back to them, and the collector would look through 100,000 of them again and again
class NodeRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A recorded node instance of a run. `width` and `done` count a branch's scopes."""

    path: str
    state: NodeState
    attempt: int = 0
    round: int = 1
    started: float | None = None
    finished: float | None = None
    ready: float | None = None
    due: float | None = None
    error: str | None = None
    failure: Failure | None = None
    worker: int = 0
    width: int | None = None
    done: int = 0
    #: keys a branch opened, encoded as in paths; None where they are positions or it is not open yet
    keys: tuple[str, ...] | None = None
    digest: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recorded attempt at a node instance, for people: `state` says how it ended, `succeeded`,
    `failed`, `stopped` or `lost` (its worker vanished); `worker` is `HOST:PID`, its number where no
    more is known.

    `ready` is since when it waited to be claimed, and `token` the one it was held under; None and "" where
    the store does not know. `error` is the type and the message of what went wrong (`str(Failure)`). The
    closing of a branch counts from its opening.
    """

    path: str
    round: int
    attempt: int
    state: str
    started: float
    finished: float
    error: str | None = None
    worker: str = ""
    digest: str = ""
    ready: float | None = None
    token: str = ""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What one recorded attempt read from its run's store and wrote into it; one that did neither has none.

    `writes` are the numbers of the versions that it made, by key, and `at` is when the store recorded them.
    `closing` and `handler` say what of its node it ran: what closes a branch, the node's own `on_failure`.
    """

    path: str
    round: int
    attempt: int
    token: str
    at: float
    closing: bool = False
    handler: bool = False
    reads: Reads = msgspec.field(default_factory=Reads)
    writes: dict[str, int] = msgspec.field(default_factory=dict)


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of what an attempt printed; `id` orders the pieces of a run."""

    id: int
    path: str
    round: int
    attempt: int
    time: float
    data: bytes


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as some process registered it last: its plan as JSON and the file it came from."""

    flow: str
    fingerprint: str
    plan: bytes
    file: str = ""
    registered: float = 0.0


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A process that takes tasks. `alive` is False once its lease is over.

    `doing` says `RUN/PATH` for each task it holds. `silent` are the seconds since its last sign of life, and
    `lease` how many of them it is given; 0 where the store knows at once that a process has ended.
    """

    id: int
    host: str
    pid: int
    started: float
    concurrency: int
    flows: tuple[FlowKey, ...] = ()
    doing: tuple[str, ...] = ()
    alive: bool = True
    silent: float = 0.0
    lease: float = 0.0

    @property
    def standing(self) -> Literal["alive", "silent", "gone"]:
        """`silent` is one that ought to have renewed its lease: it does so after a third of it."""
        if not self.alive:
            return "gone"
        return "silent" if self.lease and self.silent > self.lease / 3 + 1 else "alive"

    def up(self, now: float) -> float:
        """For how many seconds it has been there; of one that is gone up to its last sign of life."""
        return max(0.0, now - self.started - (0.0 if self.alive else self.silent))


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker wants: up to `limit` tasks of these definitions, or of the one run it owns."""

    worker: int
    limit: int
    flows: tuple[FlowKey, ...] = ()
    run_id: str = ""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A new round. `rewind` is given for `--from` and `--adopt`; `owner` executes it alone."""

    rewind: Rewind | None = None
    owner: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `goflow doctor` looked at: `name` what, `ok` whether it is as it should be, `text`
    what was found and what to do about it, `fixed` whether it was repaired just now. A `warning` is right
    for some purposes (a server for development) and not for others; it is `ok`."""

    name: str
    ok: bool
    text: str
    fixed: bool = False
    warning: bool = False
