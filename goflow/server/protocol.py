"""Uvicorn's HTTP protocol with limits on what comes before a request is whole.

A client that sends its headers one byte a minute, or without end, never gets as far as an application;
it is cut off here.
"""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from goflow.server.corked import Corked

#: bytes that request line and headers may have together, and seconds they may take
MOST_HEADER: Final = 32_768
HEADER_SECONDS: Final = 10.0
#: how many header lines there may be
MOST_LINES: Final = 100
#: seconds in which a connection without a request may still bring one once the server ends
LINGER: Final = 1.0
#: seconds after which one is looked at again that is bringing a request just then
_AGAIN: Final = 0.05
#: seconds between two looks at whether who has sent several requests at once has closed
_LOOK: Final = 0.5
#: seconds before each byte of an answer's beginning but the first, sent to see whether who closed for sending is still there
_FEELING: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)


class Guarded(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = True
        self._partial = False
        self._header_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._feeling: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        #: whose answer is made; later ones wait in the pipeline
        self._answered: RequestResponseCycle | None = None
        self._ended = False
        self._leaving = False
        #: done once the connection is: nobody is there for whom anything could be waited for
        self._gone: asyncio.Future[None] = self.loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        self._corked = Corked(transport, self.loop)
        super().connection_made(self._corked)  # type: ignore[arg-type]
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and tell whoever waits for this client's sake."""
        if not self._gone.done():
            self._gone.set_result(None)
        self._stop_clock()
        self._stop_feeling()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to headers; the parser does the rest."""
        if self._in_headers:
            if self._deadline is None:
                self._start_clock()
            self._header_bytes += len(data)
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - a target that only a broken or hostile client sends
            self.send_400_response("this is no HTTP request")
            return
        if self._in_headers and self._header_bytes > MOST_HEADER:
            self._refuse_header()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: what it has asked for is answered, as the last, then the connection closes.

        It may have gone altogether, which looks the same until something is sent to it: see `_feel`. A stream has
        no end that could be waited for, so that is cut. A request that is not whole is told so, unless an answer
        is due before: that is then the last.
        """
        if self._partial and not self._answers_first:
            self.send_400_response(
                "the connection was closed for sending in the middle of a request"
            )
            return False
        if self._idle:
            return False
        if self._partial:
            self._stop_clock()
            if not self._in_headers and self.pipeline:
                self.pipeline.popleft()  # its body does not come
        last = self.pipeline[0][0] if self.pipeline else self._answered
        if last is None or last.response_complete:
            return False
        if last.response_started and last.chunked_encoding:
            return False
        last.keep_alive = False
        self._ended = True
        self._stop_feeling()
        self._feel(iter(_FEELING))
        return True

    def _look(self) -> None:
        """While later requests wait for their turn nothing is read, so the end of what the client sends is looked for."""
        self._looking = None
        if not self.pipeline or self.transport.is_closing():
            return
        if not _has_closed(self.transport):
            self._looking = self.loop.call_later(_LOOK, self._look)
        elif self._feeling is None:
            self._feel(iter(_FEELING))

    def _feel(self, pauses: Iterator[float]) -> None:
        """Have whoever has gone be noticed: the system at the other end refuses what is sent to nobody, and the
        next write here tells. Sent is the beginning of the answer, byte by byte, which costs who is there nothing.
        Who closed altogether is held for 0.2 s; one who goes later, until the second byte from then on."""
        if self.transport.is_closing():
            return
        if self._answered is None or self._answered.response_started:
            return  # what is written now tells as well
        self._corked.write_ahead()
        pause = next(pauses, None)
        if pause is not None:
            self._feeling = self.loop.call_later(pause, self._feel, pauses)

    def _stop_feeling(self) -> None:
        if self._feeling is not None:
            self._feeling.cancel()
            self._feeling = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)
        if self._ended:
            self._stop_feeling()
            self._feel(iter(_FEELING))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers = self._partial = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is none, since whoever checks headers on the way here has not seen it."""
        if self._in_headers:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """What belongs to a request that was refused is nobody's, least of all that of one before it."""
        if not self.transport.is_closing():
            super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is told as every other error is."""
        self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", msg)

    def on_headers_complete(self) -> None:
        """Its headers are whole: from now on the application watches the time."""
        if self.transport.is_closing():  # one before it was refused
            return
        self._header_bytes = 0
        self._stop_clock()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MOST_HEADER or len(self.headers) > MOST_LINES:
            self._refuse_header()
            return
        doubt = self._doubt()
        if doubt:
            self.send_400_response(doubt)
            return
        self._in_headers = False
        self.scope["goflow.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        self.scope["goflow.flow"] = self.flow  # type: ignore[typeddict-unknown-key]
        self.scope["goflow.gone"] = self._gone  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False
        if self.pipeline and self._looking is None:
            self._looking = self.loop.call_later(_LOOK, self._look)

    def _doubt(self) -> str:
        """What others on the way here may read differently: whom a request is for, or where it ends."""
        named = [name for name, _ in self.headers]
        if named.count(b"host") > 1:
            return "this request names more than one Host"
        if b"transfer-encoding" in named:
            codings = [
                value.lower() for name, value in self.headers if name == b"transfer-encoding"
            ]
            if codings != [b"chunked"] or self.parser.get_http_version() == "1.0":
                return "Transfer-Encoding: expected chunked alone, and not over HTTP 1.0"
        return ""

    def shutdown(self) -> None:
        """Answer what has come, and what comes in a moment, as the last; then close.

        A busy client's next request is often on its way: closed at once, it would never be answered. The price
        is that second for a server that ends while connections are open and silent.
        """
        if self._leaving:
            return
        self._leaving = True
        if self._idle:
            self.loop.call_later(LINGER, self._leave)
        else:
            super().shutdown()

    @property
    def _answers_first(self) -> bool:
        """Whether an answer is due, or begun, before one to what is being read."""
        if self._in_headers:
            return not self._idle
        return bool(self.pipeline) or (self.cycle is not None and self.cycle.response_started)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _leave(self) -> None:
        if self.transport.is_closing() or not self._idle:
            return
        if self._header_bytes or _unread(self.transport):
            self.loop.call_later(_AGAIN, self._leave)
        else:
            self.transport.close()

    def on_message_complete(self) -> None:
        """Between requests an idle connection is uvicorn's keep-alive timer's."""
        self.scope["goflow.whole"] = True  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()
        self._in_headers, self._partial = True, False

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self._header_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "the headers came too slowly")
        else:
            self.transport.abort()

    def _refuse_header(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"request line and headers: expected at most {MOST_HEADER} bytes and {MOST_LINES} lines",
        )

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        if self.transport.is_closing():
            return
        if self._answers_first:  # said now, it would be taken for the answer to another request
            self.transport.abort()
            return
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"x-content-type-options: nosniff\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _unread(transport: asyncio.BaseTransport) -> bool:
    """Whether something has come that was not read yet: the loop may have been busy."""
    waiting = select.poll()
    waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _has_closed(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end sends no more, though nothing is read. Where the system does not tell: no."""
    hung_up = getattr(select, "POLLRDHUP", 0)
    asked = select.poll()
    asked.register(transport.get_extra_info("socket").fileno(), hung_up)
    return bool(asked.poll(0))
