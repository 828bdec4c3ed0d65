"""What a killed worker had begun in vain: for nodes of a millisecond or more, one task a child at most.

The supervisor is killed where it costs most: with a result in its hands that the store does not have yet, and
after all that its children could begin meanwhile has begun.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Local
from goflow.message import Claim, Outcome
from goflow.worker import Worker
from goflow.workflow import Flow, build
from goflow_local import LocalBackend
from tests.worker.bench import Bench, note, trace

CHILDREN = 2
COUNT = 150
#: the first node that takes long, where the earlier ones are small
TURN = 60


class Dying(LocalBackend):
    """Ends its process around the commit of a node that took long, having given the children time."""

    late = False

    def commit(
        self, outcomes: Sequence[Outcome], ask: Ask | None = None
    ) -> tuple[list[bool], list[Claim]]:
        fatal = any(number(o.task.path) >= TURN for o in outcomes)
        if self.late or not fatal:
            answer = super().commit(outcomes, ask)
        if fatal:
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def number(path: str) -> int:
    """Which scope's node this is, -1 for none."""
    return int(path[len("each[") : path.index("]")]) if path.endswith("]/work") else -1


def flow_of(folder: Path, early: float) -> Flow:
    """Nodes of 3 ms. Those before TURN take `early` seconds."""

    def work(data: int) -> None:
        note(folder, str(data))
        time.sleep(0.003 if data >= TURN else early)

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.foreach_branch("each", lambda data: range(COUNT)).node("work", work)

    return build("flow", define)


def die_working(folder: Path, flow: Flow, late: bool) -> None:
    """A worker in a process of its own, until that is gone."""
    pid = os.fork()
    if not pid:
        try:
            store = Dying.open("local", Config(local=Local(path=str(folder / "store"))))
            assert isinstance(store, Dying)
            store.late = late
            info = WorkerInfo(
                id=0,
                host="here",
                pid=os.getpid(),
                started=time.time(),
                concurrency=CHILDREN,
                flows=(flow.key,),
            )
            Worker(store, [flow], store.enter(info), concurrency=CHILDREN).run()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.parametrize("late", [False, True], ids=["before the commit", "after it"])
@pytest.mark.parametrize("early", [0.003, 0.0], ids=["steady", "turned slow"])
def test_a_killed_worker_has_begun_one_task_a_child_in_vain(
    bench: Bench, tmp_path: Path, early: float, late: bool
) -> None:
    """Steady nodes are handed out one by one; nodes that were small until now, in batches."""
    flow = flow_of(tmp_path, early)
    run = bench.submit(flow)
    die_working(tmp_path, flow, late)
    [ended] = bench.work([flow], run)
    assert ended.state == "succeeded", ended.error
    times = Counter(int(line) for line in trace(tmp_path))
    assert set(times) == set(range(COUNT))
    repeated = {n: count - 1 for n, count in times.items() if count > 1 and n >= TURN}
    assert sum(repeated.values()) <= CHILDREN, repeated
    assert repeated or late, "it was killed when nothing was at hand"
