"""One process's connection to a store, and the two kinds of transaction on it."""

# ruff: noqa: PTH103, PTH110, PTH118, PTH123 (pathlib costs 5 ms at every start)

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import apsw

from goflow.errors import BackendError
from goflow_local.liveness import Locks, OwnLocks, locks_of
from goflow_local.memory import Memory
from goflow_local.schema import connect
from goflow_local.sql import Connection
from goflow_local.trouble import translate

T = TypeVar("T")

_stores: weakref.WeakSet[Store] = weakref.WeakSet()
#: connections of a parent process: a forked child must neither use nor close them
_inherited: list[apsw.Connection] = []


class Store:
    """A connection, used by one thread at a time, and what this process remembers about the file.

    `path` is the database file, ":memory:" for a private one. `lease`, `retention` and `dead`
    (the retention of failed runs) are in seconds.
    """

    def __init__(
        self,
        path: str,
        sync: str,
        lease: float,
        retention: float,
        dead: float,
        *,
        traced: bool = False,
    ) -> None:
        self.path = path
        #: whether runs are to be told as traces
        self.traced = traced
        self.lease = lease
        self.retention = retention
        self.dead = dead
        #: ids of definitions by (flow, fingerprint), and of runs' requests; both never change
        self.definitions: dict[tuple[str, str], int] = {}
        self.requests: dict[int, Any] = {}
        #: workers that have asked for a run of their own: they adopt no other, even after its end
        self.owners: set[int] = set()
        #: when dead listeners were looked for, by the monotonic clock
        self.listeners_checked = 0.0
        #: when a worker here last came, or found its own sign of life overdue, by the monotonic clock: it cannot
        #: know what kept others from giving theirs until then
        self.blind_at = float("-inf")
        #: what the last transaction of `write_on` left, and the state of the file it is true of
        self._memory: Memory | None = None
        self._version = -1
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._bell: Any = None
        self._open = True
        try:
            self.locks: Locks = OwnLocks() if path == ":memory:" else _locks_beside(path)
            self._connection = connect(path, sync)
        except (apsw.Error, OSError) as error:
            raise translate(error, path) from None
        _stores.add(self)

    def keep_for_parent(self) -> None:
        """In a forked child: let no garbage collector close what is the parent's."""
        _inherited.append(self._connection)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do `work` on one consistent state of the store. Raises BackendError."""
        self._refuse_a_child()
        with self._mutex:
            connection = self._usable()
            try:
                connection.execute("BEGIN")
                try:
                    return work(cast(Connection, connection))
                finally:
                    connection.execute("COMMIT")
            except apsw.Error as error:
                raise translate(error, self.path) from None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` as one transaction, durable when this returns. Raises BackendError, StoreFull."""
        self._refuse_a_child()
        with self._mutex:
            self._memory = None
            return self._transact(lambda connection: work(cast(Connection, connection)))

    def write_on(self, work: Callable[[Connection, Memory], T]) -> T:
        """The same for work that goes on where the last such left off: it gets what that one remembered, unless
        anybody has written since, here or in another process."""
        self._refuse_a_child()
        with self._mutex:
            left, self._memory = self._memory, None
            kept = Memory()

            def whole(connection: apsw.Connection) -> T:
                nonlocal kept
                # counts what this connection has written, and what it finds that others have
                if left is not None and connection.data_version() == self._version:
                    kept = left
                return work(cast(Connection, connection), kept)

            answer = self._transact(whole)
            self._memory, self._version = kept, self._connection.data_version()
        return answer

    def _transact(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = self._usable()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                answer = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise translate(error, self.path) from None
        return answer

    def ring(self, ports: list[int]) -> None:
        """Wake the listeners on these ports."""
        if self._bell is None:
            from goflow_local.wake import Bell  # only with a listener; sockets cost milliseconds

            self._bell = Bell()
        self._bell.ring(ports)

    @property
    def closed(self) -> bool:
        """Whether there is no connection any more, or it is a parent process's."""
        return not self._open or self._pid != os.getpid()

    def close(self) -> None:
        """End the connection; harmless when repeated, and in a forked child."""
        if self.closed:
            return
        with self._mutex:
            self._open = False
            self._connection.close()
            if self._bell is not None:
                self._bell.close()

    def _refuse_a_child(self) -> None:
        """Before anything else: a parent's thread may have held the mutex while it forked."""
        if self._pid != os.getpid():
            raise BackendError(
                f"the store {self.path} was opened by the parent of this process:"
                " a forked child must open its own"
            )

    def _usable(self) -> apsw.Connection:
        if not self._open:
            raise BackendError(f"the store {self.path} is closed")
        if self._connection.in_transaction:  # an interrupt came before its work began
            self._connection.execute("ROLLBACK")
        return self._connection


def _after_fork() -> None:
    for store in _stores:
        store.keep_for_parent()


os.register_at_fork(after_in_child=_after_fork)


def _locks_beside(path: str) -> Locks:
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)  # payloads are nobody else's business
    mark = os.path.join(folder, ".gitignore")
    if not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write("*\n")
    return locks_of(os.path.join(folder, "workers.lock"))


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
