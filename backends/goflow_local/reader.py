"""The verbs of the seam that read runs: each is one look at the file, by a function of the module that it is told in.

Those modules are imported when they are used: most processes look at few things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from goflow.backend import Access, Attempt, LogLine, NodeRun, Run
from goflow.errors import GoflowError
from goflow.message import Request
from goflow.payload import Payload
from goflow.state import RunState
from goflow_local.store import Store

if TYPE_CHECKING:
    from goflow.glimpse import Glimpse, Glimpses
    from goflow.wholesale import Look


class Reader:
    """Reads the runs of a store. All raise UnknownRun for an id that it does not hold."""

    _store: Store

    def run(self, run_id: str) -> Run:
        """One run. Raises UnknownRun."""
        from goflow_local import reading

        return self._store.read(lambda c: reading.run(c, self._store.locks, run_id))

    def runs(
        self,
        flow: str | None = None,
        state: RunState | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """The newest runs first, or those older than one."""
        locks = self._store.locks
        from goflow_local import reading

        return self._store.read(lambda c: reading.runs(c, locks, flow, state, limit, before))

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made. Raises RunFailed, RunStopped, Conflict."""
        from goflow_local import reading

        return self._store.read(lambda c: reading.result(c, run_id))

    def results(self, run_ids: Sequence[str]) -> list[Look | GoflowError]:
        """Each run as it is now, with what it made."""
        from goflow_local import reading

        return self._store.read(lambda c: reading.results(c, self._store.locks, run_ids))

    def request(self, run_id: str) -> Request:
        """What was submitted."""
        from goflow_local import reading

        return self._store.read(lambda c: reading.request(c, run_id))

    def nodes(self, run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
        """The recorded node instances, in the order they were first ready."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.nodes(c, run_id, paths))

    def nodes_and_tries(self, run_id: str) -> tuple[list[NodeRun], list[Attempt]]:
        """Both in one look: of the attempts those that the nodes' own records do not tell."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.nodes_and_tries(c, run_id))

    def order_and_tries(self, run_id: str) -> tuple[list[str], list[Attempt]]:
        """The paths in their order, and the same attempts."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.order_and_tries(c, run_id))

    def node_pages(self, run_id: str) -> Iterator[Sequence[NodeRun]]:
        """All recorded node instances, a thousand at a time."""
        from goflow_local import nodes

        after = -1
        while True:
            page, after = self._store.read(lambda c: nodes.node_page(c, run_id, after))  # noqa: B023
            if not page:
                return
            yield page

    def arrivals(self, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
        """What has arrived at a node instance."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.arrivals(c, run_id, path))

    def output(self, run_id: str, path: str) -> Payload | None:
        """What a node instance recorded."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.output(c, run_id, path))

    def glimpse_request(self, run_id: str, most: int) -> tuple[Request, int]:
        """What was submitted, its payload cut; and the bytes that payload has."""
        from goflow_local import glimpse

        return self._store.read(lambda c: glimpse.request(c, run_id, most))

    def glimpse_output(self, run_id: str, path: str | None, most: int) -> Glimpse | None:
        """The beginning of what a node instance recorded, or of the run's result."""
        from goflow_local import glimpse

        return self._store.read(lambda c: glimpse.output(c, run_id, path, most))

    def glimpse_arrivals(self, run_id: str, path: str, most: int, count: int) -> Glimpses:
        """The beginnings of the first arrivals at a node instance, and how many there are."""
        from goflow_local import glimpse

        return self._store.read(lambda c: glimpse.arrivals(c, run_id, path, most, count))

    def last_logs(self, run_id: str, path: str | None, most: int) -> list[LogLine]:
        """The last pieces of what its nodes printed."""
        from goflow_local import logs

        return self._store.read(lambda c: logs.last_logs(c, run_id, path, most))

    def attempts_at(self, run_id: str, path: str) -> list[Attempt]:
        """Every recorded attempt at one node instance, oldest first."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.attempts(c, run_id, path))

    def attempts(self, run_id: str) -> list[Attempt]:
        """Every recorded attempt of every round, oldest first."""
        from goflow_local import nodes

        return self._store.read(lambda c: nodes.attempts(c, run_id))

    def logs(
        self, run_id: str, path: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogLine]:
        """What its nodes printed, from the piece after `after`, at most `limit` pieces."""
        from goflow_local import logs

        return self._store.read(lambda c: logs.logs(c, run_id, path, after, limit))

    def context(self, run_id: str, key: str) -> Payload | None:
        """A value of the run's shared store."""
        return self.present(run_id, key)[1]

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value."""
        from goflow_local import values

        return self._store.read(lambda c: values.present(c, run_id, key))

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was. Raises VersionGone where that is not kept."""
        from goflow_local import values

        return self._store.read(lambda c: values.version(c, run_id, key, number))

    def accesses(self, run_id: str) -> list[Access]:
        """What attempts of every round read and wrote, in the order they were recorded."""
        from goflow_local import values

        return self._store.read(lambda c: values.accesses(c, run_id))

    def context_keys(self, run_id: str) -> list[str]:
        """The keys of the run's shared store, sorted."""
        from goflow_local import values

        return self._store.read(lambda c: values.keys(c, run_id))
