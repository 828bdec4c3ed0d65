"""Whole messages between a supervisor and a child: one system call to send one, mostly one to receive one.

`multiprocessing` does the same with three and some Python around each, which a worker of small nodes feels.
"""

from __future__ import annotations

import os
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


class Garbled(Exception):
    """What came is no message; nothing that comes after it can be told apart any more."""


class Wire:
    """One end of a connection that carries messages both ways. It blocks; errors are OSErrors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection  # which closes the descriptor when nobody needs it any more
        self._file = connection.fileno()
        self._held = bytearray()

    def send(self, message: bytes) -> None:
        """Hand over a message."""
        left = memoryview(_LENGTH.pack(len(message)) + message)
        while left:
            left = left[os.write(self._file, left) :]

    def receive(self) -> bytes:
        """The next message, once it is whole. Raises EOFError where none will come any more, Garbled."""
        held = self._held
        while (missing := self._missing()) > 0:
            if missing > _ABSURD:
                raise Garbled
            data = os.read(self._file, min(max(missing, _READ), _GULP))
            if not data:
                raise EOFError
            held += data
        end = _LENGTH.size + _LENGTH.unpack_from(held)[0]
        message = bytes(memoryview(held)[_LENGTH.size : end])
        del held[:end]
        return message

    @property
    def ready(self) -> bool:
        """Whether a whole message has been read already, which no `select` will tell of."""
        return self._missing() <= 0

    def _missing(self) -> int:
        """How many bytes the next message lacks, as far as that is known."""
        held = len(self._held)
        if held < _LENGTH.size:
            return _LENGTH.size - held
        size: int = _LENGTH.unpack_from(self._held)[0]
        return _LENGTH.size + size - held
