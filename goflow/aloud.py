"""What running tasks print, recorded while they run, so that it can be followed.

Once a second at most, all of a worker's at once, and only what a task has printed that has taken as long:
small tasks never pay for it. What a store does not take now stays with the task, and the commit has it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from goflow.backend import Backend, Printing
from goflow.errors import BackendError
from goflow.process import Child

#: seconds between two records, and from a task's start to its first
PAUSE: Final = 1.0


class Aloud:
    """Records what the tasks of these children print, where the store can."""

    def __init__(self, backend: Backend, children: Sequence[Child]) -> None:
        self._store = backend if isinstance(backend, Printing) else None
        self._children = children
        self._last = 0.0
        #: whether the store did not take all of it the last time. It may have taken some: each goes by itself then, so
        #: that what a store in part could take is not recorded once a second
        self._apart = False

    def due(self, child: Child) -> float | None:
        """When (monotonic) to record what a busy child's task has printed; None where there is nothing."""
        if self._store is None or not child.log.waits:
            return None
        return max(child.clock, self._last) + PAUSE

    def record(self) -> None:
        """Record all that is due."""
        now = time.monotonic()
        if self._store is None:
            return
        loud = [child for child in self._children if child.claims and self._over(child, now)]
        pieces = [(child, piece) for child in loud if (piece := child.log.piece())]
        together = [[pair] for pair in pieces] if self._apart else [pieces] if pieces else []
        self._apart = False
        for some in together:
            try:
                self._store.printed([(child.claims[0].task, piece) for child, piece in some])
            except BackendError:
                self._apart = True
                continue
            for child, piece in some:
                child.log.recorded(piece)
        if loud:
            self._last = time.monotonic()

    def _over(self, child: Child, now: float) -> bool:
        due = self.due(child)
        return due is not None and now >= due
