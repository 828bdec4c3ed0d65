"""A worker without processes: claims from a real backend, executes here, commits. For many small runs."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from goflow import RunFailed
from goflow.backend import Ask, Backend, Retry, WorkerInfo
from goflow.described import describe
from goflow.engine import after_failure, request, step
from goflow.message import Claim, Input, Outcome
from goflow.rewind import rewind_from
from goflow.workflow import Flow as Defined
from goflow.workflow import build
from tests.properties.reference import Told
from tests.properties.shapes import Flow, define

HANDLERS = ("~on_failure", "~finally")

#: which of the tasks at hand is executed next, and how many to ask for
Dice = Callable[[int, int], int]


class Hands:
    """Executes every task of one flow, in an order that the dice decide; counts what it executed."""

    def __init__(self, backend: Backend, flow: Defined, dice: Dice) -> None:
        self._backend = backend
        self._flow = flow
        self._dice = dice
        self.executed: Counter[str] = Counter()
        info = WorkerInfo(
            id=0, host="here", pid=os.getpid(), started=0.0, concurrency=1, flows=(flow.key,)
        )
        self._id = backend.enter(info)

    def work(self) -> None:
        """Until nothing is ready and nothing is due."""
        backlog: list[Claim] = []
        done: list[Outcome] = []
        while True:
            ask = Ask(worker=self._id, limit=self._dice(1, 4), flows=(self._flow.key,))
            if done:
                accepted, claims = self._backend.commit(done, ask)
                assert all(accepted)
                done = []
            else:
                claims = self._backend.claim(ask)
            backlog += claims
            if not backlog:
                due = self._backend.tick(self._id)
                if due is None or due > time.time() + 1:
                    if not (late := self._backend.claim(ask)):
                        return
                    backlog += late
                continue
            for _ in range(self._dice(1, len(backlog))):
                done.append(self._execute(backlog.pop(self._dice(0, len(backlog) - 1))))

    def _execute(self, claim: Claim) -> Outcome:
        task, inputs = claim.task, list(claim.inputs)
        if not claim.complete:
            inputs = [Input(*pair) for chunk in self._backend.inputs(task) for pair in chunk]
        self.executed[task.path] += 1
        started = time.time()
        try:
            made = step(
                self._flow,
                task,
                inputs,
                read=lambda key: self._backend.context(task.run_id, key),
                stage=lambda items: self._backend.stage(task, items),
            )
        except Exception as error:
            failure = replace(describe(error, task.path), attempt=task.attempt)
            delay, rescue = after_failure(self._flow.plan, task, failure)
            again = None if delay is None else time.time() + delay
            return Outcome(task, started, time.time(), None, failure, again, rescue)
        return Outcome(task, started, time.time(), made)


class ByHand:
    """One run of a shape over a store, worked off in an order that a seed decides."""

    def __init__(self, backend: Backend, shape: Flow, seed: int) -> None:
        self.backend = backend
        self.flow = build("random", define(shape))
        self.id = f"run-{next(_numbers)}"
        self.hands = Hands(backend, self.flow, random.Random(seed).randint)
        backend.submit(request(self.flow.plan, self.id, shape.payload()))
        self.hands.work()

    @property
    def paths(self) -> list[str]:
        """What `goflow retry --from` may name."""
        recorded = [node.path for node in self.backend.nodes(self.id)]
        return [path for path in recorded if not path.startswith("~") and not path.endswith("]")]

    @property
    def executed(self) -> dict[str, int]:
        return {path: n for path, n in self.hands.executed.items() if path not in HANDLERS}

    def again(self, path: str) -> None:
        """`goflow retry --from PATH`, worked off."""
        self.hands.executed.clear()
        self.backend.retry(self.id, Retry(rewind=rewind_from(self.flow.plan, path)))
        self.hands.work()


_numbers = count(1)


def ends_as_told(backend: Backend, run_id: str, told: Told) -> bool:
    """Whether the run succeeded; what it made, or where it failed, is what the reference says."""
    run = backend.run(run_id)
    assert run.state.terminal
    try:
        result = backend.result(run_id)
    except RunFailed:
        assert run.failure is not None
        assert run.failure.node in told.failed
        return False
    assert not told.failed
    assert result == told.result
    recorded = {node.path for node in backend.nodes(run_id)} - {*HANDLERS}
    assert recorded == told.outputs.keys()
    for path, output in told.outputs.items():
        assert backend.output(run_id, path) == output
    return True
