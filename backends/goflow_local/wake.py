"""Wake-ups without polling: a datagram to every socket that listens for what has changed.

Listeners are rows (port, topic) in the store, so whoever commits knows whom to tell. A datagram says
only "look"; one too many is harmless, and none is sent before the commit it tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Final

from goflow.errors import BackendError
from goflow_local.liveness import LISTENERS
from goflow_local.reading import find
from goflow_local.rows import WORK
from goflow_local.sql import Connection
from goflow_local.store import Store

_LOOPBACK: Final = "127.0.0.1"
_BUFFER: Final = 64


def listen(store: Store, run_id: str | None) -> SocketWaker:
    """A waker for a run, or for anything claimable. Its lock tells others that it is still there."""
    try:
        waker = SocketWaker()
    except OSError as error:
        raise BackendError(
            f"cannot listen on {_LOOPBACK} for news of the store {store.path}: {error.strerror}"
        ) from None

    def write(connection: Connection) -> int:
        topic = WORK if run_id is None else find(connection, run_id).key
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
