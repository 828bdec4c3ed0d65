"""`GET /openapi.json`: the API described, for programs. Kept true by a fuzzer that runs against it."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.server.errors import json_response
from goflow.server.openapi_words import (
    ID,
    SCHEMAS,
    any_object,
    any_payload,
    errors,
    flow_in_path,
    header,
    id_in_path,
    json_of,
    list_of,
    narrowing,
    operation,
    page_of_runs,
    query,
    ref,
    text_of,
)
from goflow.server.parameters import only


async def document(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    only(request, ())
    return json_response(description())


@cache
def description() -> dict[str, Any]:
    """The document as data."""
    from importlib.metadata import version

    run = "/flow/{flow}/request/{id}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "goflow",
            "version": version("goflow-cli"),
            "description": "Start flows, watch and steer their runs.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{}, {"secret": []}],
        "paths": {
            "/healthz": {
                "get": operation("healthz", "Whether the server and its store answer", any_object())
            },
            "/metrics": {
                "get": operation("metrics", "Figures for Prometheus", text_of("text/plain"))
            },
            "/openapi.json": {"get": operation("openapi", "This document", any_object())},
            "/flows": {"get": operation("flows", "Every known flow", list_of("flows", "Flow"))},
            "/workers": {"get": operation("workers", "Who takes tasks", any_object())},
            "/runs": {
                "get": operation(
                    "allRuns",
                    "The runs of all flows, the newest first; `before` takes the `next` of the page before",
                    page_of_runs(),
                    404,
                    parameters=[query("flow", {"type": "string"}), *narrowing()],
                )
            },
            "/runs/{id}": {
                "parameters": [id_in_path()],
                "get": operation("whereabouts", "A run by its id alone", json_of(ref("Run")), 404),
            },
            "/flow/{flow}": {
                "parameters": [flow_in_path()],
                "post": _start("startRun", body=True),
                "get": _start("startRunByGet", body=False),
            },
            "/flow/{flow}/definition": {
                "parameters": [flow_in_path()],
                "get": operation("definition", "A flow's definition", any_object(), 404),
            },
            "/flow/{flow}/request": {
                "parameters": [flow_in_path()],
                "get": operation(
                    "runs",
                    "A flow's runs, the newest first; `before` takes the `next` of the page before",
                    page_of_runs(),
                    404,
                    parameters=narrowing(),
                ),
            },
            run: _on_run(
                operation(
                    "run",
                    "A run and its nodes",
                    json_of(ref("Run")),
                    404,
                    parameters=[
                        query("nodes", {"type": "integer", "minimum": 0, "maximum": 100_000})
                    ],
                )
            ),
            f"{run}/result": _on_run(_result()),
            f"{run}/events": _on_run(
                operation(
                    "events",
                    "Server-sent events until the run ends; `Last-Event-ID` resumes",
                    text_of("text/event-stream"),
                    404,
                    429,
                    more={"204": {"description": "Ended, and nothing is new"}},
                )
            ),
            f"{run}/logs": _on_run(_logs()),
            f"{run}/node": _on_run(
                operation(
                    "node",
                    "One node: inputs, output, attempts",
                    any_object(),
                    404,
                    409,
                    parameters=[query("path", {"type": "string", "minLength": 1}, required=True)],
                )
            ),
            f"{run}/payload": _on_run(_payload()),
            **{f"{run}/{action}": _on_run(_control(action)) for action in _ACTIONS},
            f"{run}/retry": _on_run(_retry()),
            f"{run}/drop": _on_run(
                operation("dropRun", "Forget a failed run", json_of(ref("Run")), 403, 404, 409)
            ),
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
        },
    }


_ACTIONS: Final = ("pause", "resume", "stop")


def _control(action: str) -> dict[str, Any]:
    """The operation that pauses, resumes or stops."""
    found = operation(
        f"{action}Run", f"{action.capitalize()} a run", json_of(ref("Run")), 403, 404, 409
    )
    return found


def _on_run(found: dict[str, Any]) -> dict[str, Any]:
    reads = not found["operationId"].endswith("Run")
    return {"parameters": [flow_in_path(), id_in_path()], "get" if reads else "post": found}


def _start(name: str, *, body: bool) -> dict[str, Any]:
    accepts: dict[str, Any] = {"schema": {}}
    content = {"application/json": accepts, "text/plain": accepts, "*/*": accepts}
    return {
        "operationId": name,
        "summary": "Start a run; all query parameters but `wait` are the flow's",
        "parameters": [
            query("wait", {"type": "number", "minimum": 0}),
            header("X-Request-Id", {"type": "string", "pattern": f"^{ID}$"}),
            header("X-Async", {"enum": ["true", "false"]}),
            header("Prefer", {"type": "string"}),
        ],
        **({"requestBody": {"required": False, "content": content}} if body else {}),
        "responses": {
            "200": {"description": "The result", **any_payload()},
            "202": {
                "description": "Accepted; not ended, or not waited for",
                "headers": {"Location": {"schema": {"type": "string"}}},
                **json_of(ref("Run")),
            },
            **errors(400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 429, 500, 503),
        },
    }


def _result() -> dict[str, Any]:
    found = operation(
        "result",
        "What a run made",
        any_payload(),
        404,
        409,
        parameters=[query("wait", {"type": "number", "minimum": 0})],
        more={"202": {"description": "Not ended yet", **json_of(ref("Run"))}},
    )
    return found


def _logs() -> dict[str, Any]:
    return operation(
        "logs",
        "What the nodes printed",
        {"content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {}}},
        404,
        409,
        parameters=[
            query("node", {"type": "string"}),
            query("after", {"type": "integer", "minimum": 0, "maximum": 2**53}),
            query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000}),
            query("format", {"enum": ["json", "text"]}),
        ],
    )


def _payload() -> dict[str, Any]:
    return operation(
        "payload",
        "The bytes of the run's input (no path), a node's output, or its input from `source`",
        any_payload(),
        404,
        parameters=[
            query("path", {"type": "string"}),
            query("source", {"type": "string"}),
            query("show", {"enum": ["true", "false"]}),
        ],
    )


def _retry() -> dict[str, Any]:
    return {
        "operationId": "retryRun",
        "summary": "A new round of a run that ended",
        "parameters": [
            query("from", {"type": "string"}),
            query("adopt", {"enum": ["true", "false"]}),
        ],
        "responses": {
            "202": {"description": "On its way again", **json_of(ref("Run"))},
            **errors(400, 401, 403, 404, 409, 421, 422, 500, 503),
        },
    }
