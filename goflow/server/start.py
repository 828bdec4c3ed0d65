"""Starting runs: `POST` or `GET /flow/{flow}`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.engine import request as run_request
from goflow.errors import UnknownRun
from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow.runid import RUN_ID, new_run_id
from goflow.server.answers import accepted, ended
from goflow.server.errors import HttpError, bad
from goflow.server.parameters import query, seconds
from goflow.server.service import Service, flow_name, service
from goflow.tracing import trace_of

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


class _Order(NamedTuple):
    """What a request asks for. `wait` is in seconds, None where it does not say; `made` is when the
    request came."""

    flow: str
    payload: Payload
    query: dict[str, list[str]]
    run_id: str | None
    headers: dict[str, str]
    wait: float | None
    preferred: bool
    made: float


async def start(request: Request) -> Response:
    """Start a run: 200 with its result, or 202 with where to look for it."""
    serving = service(request)
    order = await _read(request)
    run, waits, traced = await serving.lanes.quickly(
        lambda backend: _begin(serving, backend, order)
    )
    serving.metrics.started(run.flow)
    if waits:
        run = await serving.hub.end(run, _patience(serving, order))
    applied = {"Preference-Applied": "wait"} if order.preferred else {}
    applied |= traced
    if waits and run.state.terminal:
        return await ended(serving, run, applied)
    return accepted(run, applied)


def _begin(serving: Service, backend: Backend, order: _Order) -> tuple[Run, bool, dict[str, str]]:
    """Submit, whether the end is waited for, and the answer's `traceparent`. One call of a lane."""
    plan = serving.plan(backend, order.flow)
    _refuse_more(serving, backend, order)
    name = new_run_id() if order.run_id is None else order.run_id
    asked = run_request(
        plan, name, order.payload, order.query, headers=order.headers, made=order.made
    )
    run = backend.submit(asked)
    waits = plan.single if order.wait is None else order.wait > 0
    if not serving.config.telemetry.on:
        return run, waits, {}
    # a run that was there already is in the trace of whoever submitted it first
    headers = asked.headers if order.run_id is None else backend.request(name).headers
    return run, waits, {"traceparent": trace_of(name, headers).traceparent}


def _patience(serving: Service, order: _Order) -> float:
    most = serving.config.serve.max_wait
    return most if order.wait is None else min(order.wait, most)


def _refuse_more(serving: Service, backend: Backend, order: _Order) -> None:
    """429 where `serve.max_queued` tasks wait already. A run that exists may be asked for all the same."""
    most = serving.config.serve.max_queued
    if not most or sum(backend.waiting().values()) < most:
        return
    if order.run_id is not None:
        try:
            backend.run(order.run_id)
        except UnknownRun:
            pass
        else:
            return
    raise HttpError(
        429, "too_many", f"{most} tasks wait already; come back later", {"Retry-After": "1"}
    )


async def _read(request: Request) -> _Order:
    made = time.time()
    flow = flow_name(request)
    given = query(request)
    waits = given.pop("wait", [])
    if len(waits) > 1:
        raise bad(f"parameter 'wait' is given {len(waits)} times")
    wait = seconds(waits[0]) if waits else None
    preferred = None if waits else _preferred(request.headers.getlist("prefer"))
    if preferred is not None:
        wait = preferred
    if _asynchronous(request):
        wait, preferred = 0.0, None
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise HttpError(
            415,
            "unsupported_encoding",
            f"Content-Encoding {encoding[:100]!r} is not known here; send the bytes as they are",
            {"Accept-Encoding": "identity"},
        )
    run_id = _run_id(request)
    body = await request.body()
    return _Order(
        flow=flow,
        payload=Payload(body, _media_type(request.headers.get("content-type", ""), body)),
        query=given,
        run_id=run_id,
        headers=_kept(request),
        wait=wait,
        preferred=preferred is not None,
        made=made,
    )


def _run_id(request: Request) -> str | None:
    given = request.headers.getlist("x-request-id")
    if not given:
        return None
    if len(given) > 1 or not RUN_ID.fullmatch(given[0]):
        raise bad(
            f"X-Request-Id: {', '.join(given)[:200]!r} is no run id: expected letters, digits, '.', '_'"
            " and '-', at most 128, the first a letter or digit",
            "bad_run_id",
        )
    return given[0]


def _asynchronous(request: Request) -> bool:
    given = request.headers.get("x-async", "false").strip().lower()
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


def _kept(request: Request) -> dict[str, str]:
    return {
        name: request.headers[name]
        for name in HEADERS
        if name in request.headers and len(request.headers[name]) <= _HEADER_SIZE
    }
