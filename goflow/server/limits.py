"""What a client may take: body size and time, enforced while bytes stream in and out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from goflow.server.errors import HttpError
from goflow.server.fields import fields

#: seconds a client may be silent in the middle of a body, or not take what it asked for
IDLE: Final = 15.0
#: a body must come at this many bytes/s on average, once the first IDLE seconds are over
SLOWEST: Final = 1000
#: bytes of an answer that are handed to the network at a time
PIECE: Final = 65_536


class TooSlow(Exception):
    """The client does not take its answer; the connection is cut."""


def content_length(scope: Scope) -> int | None:
    """The declared length of the body; None where it comes in chunks."""
    value = fields(scope).get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def limited_body(scope: Scope, receive: Receive, most: int) -> Receive:
    """`receive` with a limit: raises HttpError 413 as soon as a body is too large, 408 if too slow."""
    length = content_length(scope)
    got, began, over = 0, time.monotonic(), False

    async def receive_within() -> Message:
        nonlocal got, over
        if over:  # what comes now is the end of the connection, whenever that is
            return await receive()
        if length is not None and length > most:
            raise _too_large(most)
        if "goflow.whole" in scope:  # it is here: nothing to wait for, so no clock
            message = await receive()
        else:
            try:
                async with asyncio.timeout(IDLE):
                    message = await receive()
            except TimeoutError:
                raise _too_slow() from None
        if message["type"] == "http.disconnect":
            over = True
            return message
        got += len(message.get("body", b""))
        over = not message.get("more_body", False)
        if got > most:
            raise _too_large(most)
        if not over and (time.monotonic() - began - IDLE) * SLOWEST > got:
            raise _too_slow()
        return message

    return receive_within


async def whole_body(receive: Receive) -> bytes:
    """The body. Raises HttpError where it does not come."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, "disconnected", "the body did not come")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def bounded_send(scope: Scope, send: Send) -> Send:
    """`send` that raises TooSlow where the client does not take its answer."""
    flow = scope.get("goflow.flow")

    async def send_within(message: Message) -> None:
        if message["type"] == "http.response.start":  # a few bytes, kept until the body comes
            await send(message)
            return
        try:
            for piece in _pieces(message):
                if flow is not None and not flow.write_paused:
                    await send(piece)  # nothing to wait for: most answers need no clock
                    continue
                async with asyncio.timeout(IDLE):
                    await send(piece)
        except TimeoutError:
            raise TooSlow from None

    return send_within


def _pieces(message: Message) -> Iterator[Message]:
    """A long body in pieces, so that no more of it waits in memory than one of them."""
    body = message.get("body", b"")
    if len(body) <= PIECE:
        yield message
        return
    for at in range(0, len(body), PIECE):
        more = message.get("more_body", False) or at + PIECE < len(body)
        yield {**message, "body": body[at : at + PIECE], "more_body": more}


def _too_large(most: int) -> HttpError:
    message = f"the body is larger than {most} bytes (serve.max_body, payload.max_size)"
    return HttpError(413, "too_large", message, {"Connection": "close"})


def _too_slow() -> HttpError:
    message = "the body came too slowly"
    return HttpError(408, "too_slow", message, {"Connection": "close"})
