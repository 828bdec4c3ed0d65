"""What goes wrong, as HTTP: a status, a code that stays, a message for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from goflow import errors

#: seconds after which a refused caller may come again
_LATER: Final = "2"
_encode: Final = msgspec.json.Encoder().encode


class HttpError(Exception):
    """An answer that is an error. `code` is stable, `told` are further members of the JSON object."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        **told: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.told = told


def answer(error: HttpError) -> Response:
    """The response of an error: `{"error": {"code": ..., "message": ...}}`."""
    told = {"code": error.code, "message": str(error), **error.told}
    return json_response({"error": told}, error.status, error.headers)


def json_response(
    told: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON, as UTF-8."""
    try:
        data = _encode(told)
    except (TypeError, UnicodeEncodeError):
        # surrogates, which JSON text of others may hold, are legal JSON only when escaped
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        data = body.encode("utf-8", "backslashreplace")
    return Response(data + b"\n", status, headers, "application/json")


#: the nearest class decides
_KNOWN: Final[Mapping[type[errors.GoflowError], tuple[int, str]]] = {
    errors.UnknownFlow: (404, "unknown_flow"),
    errors.UnknownRun: (404, "unknown_run"),
    errors.UnknownNode: (404, "unknown_node"),
    errors.Conflict: (409, "conflict"),
    errors.RunStopped: (409, "run_stopped"),
    errors.RunFailed: (500, "run_failed"),
    errors.BlobMissing: (500, "payload_missing"),
    errors.StoreFull: (503, "store_full"),
    errors.StoreAway: (503, "store_away"),
    errors.BlobsAway: (503, "payloads_away"),
    errors.BackendError: (500, "store_refuses"),  # asking again does not mend that
    errors.GoflowError: (422, "bad_parameter"),
}


def of_goflow(error: errors.GoflowError) -> HttpError:
    """A goflow error as HTTP tells it."""
    for kind in type(error).__mro__:
        if kind in _KNOWN:
            status, code = _KNOWN[kind]
            headers = {"Retry-After": _LATER} if status == 503 else None
            return HttpError(status, code, str(error), headers)
    raise error


def bad(message: str, code: str = "bad_parameter") -> HttpError:
    """422: something in the request is not what it should be."""
    return HttpError(422, code, message)


async def _goflow(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.GoflowError)
    return answer(of_goflow(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    return answer(error)


async def _starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        known = HttpError(
            404, "not_found", f"there is nothing at {path[:200]!r}; see /openapi.json"
        )
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        known = HttpError(
            405,
            "method_not_allowed",
            f"{request.method} is not for {path[:200]!r}, expected {allowed}",
            error.headers,
        )
    else:
        known = HttpError(error.status_code, "http", error.detail, error.headers)
    return answer(known)


HANDLERS: Final[dict[Any, Any]] = {
    errors.GoflowError: _goflow,
    HttpError: _http,
    HTTPException: _starlette,
}
