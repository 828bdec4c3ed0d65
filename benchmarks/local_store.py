"""The embedded store alone, without children or engine: microseconds per node, beside a yardstick.

    python -m benchmarks.local_store [NODES]

The yardstick writes the same bytes as bare SQL: one row inserted, and updated once with a result of the same
size, in transactions of the same number of nodes, on the same disk in the same run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Local
from goflow.message import Arrival, Claim, Item, Opened, Outcome, Request, Step
from goflow.payload import Payload
from goflow_local import LocalBackend

FLOW = ("bench", "0" * 16)
BYTES = Payload(b"x" * 100)
BATCH = 32


def main(nodes: int) -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        for sync in ("normal", "full"):
            for name, measure in (("chain", chain), ("foreach", foreach), ("single runs", singles)):
                count = nodes if sync == "normal" or name == "foreach" else nodes // 10
                took = measure(opened(Path(folder, f"{name}-{sync}"), sync), count)
                batch = BATCH if name != "chain" else 1
                bare = yardstick(Path(folder, f"{name}-{sync}-bare.db"), sync, count, batch)
                print(
                    f"{name:12} sync={sync:6} batch {batch:3}: {took:6.1f} us a node,"
                    f" bare SQL {bare:6.1f} us"
                )


def opened(folder: Path, sync: str) -> LocalBackend:
    """A fresh store."""
    config = Config(local=Local(path=str(folder), sync="full" if sync == "full" else "normal"))
    return LocalBackend.open("local", config)


def enter(backend: LocalBackend, limit: int) -> Ask:
    """Register a worker; what it will ask for."""
    info = WorkerInfo(
        id=0, host="here", pid=os.getpid(), started=time.time(), concurrency=2, flows=(FLOW,)
    )
    return Ask(worker=backend.enter(info), limit=limit, flows=(FLOW,))


def chain(backend: LocalBackend, nodes: int) -> float:
    """Nodes one after the other: each commit brings the next claim."""
    ask = enter(backend, 1)
    backend.submit(request("chain", "n0"))
    claims = backend.claim(ask)
    began = time.perf_counter()
    for number in range(nodes):
        last = number == nodes - 1
        arrival = Arrival(f"n{number + 1}", f"n{number}", 1)
        step = Step(BYTES, () if last else (arrival,), ends=last)
        _, claims = backend.commit([outcome(claims[0], step)], ask)
    return per_node(began, nodes)


def foreach(backend: LocalBackend, nodes: int) -> float:
    """One branch of so many scopes of one node."""
    ask = enter(backend, BATCH)
    backend.submit(request("foreach", "each"))
    (branch,) = backend.claim(ask)
    items = [Item(f"each[{n}]/", ("work",), BYTES) for n in range(nodes)]
    began = time.perf_counter()
    for first in range(0, nodes, 500):
        backend.stage(branch.task, items[first : first + 500])
    step = Step(opened=Opened(nodes, 1000, None, ()))
    _, claims = backend.commit([outcome(branch, step)], ask)
    while not claims[0].task.closing:
        _, claims = backend.commit([outcome(claim, closes(claim)) for claim in claims], ask)
    for _ in backend.inputs(claims[0].task):
        pass
    return per_node(began, nodes)


def singles(backend: LocalBackend, nodes: int) -> float:
    """As many runs of one node, submitted one by one."""
    ask = enter(backend, BATCH)
    began = time.perf_counter()
    for number in range(nodes):
        backend.submit(request(f"run-{number}", "work"))
    claims = backend.claim(ask)
    while claims:
        step = Step(BYTES, ends=True)
        _, claims = backend.commit([outcome(claim, step) for claim in claims], ask)
    return per_node(began, nodes)


def closes(claim: Claim) -> Step:
    """A scope's result goes to its branch."""
    key = claim.task.path[len("each[") :].partition("]")[0]
    return Step(BYTES, (Arrival("each", key, 0, closing=True),))


def request(run_id: str, start: str) -> Request:
    """A run of the benchmark's flow."""
    return Request(run_id, *FLOW, BYTES, {}, run_id, (start,))


def outcome(claim: Claim, step: Step) -> Outcome:
    """A success."""
    now = time.time()
    return Outcome(claim.task, now, now, step=step)


def yardstick(path: Path, sync: str, nodes: int, batch: int) -> float:
    """Insert and update rows of a node's size."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute(f"PRAGMA synchronous = {sync}")
    connection.execute("CREATE TABLE node (id INTEGER PRIMARY KEY, path TEXT, input, output)")
    began = time.perf_counter()
    for first in range(0, nodes, batch):
        some = range(first, min(first + batch, nodes))
        rows: list[tuple[int, str, bytes]] = [(n, f"each[{n}]/work", BYTES.data) for n in some]
        transact(connection, "INSERT INTO node VALUES (?, ?, ?, NULL)", rows)
        transact(
            connection, "UPDATE node SET output = ? WHERE id = ?", [(r[2], r[0]) for r in rows]
        )
    return per_node(began, nodes)


def transact(
    connection: apsw.Connection,
    statement: str,
    rows: list[tuple[int, str, bytes]] | list[tuple[bytes, int]],
) -> None:
    """One transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(statement, rows)
    connection.execute("COMMIT")


def per_node(began: float, nodes: int) -> float:
    """Microseconds."""
    return (time.perf_counter() - began) / nodes * 1e6


Measure = Callable[[LocalBackend, int], float]

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
