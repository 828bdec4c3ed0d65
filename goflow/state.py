"""The states of runs and nodes, closed: each member says how one gets in and out."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RunState(StrEnum):
    """Where a run is. Three are terminal: a run leaves them only by `goflow retry`.

    >>> RunState("running").terminal
    False
    """

    #: accepted and recorded; leaves with the first task that a worker takes, or by pause or stop
    QUEUED = "queued"
    #: at least one task was taken; stays so while siblings of a failed node and the handlers finish
    RUNNING = "running"
    #: running nodes finish, nothing starts; leaves by resume or stop
    PAUSED = "paused"
    #: running nodes are being killed and `finally_` runs; leaves to `stopped`
    STOPPING = "stopping"
    #: every end node is recorded and `finally_` has run
    SUCCEEDED = "succeeded"
    #: a node failed for good, or the run timed out, and the handlers have run
    FAILED = "failed"
    #: somebody stopped it
    STOPPED = "stopped"

    @property
    def terminal(self) -> bool:
        """Whether the run has ended (its result or error will not change in this round)."""
        return self in TERMINAL


class NodeState(StrEnum):
    """Where a node instance of a run is."""

    #: some of what comes before it is not recorded yet
    WAITING = "waiting"
    #: complete inputs, waiting for a worker
    READY = "ready"
    #: a worker holds it, or (branch, sub-DAG) its inner nodes are on their way
    RUNNING = "running"
    #: failed, will be attempted again when its delay is over
    RETRYING = "retrying"
    #: its result is recorded, once
    SUCCEEDED = "succeeded"
    #: its last attempt failed and no handler saved it
    FAILED = "failed"
    #: the run went another way: a condition not chosen, or the run ended before it could start
    SKIPPED = "skipped"
    #: the run was stopped while it ran or before it could
    STOPPED = "stopped"


#: run states that a run leaves only by a retry
TERMINAL: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED})
