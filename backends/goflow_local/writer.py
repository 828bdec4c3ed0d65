"""How the verbs of the seam write: one transaction, and then those who listen are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from goflow.backend import Run
from goflow_local.change import Change
from goflow_local.memory import Memory
from goflow_local.reader import Reader
from goflow_local.rows import RunRow, run_of
from goflow_local.sql import Connection

T = TypeVar("T")


class Writer(Reader):
    """Changes a store."""

    def _change(self, work: Callable[[Change], T]) -> T:
        """One write transaction, then its wake-ups."""
        return self._rung(self._store.write(lambda connection: self._worked(work, connection)))

    def _worked(
        self, work: Callable[[Change], T], connection: Connection, memory: Memory | None = None
    ) -> tuple[T, list[int]]:
        change = Change(self._store, connection, memory)
        answer = work(change)
        return answer, change.finish()

    def _rung(self, done: tuple[T, list[int]]) -> T:
        answer, ports = done
        if ports:
            self._store.ring(ports)
        return answer

    def _change_run(self, run_id: str, work: Callable[[Change, RunRow], None]) -> Run:
        """Change a run, and answer what it is now."""

        def whole(change: Change) -> RunRow:
            run = change.named(run_id)
            work(change, run)
            return run

        return self._seen(self._change(whole))

    def _seen(self, run: RunRow) -> Run:
        from goflow_local.reading import abandoned

        return run_of(run, abandoned(run, self._store.locks))
