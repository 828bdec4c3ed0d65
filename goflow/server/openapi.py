"""`GET /openapi.json`: the API described, for programs. Kept true by a fuzzer that runs against it."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.server.errors import json_response
from goflow.server.parameters import only
from goflow.state import NodeState, RunState

_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_ID: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_NUMBER: Final = {"type": ["number", "null"]}
_TEXT: Final = {"type": ["string", "null"]}


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
            "/healthz": {"get": _get("healthz", "Whether the server and its store answer", _any())},
            "/metrics": {"get": _get("metrics", "Figures for Prometheus", _content("text/plain"))},
            "/openapi.json": {"get": _get("openapi", "This document", _any())},
            "/flows": {"get": _get("flows", "Every known flow", _list("flows", "Flow"))},
            "/workers": {"get": _get("workers", "Who takes tasks", _any())},
            "/runs": {
                "get": _get(
                    "allRuns",
                    "The runs of all flows, the newest first; `before` takes the `next` of the page before",
                    _runs(),
                    404,
                    parameters=[_query("flow", {"type": "string"}), *_listed()],
                )
            },
            "/runs/{id}": {
                "parameters": [_id()],
                "get": _get("whereabouts", "A run by its id alone", _json(_ref("Run")), 404),
            },
            "/flow/{flow}": {
                "parameters": [_flow()],
                "post": _start("startRun", body=True),
                "get": _start("startRunByGet", body=False),
            },
            "/flow/{flow}/definition": {
                "parameters": [_flow()],
                "get": _get("definition", "A flow's definition", _any(), 404),
            },
            "/flow/{flow}/request": {
                "parameters": [_flow()],
                "get": _get(
                    "runs",
                    "A flow's runs, the newest first; `before` takes the `next` of the page before",
                    _runs(),
                    404,
                    parameters=_listed(),
                ),
            },
            run: _on_run(
                _get(
                    "run",
                    "A run and its nodes",
                    _json(_ref("Run")),
                    404,
                    parameters=[
                        _query("nodes", {"type": "integer", "minimum": 0, "maximum": 100_000})
                    ],
                )
            ),
            f"{run}/result": _on_run(_result()),
            f"{run}/events": _on_run(
                _get(
                    "events",
                    "Server-sent events until the run ends; `Last-Event-ID` resumes",
                    _content("text/event-stream"),
                    404,
                    429,
                    more={"204": {"description": "Ended, and nothing is new"}},
                )
            ),
            f"{run}/logs": _on_run(_logs()),
            f"{run}/node": _on_run(
                _get(
                    "node",
                    "One node: inputs, output, attempts",
                    _any(),
                    404,
                    409,
                    parameters=[_query("path", {"type": "string", "minLength": 1}, required=True)],
                )
            ),
            f"{run}/payload": _on_run(_payload()),
            **{f"{run}/{action}": _on_run(control(action)) for action in _ACTIONS},
            f"{run}/retry": _on_run(_retry()),
            f"{run}/drop": _on_run(
                _get("dropRun", "Forget a failed run", _json(_ref("Run")), 403, 404, 409)
            ),
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
        },
    }


_ACTIONS: Final = ("pause", "resume", "stop")


def control(action: str) -> dict[str, Any]:
    """The operation that pauses, resumes or stops."""
    found = _get(f"{action}Run", f"{action.capitalize()} a run", _json(_ref("Run")), 403, 404, 409)
    return found


def _on_run(operation: dict[str, Any]) -> dict[str, Any]:
    reads = not operation["operationId"].endswith("Run")
    return {"parameters": [_flow(), _id()], "get" if reads else "post": operation}


def _id() -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{_ID}$"}
    return {"name": "id", "in": "path", "required": True, "schema": schema}


def _listed() -> list[dict[str, Any]]:
    """What narrows a list of runs."""
    return [
        _query("state", {"enum": [str(each) for each in RunState]}),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000}),
        _query("before", {"type": "string", "pattern": f"^{_ID}$"}),
    ]


def _flow() -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{_NAME}$"}
    return {"name": "flow", "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _get(
    name: str,
    summary: str,
    fine: dict[str, Any],
    *statuses: int,
    parameters: list[dict[str, Any]] | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        **({"parameters": parameters} if parameters else {}),
        "responses": {
            "200": {"description": "Done", **fine},
            **(more or {}),
            **_errors(400, 401, 421, 422, 503, *statuses),
        },
    }


def _start(name: str, *, body: bool) -> dict[str, Any]:
    accepts: dict[str, Any] = {"schema": {}}
    content = {"application/json": accepts, "text/plain": accepts, "*/*": accepts}
    return {
        "operationId": name,
        "summary": "Start a run; all query parameters but `wait` are the flow's",
        "parameters": [
            _query("wait", {"type": "number", "minimum": 0}),
            _header("X-Request-Id", {"type": "string", "pattern": f"^{_ID}$"}),
            _header("X-Async", {"enum": ["true", "false"]}),
            _header("Prefer", {"type": "string"}),
        ],
        **({"requestBody": {"required": False, "content": content}} if body else {}),
        "responses": {
            "200": {"description": "The result", **_payload_content()},
            "202": {
                "description": "Accepted; not ended, or not waited for",
                "headers": {"Location": {"schema": {"type": "string"}}},
                **_json(_ref("Run")),
            },
            **_errors(400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 429, 503),
            "500": {"description": "The run failed", **_json(_ref("Error"))},
        },
    }


def _result() -> dict[str, Any]:
    found = _get(
        "result",
        "What a run made",
        _payload_content(),
        404,
        409,
        500,
        parameters=[_query("wait", {"type": "number", "minimum": 0})],
        more={"202": {"description": "Not ended yet", **_json(_ref("Run"))}},
    )
    return found


def _logs() -> dict[str, Any]:
    return _get(
        "logs",
        "What the nodes printed",
        {"content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {}}},
        404,
        409,
        parameters=[
            _query("node", {"type": "string"}),
            _query("after", {"type": "integer", "minimum": 0, "maximum": 2**53}),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000}),
            _query("format", {"enum": ["json", "text"]}),
        ],
    )


def _payload() -> dict[str, Any]:
    return _get(
        "payload",
        "The bytes of the run's input (no path), a node's output, or its input from `source`",
        _payload_content(),
        404,
        parameters=[
            _query("path", {"type": "string"}),
            _query("source", {"type": "string"}),
            _query("show", {"enum": ["true", "false"]}),
        ],
    )


def _retry() -> dict[str, Any]:
    return {
        "operationId": "retryRun",
        "summary": "A new round of a run that ended",
        "parameters": [
            _query("from", {"type": "string"}),
            _query("adopt", {"enum": ["true", "false"]}),
        ],
        "responses": {
            "202": {"description": "On its way again", **_json(_ref("Run"))},
            **_errors(400, 401, 403, 404, 409, 421, 422, 503),
        },
    }


def _errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": _MEANING[status], **_json(_ref("Error"))}
        for status in sorted(set(statuses))
    }


def _payload_content() -> dict[str, Any]:
    kinds = ("application/octet-stream", "text/plain", "application/json")
    return {"content": {kind: {} for kind in kinds}}


def _content(kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"type": "string"}}}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _any() -> dict[str, Any]:
    return _json({"type": "object"})


def _list(name: str, of: str) -> dict[str, Any]:
    items = {"type": "array", "items": _ref(of)}
    return _json({"type": "object", "required": [name], "properties": {name: items}})


def _runs() -> dict[str, Any]:
    items = {"type": "array", "items": _ref("Run")}
    found = {"runs": items, "next": {"type": ["string", "null"]}}
    return _json({"type": "object", "required": [*found], "properties": found})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_MEANING: Final = {
    400: "No proper HTTP",
    401: "The secret is missing or wrong",
    403: "Another site's page asked",
    404: "No such flow, run or node",
    408: "The body came too slowly",
    409: "It contradicts what is recorded, or the run was stopped",
    413: "The body is too large",
    415: "A Content-Encoding that is not known here",
    421: "Not the name of this server",
    422: "A wrong parameter or run id",
    429: "Too much waits already",
    500: "The run failed",
    503: "The store is full or away",
}
_SCHEMAS: Final[dict[str, Any]] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "run_id": {"type": "string"},
                    "node": _TEXT,
                    "reason": _TEXT,
                    "type": {"type": "string"},
                },
            }
        },
    },
    "Run": {
        "type": "object",
        "required": ["run_id", "flow", "state", "created", "started", "finished", "error", "links"],
        "properties": {
            "run_id": {"type": "string"},
            "flow": {"type": "string"},
            "state": {"enum": [str(each) for each in RunState]},
            "created": {"type": "number"},
            "started": _NUMBER,
            "finished": _NUMBER,
            "error": _TEXT,
            "round": {"type": "integer"},
            "fingerprint": {"type": "string"},
            "abandoned": {"type": "boolean"},
            "links": {"type": "object"},
            "nodes": {"type": "array", "items": _ref("Node")},
            "nodes_total": {"type": "integer"},
        },
    },
    "Node": {
        "type": "object",
        "required": ["path", "state"],
        "properties": {
            "path": {"type": "string"},
            "state": {"enum": [str(each) for each in NodeState]},
            "attempt": {"type": "integer"},
            "started": _NUMBER,
            "finished": _NUMBER,
            "error": _TEXT,
        },
    },
    "Flow": {
        "type": "object",
        "required": ["flow", "fingerprint", "nodes", "workers", "waiting"],
        "properties": {
            "flow": {"type": "string"},
            "fingerprint": {"type": "string"},
            "nodes": {"type": "integer"},
            "workers": {"type": "integer"},
            "waiting": {"type": "integer"},
            "registered": _NUMBER,
        },
    },
}
