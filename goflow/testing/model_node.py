"""A node instance as it should be after what was accepted."""

from __future__ import annotations

from goflow.message import (
    Failure,
    Item,
)
from goflow.payload import Payload
from goflow.state import NodeState

Inbox = dict[str, Payload | None]


class ModelNode:
    """A node instance. RUNNING means held while there is a `token`, else open."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.state = NodeState.WAITING
        self.inbox: Inbox = {}
        self.closings: Inbox = {}
        self.closing = False
        self.attempt = 1
        self.lost = 0
        self.failure: Failure | None = None
        self.output: Payload | None = None
        self.token = ""
        self.worker = 0
        self.keys: tuple[str, ...] | None = None
        self.width = 0
        self.window = 0
        self.items: list[Item] = []
        self.released = 0
        #: failed where another attempt would have followed, had the run not been about to end
        self.given_up = False
        #: the round it was first claimed in, which its idempotency key hangs on
        self.round = 0

    @property
    def held(self) -> bool:
        """Whether a worker has it."""
        return self.state is NodeState.RUNNING and bool(self.token)

    def ready(self, *, attempt: int = 1, lost: int = 0, failure: Failure | None = None) -> None:
        """Wait for a worker."""
        self.state, self.token, self.worker = NodeState.READY, "", 0
        self.given_up = False
        self.attempt, self.lost, self.failure = attempt, lost, failure

    def end(self, state: NodeState) -> None:
        """Be settled, or wait for the next attempt."""
        self.state, self.token, self.worker = state, "", 0
