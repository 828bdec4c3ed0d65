"""Runs and payloads as JSON: the same shapes from every command and every HTTP answer."""

from __future__ import annotations

from typing import Any, Protocol

from goflow.backend import Run
from goflow.errors import PayloadError
from goflow.payload import Payload


class Results(Protocol):
    """Whoever knows what a succeeded run made: a Backend, a Client."""

    def result(self, run_id: str) -> Payload: ...


def run_json(run: Run) -> dict[str, Any]:
    """A run as `--json` and HTTP tell it: times are seconds since the epoch, null where not reached."""
    return {
        "run_id": run.id,
        "flow": run.flow,
        "state": str(run.state),
        "created": run.created,
        "started": run.started,
        "finished": run.finished,
        "error": run.error,
        "round": run.round,
        "fingerprint": run.fingerprint,
        "abandoned": run.abandoned,
    }


def run_with_result(backend: Results, run: Run) -> dict[str, Any]:
    """A run, and its result where it has succeeded."""
    told = run_json(run)
    if run.state == "succeeded":
        result = backend.result(run.id)
        told |= {"media_type": result.media_type, "result": value(result)}
    return told


def value(payload: Payload) -> Any:
    """A payload inside JSON: JSON as the value it is, text as text, other bytes as base64.

    What somebody called JSON and is none is told as the bytes it is, as a join does.
    """
    if payload.media_type == "application/json":
        try:
            return payload.json()
        except PayloadError:
            pass
    try:
        return payload.data.decode()
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(payload.data).decode()}
