"""One node instance of a run: what came in, what went out, what happened in between."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from goflow.backend import Backend, Run
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.rewind import find
from goflow.tries import counted

#: bytes of a payload that a page shows; the rest is for downloading
SHOWN: Final = 8192
#: inputs of a join that are listed
MOST_INPUTS: Final = 100


def detail(backend: Backend, plan: Plan, run: Run, name: str) -> dict[str, Any]:
    """A node instance as JSON. Raises UnknownNode, Conflict for a name that several share."""
    nodes = {each.path: each for each in backend.nodes(run.id)}
    path = find(plan, list(nodes.values()), name)
    node = nodes[path]
    arrived = backend.arrivals(run.id, path)
    if not arrived and path in plan.graph.starts:
        arrived = [("", backend.request(run.id).payload)]
    output = backend.output(run.id, path)
    return {
        **msgspec.to_builtins(
            {field: getattr(node, field) for field in _FIELDS},
        ),
        "detail": node.failure.detail if node.failure else "",
        "inputs": [excerpt(each) | {"source": source} for source, each in arrived[:MOST_INPUTS]],
        "inputs_total": len(arrived),
        "output": None if output is None else excerpt(output),
        "attempts": [
            msgspec.to_builtins(each)
            for each in counted(backend.attempts(run.id))
            if each.path == path
        ],
    }


def fetch(backend: Backend, run: Run, path: str | None, source: str | None) -> Payload | None:
    """A payload: the run's input (no path), a node's output, or what came to it from `source`."""
    if path is None or source == "":
        return backend.request(run.id).payload
    if source is None:
        return backend.output(run.id, path)
    return dict(backend.arrivals(run.id, path)).get(source)


def excerpt(payload: Payload | None) -> dict[str, Any]:
    """The beginning of a payload as text, and how long it is."""
    if payload is None:
        return {"media_type": None, "size": 0, "text": "", "whole": True, "binary": False}
    try:
        # a cut may fall into a character
        text = payload.data[:SHOWN].decode(
            "utf-8", "strict" if len(payload.data) <= SHOWN else "ignore"
        )
        binary = "\0" in text
    except UnicodeDecodeError:
        binary = True
    if binary:
        text = payload.data[:256].hex(" ")
    return {
        "media_type": payload.media_type,
        "size": len(payload.data),
        "text": text,
        "whole": len(payload.data) <= (256 if binary else SHOWN),
        "binary": binary,
    }


_FIELDS: Final = (
    "path",
    "state",
    "attempt",
    "round",
    "ready",
    "started",
    "finished",
    "due",
    "error",
    "width",
    "done",
    "digest",
)
