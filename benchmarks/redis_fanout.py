"""A fan-out of 100,000 over Redis: how long a script blocks it, and what it holds meanwhile.

    python -m benchmarks.redis_fanout [--width 100000]

One process stages, opens, executes and closes the scopes as a worker would. Printed are nodes per second, the
longest script by Redis's own slow log and by the processor time of its server, and the most entries the queue ever
held: the window bounds it. A slow log counts the time that a server waits for a processor, too: beside it stands the
longest plain command of the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Redis
from goflow.message import Arrival, Claim, Item, Opened, Outcome, Request, Step
from goflow.payload import Payload
from goflow_redis import RedisBackend
from tests.redis.server import RedisServer

FLOW = ("wide", "0123456789abcdef")
CHUNK = 500
WINDOW = 1000
BATCH = 32


def outcome(claim: Claim, step: Step) -> Outcome:
    """A result as of now."""
    now = time.time()
    return Outcome(claim.task, now, now, step=step, digest="01234567")


def scopes(keys: Iterable[int]) -> list[Item]:
    """One scope a key, with one start."""
    return [Item(f"each[{key}]/", ("x",), Payload(str(key).encode())) for key in keys]


def close(claim: Claim) -> Outcome:
    """The result of a scope's only node, on its way to the branch."""
    key = claim.task.path[5:-3]
    arrival = Arrival("each", key, 0, closing=True)
    return outcome(claim, Step(output=Payload(b"x" * 100), arrivals=(arrival,)))


def on_processor(server: RedisServer) -> float:
    """Seconds that the server's main thread has been on a processor (Linux)."""
    told = Path(f"/proc/{server.pid}/task/{server.pid}/schedstat").read_text()
    return int(told.split()[0]) / 1e9


def main() -> None:
    """Run it and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=100_000)
    width = parser.parse_args().width
    with RedisServer("--slowlog-log-slower-than", "300", "--slowlog-max-len", "100000") as server:
        config = Config(redis=Redis(url=server.url, namespace="wide"))
        with RedisBackend.open(server.url, config) as backend:
            report(backend, server, width)


def report(backend: RedisBackend, server: RedisServer, width: int) -> None:
    """One run of one branch this wide."""
    info = WorkerInfo(id=0, host="bench", pid=0, started=time.time(), concurrency=1, flows=(FLOW,))
    ask = Ask(worker=backend.enter(info), limit=BATCH, flows=(FLOW,))
    backend.submit(Request("r", *FLOW, Payload(b""), {}, "d", ("each",)))
    (branch,) = backend.claim(ask)
    began = time.perf_counter()
    for first in range(0, width, CHUNK):
        backend.stage(branch.task, scopes(range(first, min(first + CHUNK, width))))
    opened = time.perf_counter()
    _, claims = backend.commit([outcome(branch, Step(opened=Opened(width, WINDOW, None, ())))], ask)
    queue = backend.keys.queue(backend.keys.partitions[0], *FLOW)
    nodes = longest = 0
    spent: list[float] = []
    while claims and not claims[0].task.closing:
        nodes += len(claims)
        outcomes, before = [close(claim) for claim in claims], on_processor(server)
        _, claims = backend.commit(outcomes, ask)
        spent.append(on_processor(server) - before)
        if nodes % (BATCH * 50) == 0:
            longest = max(longest, server.client.xlen(queue))
    executed = time.perf_counter()
    (closing,) = claims
    results = sum(len(chunk) for chunk in backend.inputs(closing.task))
    backend.commit([outcome(closing, Step(output=Payload(b"done"), ends=True))])
    assert (nodes, results) == (width, width)
    print(f"{width:,} scopes: staged in {opened - began:.1f} s, read back {results:,} results")
    print(
        f"{nodes / (executed - opened):,.0f} nodes/s, at most {longest:,} queued (window {WINDOW:,})"
    )
    tell_longest(server, spent)
    print(f"Redis holds {server.client.info('memory')['used_memory'] / width:,.0f} bytes a scope")


def tell_longest(server: RedisServer, spent: Sequence[float]) -> None:
    """Print what took longest, by the clock and by the processor."""
    slow = server.client.slowlog_get(100_000)
    scripts = [each["duration"] / 1000 for each in slow if each["command"].startswith(b"EVALSHA")]
    others = [
        each["duration"] / 1000
        for each in slow
        if not each["command"].startswith((b"EVAL", b"SLOWLOG", b"SCRIPT"))
    ]
    print(
        f"longest script {max(scripts, default=0):.1f} ms by the clock,"
        f" {sum(each > 5 for each in scripts)} over 5 ms; longest plain command"
        f" {max(others, default=0.3):.1f} ms"
    )
    print(
        f"of the processor a COMMIT of {BATCH} results and claims took {max(spent) * 1000:.1f} ms at most,"
        f" {sorted(spent)[len(spent) // 2] * 1000:.1f} ms in the middle"
    )


if __name__ == "__main__":
    main()
