"""A local store in which everything happened at known times: what terminal pages are drawn from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from goflow.backend import Ask, Backend, Retry, WorkerInfo, load_backend
from goflow.config import load_config
from goflow.described import describe
from goflow.engine import after_failure, request, step
from goflow.host import register
from goflow.message import Claim, Outcome
from goflow.payload import Payload
from goflow.workflow import Context, Flow, Workflow, build

#: when the story begins, and when it is looked at, in seconds since the epoch
T = 1_700_000_000.0
NOW = T + 400.0


class Clock:
    """The time, as far as anybody in this process can tell."""

    def __init__(self) -> None:
        self.now = T

    def __call__(self) -> float:
        return self.now


def order(workflow: Workflow, context: Context) -> None:
    """fetch >> way (pays) >> each (20 parcels) >> report, where `charge` fails at first."""
    dag = workflow.dag

    def charge(data: bytes, options: dict[str, list[str]], context: Context) -> bytes:
        if context.attempt == 1 or options.get("broke"):
            raise ConnectionError("the bank \x1b[31mhung up")
        return data

    fetch = dag.node("fetch", lambda data: data)
    way = dag.conditional_branch("way", ["pay", "refuse"], lambda data: "pay")
    way["pay"].node("charge", charge, retries=1) >> way["pay"].node("receipt")
    way["refuse"].node("apologise")
    each = dag.foreach_branch("each", lambda data: range(20), aggregator=len)
    each.node("pack") >> each.node("send")
    fetch >> "way" >> "each" >> dag.node("report")
    workflow.finally_(lambda state: "")


#: how long nodes run, by the last part of their path, and how long after they were ready they start
TOOK: Mapping[str, float] = {
    "fetch": 2.5, "charge": 4.0, "receipt": 0.5, "pack": 1.5, "send": 3.0, "report": 0.25
}  # fmt: skip
WAITED = 0.75


class Story:
    """Drives a store by hand, one task after the other, with a clock of its own."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        config = load_config(folder, {"local.path": str(folder / "store")}, {})
        self.store: Backend = load_backend("local", config)
        self.clock = clock
        self.flow: Flow = build("order", order)
        register(self.store, self.flow)
        self.worker = self.store.enter(
            WorkerInfo(
                id=0, host="box", pid=4711, started=T - 3600, concurrency=4, flows=(self.flow.key,)
            )
        )

    def submit(self, run_id: str, **query: str) -> None:
        options = {name: [value] for name, value in query.items()}
        self.store.submit(request(self.flow.plan, run_id, Payload(b"parcels"), options))

    def work(self, until: Callable[[Claim], bool] = lambda claim: False) -> None:
        """Execute what is ready until there is nothing, or up to a task that is then held for ever."""
        ask = Ask(worker=self.worker, limit=1, flows=(self.flow.key,))
        while True:
            claims = self.store.claim(ask)
            if not claims:
                due = self.store.tick(self.worker)
                if due is None or due > NOW:
                    return
                self.clock.now = max(self.clock.now, due) + 0.01
                self.store.tick(self.worker)
                continue
            if until(claims[0]):
                return
            self.store.commit([self._execute(claims[0])])

    def _execute(self, claim: Claim) -> Outcome:
        task = claim.task
        name = task.path.rpartition("/")[2]
        started = self.clock.now + WAITED
        self.clock.now = finished = started + TOOK.get(name, 0.0)
        log = f"{name} says \x1b[2Jhello\n".encode() if name in ("fetch", "charge") else b""
        try:
            made = step(self.flow, task, claim.inputs)
        except ConnectionError as error:
            failure = describe(error, task.path)
            delay, _ = after_failure(self.flow.plan, task, failure)
            again = None if delay is None else finished + 1.0
            return Outcome(task, started, finished, failure=failure, retry_at=again, log=log)
        return Outcome(task, started, finished, step=made, log=log)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """A store below `folder` with a run that succeeded, one that failed twice, and one on its way. Its worker
    lives as long as the block."""
    clock = Clock()
    with mock.patch.object(time, "time", clock):
        story = Story(folder, clock)
        story.submit("done")
        story.work()
        story.submit("failed", broke="yes")
        story.work()
        clock.now += 60
        story.store.retry("failed", Retry())
        story.work()
        clock.now = NOW - 60
        story.submit("on-its-way")
        story.work(until=lambda claim: claim.task.path == "each[3]/send")
        clock.now = NOW
        story.submit("queued")
        yield
        story.store.leave(story.worker)
        story.store.close()
