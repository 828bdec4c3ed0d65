"""A worker without processes: claims from a real backend, executes here, commits. For many small runs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable

from goflow.backend import Ask, Backend, WorkerInfo
from goflow.child import describe
from goflow.engine import after_failure, step
from goflow.message import Claim, Input, Outcome
from goflow.workflow import Flow

#: which of the tasks at hand is executed next, and how many to ask for
Dice = Callable[[int, int], int]


class Hands:
    """Executes every task of one flow, in an order that the dice decide; counts what it executed."""

    def __init__(self, backend: Backend, flow: Flow, dice: Dice) -> None:
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
            failure = describe(error, task.path)
            delay, rescue = after_failure(self._flow.plan, task, failure)
            again = None if delay is None else time.time() + delay
            return Outcome(task, started, time.time(), None, failure, again, rescue)
        return Outcome(task, started, time.time(), made)
