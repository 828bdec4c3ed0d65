"""The local backend's figures: start-up, fan-out, efficiency, chain, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor

from benchmarks.flows import burn, nothing
from benchmarks.measure import FLOWS, GOFLOW, ONE_NODE, Figure, pairs, private_store, wall

FAN_OUT = 5000
BURNS = 5000
CHAIN = 1000


def figures(runs: int) -> Iterator[Figure]:
    """Every figure, each against its yardstick in the same minutes."""
    for measure in MEASURES.values():
        yield from measure(runs)


def start_up(runs: int) -> Iterator[Figure]:
    """A one-node `goflow run`, whole process, against importing what any such CLI imports."""
    with private_store() as env:
        ours, other, ratio = pairs(
            lambda: wall([*GOFLOW, "run", str(ONE_NODE), "--data", "hallo"], **env),
            lambda: wall([sys.executable, "-c", "import click, rich.console"], **env),
            runs * 2,
        )
    yield Figure("one-node run", ours * 1e3, other * 1e3, "ms", ratio, "<= 2.0", ratio <= 2.0)


def fan_out(runs: int) -> Iterator[Figure]:
    """A durable foreach of no-op nodes, less start-up, against a bare process pool."""
    with private_store() as env:
        base = _less_start_up(env)
        ours, other, ratio = pairs(
            lambda: _run(env, "fan-out", FAN_OUT) - base, lambda: _pool(nothing, FAN_OUT), runs
        )
    yield Figure(
        f"foreach of {FAN_OUT}", ours, other, "s", ratio, "<= 2 x process pool", ratio <= 2.0
    )


def efficiency(runs: int) -> Iterator[Figure]:
    """Nodes of 10 ms of processor time on two cores: the ideal over what they took."""
    with private_store() as env:
        base = _less_start_up(env)
        ours, other, _ = pairs(
            lambda: _run(env, "burn", BURNS) - base, lambda: _pool(burn, BURNS), runs
        )
    share = BURNS * 0.010 / 2 / ours
    yield Figure("10 ms nodes: ideal / ours", ours, other, "s", share, ">= 0.93", share >= 0.93)


def chain(runs: int) -> Iterator[Figure]:
    """A chain: milliseconds per node, with sync = "normal" and "full"."""
    for sync in ("normal", "full"):
        with private_store() as env:
            env["GOFLOW_LOCAL_SYNC"] = sync
            base = _less_start_up(env)
            ours, other, _ = pairs(
                lambda env=env, base=base: _run(env, "chain", 0) - base,  # type: ignore[misc]
                lambda: _pool_chain(CHAIN),
                runs,
            )
        each = ours / CHAIN * 1e3
        goal = "<= 0.5 ms" if sync == "normal" else "reported"
        yield Figure(
            f"chain of {CHAIN}, {sync}: ms a node",
            each,
            other / CHAIN * 1e3,
            "ms",
            ours / other,
            goal,
            sync == "full" or each <= 0.5,
        )


def memory(runs: int) -> Iterator[Figure]:
    """The owner's peak over 100,000 nodes against that over 5,000."""
    small, large = (_peak(count) for count in (5_000, 100_000))
    yield Figure(
        "peak of owner, 100,000 : 5,000 nodes",
        large,
        small,
        "MiB",
        large / small,
        "<= 1.1",
        large / small <= 1.1,
    )


def _run(env: dict[str, str], flow: str, count: int) -> float:
    command = [*GOFLOW, "run", str(FLOWS), "--flow", flow, "--data", str(count)]
    return wall(command, **env)


def _less_start_up(env: dict[str, str]) -> float:
    """Seconds of a run with one node: what is not the work itself."""
    return min(_run(env, "single", 0) for _ in range(3))


def _pool(function: object, count: int) -> float:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(function, [b""] * 2))  # type: ignore[arg-type]
        begun = time.perf_counter()
        list(pool.map(function, [b""] * count, chunksize=1))  # type: ignore[arg-type]
        return time.perf_counter() - begun


def _pool_chain(count: int) -> float:
    with ProcessPoolExecutor(2) as pool:
        data = pool.submit(nothing, b"").result()
        begun = time.perf_counter()
        for _ in range(count):
            data = pool.submit(nothing, data).result()
        return time.perf_counter() - begun


def _peak(count: int) -> float:
    """MiB of the largest process of a run: the owner, since children hold one item at a time."""
    with private_store() as env:
        code = (
            "import resource, subprocess, sys;"
            "subprocess.run(sys.argv[1:], check=True, stdout=-3, stderr=-3);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
        )
        command = [*GOFLOW, "run", str(FLOWS), "--flow", "discard", "--data", str(count)]
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **env},
        )
        return float(done.stdout)


#: what `python -m benchmarks NAME` takes
MEASURES: Mapping[str, Callable[[int], Iterator[Figure]]] = {
    "start-up": start_up,
    "foreach": fan_out,
    "efficiency": efficiency,
    "chain": chain,
    "memory": memory,
}
