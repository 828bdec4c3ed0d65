"""How a run is answered over HTTP: accepted, its result, or why there is none."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from goflow.backend import Run
from goflow.payload import TEXT, Payload
from goflow.server.errors import HttpError, answer, json_response
from goflow.told import run_json


def link(run: Run) -> str:
    """Where a run is found. Names and ids need no escaping."""
    return f"/flow/{run.flow}/request/{run.id}"


def told(run: Run) -> dict[str, Any]:
    """A run with its links."""
    at = link(run)
    return run_json(run) | {
        "links": {
            "self": at,
            "result": f"{at}/result",
            "events": f"{at}/events",
            "logs": f"{at}/logs",
            "page": f"/ui/run/{run.id}",
        }
    }


def accepted(run: Run, headers: dict[str, str] | None = None) -> Response:
    """202: the run is on its way."""
    named = {"X-Request-Id": run.id, "Location": link(run), **(headers or {})}
    return json_response(told(run), 202, named)


def ended(run: Run, result: Payload | None, headers: dict[str, str] | None = None) -> Response:
    """The answer of a run that has ended: 200 and its result, 500 failed, 409 stopped."""
    named = {"X-Request-Id": run.id, **(headers or {})}
    if result is not None:
        return payload_response(result, named)
    if run.state == "stopped":
        message = f"run {run.id} was stopped"
        return answer(HttpError(409, "run_stopped", message, named, run_id=run.id))
    failure = run.failure
    details: dict[str, Any] = {
        "run_id": run.id,
        "node": failure.node if failure else None,
        "reason": run.error,
    }
    if failure is not None:
        details["type"] = failure.type
    message = f"run {run.id} failed: {run.error or 'no reason was recorded'}"
    return answer(HttpError(500, "run_failed", message, named, **details))


def payload_response(payload: Payload, headers: dict[str, str] | None = None) -> Response:
    """A payload as the body, exactly."""
    kind = payload.media_type
    content_type = f"{kind}; charset=utf-8" if kind == TEXT else kind
    return Response(payload.data, 200, {**(headers or {}), "Content-Type": content_type})
