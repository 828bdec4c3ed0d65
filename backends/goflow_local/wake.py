"""Wake-ups without polling: a datagram to every socket that listens for what has changed.

Listeners are rows (port, topic) in the store, so whoever commits knows whom to tell. A datagram says
only "look"; one too many is harmless, and none is sent before the commit it tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Final, TypeVar

from goflow.errors import BackendError
from goflow_local.liveness import LISTENERS
from goflow_local.reading import ended_since, find
from goflow_local.rows import ENDS, WORK
from goflow_local.sql import Connection
from goflow_local.store import Store, now

W = TypeVar("W", bound="SocketWaker")

_LOOPBACK: Final = "127.0.0.1"
_BUFFER: Final = 64


def listen(store: Store, run_id: str | None) -> SocketWaker:
    """A waker for a run, or for anything claimable."""
    return _registered(
        store, SocketWaker, lambda c: WORK if run_id is None else find(c, run_id).key
    )


def listen_for_ends(store: Store) -> EndsWaker:
    """A waker for runs that end."""
    return _registered(store, lambda: EndsWaker(store), lambda _: ENDS)


def _registered(store: Store, make: Callable[[], W], topic_of: Callable[[Connection], int]) -> W:
    """A waker that those who write know of. Its lock tells others that it is still there."""
    try:
        waker = make()
    except OSError as error:
        raise BackendError(
            f"cannot listen on {_LOOPBACK} for news of the store {store.path}: {error.strerror}"
        ) from None

    def write(connection: Connection) -> int:
        topic = topic_of(connection)
        while True:
            row = (waker.port, topic)
            connection.execute("INSERT INTO listener (port, topic) VALUES (?, ?)", row)
            listener = connection.last_insert_rowid()
            if store.locks.hold(LISTENERS + listener):
                return listener
            connection.execute("DELETE FROM listener WHERE id = ?", (listener,))

    def forget() -> None:
        store.locks.drop(LISTENERS + listener)
        if store.closed:
            return
        statement = "DELETE FROM listener WHERE id = ?"
        with suppress(BackendError):  # without its lock, housekeeping finds the row
            store.write(lambda connection: connection.execute(statement, (listener,)))

    try:
        listener = store.write(write)
    except BaseException:
        waker.close()
        raise
    waker.on_close(forget)
    return waker


class SocketWaker:
    """A socket that becomes readable. `forget` is called once, when it is closed."""

    def __init__(self) -> None:
        self._socket = socket(AF_INET, SOCK_DGRAM)
        self._forget: Callable[[], None] = lambda: None
        self._socket.setblocking(False)
        try:
            self._socket.bind((_LOOPBACK, 0))
        except OSError:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """Where datagrams for it go."""
        port: int = self._socket.getsockname()[1]
        return port

    def on_close(self, forget: Callable[[], None]) -> None:
        """What to do when nobody listens any more."""
        self._forget = forget

    def fileno(self) -> int:
        """For `select`; readable once there was a wake-up."""
        return self._socket.fileno()

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(_BUFFER)

    def close(self) -> None:
        """Listen no more; harmless when repeated."""
        forget, self._forget = self._forget, lambda: None
        self._socket.close()
        forget()

    def __enter__(self) -> SocketWaker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class EndsWaker(SocketWaker):
    """Wakes when runs have ended, and tells which: those whose end is no earlier than the last one told.

    A clock that was set back hides ends until it has caught up.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._since = now()
        self._told: set[str] = set()

    def ended(self, wanted: Container[str]) -> dict[str, None]:
        """Names of the wanted runs that have ended since it was asked last."""
        since = self._since
        found = self._store.read(lambda connection: ended_since(connection, since))
        self._since = max((at for _, at in found), default=since)
        told = self._told
        fresh = dict.fromkeys(name for name, _ in found if name not in told and name in wanted)
        self._told = {name for name, at in found if at == self._since}
        return fresh


class Bell:
    """Sends the datagrams of one store."""

    def __init__(self) -> None:
        self._socket = socket(AF_INET, SOCK_DGRAM)
        self._socket.setblocking(False)

    def ring(self, ports: Iterable[int]) -> None:
        """Wake these. A full buffer means that they have been told already."""
        for port in ports:
            with suppress(OSError):
                self._socket.sendto(b".", (_LOOPBACK, port))

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
