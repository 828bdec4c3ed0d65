"""A collector that speaks OTLP over HTTP on loopback, and what can be said of the traces it was sent."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Seen(NamedTuple):
    """A span as it came over the wire. Times are in seconds; `text` is all of it."""

    name: str
    trace: str
    id: str
    parent: str
    start: float
    end: float
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    text: str


class Collector:
    """Keeps what it is told. While it is `away` it answers 503."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.away = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.headers.get("content-encoding") == "deflate":
                    body = zlib.decompress(body)
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                if collector.away:
                    self.send_response(400)  # which an exporter does not try again
                else:
                    collector.spans += _read(ExportTraceServiceRequest.FromString(body))
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Traces on, and sent here."""
        return {"GOFLOW_TELEMETRY_TRACES": "otlp", "GOFLOW_TELEMETRY_ENDPOINT": self.url}

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def named(self, name: str) -> list[Seen]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 20.0) -> list[Seen]:
        """As soon as there are so many of that name."""
        until = time.monotonic() + seconds
        while len(self.named(name)) < count:
            assert time.monotonic() < until, f"{Counter(s.name for s in self.spans)}"
            time.sleep(0.02)
        return self.named(name)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for as long as the block lasts."""
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()


def check(spans: list[Seen], *, callers: str = "") -> Seen:
    """One whole trace: a single root (below `callers`, if given), no orphan, no span twice, and nobody's clock
    outside it. Answers the root."""
    assert len({span.trace for span in spans}) == 1
    twice = [id for id, count in Counter(span.id for span in spans).items() if count > 1]
    assert twice == []
    ids = {span.id for span in spans}
    roots = [span for span in spans if span.parent == callers]
    orphans = [span.name for span in spans if span.parent not in ids and span not in roots]
    assert orphans == []
    (root,) = roots
    assert root.start <= min(span.start for span in spans)
    assert root.end >= max(span.end for span in spans if span.scope == "goflow")
    return root


def _read(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for resource in request.resource_spans:
        about = _plain(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                    span.status.code == 2,
                    _plain(span.attributes),
                    about,
                    scope.scope.name,
                    str(span),
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
