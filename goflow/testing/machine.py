"""Random histories over a backend, checked after every step against a plain-Python model.

Hypothesis picks flows and interleaves submits, claims, commits (also late, twice and from workers that
are gone), crashes, controls and new rounds, and shrinks what breaks to a few lines. A backend runs it with:

    class MyMachine(MyHooks, BackendMachine):
        pass

    TestMyMachine = MyMachine.TestCase
    TestMyMachine.settings = SHORT
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from goflow.backend import Action, FlowKey, Retry
from goflow.errors import Conflict
from goflow.rewind import rewind_from
from goflow.state import NodeState, RunState
from goflow.testing.history import SKILLS, Held, History
from goflow.testing.hooks import BackendHooks
from goflow.testing.model import ModelNode, ModelRun
from goflow.testing.shapes import Shape, shapes
from goflow.testing.store import FLOW, OTHER, Worker, outcome, request

_COMMON: Final[dict[str, Any]] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
#: seconds of work: the same histories every time, so that a suite does not fail by chance, and
#: not shrunk, since that takes minutes: `LONG` does it
SHORT: Final = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    **_COMMON,
)
#: minutes of work: new histories every time
LONG: Final = settings(max_examples=3000, stateful_step_count=60, **_COMMON)

#: runs in one history; more only dilute what happens to each
_RUNS: Final = 3
_picks: Final = st.integers(0, 40)
_actors: Final = st.integers(0, len(SKILLS) - 1)
_endings: Final = st.sampled_from(
    ["succeed", "succeed", "succeed", "succeed", "fail", "fail", "retry", "rescue"]
)


class BackendMachine(BackendHooks, RuleBasedStateMachine):
    """Three workers on three connections, up to three runs, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self._context = sys.exc_info()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="goflow-machine-"))
        self.history = History(self, self._folder)

    # -- submitting -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.history.runs) < _RUNS)
    @rule(shape=shapes(), flow=st.sampled_from([FLOW, OTHER]), actor=_actors, owned=st.booleans())
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
    @rule(pick=_picks, actor=_actors, changed=st.booleans())
    def submit_again(self, pick: int, actor: int, changed: bool) -> None:
        """The same request again is the same run; another under the same id is refused."""
        model, backend = self.history.pick_run(pick), self._actor(actor).backend
        if changed:
            asked = request(model.request.run_id, "other", payload=b"another")
            self._refused(lambda: backend.submit(asked))
        else:
            before = backend.run(model.request.run_id)
            assert backend.submit(model.request) == before

    # -- working ----------------------------------------------------------------------------------

    @precondition(lambda self: self.history.runs)
    @rule(actor=_actors, limit=st.integers(1, 4))
    def claim(self, actor: int, limit: int) -> None:
        """A worker asks for tasks."""
        worker = self._actor(actor)
        self.history.took(worker, worker.claim(limit), limit)

    @precondition(lambda self: any(m.owner and not m.orphan for m in self.history.runs.values()))
    @rule(pick=_picks, limit=st.integers(1, 4))
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
    @rule(pick=_picks, how=_endings, width=st.integers(1, 4), twice=st.booleans())
    def finish(self, pick: int, how: str, width: int, twice: bool) -> None:
        """A task ends and is committed, perhaps twice."""
        held = self.history.pick_held(pick)
        made = self.history.end(held.worker, held.claim, how, width)
        self.history.settle(held.worker, [made, made] if twice else [made])

    @precondition(lambda self: self.history.held)
    @rule(
        actor=_actors,
        hows=st.lists(_endings, min_size=1, max_size=3),
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
    @rule(actor=_actors, hows=st.lists(_endings, min_size=1, max_size=3), turns=st.integers(1, 5))
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
    @rule(pick=_picks)
    def release(self, pick: int) -> None:
        """A task is handed back unstarted."""
        held = self.history.pick_held(pick)
        self.history.settle(held.worker, [outcome(held.claim, released=True)])

    @precondition(lambda self: self.history.held or self.history.stale)
    @rule(actor=_actors)
    def renew(self, actor: int) -> None:
        """A worker renews what it holds and what it no longer holds, and kills what it is told to."""
        worker = self._actor(actor)
        doomed = self.history.renew(worker)
        self.history.settle(worker, [outcome(claim, stopped=True) for claim in doomed])

    # -- what goes wrong --------------------------------------------------------------------------

    @precondition(lambda self: self.history.stale)
    @rule(pick=_picks, how=_endings, width=st.integers(1, 4))
    def commit_late(self, pick: int, how: str, width: int) -> None:
        """Somebody prints for and commits a task that was taken from it."""
        held = self.history.stale[pick % len(self.history.stale)]
        self.history.say_late(held)
        assert not held.worker.commit(self.history.end(held.worker, held.claim, how, width))

    @precondition(lambda self: self.history.repeats)
    @rule(pick=_picks)
    def commit_again(self, pick: int) -> None:
        """Somebody whose reply was lost commits the same outcome again."""
        worker, made = self.history.repeats[pick % len(self.history.repeats)]
        worker.backend.commit([made])

    @precondition(lambda self: self.history.held)
    @rule(actor=_actors, everybody=st.sampled_from([False, False, False, True]))
    def vanish(self, actor: int, everybody: bool) -> None:
        """A worker is gone, and another takes its place, unnoticed; or all processes end at once."""
        if everybody:
            self.history.crash()
            return
        old = self._actor(actor)
        self.history.lose_touch(old)
        self.history.workers[actor] = Worker(old.backend, old.flows)

    @precondition(lambda self: self.history.gone or self.history.retrying())
    @rule()
    def tick(self) -> None:
        """Housekeeping: the tasks of vanished workers and due retries are ready again."""
        self.history.tick()

    @precondition(lambda self: self._anybodys())
    @rule(how=_endings, width=st.integers(1, 4))
    def zombie_race(self, how: str, width: int) -> None:
        """One claims and vanishes, another claims; the first commits before, meanwhile and after."""
        zombie = Worker(self.history.workers[0].backend, (FLOW, OTHER))
        heir = Worker(self.history.workers[1].backend, (FLOW, OTHER))
        self.history.took(zombie, zombie.claim(1), 1)
        (old,) = [held.claim for held in self.history.held.values() if held.worker is zombie]
        self.history.lose_touch(zombie)
        self.history.tick()
        late = self.history.end(zombie, old, how, width)
        assert not zombie.commit(late)
        claims = heir.claim(100)
        self.history.took(heir, claims, 100)
        assert not zombie.commit(late)
        self.history.settle(
            heir, [self.history.end(heir, claim, "succeed", width) for claim in claims]
        )
        assert not zombie.commit(late)

    @precondition(lambda self: self.loses and self.history.runs)
    @rule()
    def remember(self) -> None:
        """What is written from here on may be lost."""
        self.history.remember()

    @precondition(lambda self: self.history.remembered is not None)
    @rule()
    def fall_back(self) -> None:
        """Another server takes over that has not heard of what was written last."""
        self.history.fall_back()

    @precondition(lambda self: self.loses and self._anybodys())
    @rule(actor=_actors, hows=st.lists(_endings, min_size=1, max_size=3), kept=st.integers(0, 2))
    def fail_over(self, actor: int, hows: list[str], kept: int) -> None:
        """A worker holds tasks, ends some, claims others; then all but the first is lost."""
        worker, order = self._actor(actor), cycle(hows)
        self.history.took(worker, worker.claim(3), 3)
        self.history.remember()
        mine = [held.claim for held in self.history.held.values() if held.worker is worker]
        made = [self.history.end(worker, claim, next(order), 2) for claim in mine[kept:]]
        self.history.settle(worker, made, 3)
        self.history.fall_back()

    # -- steering ---------------------------------------------------------------------------------

    @precondition(lambda self: self.history.runs)
    @rule(pick=_picks, action=st.sampled_from(["pause", "resume", "resume", "stop"]), actor=_actors)
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
    @rule(pick=_picks, action=st.sampled_from(["pause", "stop"]), how=_endings, actor=_actors)
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
    @rule(pick=_picks, node=_picks, back=st.booleans(), actor=_actors, owned=st.booleans())
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

    # -- what must hold after every step ----------------------------------------------------------

    @invariant()
    def runs_are_as_they_should_be(self) -> None:
        """Run and node states, results and attempts are those of the model."""
        self.history.check()

    @invariant()
    def runs_are_listed_under_their_flow_and_state(self) -> None:
        """Each is found in the lists that it belongs in, and in no other."""
        models = self.history.runs
        backend = self.history.store.backend
        for state in RunState:
            listed = sorted(run.id for run in backend.runs(state=state))
            assert listed == sorted(each for each in models if models[each].state is state), state
        for flow in (FLOW[0], OTHER[0]):
            listed = sorted(run.id for run in backend.runs(flow))
            assert listed == sorted(each for each in models if models[each].key[0] == flow), flow

    @invariant()
    def what_is_ready_waits(self) -> None:
        """The directory counts what workers could claim now."""
        waiting = self.history.store.backend.waiting()
        for key in (FLOW, OTHER):
            models = self.history.runs.values()
            mine = [model for model in models if model.key == key and not model.owner]
            least = sum(len(model.claimable()) for model in mine)
            due = [n for m in mine for n in m.nodes.values() if n.state is NodeState.RETRYING]
            most = least + len(due)
            if self.late:
                least = 0
            assert least <= waiting.get(key, 0) <= most, (
                "what any worker could claim: unowned, unpaused"
            )

    def teardown(self) -> None:
        """With a healthy worker every accepted run ends, and no work is left over."""
        try:
            if sys.exc_info()[1] is self._context:
                self.history.drain()
        finally:
            self.history.store.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _actor(self, number: int) -> Worker:
        return self.history.workers[number]

    def _live(self) -> list[Held]:
        """What is held by workers that are there."""
        gone = self.history.gone
        return [held for held in self.history.held.values() if held.worker.id not in gone]

    def _anybodys(self) -> bool:
        """Whether a worker that knows every definition would get something."""
        models = self.history.runs.values()
        return any(model.claimable() for model in models if not model.owner)

    def _refused(self, call: Any) -> None:
        try:
            call()
        except Conflict:
            return
        raise AssertionError("expected a Conflict")


def _repeatable(node: ModelNode) -> bool:
    """Whether a run can be repeated from a node: one that a plan names and that was reached."""
    named = not node.path.startswith("~") and not node.path.endswith("]")
    return named and node.state is not NodeState.WAITING
