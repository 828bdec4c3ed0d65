"""One node instance of a run: what came in, what went out, what happened in between."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from goflow.backend import Backend, Run
from goflow.glimpse import Glimpse, attempts_at, of_arrivals, of_output, of_request
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
    named = backend.nodes(run.id, [name])
    if not named or name.endswith("]"):  # not a path, or none that has a name
        nodes = backend.nodes(run.id)
        path = find(plan, nodes, name)
        named = [each for each in nodes if each.path == path]
    (node,) = named
    path = node.path
    arrived, total = of_arrivals(backend, run.id, path, SHOWN, MOST_INPUTS)
    if not arrived and path in plan.graph.starts:
        request, size = of_request(backend, run.id, SHOWN)
        arrived, total = [("", Glimpse(request.payload, size))], 1
    output = of_output(backend, run.id, path, SHOWN)
    return {
        **msgspec.to_builtins(
            {field: getattr(node, field) for field in _FIELDS},
        ),
        "detail": node.failure.detail if node.failure else "",
        "inputs": [excerpt(each) | {"source": source} for source, each in arrived],
        "inputs_total": total,
        "output": None if output is None else excerpt(output),
        "attempts": msgspec.to_builtins(counted(attempts_at(backend, run.id, path))),
    }


def fetch(backend: Backend, run: Run, path: str | None, source: str | None) -> Payload | None:
    """A payload: the run's input (no path), a node's output, or what came to it from `source`."""
    if path is None or source == "":
        return backend.request(run.id).payload
    if source is None:
        return backend.output(run.id, path)
    return dict(backend.arrivals(run.id, path)).get(source)


def excerpt(seen: Glimpse | None) -> dict[str, Any]:
    """The beginning of a payload as text, and how long it is."""
    if seen is None:
        return {"media_type": None, "size": 0, "text": "", "whole": True, "binary": False}
    data = seen.payload.data
    try:
        # a cut may fall into a character
        text = data.decode("utf-8", "strict" if seen.whole else "ignore")
        binary = "\0" in text
    except UnicodeDecodeError:
        binary = True
    if binary:
        text = data[:256].hex(" ")
    return {
        "media_type": seen.payload.media_type,
        "size": seen.size,
        "text": text,
        "whole": seen.size <= 256 if binary else seen.whole,
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
