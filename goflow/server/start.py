"""Starting runs: `POST` or `GET /flow/{flow}`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow.runid import RUN_ID, new_run_id
from goflow.server.answers import accepted, ended
from goflow.server.errors import HttpError, bad
from goflow.server.fields import fields
from goflow.server.intake import Order
from goflow.server.limits import whole_body
from goflow.server.parameters import query, seconds
from goflow.server.service import flow_name, gone, service

#: request headers that `context.headers` holds; credentials and cookies are never among them
HEADERS: Final = (
    "accept",
    "accept-language",
    "content-type",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-correlation-id",
)
#: bytes of one such header that are kept
_HEADER_SIZE: Final = 1024
_WAIT: Final = re.compile(r"\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:;.*)?", re.IGNORECASE)


class _Asked(NamedTuple):
    """What a request asks for. `wait` is in seconds, None where it does not say."""

    order: Order
    wait: float | None
    preferred: bool


async def start(request: Request) -> Response:
    """Start a run: 200 with its result, or 202 with where to look for it."""
    serving = service(request)
    order, wait, preferred = await _read(request)
    applied = {"Preference-Applied": "wait"} if preferred else {}
    if wait == 0:
        run, _, traced = await serving.accept(order)
        serving.metrics.started(run.flow)
        return accepted(run, applied | traced)
    await serving.ends.listen()
    with serving.ends.expecting(order.run_id, gone(request)) as future:
        run, single, traced = await serving.accept(order)
        applied |= traced
        serving.metrics.started(run.flow)
        if wait is None and not single:
            return accepted(run, applied)
        most = serving.config.serve.max_wait
        run, result = await serving.ends.end(run, future, most if wait is None else min(wait, most))
    return ended(run, result, applied) if run.state.terminal else accepted(run, applied)


async def _read(request: Request) -> _Asked:
    made = time.time()
    flow = flow_name(request)
    given = query(request)
    waits = given.pop("wait", [])
    if len(waits) > 1:
        raise bad(f"parameter 'wait' is given {len(waits)} times")
    wait = seconds(waits[0]) if waits else None
    headers = fields(request.scope)
    preferred = None
    if not waits and "prefer" in headers:
        preferred = _preferred(request.headers.getlist("prefer"))
    if preferred is not None:
        wait = preferred
    if _asynchronous(headers):
        wait, preferred = 0.0, None
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise HttpError(
            415,
            "unsupported_encoding",
            f"Content-Encoding {encoding[:100]!r} is not known here; send the bytes as they are",
            {"Accept-Encoding": "identity"},
        )
    run_id = _run_id(request) if "x-request-id" in headers else None
    body = await whole_body(request.receive)
    order = Order(
        flow=flow,
        run_id=new_run_id() if run_id is None else run_id,
        known=run_id is not None,
        payload=Payload(body, _media_type(headers.get("content-type", ""), body)),
        query=given,
        headers=_kept(headers),
        made=made,
    )
    return _Asked(order, wait, preferred is not None)


def _run_id(request: Request) -> str:
    given = request.headers.getlist("x-request-id")
    if len(given) > 1 or not RUN_ID.fullmatch(given[0]):
        raise bad(
            f"X-Request-Id: {', '.join(given)[:200]!r} is no run id: expected letters, digits, '.', '_'"
            " and '-', at most 128, the first a letter or digit",
            "bad_run_id",
        )
    return given[0]


def _asynchronous(headers: Mapping[str, str]) -> bool:
    given = headers.get("x-async", "false").strip().lower()
    if given not in ("true", "false"):
        raise bad(f"X-Async: expected true or false, got {given[:100]!r}")
    return given == "true"


def _preferred(headers: Iterable[str]) -> float | None:
    """`Prefer: wait=10`. What it does not understand, a server ignores (RFC 7240)."""
    for header in headers:
        for preference in header.split(","):
            found = _WAIT.fullmatch(preference)
            if found:
                return float(found[1])
    return None


def _media_type(header: str, body: bytes) -> str:
    """JSON and UTF-8 text are told apart; anything else is octets."""
    kind, _, parameters = header.partition(";")
    kind = kind.strip().lower()
    if kind == JSON:
        return JSON
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if kind == TEXT and (charset is None or charset[1].lower() in ("utf-8", "utf8", "us-ascii")):
        try:
            body.decode()
        except UnicodeDecodeError:
            return OCTETS
        return TEXT
    return OCTETS


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: headers[name]
        for name in HEADERS
        if name in headers and len(headers[name]) <= _HEADER_SIZE
    }
