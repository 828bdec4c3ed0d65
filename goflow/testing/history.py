"""What has happened in a random history: workers, what they hold, and the runs' models.

The machine's rules act through this; it checks every answer of the backend against the models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from goflow.backend import FlowKey, Printing, Versioned
from goflow.message import RESULT, Claim, Item, Opened, Outcome, Reads, Step
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.state import NodeState, RunState
from goflow.testing.agreement import agree
from goflow.testing.hooks import BackendHooks
from goflow.testing.model import ModelRun
from goflow.testing.model_node import ModelNode
from goflow.testing.shapes import perform
from goflow.testing.store import FLOW, OTHER, Store, Worker, failure, outcome

#: the definitions each of the three workers knows
SKILLS: Final[tuple[tuple[FlowKey, ...], ...]] = ((FLOW, OTHER), (FLOW,), (OTHER, FLOW))


class Held(NamedTuple):
    """A claim and who made it."""

    claim: Claim
    worker: Worker


class Remembered(NamedTuple):
    """What the store held at some moment, and what was true then."""

    snapshot: object
    runs: dict[str, ModelRun]
    plans: dict[str, Plan]
    held: dict[str, Held]
    staged: dict[str, tuple[Item, ...]]
    stale: list[Held]
    gone: set[int]


class History:
    """Three workers on three connections, the runs they work on, and who holds what."""

    def __init__(self, hooks: BackendHooks, folder: Path) -> None:
        self.store = Store(hooks, folder)
        self.workers = [self.store.worker(*flows, own=True) for flows in SKILLS]
        self.runs: dict[str, ModelRun] = {}
        self.plans: dict[str, Plan] = {}
        self.revisions: dict[str, int] = {}
        #: by token: what a worker holds, what it held once, who has vanished unnoticed
        self.held: dict[str, Held] = {}
        self.stale: list[Held] = []
        self.repeats: list[tuple[Worker, Outcome]] = []
        self.gone: set[int] = set()
        self.staged: dict[str, tuple[Item, ...]] = {}
        self.serial = 0
        self.remembered: Remembered | None = None

    # -- what there is to pick from ---------------------------------------------------------------

    def retrying(self) -> list[ModelNode]:
        """The nodes that wait for another attempt."""
        nodes = [node for model in self.runs.values() for node in model.nodes.values()]
        return [node for node in nodes if node.state is NodeState.RETRYING]

    def pick_run(self, pick: int) -> ModelRun:
        """One of the runs."""
        runs = list(self.runs.values())
        return runs[pick % len(runs)]

    def pick_held(self, pick: int) -> Held:
        """One of the claims that are held."""
        held = list(self.held.values())
        return held[pick % len(held)]

    def doomed(self, claim: Claim) -> bool:
        """Whether its holder must kill it."""
        model = self.runs[claim.task.run_id]
        return model.doomed(model.nodes[claim.task.path])

    # -- working ----------------------------------------------------------------------------------

    def end(self, worker: Worker, claim: Claim, how: str, width: int) -> Outcome:
        """An outcome unlike any other, so that nothing can pass for something else.

        Of the scopes of a branch that opens, every other time the first half is staged.
        """
        self.serial += 1
        made = self._made(worker, claim, how, width)
        if not self.serial % 3 and isinstance(worker.backend, Versioned):
            number, _ = worker.backend.present(claim.task.run_id, "k")
            made = replace(made, reads=Reads({"k": ((number, 1),)}))
        return made

    def _made(self, worker: Worker, claim: Claim, how: str, width: int) -> Outcome:
        if how == "succeed":
            output = f"{claim.task.path} {self.serial}".encode()
            plan = self.plans[claim.task.run_id]
            step = perform(plan, claim, output, width)
            if not self.serial % 2:
                value = None if not self.serial % 5 else Payload(output)
                step = replace(step, writes={"k": value})
            if step.opened is not None and self.serial % 2:
                step = self.stage(worker, claim, step, step.opened)
            return outcome(claim, step=step)
        why = failure(claim, f"failure {self.serial}")
        path = claim.task.path
        if claim.task.failure is not None or path.startswith("~") or path.endswith("]"):
            return outcome(claim, failure=why)  # handlers and joins have no second attempt
        if how == "retry":
            return outcome(claim, failure=why, retry_at=1.0)
        return outcome(claim, failure=why, rescue=how == "rescue")

    def stage(self, worker: Worker, claim: Claim, step: Step, opened: Opened) -> Step:
        """Stage half of a branch's scopes; the step that opens it with the other half."""
        half = len(opened.items) // 2
        self.staged[claim.task.token] = opened.items[:half]
        worker.backend.stage(claim.task, opened.items[:half])
        return replace(step, opened=replace(opened, items=opened.items[half:]))

    def say_late(self, held: Held) -> None:
        """Who holds its task no more goes on printing."""
        backend, task = held.worker.backend, held.claim.task
        if isinstance(backend, Printing):
            backend.printed([(task, b"late")])
            assert all(line.data != b"late" for line in backend.logs(task.run_id))

    def took(self, worker: Worker, claims: Sequence[Claim], limit: int, run_id: str = "") -> None:
        """Check what a worker was given against what was ready."""
        self.notice_adoptions()
        assert len(claims) <= limit
        for claim in claims:
            task = claim.task
            model = self.runs[task.run_id]
            assert (task.flow, task.fingerprint) in worker.flows
            assert model.owner == (worker.id if run_id else 0)
            assert task.run_id == (run_id or task.run_id)
            assert task.token not in self.held
            model.claim(claim, worker.id)
            if not task.path.startswith("~") or task.path == RESULT:
                assert worker.inputs(claim) == model.inputs(task.path)
            self.held[task.token] = Held(claim, worker)
        if not claims:
            assert not self.claimable(worker, run_id), "there was work, and a worker got none"

    def claimable(self, worker: Worker, run_id: str = "") -> list[str]:
        """What a worker could be given now: of the run it owns, or of those that nobody does."""
        mine = [m for m in self.runs.values() if m.key in worker.flows and not m.owner]
        if run_id:
            mine = [self.runs[run_id]] if self.runs[run_id].owner == worker.id else []
        return [node.path for model in mine for node in model.claimable()]

    def settle(self, worker: Worker, outcomes: Sequence[Outcome], limit: int = 0) -> None:
        """Commit, and let the model follow what was accepted."""
        ask = worker.ask(limit) if limit else None
        accepted, claims = worker.backend.commit(outcomes, ask)
        assert len(accepted) == len(outcomes)
        settled: Counter[str] = Counter()
        for run_id in {made.task.run_id for made in outcomes}:
            self.runs[run_id].accesses.append([])
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
            self.runs[made.task.run_id].commit(made, self.staged.pop(token, ()))
            if made.released:
                self.stale.append(held)
            else:
                self.repeats.append((worker, made))
        if ask is not None:
            self.took(worker, claims, limit)

    def renew(self, worker: Worker) -> list[Claim]:
        """Renew what a worker holds and what it no longer holds; what it holds and must kill."""
        mine = [held.claim for held in self.held.values() if held.worker is worker]
        past = [held.claim for held in self.stale if held.worker is worker]
        answer = worker.backend.renew(worker.id, [claim.task for claim in (*mine, *past)])
        told = {task.token: why for task, why in answer}
        assert {claim.task.token for claim in past} <= set(told)
        doomed = [claim for claim in mine if self.doomed(claim)]
        assert {claim.task.token for claim in mine if claim.task.token in told} == {
            claim.task.token for claim in doomed
        }
        assert all(told[claim.task.token] == "stop" for claim in doomed)
        return doomed

    # -- what goes wrong, and the end -------------------------------------------------------------

    def lose_touch(self, worker: Worker) -> None:
        """A worker is gone, and nobody has noticed yet."""
        for model in self.runs.values():
            model.orphan = model.orphan or (model.owner == worker.id)
        self.store.vanish(worker)
        self.gone.add(worker.id)

    def notice_adoptions(self) -> None:
        """A backend may give an orphan to everybody as soon as somebody asks for work."""
        for run_id, model in self.runs.items():
            if model.orphan and not self.store.run(run_id).owner:
                self.adopt(model)

    def notice_losses(self, model: ModelRun) -> None:
        """A backend may take back what vanished workers held of a run as soon as somebody stops it."""
        run_id = model.request.run_id
        shown = {node.path: node.state for node in self.store.backend.nodes(run_id)}
        for worker in self.gone:
            mine = [
                node for node in model.held(worker) if shown[node.path] is not NodeState.RUNNING
            ]
            lost = {node.token for node in mine}
            self.stale += [self.held.pop(token) for token in lost]
            for node in mine:
                model.lose_one(node)

    def adopt(self, model: ModelRun) -> None:
        """An orphan is anybody's, and its owner's tasks are lost."""
        run_id = model.request.run_id
        lost = [t for t, held in self.held.items() if held.claim.task.run_id == run_id]
        self.stale += [self.held.pop(token) for token in lost]
        model.adopt()

    def tick(self) -> None:
        """Somebody keeps house, so that what vanished workers held is noticed."""
        self.store.tick()
        for worker in self.gone:
            for model in self.runs.values():
                model.lose(worker)
        for model in self.runs.values():
            model.promote()
        lost = [token for token, held in self.held.items() if held.worker.id in self.gone]
        self.stale += [self.held.pop(token) for token in lost]
        self.gone.clear()

    def crash(self) -> None:
        """Every process ends, and as many others open the store."""
        for worker in self.workers:
            self.lose_touch(worker)
        self.store.reopen()
        self.tick()
        self.stale.clear()
        self.repeats.clear()
        self.workers = [self.store.worker(*flows, own=True) for flows in SKILLS]

    def remember(self) -> None:
        """Note what the store holds, and what is true of it."""
        self.remembered = Remembered(
            self.store.snapshot(),
            deepcopy(self.runs),
            dict(self.plans),
            dict(self.held),
            dict(self.staged),
            list(self.stale),
            set(self.gone),
        )

    def fall_back(self) -> None:
        """The store has lost all that was written since `remember`. Nobody is told: workers that still hold
        what they held then go on; late commits of what was claimed since are refused; what was committed
        since is held by nobody who knows, and comes back as from a vanished worker."""
        then, self.remembered = self.remembered, None
        assert then is not None
        self.store.restore(then.snapshot)
        lost = [held for token, held in self.held.items() if token not in then.held]
        before, self.held = self.held, dict(then.held)
        self.runs, self.plans, self.staged = (
            deepcopy(then.runs),
            dict(then.plans),
            dict(then.staged),
        )
        self.stale, self.gone, self.repeats = list(then.stale), set(then.gone), []
        self.revisions.clear()
        for held in lost:
            late = outcome(held.claim, step=Step(output=Payload(b"lost")))
            assert not held.worker.commit(late), "a claim that the store has lost was accepted"
        # they come back later too, when somebody else has been given the same once more
        self.stale += [held for held in lost if held.claim.task.run_id in self.runs]
        for holder in {held.worker.id: held.worker for held in self.held.values()}.values():
            mine = {token for token, held in self.held.items() if held.worker is holder}
            if holder in self.workers and mine <= before.keys():
                continue
            self.lose_touch(holder)
        known = {worker.id for worker in self.workers} | self.gone
        for place, worker in enumerate(self.workers):
            if worker.id in self.gone:
                self.workers[place] = self._another(worker, known)
        self.check()

    def _another(self, worker: Worker, known: set[int]) -> Worker:
        """A worker in its place, with a number that nobody has: the store may have forgotten some."""
        while (new := Worker(worker.backend, worker.flows)).id in known:
            continue
        known.add(new.id)
        return new

    def drain(self) -> None:
        """A healthy worker goes on alone: every run ends, and nothing is left to do."""
        for worker in self.workers:
            self.lose_touch(worker)
        self.tick()
        for run_id, model in self.runs.items():
            if model.state is RunState.PAUSED:
                self.store.backend.control(run_id, "resume")
                model.control("resume")
        healthy = self.store.worker(FLOW, OTHER)
        self.store.tick(healthy)
        while claims := healthy.claim(10):
            self.took(healthy, claims, 10)
            self.settle(healthy, [self.end(healthy, c, "succeed", 2) for c in claims])
        self.check()
        assert all(model.terminal for model in self.runs.values()), "an accepted run did not end"
        assert sum(self.store.backend.waiting().values()) == 0

    def check(self) -> None:
        """The backend tells every run as its model has it."""
        for run_id, model in self.runs.items():
            before = self.revisions.get(run_id, 0)
            self.revisions[run_id] = agree(self.store.backend, model, late=self.store.hooks.late)
            assert self.revisions[run_id] >= before
