"""What all wakers share: ears, and one file descriptor over them.

It stays the same when a connection is cut and made again. What there is to hear differs: for workers in
`queuewaker.py`, for those who wait for a run in `runwaker.py`.
"""

from __future__ import annotations

import os
import selectors
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import BackendError
from goflow_redis.ear import Ear

if TYPE_CHECKING:
    from goflow_redis.store import Store

#: seconds between two attempts to listen to a server that is away
PAUSE: Final = 0.05


class Waker(ABC):
    """What all wakers share: ears, and one descriptor over them that never changes."""

    #: entries of a stream that one wake-up hears
    most = 1

    def __init__(self, store: Store, ears: Sequence[Ear]) -> None:
        self._store = store
        self._selector = selectors.DefaultSelector()
        self._ears = ears
        self._sockets: dict[Ear, int] = {}
        self._alarm: tuple[int, int] | None = None
        try:
            self._attend_all()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to select on."""
        descriptor: int = self._selector.fileno()
        return descriptor

    def clear(self) -> None:
        """Forget the wake-ups so far; call it before looking, never after."""
        self._hear_all()
        self._silence()
        try:
            self._attend_all()
        except BackendError:
            time.sleep(PAUSE)
            self._ring()

    def _hear_all(self) -> None:
        """Hear what has been said. Who has spoken listens no more."""
        for key, _ in self._selector.select(0):
            if key.data in self._sockets:  # what another ear heard may have silenced it
                self._forget(key.data)
                self._heard(key.data, key.data.hear())

    def close(self) -> None:
        """Stop listening."""
        rung = {key.data for key, _ in self._selector.select(0)}
        for ear in self._ears:
            listening = ear in self._sockets
            self._forget(ear)
            if ear in rung:
                ear.hear()
            if ear in rung or not listening:
                ear.hand_on()
            else:  # an answer is still to come
                ear.close()
        self._silence()
        self._selector.close()

    def _attend_all(self) -> None:
        """Listen with every ear. Raises BackendError, once the others do, where one cannot and is missed."""
        missed = None
        for ear in self._missing():
            try:
                self._listen(ear, self._streams(ear))
            except BackendError as error:
                missed = error
        if missed is not None and not self._does_without():
            raise missed

    def _missing(self) -> list[Ear]:
        """Those that should listen and do not."""
        return [ear for ear in self._ears if ear not in self._sockets and not ear.lazy]

    def _does_without(self) -> bool:
        """Whether it is as well that some do not listen."""
        return False

    def _listen(self, ear: Ear, streams: dict[str, bytes]) -> None:
        socket = ear.listen(streams, self.most)
        self._sockets[ear] = socket
        self._selector.register(socket, selectors.EVENT_READ, ear)

    def _forget(self, ear: Ear) -> None:
        socket = self._sockets.pop(ear, None)
        if socket is not None:
            self._selector.unregister(socket)

    def _ring(self) -> None:
        """Stay readable: nobody may sleep on a connection that is not there."""
        if self._alarm is not None:
            return
        self._alarm = os.pipe()
        os.write(self._alarm[1], b".")
        self._selector.register(self._alarm[0], selectors.EVENT_READ)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._selector.unregister(self._alarm[0])
            for end in self._alarm:
                os.close(end)
            self._alarm = None

    def _heard(self, ear: Ear, answer: Any) -> None:  # noqa: B027 - usually there is nothing to do
        """What follows from what an ear heard: usually that there is something says it all."""

    @abstractmethod
    def _streams(self, ear: Ear) -> dict[str, bytes]:
        """The streams to wait on, and the ids of what is in them already."""
