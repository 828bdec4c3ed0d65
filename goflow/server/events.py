"""Server-sent events of a run: `GET .../{id}/events`.

The first event (`run`, unless `Last-Event-ID` says that nothing has happened since) tells the whole run,
the next ones (`change`) only the nodes that are different now, `end` is the last. An event's id is the
run's revision. Nodes are those of the definition, with their instances summed up, so an event is no longer
for a foreach of a million than for one of ten. All streams of a run in a process share one look at
the store per change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from goflow.backend import NodeRun
from goflow.errors import BackendError, GoflowError
from goflow.overview import NodeSummary, Overview
from goflow.server.errors import HttpError
from goflow.server.live import Live, live_of
from goflow.server.parameters import only
from goflow.server.service import Service, flow_name, run_id, service
from goflow.told import run_json

#: seconds after which a silent stream says that it is there
_HEARTBEAT: Final = 15.0
#: streams of one process
MOST_STREAMS: Final = 2000


async def events(request: Request) -> Response:
    """A stream of what happens to a run until it ends."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    only(request, ())
    if serving.metrics.streams >= MOST_STREAMS:
        message = f"{MOST_STREAMS} event streams are open already"
        raise HttpError(429, "too_many", message, {"Retry-After": "5"})
    run = await serving.lanes.quickly(lambda backend: serving.run(backend, flow, name))
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else -1
    if run.revision == after and run.state.terminal:
        return Response(status_code=204)  # tells an EventSource not to come again
    return StreamingResponse(
        _stream(serving, name, after),
        media_type="text/event-stream",
        headers={"X-Request-Id": name, "X-Accel-Buffering": "no"},
    )


async def _stream(serving: Service, name: str, after: int) -> AsyncIterator[bytes]:
    serving.metrics.streams += 1
    try:
        yield b"retry: 1000\n\n"
        async with serving.hub.watching(name) as watch:
            live = live_of(serving, watch)
            told: dict[str, NodeSummary] | None = {} if after == watch.run.revision else None
            async for seen in _looks(live, after):
                if seen is None:
                    yield b": still here\n\n"
                    continue
                yield _event(seen, told)
                told = seen.nodes
    except BackendError as error:
        yield _frame("trouble", None, {"message": str(error)})
    except GoflowError as error:  # it expired meanwhile
        yield _frame("gone", None, {"message": str(error)})
    finally:
        serving.metrics.streams -= 1


async def _looks(live: Live, after: int) -> AsyncIterator[Overview | None]:
    """Each look that brings something new; None whenever nothing has happened for a while."""
    looking = asyncio.create_task(live.look(after))
    try:
        while True:
            done, _ = await asyncio.wait({looking}, timeout=_HEARTBEAT)
            if not done:
                yield None
                continue
            seen = looking.result()
            if seen is None:
                return
            yield seen
            if seen.run.state.terminal:
                return
            looking = asyncio.create_task(live.look(seen.run.revision))
    finally:
        looking.cancel()


def _event(seen: Overview, before: dict[str, NodeSummary] | None) -> bytes:
    ended = seen.run.state.terminal
    kind = "end" if ended else "run" if before is None else "change"
    nodes = [
        summary_json(node)
        for path, node in seen.nodes.items()
        if before is None or before.get(path) != node
    ]
    told: dict[str, Any] = {
        "run": run_json(seen.run) | {"revision": seen.run.revision},
        "now": seen.now,
        "whole": before is None,
        "nodes": nodes,
        "handlers": [node_json(node) for node in seen.handlers],
    }
    return _frame(kind, seen.run.revision, told)


def summary_json(node: NodeSummary) -> dict[str, Any]:
    """A node of the definition over all its instances."""
    return {
        "path": node.path,
        "state": str(node.state),
        "instances": node.instances,
        "counts": {str(state): count for state, count in node.counts.items()},
        "attempt": node.attempt,
        "started": node.started,
        "finished": node.finished,
        "error": node.error,
        "width": node.width,
        "done": node.done,
    }


def node_json(node: NodeRun) -> dict[str, Any]:
    """A recorded node instance."""
    return {
        "path": node.path,
        "state": str(node.state),
        "attempt": node.attempt,
        "started": node.started,
        "finished": node.finished,
        "error": node.error,
    }


def _frame(kind: str, revision: int | None, told: Any) -> bytes:
    # JSON escapes line breaks, so one line of data is always enough
    identity = "" if revision is None else f"id: {revision}\n"
    data = json.dumps(told, separators=(",", ":"))
    return f"event: {kind}\n{identity}data: {data}\n\n".encode()
