"""Figures in Prometheus' text form: what this process answered, and what the store holds."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.server.exposition import family, histogram, sample
from goflow.server.stored import stored

#: upper bounds of the histogram's buckets, in seconds
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, inf)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server process."""

    def __init__(self) -> None:
        self._began = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._started: Counter[str] = Counter()
        self.streams = 0

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request is over. `route` is one of ours, so the number of series is bounded."""
        self._requests[route, method, status] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]
        self._buckets[route, _BUCKETS[bisect_left(_BUCKETS, seconds)]] += 1

    def started(self, flow: str) -> None:
        """A run was accepted. Only flows that exist get here."""
        self._started[flow] += 1

    def text(self, store: Iterator[str]) -> str:
        """All of it."""
        lines = [*self._http(), *store]
        return "\n".join(lines) + "\n"

    def _http(self) -> Iterator[str]:
        yield from family("goflow_http_requests_total", "counter", "Requests answered.")
        for (route, method, status), count in sorted(self._requests.items()):
            labels = {"route": route, "method": method, "status": str(status)}
            yield sample("goflow_http_requests_total", labels, count)
        name = "goflow_http_request_seconds"
        yield from family(name, "histogram", "Time to answer, event streams included.")
        for route in sorted(self._seconds):
            counts = ((bound, self._buckets[route, bound]) for bound in _BUCKETS)
            yield from histogram(name, {"route": route}, counts, self._seconds[route])
        yield from family("goflow_runs_accepted_total", "counter", "Runs accepted over HTTP.")
        for flow, count in sorted(self._started.items()):
            yield sample("goflow_runs_accepted_total", {"flow": flow}, count)
        yield from family("goflow_event_streams", "gauge", "Event streams that are open.")
        yield sample("goflow_event_streams", {}, self.streams)
        yield from family("goflow_server_start_seconds", "gauge", "When this server started.")
        yield sample("goflow_server_start_seconds", {}, self._began)


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    from goflow.server.parameters import only
    from goflow.server.service import service

    only(request, ())
    serving = service(request)
    store = await serving.lanes.slowly(lambda backend: list(stored(backend)))
    text = serving.metrics.text(iter(store))
    return Response(text, media_type=CONTENT_TYPE, headers={"Content-Type": CONTENT_TYPE})
