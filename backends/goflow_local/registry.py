"""The verbs of the seam beside runs: who works, which flows there are, what traces and figures tell, and doctor.

The modules that do it are imported when they are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from goflow.backend import Definition, Finding, FlowKey, WorkerInfo
from goflow_local.writer import Writer

if TYPE_CHECKING:
    from goflow.config import Config
    from goflow.figures import Figures, Name
    from goflow.untold import Ended


class Registry(Writer):
    """What a store knows beside runs."""

    def enter(self, info: WorkerInfo) -> int:
        """Register a worker; answers its id."""
        from goflow_local import directory

        return self._change(lambda change: directory.enter(change, info))

    def leave(self, worker: int) -> None:
        """It works no more; what it holds is ready again."""
        from goflow_local.reaping import take_back

        self._store.locks.drop(worker)
        self._change(lambda change: take_back(change, worker, dead=True))

    def workers(self) -> list[WorkerInfo]:
        """All workers that have not left."""
        from goflow_local import directory

        store = self._store
        return store.read(lambda c: directory.workers(c, store.locks, store.lease))

    def register(self, definition: Definition) -> None:
        """Remember a definition, now the flow's present one."""
        from goflow_local import directory

        self._store.write(lambda connection: directory.register(connection, definition))

    def definition(self, flow: str, fingerprint: str | None = None) -> Definition:
        """The present one, or that with the fingerprint. Raises UnknownFlow."""
        from goflow_local import directory

        return self._store.read(lambda c: directory.definition(c, flow, fingerprint))

    def definitions(self) -> list[Definition]:
        """The present definition of every flow, by name."""
        from goflow_local import directory

        return self._store.read(directory.definitions)

    def waiting(self) -> dict[FlowKey, int]:
        """How many ready tasks wait, by the definition they need."""
        from goflow_local import directory

        return self._store.read(directory.waiting)

    def identity(self) -> str:
        """What tells this store from every other."""
        from goflow_local import directory

        return self._store.write(directory.identity)

    def remember(self, name: str, seconds: float) -> bool:
        """True the first time a name is seen within its lifetime."""
        from goflow_local import directory

        return self._store.write(lambda c: directory.remember(c, name, seconds))

    # -- what is told of runs ---------------------------------------------------------------------

    def elsewhere(self, config: Config) -> Config | None:
        """The configuration with which another process opens the same store; None where none can."""
        path = self._store.path
        if path == ":memory:":
            return None
        from urllib.parse import quote

        from msgspec.structs import replace

        return replace(config, backend=f"file://{quote(os.path.dirname(path))}")

    @property
    def traced(self) -> bool:
        """Whether runs are to be told as traces."""
        return self._store.traced

    @traced.setter
    def traced(self, on: bool) -> None:
        self._store.traced = on

    def untold(self, limit: int, lease: float) -> list[Ended]:
        """Ended runs whose traces nobody has told or is telling."""
        from goflow_local import untold

        if not self._store.read(untold.any_untold):
            return []
        return self._store.write(lambda c: untold.untold(c, limit, lease))

    def telling(self, ended: Sequence[Ended], lease: float) -> None:
        """Nobody else gets these for a while."""
        from goflow_local import untold

        self._store.write(lambda c: untold.telling(c, ended, lease))

    def told(self, ended: Sequence[Ended]) -> None:
        """They are told."""
        from goflow_local import untold

        self._store.write(lambda c: untold.told(c, ended))

    def count(self, worker: int, numbers: Mapping[Name, int]) -> None:
        """Add what a worker has counted."""
        from goflow_local import untold

        self._store.write(lambda c: untold.count(c, numbers))

    def figures(self) -> Figures:
        """What was counted."""
        from goflow_local import untold

        return self._store.read(untold.figures)

    # -- doctor -----------------------------------------------------------------------------------

    def diagnose(self, fix: bool) -> list[Finding]:
        """What `goflow doctor` tells of this store."""
        from goflow_local.doctor import diagnose

        return diagnose(self._store, fix)
