"""An answer's head and its body in one packet, and its beginning ahead of both."""

from __future__ import annotations

import asyncio
from typing import Any, Final

#: bytes of a write that waits for the next one
_CORKED: Final = 16_384
#: what every answer begins with
_BEGINNING: Final = b"HTTP/1.1 "


class Corked:
    """A transport that sends an answer's head together with its body: a system call, and a packet, less.

    What is written first in a turn of the event loop waits for a second write, at most until the turn is over.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        #: bytes of the next answer that have been sent ahead
        self._ahead = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write_ahead(self) -> None:
        """Send the next byte of an answer that nobody has made yet: where there is one, it is the same for all."""
        if self._ahead == len(_BEGINNING):  # what follows differs
            return
        self._flush()
        at, self._ahead = self._ahead, self._ahead + 1
        self._transport.write(_BEGINNING[at : at + 1])

    def write(self, data: bytes) -> None:
        """Send it soon."""
        if self._ahead:
            data, self._ahead = data[self._ahead :], 0
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif len(data) < _CORKED:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
