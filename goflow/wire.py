"""Whole messages between a supervisor and a child: one system call to send one, mostly one to receive one.

`multiprocessing` does the same with three and some Python around each, which a worker of small nodes feels.
"""

from __future__ import annotations

import os
import select
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multiprocess.connection import Connection

_LENGTH: Final = Struct("!Q")
#: how many bytes are asked for at a time, at least and at most
_READ: Final = 1 << 16
_GULP: Final = 1 << 24
#: bytes that no message has (1 TiB): what claims more was written by user code that found the descriptor
_ABSURD: Final = 1 << 40
#: bytes from which a message is neither put behind its length nor taken out of what was read: both would have it
#: in memory once more. Smaller ones are, which is quicker
_LARGE: Final = 1 << 18


class Garbled(Exception):
    """What came is no message; nothing that comes after it can be told apart any more."""


class Wire:
    """A child's end of a connection that carries messages both ways. It blocks; errors are OSErrors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection  # which closes the descriptor when nobody needs it any more
        self._file = connection.fileno()
        self._held = bytearray()
        self._coming = select.poll()
        self._coming.register(self._file, select.POLLIN)

    def send(self, message: bytes) -> None:
        """Hand over a message."""
        sent = _begin(self._file, message)
        if sent < _LENGTH.size + len(message):
            for left in _rest(message, sent):
                while left:
                    left = left[os.write(self._file, left) :]

    def receive(self) -> bytes | memoryview:
        """The next message, once it is whole. Raises EOFError where none will come any more, Garbled."""
        if self._missing() > 0:
            # Linux wakes whoever waits in `read` on a socket also when the other end takes what was sent to it: a
            # child that sleeps would come up for nothing after each of its answers. `poll` is not woken by that
            self._coming.poll()
        while self._missing() > 0:
            self._read()
        return self._next()

    @property
    def ready(self) -> bool:
        """Whether a whole message has been read already, which no `select` will tell of. Raises Garbled."""
        return self._missing() <= 0

    def _read(self) -> None:
        data = os.read(self._file, min(max(self._missing(), _READ), _GULP))
        if not data:
            raise EOFError
        self._held += data

    def _next(self) -> bytes | memoryview:
        held = self._held
        end = _LENGTH.size + _LENGTH.unpack_from(held)[0]
        if end == len(held) > _LARGE:
            self._held = bytearray()
            return memoryview(held)[_LENGTH.size :]
        message = bytes(memoryview(held)[_LENGTH.size : end])
        del held[:end]
        return message

    def _missing(self) -> int:
        """How many bytes the next message lacks, as far as that is known."""
        held = len(self._held)
        if held < _LENGTH.size:
            return _LENGTH.size - held
        size: int = _LENGTH.unpack_from(self._held)[0]
        if size > _ABSURD:
            raise Garbled
        return _LENGTH.size + size - held


class Reins(Wire):
    """The supervisor's end. It never waits: a child that is frozen, reads nothing or has said half of something
    keeps it from nothing else."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        os.set_blocking(self._file, False)
        self._unsent: deque[memoryview] = deque()

    @property
    def full(self) -> bool:
        """Whether something waits to be sent: `push` when the descriptor can be written to."""
        return bool(self._unsent)

    def send(self, message: bytes) -> None:
        """Hand over a message, or as much of it as goes now."""
        try:
            sent = 0 if self._unsent else _begin(self._file, message)
        except BlockingIOError:
            sent = 0
        if sent < _LENGTH.size + len(message):
            self._unsent.extend(_rest(message, sent))

    def push(self) -> None:
        """Send on what is left."""
        while self._unsent:
            left = self._unsent[0]
            try:
                sent = os.write(self._file, left)
            except BlockingIOError:
                return
            if sent < len(left):
                self._unsent[0] = left[sent:]
            else:
                self._unsent.popleft()

    def next(self) -> bytes | memoryview | None:
        """The next message, if it is whole by now. Raises EOFError where none will come any more, Garbled."""
        try:
            while self._missing() > 0:
                self._read()
        except BlockingIOError:
            return None
        return self._next()


def _begin(file: int, message: bytes) -> int:
    """Send a message behind its length; answers how many bytes of both went."""
    length = _LENGTH.pack(len(message))
    if len(message) < _LARGE:
        return os.write(file, length + message)
    return os.writev(file, (length, message))


def _rest(message: bytes, sent: int) -> list[memoryview]:
    """What is left of a message and its length, of which so many bytes went."""
    if sent >= _LENGTH.size:
        return [memoryview(message)[sent - _LENGTH.size :]]
    return [memoryview(_LENGTH.pack(len(message)))[sent:], memoryview(message)]
