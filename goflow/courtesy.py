"""How a child shares the processors with its supervisor.

Linux lets a process that slept go before the one that woke it. A child that gets its next task so takes the processor
from the supervisor, which has a few microseconds left to do; if the task computes, the supervisor waits for
milliseconds, and with it whichever child answers meanwhile, beside a processor that has nothing to do. A process of
SCHED_BATCH waits until the supervisor sleeps. The price: where others load the machine, it begins later by what
is left of their turn. So children whose tasks are small, or wait for something, stay as they are.
"""

from __future__ import annotations

import os
import sys
import time


class Courtesy:
    """This process's place among others while it waits: it changes with what its last tasks were like.

    `computing` is the processor time, in seconds, from which on a task or a batch of them counts as
    computing.
    """

    def __init__(self, computing: float) -> None:
        self._computing = computing
        self._spent = time.process_time()
        self._yields = False
        self._may = sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER

    def step_back(self) -> None:
        """To be called when an answer is out and nothing is at hand."""
        spent = time.process_time()
        computed, self._spent = spent - self._spent >= self._computing, spent
        if computed and self._may:
            self._yields = self._become(os.SCHED_BATCH)

    def step_up(self) -> None:
        """To be called when something has come."""
        if self._yields:
            self._yields = False
            self._become(os.SCHED_OTHER)

    def _become(self, policy: int) -> bool:
        try:
            os.sched_setscheduler(0, policy, os.sched_param(0))
        except OSError:  # a sandbox that forbids it
            self._may = False
        return self._may
