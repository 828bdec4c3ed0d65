"""How quickly `explain`, `trace` and `show` answer on a run of 10,000 nodes, and what `top` costs the store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure import FLOWS, GOFLOW, Figure, pairs, private_store, wall

NODES = 10_000
#: ms that a person waits without noticing
AT_ONCE = 300.0


def figures(runs: int) -> Iterator[Figure]:
    """Every command on both stores, as whole processes, against importing what any such CLI imports."""
    for store in (_local, _redis):
        with store() as (name, env):
            _run(env)
            for command in (
                ["explain", "big"],
                ["explain", "big", "each[77]/work"],
                ["trace", "big"],
            ):
                yield _answer(name, env, command, runs)
            yield _answer(name, env, ["explain", "held"], runs)
            yield _answer(name, env, ["trace", "held"], runs)


def _answer(name: str, env: dict[str, str], command: list[str], runs: int) -> Figure:
    ours, other, ratio = pairs(
        lambda: wall([*GOFLOW, *command], **env),
        lambda: wall([sys.executable, "-c", "import click, rich.console"], **env),
        runs,
    )
    told = " ".join(command)
    return Figure(
        f"{told}, {NODES} nodes, {name}",
        ours * 1e3,
        other * 1e3,
        "ms",
        ratio,
        "<= 300 ms",
        ours * 1e3 <= AT_ONCE,
    )


def _run(env: dict[str, str]) -> None:
    """A run that has ended, and one of which all but the last node is recorded, on its way."""
    worker = subprocess.Popen(
        [*GOFLOW, "worker", str(FLOWS), "--flow", "fan-out", "--flow", "held"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **env},
    )
    try:
        _until_known(env, "held")
        for flow, run_id, wait in (("fan-out", "big", True), ("held", "held", False)):
            command = ["submit", flow, "--data", str(NODES), "--request-id", run_id]
            wall([*GOFLOW, *command, *(["--wait"] if wait else [])], **env)
        _until_held(env)
        wall([*GOFLOW, "pause", "held"], **env)
    finally:
        worker.terminate()
        worker.wait()


def _until_known(env: dict[str, str], flow: str) -> None:
    while flow not in _output(env, "flows"):
        time.sleep(0.2)


def _until_held(env: dict[str, str]) -> None:
    while "each succeeded" not in _output(env, "explain", "held", "each"):
        time.sleep(0.2)


def _output(env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [*GOFLOW, *command], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    return done.stdout


@contextmanager
def _local() -> Iterator[tuple[str, dict[str, str]]]:
    with private_store() as env:
        yield "local", env


@contextmanager
def _redis() -> Iterator[tuple[str, dict[str, str]]]:
    from tests.redis.server import RedisServer

    with RedisServer() as server:
        yield "redis", {"GOFLOW_BACKEND": server.url, "PYTHONDONTWRITEBYTECODE": ""}
