"""When new runs come so fast that a worker waits for company.

An exchange with the store costs some 0.1 ms of processor time on either side, whatever it carries. A worker that
asks again at once gets the one run that came meanwhile, and spends more on the asking than on the work. So
while small runs rush in it holds its next exchange for a moment: its results and the runs that have come by then
travel together. A run that comes alone never waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Final

from goflow.backend import FlowKey
from goflow.message import Claim
from goflow.workflow import Flow

#: seconds from one exchange to the next while runs rush in: what a node then waits longer, at most
HOLD: Final = 0.003
#: they do while one comes at least every so many seconds
INTERVAL: Final = 0.002
#: seconds after which a run counts for a third of one that has just come
MEMORY: Final = 0.02


class Rush:
    """What is known of how fast runs of some flows come.

    >>> from goflow.message import Task
    >>> from goflow.workflow import build
    >>> flow = build("single", lambda workflow, context: workflow.dag.node("a"))
    >>> claims = [Claim(Task("run", *flow.key, "a", "token"), ())] * 20
    >>> rush = Rush({flow.key: flow})
    >>> rush.came(claims, rest=False, now=7.0)
    >>> rush.until == 7.0 + HOLD
    True
    """

    def __init__(self, flows: Mapping[FlowKey, Flow]) -> None:
        self._starts = {key: frozenset(flow.plan.graph.starts) for key, flow in flows.items()}
        self._recent = self._seen = 0.0
        #: until when (monotonic) the next exchange is held
        self.until = 0.0

    def came(self, claims: Sequence[Claim], *, rest: bool, now: float) -> None:
        """An exchange brought these at `now` (monotonic). `rest`: the store may have more of them, which
        are worth asking for at once."""
        new = 0
        for claim in claims:
            task = claim.task
            new += task.path in self._starts[task.flow, task.fingerprint]
        self._recent = self._recent * exp((self._seen - now) / MEMORY) + new
        self._seen = now
        rushing = self._recent > MEMORY / INTERVAL
        self.until = now + HOLD if rushing and not rest else 0.0
