"""One connection that waits without polling: a plain `XREAD BLOCK` that was sent and not yet answered.

`XREAD` delivers nothing, so no task can be lost in a wake-up, and it starts from ids that were read before the
caller looks, so nothing added since is missed. Every few minutes it answers by itself.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import BackendError
from goflow_redis.words import Word

if TYPE_CHECKING:
    from goflow_redis.line import Line
    from goflow_redis.store import Store

#: ms a wait lasts before it is begun anew; well below WATCH_LIFE
PATIENCE: Final = 600_000


class Ear:
    """One connection with one XREAD under way, to the server that has `key`."""

    def __init__(self, store: Store, key: str, *, lazy: bool = False) -> None:
        self._store = store
        self.key = key
        #: listens when it is told to, not by itself
        self.lazy = lazy
        #: what it listens for
        self.streams: dict[str, bytes] = {}
        self._line: Line | None = None
        self._socket = -1

    def listen(self, streams: dict[str, bytes], most: int) -> int:
        """Wait for what comes after these ids, and to hear at most so many entries; answers the socket to
        select on. Raises BackendError."""
        self.streams = streams
        link, wait = self._store.link, ("XREAD", "COUNT", most, "BLOCK", PATIENCE, "STREAMS")
        command: tuple[Word, ...] = (*wait, *streams, *streams.values())
        if self._line is None:
            self._line = link.listener(self.key)
        try:
            self._socket = self._line.say(command)
            return self._socket
        except OSError:
            # it was kept, and cut meanwhile; then the others that are kept may be as well
            self.close()
            link.drop_spares()
        self._line = link.listener(self.key)
        try:
            self._socket = self._line.say(command)
        except OSError as error:
            self.close()
            raise BackendError(f"{link.name}: the connection was cut") from error
        return self._socket

    def answered(self) -> bool:
        """Whether there is an answer to hear."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def hear(self) -> Any:
        """The answer, whatever it is. A cut connection or a demoted master is begun anew: then an
        exception is the answer."""
        assert self._line is not None
        try:
            answer = self._line.hear()
        except Exception as error:  # noqa: BLE001 - there is one cure for all of them
            answer = error
        if isinstance(answer, Exception):
            self.close()
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def hand_on(self) -> None:
        """Let go of a connection on which nothing is under way; the next waker finds it made."""
        if self._line is not None and self._store.link.hand_on(self._line):
            self._line = None
        self.close()
