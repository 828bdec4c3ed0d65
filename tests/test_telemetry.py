"""Traces: one per run, every span under its root, told once, over the wire to a collector."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from goflow.config import load_config
from goflow.telemetry import identity

FLOW = """
import goflow

def fail_once(data, options, context):
    if context.attempt == 1:
        raise ValueError("secret words")
    return data

@goflow.flow("traced")
def traced(workflow, context):
    dag = workflow.dag
    dag.node("first", fail_once, retries=1, retry_delay=0.01)
    each = dag.foreach_branch("each", lambda data: {"a": b"1", "b": b"2"})
    each.node("work", lambda data: data)
    dag.edge("first", "each")
    workflow.finally_(lambda state: None)
"""


class Span(NamedTuple):
    name: str
    trace: bytes
    id: bytes
    parent: bytes
    failed: bool
    text: str


class Collector:
    """Speaks OTLP over HTTP on loopback and keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        s.name, s.trace_id, s.span_id, s.parent_span_id, s.status.code == 2, str(s)
                    )
                    for s in scope.spans
                ]


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()


def test_a_run_is_one_trace_with_every_attempt_under_its_root(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    with collecting() as collector:
        subprocess.run(
            [sys.executable, "-m", "goflow_cli.main", "run", str(tmp_path / "flow.py")],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(tmp_path),
                "GOFLOW_TELEMETRY_TRACES": "otlp",
                "GOFLOW_TELEMETRY_ENDPOINT": collector.url,
            },
        )
    spans = collector.spans
    names = sorted(span.name for span in spans)
    expected = ["each", "each", "each[a]/work", "each[b]/work", "first", "first"]
    assert names == sorted([*expected, "flow traced", "~finally"])
    assert len({span.trace for span in spans}) == 1
    assert len({span.id for span in spans}) == len(spans)
    [root] = [span for span in spans if span.name == "flow traced"]
    assert root.parent == b""
    assert {span.parent for span in spans if span is not root} == {root.id}
    assert [span.failed for span in spans if span.name == "first"] == [True, False]
    assert not any("secret words" in span.text for span in spans)


def test_an_unreachable_collector_harms_no_run(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    done = subprocess.run(
        [sys.executable, "-m", "goflow_cli.main", "run", str(tmp_path / "flow.py")],
        check=True,
        capture_output=True,
        env={
            **os.environ,
            "XDG_STATE_HOME": str(tmp_path),
            "GOFLOW_TELEMETRY_TRACES": "otlp",
            "GOFLOW_TELEMETRY_ENDPOINT": "http://127.0.0.1:9",
        },
    )
    assert done.stdout == b'{"a":"1","b":"2"}'


def test_a_callers_trace_is_continued() -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace, root, parent = identity("r1", {"traceparent": given})
    assert f"{trace:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{parent:016x}" == "b7ad6b7169203331"
    assert root == identity("r1", {})[1]


@pytest.mark.parametrize(
    "given", ["", "00-x-y-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ff"]
)
def test_a_broken_traceparent_begins_a_trace_of_its_own(given: str) -> None:
    assert identity("r1", {"traceparent": given}) == identity("r1", {})


def test_off_imports_nothing_of_it(tmp_path: Path) -> None:
    assert load_config(tmp_path).telemetry.traces == "off"
    code = "import sys, goflow.host; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
