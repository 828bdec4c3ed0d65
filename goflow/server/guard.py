"""The outermost layer: the door, the limits, the headers of every answer, and the counting."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goflow.errors import GoflowError
from goflow.runid import RUN_ID
from goflow.server.errors import HttpError, answer, of_goflow
from goflow.server.fields import fields
from goflow.server.limits import TooSlow, bounded_send, limited_body
from goflow.server.login import destination
from goflow.server.security import Hosts, check_caller, check_origin
from goflow.server.service import Service

#: nothing but our own files runs, is loaded or is talked to; no page of others may frame ours
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": _POLICY,
    # not no-referrer: with it browsers send our own forms with `Origin: null`
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW: Final = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
#: what only reads; starting by GET is the one exception, and its route knows
_READING: Final = ("GET", "HEAD", "OPTIONS")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, serving: Service, hosts: Hosts) -> None:
        self._app = app
        self._serving = serving
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; or the server's beginning and end."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _dress(scope, message)
            await bounded(message)

        bounded = bounded_send(scope, send)
        config = self._serving.config
        most = min(config.serve.max_body, config.payload.max_size)
        receive = limited_body(scope, receive, most)
        try:
            await self._admit(scope, receive, dressed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be answered
            await _settle(error, scope, receive, dressed, begun=bool(status))
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._serving.metrics.answered(_route(scope), method, status, seconds)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = fields(scope)
        try:
            self._hosts.check(headers.get("host"))
            receive = await check_caller(self._serving, scope, receive)
            if scope["method"] not in _READING:
                check_origin(headers)
        except HttpError as error:
            await _refuse(error, scope, receive, send)
            return
        except GoflowError as error:  # the store that remembers nonces is away
            await _refuse(of_goflow(error), scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _settle(
    error: Exception, scope: Scope, receive: Receive, send: Send, *, begun: bool
) -> None:
    """The end of a request that no handler could answer."""
    group = error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
    if group.subgroup(TooSlow):
        scope.get("goflow.abort", lambda: None)()
        return
    logging.getLogger("goflow.server").error(
        "%s %r: %s", scope["method"], scope["path"], error, exc_info=error
    )
    if begun:
        scope.get("goflow.abort", lambda: None)()  # a cut connection says that it is not whole
    else:
        mistake = HttpError(500, "internal", "a mistake in goflow; the server's log shows where")
        await answer(mistake)(scope, receive, send)


async def _refuse(error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
    response = answer(error)
    if error.code == "unauthorized" and "text/html" in fields(scope).get("accept", ""):
        from goflow.server.pages.login import login_page

        again = {"Refresh": "0"} if _followed(scope) else {}
        response = login_page(401, headers=error.headers | again, asked=_asked(scope))
    await response(scope, receive, send)


def _followed(scope: Scope) -> bool:
    """Whether a link of another site led to a page of ours: browsers keep a strict cookie back then. Asked again from
    our own page they send it, so that a link in a message leads somebody who is logged in to what it names."""
    elsewhere = fields(scope).get("sec-fetch-site") in ("cross-site", "same-site")
    return elsewhere and destination(asked := _asked(scope)) == asked


def _asked(scope: Scope) -> str:
    """Path and query as they came; what is not asked for by GET is nowhere to lead to."""
    if scope["method"] != "GET":
        return ""
    query = scope["query_string"]
    asked: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    return asked.decode("latin-1")


def _dress(scope: Scope, message: Message) -> None:
    """Add what every answer carries. On raw headers: this is done for each request."""
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    message["headers"] = headers
    names = [name.lower() for name, _ in headers]
    headers += _RAW
    if b"x-request-id" not in names:
        given = fields(scope).get("x-request-id", "")
        if given and RUN_ID.fullmatch(given):
            headers.append((b"x-request-id", given.encode("latin-1")))
    if b"cache-control" not in names:
        headers.append((b"cache-control", b"no-store"))


def _route(scope: Scope) -> str:
    """The route's name for figures: the endpoint, never the path, which anybody may make up."""
    endpoint: Any = scope.get("endpoint")
    return getattr(endpoint, "__name__", "other")
