"""The children of a worker: started when there is work for them, at most so many, and ended with it."""

from __future__ import annotations

from collections.abc import Sequence

from goflow import starting
from goflow.blobs.carrier import Carrier
from goflow.process import Child
from goflow.workflow import Flow


class Pool:
    """Up to `size` children, started when there is work for them."""

    def __init__(
        self,
        flows: Sequence[Flow],
        size: int,
        *,
        start_method: str | None = None,
        log_limit: int,
        carrier: Carrier | None = None,
    ) -> None:
        method = start_method or starting.start_method()
        self._context = starting.context(method)
        self._source = starting.source(flows, method)
        self._log_limit = log_limit
        self._carrier = carrier
        self.size = size
        self.children: list[Child] = []

    def idle(self) -> Child | None:
        """A child with nothing to do."""
        return next((c for c in self.children if not c.claims and not c.owes), None)

    @property
    def room(self) -> int:
        """How many tasks could start with the next commit, counting children not started yet."""
        busy = sum(1 for child in self.children if child.claims)
        return self.size - busy

    @property
    def free(self) -> int:
        """How many of these could start at once."""
        return self.size - sum(1 for child in self.children if child.claims or child.owes)

    def start(self) -> Child:
        """One more child."""
        child = Child(self._context, self._source, self._carrier, self.children, self._log_limit)
        self.children.append(child)
        return child

    def remove(self, child: Child) -> None:
        """A child that is dead or must be."""
        self.children.remove(child)
        child.close()

    def close(self) -> None:
        """End all of them."""
        for child in self.children:
            child.kill("the worker ends")
        for child in list(self.children):
            self.remove(child)
