"""How many tasks travel together: as many as make about a millisecond of work.

A supervisor that hands over one small task at a time spends more on the handing over than the child on
the task; one that hands over many makes short work wait behind long. So the expected duration of every
node is learnt, and only tasks of nodes known to be small share a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from goflow.backend import FlowKey
from goflow.message import Claim, Task
from goflow.nodepath import is_planned
from goflow.plan import Node
from goflow.workflow import Flow

#: how much work a batch holds, in seconds, and at most how many tasks
BATCH_SECONDS: Final = 0.001
BATCH_TASKS: Final = 32
#: work that is not worth the waking of a second child, in seconds
UNSHARED: Final = 0.0002
#: a new measurement's weight in what is expected
_WEIGHT: Final = 0.3


class Pace:
    """What is known of how long the nodes of some flows take."""

    def __init__(self, flows: Mapping[FlowKey, Flow]) -> None:
        self._flows = flows
        self._expected: dict[tuple[FlowKey, str], float] = {}
        self._recent = BATCH_SECONDS
        self._flowing = False
        self._careful = any(
            node.on_worker_lost == "fail" for flow in flows.values() for _, node in flow.plan.walk()
        )

    def learn(self, task: Task, seconds: float) -> None:
        """A task was executed in this time."""
        seconds = max(seconds, 1e-5)
        key = self._key(task)
        before = self._expected.get(key, seconds)
        self._expected[key] = before + (seconds - before) * _WEIGHT
        self._recent += (seconds - self._recent) * _WEIGHT
        self._flowing = self._recent < BATCH_SECONDS

    def stuck(self) -> None:
        """What was claimed ahead found no child in time."""
        self._flowing = False

    @property
    def size(self) -> int:
        """How many tasks one child can be expected to take at a time, as work goes now."""
        return max(1, min(BATCH_TASKS, int(BATCH_SECONDS / self._recent)))

    @property
    def ahead(self) -> int:
        """How many small tasks to have at hand for a child that is busy still: it need not wait for the
        store.

        None where they take longer, since a child gets those with the commit of what it has done (see
        `Child.owes`), or where a node's policy is to fail with its worker: that one would have failed
        without having begun.
        """
        return self.size if self._flowing and not self._careful else 0

    def batch(self, backlog: deque[Claim], children: int) -> list[Claim]:
        """Take the next batch off the backlog, which `children` free children share where it is worth that."""
        share = -(-len(backlog) // children)
        batch = [backlog.popleft()]
        total = self._small(batch[0]) if backlog else None
        while total is not None and backlog and len(batch) < BATCH_TASKS:
            seconds = self._small(backlog[0])
            most = UNSHARED if len(batch) >= share else BATCH_SECONDS
            if seconds is None or total + seconds > most:
                break
            total += seconds
            batch.append(backlog.popleft())
        return batch

    def timeout(self, task: Task) -> float | None:
        """The seconds a task may take, None for no limit."""
        node = self._node(task)
        return None if node is None else node.timeout

    def _small(self, claim: Claim) -> float | None:
        """A task's expected seconds where it may travel in company, else None.

        Not one that lost its worker (it may be what kills them), has a timeout (its clock starts when it is
        handed over), must not run twice (its result would die with the company) or brings more inputs
        than one message holds.
        """
        task = claim.task
        node = self._node(task)
        if node is None or node.timeout is not None or node.on_worker_lost == "fail":
            return None
        if task.lost or not claim.complete:
            return None
        seconds = self._expected.get(self._key(task))
        return seconds if seconds is not None and seconds <= BATCH_SECONDS / 2 else None

    def _node(self, task: Task) -> Node | None:
        """The node, None for handlers and joins of scopes."""
        if not is_planned(task.path):
            return None
        return self._flows[task.flow, task.fingerprint].plan.locate(task.path).node

    def _key(self, task: Task) -> tuple[FlowKey, str]:
        key = (task.flow, task.fingerprint)
        if not is_planned(task.path):
            return key, "~"
        return key, self._flows[key].plan.locate(task.path).static
