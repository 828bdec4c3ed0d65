"""What a test of branches begins with."""

from __future__ import annotations

from goflow.message import Claim
from goflow.testing.store import Store, Worker, closes
from goflow.testing.suite.base import Suite


class Opening(Suite):
    def branch(self, store: Store, worker: Worker) -> Claim:
        """A run whose start is a branch, claimed and about to open."""
        store.submit("r", "each")
        return worker.one("each")

    def close_scope(self, worker: Worker, claim: Claim, data: bytes | None = None) -> None:
        """Finish the one node of a scope; its result goes to the branch under the scope's key."""
        owner, _, key = claim.task.path.removesuffix("]/x").partition("[")
        output = key.upper().encode() if data is None else data
        assert worker.succeed(claim, output, closes(owner, key))
