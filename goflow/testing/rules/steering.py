"""Somebody pauses, resumes, stops or retries a run."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from goflow.backend import Action, Retry
from goflow.rewind import rewind_from
from goflow.state import NodeState, RunState
from goflow.testing.model_node import ModelNode
from goflow.testing.rules.base import ACTORS, ENDINGS, PICKS, Rules


class Steering(Rules):
    """Controls and new rounds."""

    @precondition(lambda self: self.history.runs)
    @rule(pick=PICKS, action=st.sampled_from(["pause", "resume", "resume", "stop"]), actor=ACTORS)
    def control(self, pick: int, action: Action, actor: int) -> None:
        """Somebody pauses, resumes or stops a run."""
        model, backend = self.history.pick_run(pick), self._actor(actor).backend
        if model.terminal:
            self._refused(lambda: backend.control(model.request.run_id, action))
            return
        run = backend.control(model.request.run_id, action)
        self.history.notice_adoptions()
        model.control(action)
        if action == "stop":
            self.history.notice_losses(model)
        assert run.state is model.state

    @precondition(lambda self: self._live())
    @rule(pick=PICKS, action=st.sampled_from(["pause", "stop"]), how=ENDINGS, actor=ACTORS)
    def control_meanwhile(self, pick: int, action: Action, how: str, actor: int) -> None:
        """Somebody pauses or stops a run while a task of it runs; then the task ends, others ask."""
        live = self._live()
        held = live[pick % len(live)]
        run_id = held.claim.task.run_id
        model = self.history.runs[run_id]
        held.worker.backend.control(run_id, action)
        model.control(action)
        if action == "stop":
            self.history.notice_losses(model)
        self.history.renew(held.worker)
        self.history.settle(held.worker, [self.history.end(held.worker, held.claim, how, 2)])
        worker = self._actor(actor)
        self.history.took(worker, worker.claim(5), 5)
        if model.owner == worker.id:
            self.history.took(worker, worker.claim(5, run_id), 5, run_id)

    @precondition(lambda self: self.history.runs)
    @rule(pick=PICKS, node=PICKS, back=st.booleans(), actor=ACTORS, owned=st.booleans())
    def retry(self, pick: int, node: int, back: bool, actor: int, owned: bool) -> None:
        """Somebody opens a new round, or repeats from a node; mostly where there is reason to."""
        ended = [model for model in self.history.runs.values() if model.terminal]
        model = ended[pick % len(ended)] if ended and pick % 5 else self.history.pick_run(pick)
        backend = self._actor(actor).backend
        run_id = model.request.run_id
        paths = sorted(path for path, each in model.nodes.items() if _repeatable(each))
        rewind = None
        if back and paths:
            rewind = rewind_from(self.history.plans[run_id], paths[node % len(paths)])
        able = self.exclusive and model.key in self._actor(actor).flows
        owner = self._actor(actor).id if owned and able else 0
        asked = Retry(rewind=rewind, owner=owner)
        over = model.terminal or model.orphan
        if not over or (model.state is RunState.SUCCEEDED and rewind is None):
            self._refused(lambda: backend.retry(run_id, asked))
            return
        run = backend.retry(run_id, asked)
        if model.orphan:
            self.history.adopt(model)
        model.retry(rewind, owner)
        assert (run.state, run.round) == (model.state, model.round)
        self.history.tick()  # scopes that opened too late for the round before may start now


def _repeatable(node: ModelNode) -> bool:
    """Whether a run can be repeated from a node: one that a plan names and that was reached."""
    named = not node.path.startswith("~") and not node.path.endswith("]")
    return named and node.state is not NodeState.WAITING
