"""Runs are submitted, and workers do what workers do."""

from __future__ import annotations

from itertools import cycle
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from goflow.backend import FlowKey
from goflow.state import RunState
from goflow.testing.model import ModelRun
from goflow.testing.rules.base import ACTORS, ENDINGS, PICKS, Rules
from goflow.testing.shapes import Shape, shapes
from goflow.testing.store import FLOW, OTHER, outcome, request

#: runs in one history; more only dilute what happens to each
_RUNS: Final = 3


class Working(Rules):
    """Submits, claims, commits."""

    @precondition(lambda self: len(self.history.runs) < _RUNS)
    @rule(shape=shapes(), flow=st.sampled_from([FLOW, OTHER]), actor=ACTORS, owned=st.booleans())
    def submit(self, shape: Shape, flow: FlowKey, actor: int, owned: bool) -> None:
        """Accept a new run, where the backend knows that for one worker alone."""
        run_id, plan, worker = f"r{len(self.history.runs)}", shape.plan(), self._actor(actor)
        owner = worker.id if owned and self.exclusive and flow in worker.flows else 0
        asked = request(run_id, *plan.graph.starts, flow=flow, handlers=plan.handlers, owner=owner)
        accepted = worker.backend.submit(asked)
        assert accepted.state is RunState.QUEUED
        self.history.plans[run_id] = plan
        self.history.runs[run_id] = ModelRun(asked)

    @precondition(lambda self: self.history.runs)
    @rule(pick=PICKS, actor=ACTORS, changed=st.booleans())
    def submit_again(self, pick: int, actor: int, changed: bool) -> None:
        """The same request again is the same run; another under the same id is refused."""
        model, backend = self.history.pick_run(pick), self._actor(actor).backend
        if changed:
            asked = request(model.request.run_id, "other", payload=b"another")
            self._refused(lambda: backend.submit(asked))
        else:
            before = backend.run(model.request.run_id)
            assert backend.submit(model.request) == before

    @precondition(lambda self: self.history.runs)
    @rule(actor=ACTORS, limit=st.integers(1, 4))
    def claim(self, actor: int, limit: int) -> None:
        """A worker asks for tasks."""
        worker = self._actor(actor)
        self.history.took(worker, worker.claim(limit), limit)

    @precondition(lambda self: any(m.owner and not m.orphan for m in self.history.runs.values()))
    @rule(pick=PICKS, limit=st.integers(1, 4))
    def claim_own(self, pick: int, limit: int) -> None:
        """A worker asks for tasks of the run it owns."""
        owned = [m for m in self.history.runs.values() if m.owner and not m.orphan]
        model = owned[pick % len(owned)]
        run_id = model.request.run_id
        for worker in self.history.workers:
            if worker.id != model.owner:
                assert worker.claim(limit, run_id) == []
        (worker,) = [w for w in self.history.workers if w.id == model.owner]
        self.history.took(worker, worker.claim(limit, run_id), limit, run_id)

    @precondition(lambda self: self.history.held)
    @rule(pick=PICKS, how=ENDINGS, width=st.integers(1, 4), twice=st.booleans())
    def finish(self, pick: int, how: str, width: int, twice: bool) -> None:
        """A task ends and is committed, perhaps twice."""
        held = self.history.pick_held(pick)
        made = self.history.end(held.worker, held.claim, how, width)
        self.history.settle(held.worker, [made, made] if twice else [made])

    @precondition(lambda self: self.history.held)
    @rule(
        actor=ACTORS,
        hows=st.lists(ENDINGS, min_size=1, max_size=3),
        width=st.integers(1, 4),
        limit=st.integers(0, 3),
    )
    def finish_all(self, actor: int, hows: list[str], width: int, limit: int) -> None:
        """All that a worker holds ends in one commit, which asks for more."""
        worker = self._actor(actor)
        mine = [held.claim for held in self.history.held.values() if held.worker is worker]
        made = [
            self.history.end(worker, c, how, width)
            for c, how in zip(mine, cycle(hows), strict=False)
        ]
        self.history.settle(worker, made, limit)

    @precondition(lambda self: self._anybodys())
    @rule(actor=ACTORS, hows=st.lists(ENDINGS, min_size=1, max_size=3), turns=st.integers(1, 5))
    def work(self, actor: int, hows: list[str], turns: int) -> None:
        """A worker does what workers do for a while."""
        worker, order = self._actor(actor), cycle(hows)
        for _ in range(turns):
            claims = worker.claim(3)
            self.history.took(worker, claims, 3)
            made = [self.history.end(worker, claim, next(order), 2) for claim in claims]
            self.history.settle(worker, made)
            self.history.tick()

    @precondition(lambda self: self.history.held)
    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        """A task is handed back unstarted."""
        held = self.history.pick_held(pick)
        self.history.settle(held.worker, [outcome(held.claim, released=True)])

    @precondition(lambda self: self.history.held or self.history.stale)
    @rule(actor=ACTORS)
    def renew(self, actor: int) -> None:
        """A worker renews what it holds and what it no longer holds, and kills what it is told to."""
        worker = self._actor(actor)
        doomed = self.history.renew(worker)
        self.history.settle(worker, [outcome(claim, stopped=True) for claim in doomed])
