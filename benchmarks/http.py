"""The figures of `goflow serve`: calls per second from 32 connections, beside a bare service over Redis."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx

from benchmarks.load import Load, load
from benchmarks.measure import FLOWS, GOFLOW, Figure
from tests.redis.server import RedisServer

#: seconds of each load
SECONDS: Final = 3
STREAMS: Final = 200
ASYNC: Final = {"X-Async": "true"}


def figures(runs: int) -> Iterator[Figure]:
    """Every figure, the yardstick's load in turn with ours."""
    with RedisServer() as redis, yardstick(redis.url) as bare:
        for name, least in (("redis", 0.35), ("local", 0.25)):
            with serving(name, redis.url) as url:
                yield from answered(name, f"{url}/flow/single", bare, least, runs)
                yield beside_streams(name, url, runs)
        for name, goal in (("redis", 0.75), ("local", None)):
            with serving(name, redis.url, "--no-worker") as url:
                yield accepted(name, f"{url}/flow/single", bare, goal, runs)
            redis.client.flushall()


def answered(name: str, url: str, bare: str, least: float, runs: int) -> Iterator[Figure]:
    """A one-node flow, called and answered with its result."""
    ours, other = loads(url, bare, runs)
    yield rates(f"{name}: one node, answered", ours, other, least)
    p99, theirs = (statistics.median(each.p99 for each in some) for some in (ours, other))
    holds = p99 < 50
    yield Figure(f"{name}: p99 of these", p99, theirs, "ms", p99 / theirs, "< 50 ms", holds)


def accepted(name: str, url: str, bare: str, least: float | None, runs: int) -> Figure:
    """Runs accepted with 202 while no worker takes any."""
    ours, other = loads(url, bare, runs, ASYNC)
    return rates(f"{name}: 202, no worker", ours, other, least)


def beside_streams(name: str, server: str, runs: int) -> Figure:
    """The answered load beside open event streams, against the same without."""
    url = f"{server}/flow/single"
    quiet: list[Load] = []
    beside: list[Load] = []
    for _ in range(runs):
        quiet.append(load(url, SECONDS))
        with streams(server):
            beside.append(load(url, SECONDS))
    return rates(f"{name}: beside {STREAMS} event streams", beside, quiet, 0.9)


def loads(
    url: str, bare: str, runs: int, headers: dict[str, str] | None = None
) -> tuple[list[Load], list[Load]]:
    """Loads on ours and on the yardstick in turn, after a warm-up of both."""
    load(url, 1, headers), load(bare, 1)
    pairs = [(load(url, SECONDS, headers), load(bare, SECONDS)) for _ in range(runs)]
    return [ours for ours, _ in pairs], [other for _, other in pairs]


def rates(name: str, ours: list[Load], other: list[Load], least: float | None) -> Figure:
    """Their medians and the median ratio, pair by pair. An answer that was an error breaks the figure."""
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, other, strict=True))
    errors = sum(each.errors for each in [*ours, *other])
    goal = "reported" if least is None else f">= {least:.2f}"
    if errors:
        goal += f", but {errors} errors"
    rate, yard = (statistics.median(each.rate for each in some) for some in (ours, other))
    return Figure(name, rate, yard, "1/s", ratio, goal, not errors and ratio >= (least or 0))


@contextmanager
def serving(backend: str, redis_url: str, *options: str) -> Iterator[str]:
    """`goflow serve` with a worker of two children; its URL once its flows are known."""
    with tempfile.TemporaryDirectory(prefix="goflow-bench-") as folder:
        env = {
            **os.environ,
            "GOFLOW_BACKEND": backend,
            "GOFLOW_LOCAL_PATH": folder,
            "GOFLOW_REDIS_URL": redis_url,
            "GOFLOW_WORKER_CONCURRENCY": "2",
        }
        log = Path(folder, "log")
        with log.open("w") as stderr:
            command = [*GOFLOW, "serve", str(FLOWS), "--port", "0", *options]
            process = subprocess.Popen(command, env=env, stderr=stderr)
        try:
            yield _ready(process, log)
        finally:
            process.terminate()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text().splitlines():
            if "http://" in line:
                url = line.split()[2]
                flows = httpx.get(f"{url}/flows", trust_env=False).json()["flows"]
                if any(flow["flow"] == "single" for flow in flows):
                    return url
        time.sleep(0.05)
    raise RuntimeError(f"goflow serve does not serve: {log.read_text()}")


@contextmanager
def streams(server: str) -> Iterator[None]:
    """Event streams of as many runs, open while the block lasts. Their runs are paused, and so stay."""
    with ExitStack() as stack:
        limits = httpx.Limits(max_connections=STREAMS + 1)
        http = stack.enter_context(httpx.Client(limits=limits, timeout=60, trust_env=False))
        runs = []
        for _ in range(STREAMS):
            run = http.post(f"{server}/flow/chain", headers=ASYNC).json()
            runs.append(f"{server}/flow/chain/request/{run['run_id']}")
            http.post(f"{runs[-1]}/pause").raise_for_status()
        for run in runs:
            stream = stack.enter_context(http.stream("GET", f"{run}/events"))
            stream.raise_for_status()
            next(stream.iter_raw())
        yield
        for run in runs:
            http.post(f"{run}/stop").raise_for_status()


@contextmanager
def yardstick(redis_url: str) -> Iterator[str]:
    """The bare service, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.yardstick", redis_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
