"""What traces cost: a worker's chains with traces sent to a collector, and what is left of them while off.

Start-up is left out: two workers stand beside each other over stores of their own, one with traces, and get chains
in turn. The traced ones are over when the collector has everything, so telling is paid for in full.
The collector is a thread here that takes everything and only looks for root spans.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from benchmarks.local import CHAIN
from benchmarks.measure import FLOWS, GOFLOW, Figure, pairs
from goflow.client import Client
from goflow.config import Config, Local
from goflow.errors import UnknownFlow
from goflow.figures import Meter
from goflow.message import Outcome, Step, Task
from goflow_local import LocalBackend

#: chains that follow one another in one measurement
CHAINS = 3
#: how often the code that stays is executed to be timed
TIMES = 200_000


def figures(runs: int) -> Iterator[Figure]:
    """Traces on, and off."""
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        told = {"GOFLOW_TELEMETRY_TRACES": "otlp", "GOFLOW_TELEMETRY_ENDPOINT": collector.url}
        traced, plain = stack.enter_context(_worker(told)), stack.enter_context(_worker({}))
        on, off, ratio = pairs(
            lambda: _chains(traced, collector.roots), lambda: _chains(plain, None), runs
        )
    node = off / CHAINS / CHAIN
    yield Figure(
        f"chain of {CHAIN}, traces on : off",
        on / CHAINS / CHAIN * 1e3,
        node * 1e3,
        "ms",
        ratio,
        "<= 1.15",
        ratio <= 1.15,
    )
    each = sorted(_left_while_off() for _ in range(runs))[runs // 2]
    yield Figure(
        "traces off: their share of a node",
        each * 1e3,
        node * 1e3,
        "ms",
        each / node,
        "<= 0.01",
        each / node <= 0.01,
    )


@contextmanager
def _worker(settings: dict[str, str]) -> Iterator[Client]:
    """A worker that knows the flows, and a client of its store."""
    with tempfile.TemporaryDirectory(prefix="goflow-bench-") as folder:
        own = {"GOFLOW_LOCAL_PATH": folder, "GOFLOW_WORKER_CONCURRENCY": "2"}
        process = subprocess.Popen(
            [*GOFLOW, "worker", str(FLOWS)],
            env={**os.environ, **own, **settings},
            stderr=subprocess.DEVNULL,
        )
        try:
            with LocalBackend.open("local", Config(local=Local(path=folder))) as backend:
                client = Client(backend)
                _until(lambda: _knows(client))
                yield client
        finally:
            process.terminate()
            process.wait()


def _knows(client: Client) -> bool:
    try:
        client.plan("chain")
    except UnknownFlow:
        return False
    return True


def _chains(client: Client, roots: set[str] | None) -> float:
    """Seconds that some chains take, one after the other, until the last is told where it is to be."""
    begun = time.perf_counter()
    for _ in range(CHAINS):
        run = client.submit("chain", b"0")
        client.wait(run.id)
    if roots is not None:
        _until(lambda: run.id in roots)
    return time.perf_counter() - begun


def _until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.002)


def _left_while_off() -> float:
    """Seconds per node of the code that a worker and its child execute for telemetry whatever is configured:
    counting the attempt, and seeing that there are no traces."""
    meter, now, spans = Meter(), time.time(), None
    task = Task("r", "chain", "0123456789abcdef", "n1", "1.1", ready=now)
    outcome = Outcome(task, now, now + 0.0001, step=Step())
    begun = time.perf_counter()
    for _ in range(TIMES):
        meter.add(outcome)
        with nullcontext() if spans is None else spans:
            pass
    return (time.perf_counter() - begun) / TIMES


class Collector:
    """`url` is where it listens, `roots` the run ids of the root spans it was sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.roots: set[str] = set()

    def take(self, body: bytes) -> None:
        """A root span is the last of its run, and the only one that says how much the run was given."""
        end = body.rfind(b"goflow.input_bytes")
        at = body.rfind(b"goflow.run_id", 0, end) if end >= 0 else -1
        if at >= 0:
            value = body[at + len(b"goflow.run_id") :]
            self.roots.add(value[4 : 4 + value[3]].decode())


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
