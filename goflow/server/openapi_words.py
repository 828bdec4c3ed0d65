"""The words of the API's description: parameters, what an answer brings, errors, and the schemas of what is told."""

from __future__ import annotations

from typing import Any, Final

from goflow.state import NodeState, RunState

_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
ID: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
NUMBER: Final = {"type": ["number", "null"]}
TEXT: Final = {"type": ["string", "null"]}


def id_in_path() -> dict[str, Any]:
    """The run id of a path."""
    schema = {"type": "string", "pattern": f"^{ID}$"}
    return {"name": "id", "in": "path", "required": True, "schema": schema}


def flow_in_path() -> dict[str, Any]:
    """The flow of a path."""
    schema = {"type": "string", "pattern": f"^{_NAME}$"}
    return {"name": "flow", "in": "path", "required": True, "schema": schema}


def narrowing() -> list[dict[str, Any]]:
    """What narrows a list of runs."""
    return [
        query("state", {"enum": [str(each) for each in RunState]}),
        query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000}),
        query("before", {"type": "string", "pattern": f"^{ID}$"}),
    ]


def query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """A query parameter."""
    return {"name": name, "in": "query", "required": required, "schema": schema}


def header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A header of a request."""
    return {"name": name, "in": "header", "required": False, "schema": schema}


def operation(
    name: str,
    summary: str,
    fine: dict[str, Any],
    *statuses: int,
    parameters: list[dict[str, Any]] | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One that answers 200, and the errors that all may answer with beside those named."""
    return {
        "operationId": name,
        "summary": summary,
        **({"parameters": parameters} if parameters else {}),
        "responses": {
            "200": {"description": "Done", **fine},
            **(more or {}),
            **errors(400, 401, 421, 422, 500, 503, *statuses),
        },
    }


def errors(*statuses: int) -> dict[str, Any]:
    """Answers that are errors, by their status."""
    return {
        str(status): {"description": _MEANING[status], **json_of(ref("Error"))}
        for status in sorted(set(statuses))
    }


def any_payload() -> dict[str, Any]:
    """Bytes of any media type that a payload has."""
    kinds = ("application/octet-stream", "text/plain", "application/json")
    return {"content": {kind: {} for kind in kinds}}


def text_of(kind: str) -> dict[str, Any]:
    """Text of a media type."""
    return {"content": {kind: {"schema": {"type": "string"}}}}


def json_of(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON of this schema."""
    return {"content": {"application/json": {"schema": schema}}}


def any_object() -> dict[str, Any]:
    """JSON of which no more is said."""
    return json_of({"type": "object"})


def list_of(name: str, of: str) -> dict[str, Any]:
    """A JSON object with one list."""
    items = {"type": "array", "items": ref(of)}
    return json_of({"type": "object", "required": [name], "properties": {name: items}})


def page_of_runs() -> dict[str, Any]:
    """Runs, and where the next page of them begins."""
    items = {"type": "array", "items": ref("Run")}
    found = {"runs": items, "next": {"type": ["string", "null"]}}
    return json_of({"type": "object", "required": [*found], "properties": found})


def ref(name: str) -> dict[str, Any]:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


#: what an error's status means
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
    500: "The run failed, or the store refuses",
    503: "The store is full or away",
}


#: what the parts of answers are called, and look like
SCHEMAS: Final[dict[str, Any]] = {
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
                    "node": TEXT,
                    "reason": TEXT,
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
            "started": NUMBER,
            "finished": NUMBER,
            "error": TEXT,
            "round": {"type": "integer"},
            "fingerprint": {"type": "string"},
            "abandoned": {"type": "boolean"},
            "links": {"type": "object"},
            "nodes": {"type": "array", "items": ref("Node")},
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
            "started": NUMBER,
            "finished": NUMBER,
            "error": TEXT,
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
            "registered": NUMBER,
        },
    },
}
