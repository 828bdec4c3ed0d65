"""The suites' vocabulary: a store with connections, workers that claim and commit, short words.

Flows need no functions here. A test plays the engine: it claims a task, and the outcome it commits says
what follows (`worker.succeed(a, b"A", edge("a", "b"))`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from goflow.backend import Ask, Backend, FlowKey, NodeRun, Run
from goflow.message import Arrival, Claim, Item, Opened, Outcome, Step
from goflow.payload import Payload
from goflow.state import NodeState, RunState
from goflow.testing.hooks import BackendHooks
from goflow.testing.words import (
    FLOW,
    NEWER,
    OTHER,
    closes,
    edge,
    failure,
    outcome,
    request,
    scopes,
    success,
    worker_info,
)

__all__ = [
    "FLOW", "NEWER", "OTHER", "Store", "Worker", "closes", "edge", "failure", "outcome", "request",
    "scopes", "success", "worker_info",
]  # fmt: skip

#: how often `Store.tick` calls again while a tick says that more is due
_TICKS: Final = 1000


class Worker:
    """A worker that entered by some connection. What it does, it does as the engine's supervisor would."""

    def __init__(self, backend: Backend, flows: Sequence[FlowKey] = (FLOW,)) -> None:
        self.backend = backend
        self.flows = tuple(flows)
        self.id = backend.enter(worker_info(self.flows))

    def ask(self, limit: int = 100, run_id: str = "") -> Ask:
        """What it asks for: tasks of its definitions, or of the one run it owns."""
        return Ask(worker=self.id, limit=limit, flows=self.flows, run_id=run_id)

    def claim(self, limit: int = 100, run_id: str = "") -> list[Claim]:
        """Up to `limit` tasks."""
        return self.backend.claim(self.ask(limit, run_id))

    def one(self, path: str | None = None, run_id: str = "") -> Claim:
        """Exactly one task, and if a path is given, that one."""
        claims = self.claim(1, run_id)
        assert claims, f"expected {path or 'a task'} to be ready, got nothing to do"
        assert len(claims) == 1, f"asked for 1 task, got {[c.task.path for c in claims]}"
        assert path is None or claims[0].task.path == path
        return claims[0]

    def each(self, *paths: str) -> list[Claim]:
        """All tasks that are ready, which must be these, in this order of arguments."""
        claims = {claim.task.path: claim for claim in self.claim(len(paths) + 10)}
        assert sorted(claims) == sorted(paths)
        return [claims[path] for path in paths]

    def paths(self, run_id: str = "") -> list[str]:
        """The paths of all it gets, sorted."""
        return sorted(claim.task.path for claim in self.claim(run_id=run_id))

    def commit(self, outcome: Outcome) -> bool:
        """Commit one outcome; whether it was accepted."""
        accepted, claims = self.backend.commit([outcome])
        assert claims == [], "a commit that does not ask claims nothing"
        (answer,) = accepted
        assert answer is not None, "the store answered, so it knows"
        return answer

    def succeed(
        self,
        claim: Claim,
        output: bytes | Payload = b"",
        *arrivals: Arrival,
        ends: bool = False,
        writes: Mapping[str, Payload | None] | None = None,
        log: bytes = b"",
    ) -> bool:
        """Commit a result and what it sends on."""
        return self.commit(success(claim, output, *arrivals, ends=ends, writes=writes, log=log))

    def open(
        self,
        claim: Claim,
        items: Sequence[Item],
        *,
        expects: int | None = None,
        window: int = 0,
        keys: tuple[str, ...] | None = None,
    ) -> bool:
        """Commit the opening of a branch's scopes; those staged before come on top of `items`."""
        opened = Opened(len(items) if expects is None else expects, window, keys, tuple(items))
        return self.commit(outcome(claim, step=Step(opened=opened)))

    def fail(self, claim: Claim, message: str = "boom", log: bytes = b"") -> bool:
        """Commit that the task's node has failed for good."""
        return self.commit(outcome(claim, failure=failure(claim, message), log=log))

    def retry(self, claim: Claim, at: float, message: str = "boom", log: bytes = b"") -> bool:
        """Commit that the attempt failed and another comes at `at`."""
        return self.commit(outcome(claim, failure=failure(claim, message), retry_at=at, log=log))

    def rescue(self, claim: Claim, message: str = "boom") -> bool:
        """Commit that the attempt failed and the node's handler comes next."""
        return self.commit(outcome(claim, failure=failure(claim, message), rescue=True))

    def killed(self, claim: Claim) -> bool:
        """Commit that the task was killed because its run is being stopped."""
        return self.commit(outcome(claim, stopped=True))

    def release(self, claim: Claim) -> bool:
        """Hand a task back unstarted."""
        return self.commit(outcome(claim, released=True))

    def lost(self, *claims: Claim) -> list[tuple[str, str]]:
        """What a renewal says must be killed: (path, why)."""
        answer = self.backend.renew(self.id, [claim.task for claim in claims])
        return [(task.path, why) for task, why in answer]

    def inputs(self, claim: Claim) -> dict[str, Payload | None]:
        """All inputs of a held task by source; each source may come only once."""
        pairs: list[tuple[str, Payload | None]]
        if claim.complete:
            pairs = [(each.source, each.payload) for each in claim.inputs]
        else:
            pairs = [pair for chunk in self.backend.inputs(claim.task) for pair in chunk]
        found = dict(pairs)
        assert len(found) == len(pairs), "an input came twice"
        return found

    def data(self, claim: Claim) -> dict[str, bytes | None]:
        """`inputs`, bytes only."""
        return {k: None if p is None else p.data for k, p in self.inputs(claim).items()}


class Store:
    """One store under test with any number of connections to it; the first is `backend`."""

    def __init__(self, hooks: BackendHooks, folder: Path, *, ephemeral: bool = False) -> None:
        self.hooks = hooks
        self.folder = folder
        self._ephemeral = ephemeral
        self._open: list[Backend] = []
        self.backend = self.connect()
        self._keeper = 0

    def connect(self) -> Backend:
        """Another independent connection, closed with the store."""
        backend = self.hooks.open_backend(self.folder, ephemeral=self._ephemeral)
        self._open.append(backend)
        return backend

    def close(self) -> None:
        """Close every connection."""
        while self._open:
            self._open.pop().close()

    def reopen(self) -> None:
        """Close every connection, as if all processes had ended, and open a new one."""
        self.close()
        self._keeper = 0
        self.backend = self.connect()

    def worker(self, *flows: FlowKey, own: bool = False) -> Worker:
        """A new worker; `own` gives it a connection of its own."""
        return Worker(self.connect() if own else self.backend, flows or (FLOW,))

    def vanish(self, worker: Worker) -> None:
        """Let a worker's process be gone."""
        self.hooks.vanish(worker.backend, worker.id)

    def snapshot(self) -> object:
        """All that the store holds now."""
        return self.hooks.snapshot(self.backend)

    def restore(self, snapshot: object) -> None:
        """Let the store hold that again, and nothing that was written since."""
        self.hooks.restore(self.backend, snapshot)
        self._keeper = 0

    def tick(self, worker: Worker | None = None) -> float | None:
        """Housekeeping until nothing more is due now, by a worker or by one that knows no flow."""
        if not self._keeper:
            self._keeper = self.backend.enter(worker_info(()))
        backend = self.backend if worker is None else worker.backend
        for _ in range(_TICKS):
            due = backend.tick(self._keeper if worker is None else worker.id)
            if due is None or due > time.time():
                return due
        raise AssertionError(f"after {_TICKS} ticks there is still something due")

    def submit(
        self,
        run_id: str = "r",
        *starts: str,
        flow: FlowKey = FLOW,
        payload: bytes = b"in",
        **more: Any,
    ) -> Run:
        """Submit a run with these start nodes (`a` if none is named)."""
        return self.backend.submit(request(run_id, *starts, flow=flow, payload=payload, **more))

    def run(self, run_id: str = "r") -> Run:
        """The run as recorded."""
        return self.backend.run(run_id)

    def state(self, run_id: str = "r") -> RunState:
        """The run's state."""
        return self.run(run_id).state

    def node(self, path: str, run_id: str = "r") -> NodeRun:
        """One recorded node instance."""
        (found,) = self.backend.nodes(run_id, [path])
        assert found.path == path
        return found

    def nodes(self, run_id: str = "r") -> dict[str, NodeState]:
        """The states of all recorded node instances."""
        return {node.path: node.state for node in self.backend.nodes(run_id)}

    def output(self, path: str, run_id: str = "r") -> bytes | None:
        """What a node instance recorded, bytes only."""
        payload = self.backend.output(run_id, path)
        return None if payload is None else payload.data
