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
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from goflow.backend import Action, FlowKey, Retry
from goflow.errors import Conflict
from goflow.message import RESULT, Claim, Outcome
from goflow.plan import Plan
from goflow.rewind import rewind_from
from goflow.state import NodeState, RunState
from goflow.testing.agreement import agree
from goflow.testing.hooks import BackendHooks
from goflow.testing.model import ModelNode, ModelRun
from goflow.testing.shapes import Shape, perform, shapes
from goflow.testing.store import FLOW, OTHER, Store, Worker, failure, outcome, request

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
#: the definitions each of the three workers knows
_SKILLS: Final[tuple[tuple[FlowKey, ...], ...]] = ((FLOW, OTHER), (FLOW,), (OTHER, FLOW))

_picks: Final = st.integers(0, 40)
_actors: Final = st.integers(0, len(_SKILLS) - 1)
_endings: Final = st.sampled_from(["succeed", "succeed", "succeed", "fail", "retry", "rescue"])


class Held(NamedTuple):
    """A claim and who made it."""

    claim: Claim
    worker: Worker


class BackendMachine(BackendHooks, RuleBasedStateMachine):
    """Three workers on three connections, up to three runs, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self._context = sys.exc_info()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="goflow-machine-"))
        self.store = Store(self, self._folder)
        self.workers = [self.store.worker(*flows, own=True) for flows in _SKILLS]
        self.runs: dict[str, ModelRun] = {}
        self.plans: dict[str, Plan] = {}
        self.revisions: dict[str, int] = {}
        #: by token: what a worker holds, what it held once, who has vanished unnoticed
        self.held: dict[str, Held] = {}
        self.stale: list[Held] = []
        self.repeats: list[tuple[Worker, Outcome]] = []
        self.gone: set[int] = set()
        self.serial = 0

    # -- submitting -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.runs) < _RUNS)
    @rule(shape=shapes(), flow=st.sampled_from([FLOW, OTHER]), actor=_actors)
    def submit(self, shape: Shape, flow: FlowKey, actor: int) -> None:
        """Accept a new run."""
        run_id, plan = f"r{len(self.runs)}", shape.plan()
        asked = request(run_id, *plan.graph.starts, flow=flow, handlers=plan.handlers)
        accepted = self.workers[actor].backend.submit(asked)
        assert accepted.state is RunState.QUEUED
        self.plans[run_id] = plan
        self.runs[run_id] = ModelRun(asked)

    @precondition(lambda self: self.runs)
    @rule(pick=_picks, actor=_actors)
    def submit_again(self, pick: int, actor: int) -> None:
        """The same request again is the same run."""
        model = self._run(pick)
        backend = self.workers[actor].backend
        before = backend.run(model.request.run_id)
        assert backend.submit(model.request) == before

    @precondition(lambda self: self.runs)
    @rule(pick=_picks, actor=_actors)
    def submit_another(self, pick: int, actor: int) -> None:
        """Another request under the same id is refused."""
        model = self._run(pick)
        asked = request(model.request.run_id, "other", payload=b"another")
        self._refused(lambda: self.workers[actor].backend.submit(asked))

    # -- working ----------------------------------------------------------------------------------

    @precondition(lambda self: self.runs)
    @rule(actor=_actors, limit=st.integers(1, 4))
    def claim(self, actor: int, limit: int) -> None:
        """A worker asks for tasks."""
        worker = self.workers[actor]
        self._take(worker, worker.claim(limit), limit)

    @precondition(lambda self: self.held)
    @rule(pick=_picks, how=_endings, width=st.integers(1, 4), twice=st.booleans())
    def finish(self, pick: int, how: str, width: int, twice: bool) -> None:
        """A task ends and is committed, perhaps twice."""
        held = self._held(pick)
        made = self._outcome(held.claim, how, width)
        self._commit(held.worker, [made, made] if twice else [made])

    @precondition(lambda self: self.held)
    @rule(actor=_actors, width=st.integers(1, 4), limit=st.integers(0, 3))
    def finish_all(self, actor: int, width: int, limit: int) -> None:
        """All that a worker holds ends in one commit, which asks for more."""
        worker = self.workers[actor]
        mine = [held.claim for held in self.held.values() if held.worker is worker]
        self._commit(worker, [self._outcome(c, "succeed", width) for c in mine], limit)

    @precondition(lambda self: self.held)
    @rule(pick=_picks)
    def release(self, pick: int) -> None:
        """A task is handed back unstarted."""
        held = self._held(pick)
        self._commit(held.worker, [outcome(held.claim, released=True)])

    @precondition(lambda self: self.held or self.stale)
    @rule(actor=_actors)
    def renew(self, actor: int) -> None:
        """A worker renews what it holds and what it no longer holds, and kills what it is told to."""
        worker = self.workers[actor]
        mine = [held.claim for held in self.held.values() if held.worker is worker]
        past = [held.claim for held in self.stale if held.worker is worker]
        answer = worker.backend.renew(worker.id, [claim.task for claim in (*mine, *past)])
        told = {task.token: why for task, why in answer}
        assert {claim.task.token for claim in past} <= set(told)
        doomed = [c for c in mine if self.runs[c.task.run_id].doomed(self._node(c))]
        assert {c.task.token for c in mine} & set(told) == {c.task.token for c in doomed}
        assert all(told[claim.task.token] == "stop" for claim in doomed)
        self._commit(worker, [outcome(claim, stopped=True) for claim in doomed])

    # -- what goes wrong --------------------------------------------------------------------------

    @precondition(lambda self: self.stale)
    @rule(pick=_picks, how=_endings, width=st.integers(1, 4))
    def commit_late(self, pick: int, how: str, width: int) -> None:
        """Somebody commits a task that was taken from it."""
        held = self.stale[pick % len(self.stale)]
        assert not held.worker.commit(self._outcome(held.claim, how, width))

    @precondition(lambda self: self.repeats)
    @rule(pick=_picks)
    def commit_again(self, pick: int) -> None:
        """Somebody whose reply was lost commits the same outcome again."""
        worker, made = self.repeats[pick % len(self.repeats)]
        worker.backend.commit([made])

    @precondition(lambda self: self.held)
    @rule(actor=_actors)
    def vanish(self, actor: int) -> None:
        """A worker is gone, and another takes its place; nobody has noticed yet."""
        old = self.workers[actor]
        self._vanish(old)
        self.workers[actor] = Worker(old.backend, old.flows)

    @precondition(lambda self: self.gone or self._retrying())
    @rule()
    def tick(self) -> None:
        """Housekeeping: the tasks of vanished workers and due retries are ready again."""
        self.store.tick()
        for worker in self.gone:
            for model in self.runs.values():
                model.lose(worker)
        for model in self.runs.values():
            model.promote()
        lost = [token for token, held in self.held.items() if held.worker.id in self.gone]
        self.stale += [self.held.pop(token) for token in lost]
        self.gone.clear()

    @precondition(lambda self: self.held)
    @rule()
    def crash(self) -> None:
        """Every process ends; others open the store again."""
        for worker in self.workers:
            self._vanish(worker)
        self.store.reopen()
        self.tick()
        self.stale.clear()
        self.repeats.clear()
        self.workers = [self.store.worker(*flows, own=True) for flows in _SKILLS]

    @precondition(lambda self: any(run.claimable() for run in self.runs.values()))
    @rule(how=_endings, width=st.integers(1, 4))
    def zombie_race(self, how: str, width: int) -> None:
        """One claims and vanishes, another claims; the first commits before, meanwhile and after."""
        zombie = Worker(self.workers[0].backend, (FLOW, OTHER))
        heir = Worker(self.workers[1].backend, (FLOW, OTHER))
        self._take(zombie, zombie.claim(1), 1)
        (old,) = [held.claim for held in self.held.values() if held.worker is zombie]
        self._vanish(zombie)
        self.tick()
        late = self._outcome(old, how, width)
        assert not zombie.commit(late)
        claims = heir.claim(100)
        self._take(heir, claims, 100)
        assert not zombie.commit(late)
        self._commit(heir, [self._outcome(claim, "succeed", width) for claim in claims])
        assert not zombie.commit(late)

    # -- steering ---------------------------------------------------------------------------------

    @precondition(lambda self: self.runs)
    @rule(pick=_picks, action=st.sampled_from(["pause", "resume", "resume", "stop"]), actor=_actors)
    def control(self, pick: int, action: Action, actor: int) -> None:
        """Somebody pauses, resumes or stops a run."""
        model, backend = self._run(pick), self.workers[actor].backend
        if model.terminal:
            self._refused(lambda: backend.control(model.request.run_id, action))
            return
        run = backend.control(model.request.run_id, action)
        model.control(action)
        assert run.state is model.state

    @precondition(lambda self: self.runs)
    @rule(pick=_picks, node=_picks, back=st.booleans(), actor=_actors)
    def retry(self, pick: int, node: int, back: bool, actor: int) -> None:
        """Somebody opens a new round, or repeats from a node."""
        model, backend = self._run(pick), self.workers[actor].backend
        run_id = model.request.run_id
        paths = sorted(path for path, each in model.nodes.items() if _repeatable(each))
        rewind = None
        if back and paths:
            rewind = rewind_from(self.plans[run_id], paths[node % len(paths)])
        asked = Retry(rewind=rewind)
        if not model.terminal or (model.state is RunState.SUCCEEDED and rewind is None):
            self._refused(lambda: backend.retry(run_id, asked))
            return
        run = backend.retry(run_id, asked)
        model.retry(rewind)
        assert (run.state, run.round) == (model.state, model.round)
        self.repeats = [pair for pair in self.repeats if pair[1].task.run_id != run_id]

    # -- what must hold after every step ----------------------------------------------------------

    @invariant()
    def runs_are_as_they_should_be(self) -> None:
        """Run and node states, results and attempts are those of the model."""
        for run_id, model in self.runs.items():
            before = self.revisions.get(run_id, 0)
            self.revisions[run_id] = agree(self.store.backend, model)
            assert self.revisions[run_id] >= before

    @invariant()
    def what_is_ready_waits(self) -> None:
        """The directory counts what workers could claim now."""
        waiting = self.store.backend.waiting()
        for key in (FLOW, OTHER):
            mine = [m for m in self.runs.values() if (m.request.flow, m.request.fingerprint) == key]
            least = sum(len(model.claimable()) for model in mine)
            due = [n for m in mine for n in m.nodes.values() if n.state is NodeState.RETRYING]
            assert least <= waiting.get(key, 0) <= least + len(due)

    def teardown(self) -> None:
        """With a healthy worker every accepted run ends, and no work is left over."""
        try:
            if sys.exc_info()[1] is self._context:
                self._drain()
        finally:
            self.store.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _drain(self) -> None:
        for worker in self.workers:
            self._vanish(worker)
        self.tick()
        for run_id, model in self.runs.items():
            if model.state is RunState.PAUSED:
                self.store.backend.control(run_id, "resume")
                model.control("resume")
        healthy = self.store.worker(FLOW, OTHER)
        while claims := healthy.claim(10):
            self._take(healthy, claims, 10)
            self._commit(healthy, [self._outcome(c, "succeed", 2) for c in claims])
        self.runs_are_as_they_should_be()
        assert all(model.terminal for model in self.runs.values()), "an accepted run did not end"
        assert sum(self.store.backend.waiting().values()) == 0

    # -- helpers ----------------------------------------------------------------------------------

    def _retrying(self) -> list[ModelNode]:
        nodes = [node for model in self.runs.values() for node in model.nodes.values()]
        return [node for node in nodes if node.state is NodeState.RETRYING]

    def _run(self, pick: int) -> ModelRun:
        runs = list(self.runs.values())
        return runs[pick % len(runs)]

    def _held(self, pick: int) -> Held:
        held = list(self.held.values())
        return held[pick % len(held)]

    def _node(self, claim: Claim) -> ModelNode:
        return self.runs[claim.task.run_id].nodes[claim.task.path]

    def _outcome(self, claim: Claim, how: str, width: int) -> Outcome:
        """An outcome unlike any other, so that nothing can pass for something else."""
        self.serial += 1
        if how == "succeed":
            output = f"{claim.task.path} {self.serial}".encode()
            plan = self.plans[claim.task.run_id]
            return outcome(claim, step=perform(plan, claim, output, width))
        why = failure(claim, f"failure {self.serial}")
        path = claim.task.path
        if claim.task.failure is not None or path.startswith("~") or path.endswith("]"):
            return outcome(claim, failure=why)  # handlers and joins have no second attempt
        if how == "retry":
            return outcome(claim, failure=why, retry_at=1.0)
        return outcome(claim, failure=why, rescue=how == "rescue")

    def _take(self, worker: Worker, claims: Sequence[Claim], limit: int) -> None:
        """Check what a worker was given against what was ready."""
        assert len(claims) <= limit
        for claim in claims:
            task = claim.task
            model = self.runs[task.run_id]
            assert (task.flow, task.fingerprint) in worker.flows
            assert task.token not in self.held
            model.claim(claim, worker.id)
            if not task.path.startswith("~") or task.path == RESULT:
                assert worker.inputs(claim) == model.inputs(task.path)
            self.held[task.token] = Held(claim, worker)
        if len(claims) < limit and not claims:
            assert not self._claimable(worker), "there was work, and a worker got none"

    def _claimable(self, worker: Worker) -> list[str]:
        return [
            node.path
            for model in self.runs.values()
            if (model.request.flow, model.request.fingerprint) in worker.flows
            for node in model.claimable()
        ]

    def _commit(self, worker: Worker, outcomes: Sequence[Outcome], limit: int = 0) -> None:
        """Commit, and let the model follow what was accepted."""
        ask = worker.ask(limit) if limit else None
        accepted, claims = worker.backend.commit(outcomes, ask)
        assert len(accepted) == len(outcomes)
        settled: Counter[str] = Counter()
        for made, fine in zip(outcomes, accepted, strict=True):
            token = made.task.token
            settled[token] += 1
            if settled[token] > 1:
                continue  # the same once more: whatever the answer, it must change nothing
            held = self.held.pop(token)
            if not fine:
                assert held.worker.id in self.gone, "a worker that holds its task was refused"
                self.held[token] = held
                continue
            self.runs[made.task.run_id].commit(made)
            if made.released:
                self.stale.append(held)
            else:
                self.repeats.append((worker, made))
        if ask is not None:
            self._take(worker, claims, limit)

    def _vanish(self, worker: Worker) -> None:
        self.store.vanish(worker)
        self.gone.add(worker.id)

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
