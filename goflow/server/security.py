"""The door: every request passes here before any route sees it.

In this order: Host (421), who asks (401), where it comes from (403). Refusing is the default: with a
secret, a path is open only if it is listed in `OPEN`.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from goflow.backend import Backend
from goflow.server import login
from goflow.server.errors import HttpError
from goflow.server.limits import whole_body
from goflow.server.service import Service
from goflow.server.signature import MEMORY, Signed, refused
from goflow.signature import SIGNATURE

#: what needs no secret: whether the server is well, files that are the same for everybody, and the
#: form that takes the secret
OPEN: Final = ("/healthz", "/login")
OPEN_BELOW: Final = "/static/"

#: Host headers remembered as ours
_KNOWN_HOSTS: Final = 100
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether a bind address is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Hosts:
    """Which `Host` headers are ours: a page of somebody else's that had its name point here has another.

    Loopback names always are, and what `serve.allowed_hosts` lists (`*.example.com` and `*` too). Bound to
    anything but loopback, so are the bound name, this machine's name, and every address that is a number:
    only names can be made to point somewhere else.
    """

    def __init__(self, bound: str, allowed: Iterable[str]) -> None:
        self._public = not is_loopback(bound)
        names = {*_LOOPBACK, *(each.lower() for each in allowed)}
        if self._public:
            names |= {bound.lower(), os.uname().nodename.lower()}
        self._names = names
        self._below = tuple(each[1:] for each in names if each.startswith("*."))
        self._all = "*" in names
        #: what was found to be ours: to take a header apart costs more than all the rest of the door
        self._known: set[str | None] = set()

    def check(self, header: str | None) -> None:
        """Raises HttpError 421."""
        if header in self._known:
            return
        name = _host_name(header or "")
        if name is not None and (
            self._all
            or name in self._names
            or (self._below and name.endswith(self._below))
            or (self._public and _is_address(name))
        ):
            if len(self._known) < _KNOWN_HOSTS:
                self._known.add(header)
            return
        raise HttpError(
            421,
            "misdirected",
            f"this server is not called {(header or '')[:200]!r}; list its names in serve.allowed_hosts",
        )


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what another site makes a browser send. Raises HttpError 403.

    Programs other than browsers send neither header.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise _foreign(f"a page of another site ({headers['sec-fetch-site'][:40]})")
    origin = headers.get("origin")
    if origin is not None:
        try:
            parts = urlsplit(origin)
            ours = _with_port(parts.netloc, parts.scheme) == _with_port(
                headers.get("host", ""), parts.scheme
            )
        except ValueError:
            ours = False
        if not ours:
            raise _foreign(f"Origin {origin[:200]!r}")


async def check_caller(serving: Service, scope: Scope, receive: Receive) -> Receive:
    """Let in who knows the secret. Answers the `receive` to go on with. Raises HttpError 401."""
    path: str = scope["path"]
    if not serving.secret or path in OPEN or path.startswith(OPEN_BELOW):
        return receive
    headers = Headers(scope=scope)
    if SIGNATURE in headers:
        return await _check_signature(serving, scope, headers, receive)
    given = headers.get("authorization")
    if given is not None:
        kind, _, token = given.partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(), serving.secret.encode()
        ):
            return receive
        raise refused("Authorization: expected Bearer and the server's secret", "unauthorized")
    if login.holds(serving.secret, headers.get("cookie", "")):
        return receive
    raise refused(
        "this server has a secret: send `Authorization: Bearer SECRET`, sign the request, or log in",
        "unauthorized",
    )


async def _check_signature(
    serving: Service, scope: Scope, headers: Headers, receive: Receive
) -> Receive:
    signed = Signed(headers, time.time())
    body = await whole_body(receive)
    signed.check(
        serving.secret,
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        body,
    )

    def first(backend: Backend) -> bool:
        return backend.remember(f"nonce {signed.nonce}", MEMORY)

    if not await serving.lanes.quickly(first):
        raise refused("this nonce was used before", "replayed")
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return unread.pop() if unread else await receive()

    return again


def _foreign(what: str) -> HttpError:
    return HttpError(
        403,
        "foreign_origin",
        f"{what} may not start or change anything here; only this server's own pages may",
    )


def _host_name(header: str) -> str | None:
    """The name in a Host header, without its port; None where it is none."""
    if not header or any(each in header for each in "/?#@, \t"):
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname.rstrip(".") if parts.hostname else None


def _with_port(netloc: str, scheme: str) -> tuple[str | None, int | None]:
    parts = urlsplit(f"//{netloc}")
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(scheme)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
