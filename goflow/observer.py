"""What a worker tells whoever watches it: a terminal, a log, a test."""

from __future__ import annotations

from typing import Protocol

from goflow.errors import BackendError
from goflow.message import Outcome, Task


class Observer(Protocol):
    """What a worker tells whoever watches it; every method is optional work."""

    def started(self, task: Task) -> None: ...

    def printed(self, task: Task, data: bytes) -> None: ...

    def finished(self, outcome: Outcome, accepted: bool) -> None: ...

    def troubled(self, error: BackendError) -> None: ...

    def draining(self, running: int, grace: float) -> None:
        """It claims nothing more; so many tasks are under way and have `grace` seconds to end."""
        ...

    def pulse(self) -> float | None:
        """Called on every turn of the loop; answers in how many seconds to be called again."""
        ...


class Quiet:
    """An observer that looks away."""

    def started(self, task: Task) -> None:
        """Ignore it."""

    def printed(self, task: Task, data: bytes) -> None:
        """Ignore it."""

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        """Ignore it."""

    def troubled(self, error: BackendError) -> None:
        """Ignore it."""

    def draining(self, running: int, grace: float) -> None:
        """Ignore it."""

    def pulse(self) -> float | None:
        """Needs no clock."""
        return None
