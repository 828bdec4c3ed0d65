"""Runs and nodes as JSON: what `--json` prints, the same from every command."""

from __future__ import annotations

import json
import sys
from typing import Any

from goflow.backend import Backend, Run
from goflow.payload import Payload


def run_json(run: Run) -> dict[str, Any]:
    """A run as `--json` tells it: times are seconds since the epoch, null where not reached."""
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
    }


def run_with_result(backend: Backend, run: Run) -> dict[str, Any]:
    """A run, and its result where it has succeeded."""
    told = run_json(run)
    if run.state == "succeeded":
        result = backend.result(run.id)
        told |= {"media_type": result.media_type, "result": value(result)}
    return told


def value(payload: Payload) -> Any:
    """A payload inside JSON: JSON as the value it is, text as text, other bytes as base64."""
    if payload.media_type == "application/json":
        return payload.json()
    try:
        return payload.data.decode()
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(payload.data).decode()}


def print_json(told: Any) -> None:
    """To stdout: indented for a person at a terminal, one line for a pipe."""
    print(json.dumps(told, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))
