"""Several processes and threads on one store: each node is recorded once, whoever is killed when."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

from goflow.state import NodeState, RunState
from goflow.testing.store import Worker, request
from tests.local.conftest import Open, Start

#: scopes of the run that is shared
WIDTH = 400

WORK = f"""
import select
from goflow.message import Arrival, Item, Opened, Step
from goflow.payload import Payload
from goflow.testing.store import outcome
worker = Worker(backend)
waker = backend.watch()

def step(task):
    if task.path == "end":
        return Step(Payload(b"over"), ends=True)
    if task.path.endswith("/x"):
        return Step(Payload(b"x"), (Arrival(task.path[:-1] + "y", "x", 1),))
    if task.path.endswith("/y"):
        key = task.path[len("each["):].partition("]")[0]
        return Step(Payload(b"y"), (Arrival("each", key, 0, closing=True),))
    if task.closing:
        return Step(Payload(b"closed"), (Arrival("end", "each", 1),))
    items = [Item(f"each[{{n}}]/", ("x",), Payload(b"in")) for n in range({WIDTH})]
    backend.stage(task, items)
    return Step(opened=Opened({WIDTH}, 50, None, ()))

claims = []
while True:
    backend.tick(worker.id)
    if not claims:
        waker.clear()
        claims = backend.claim(worker.ask(8))
        if not claims:
            select.select([waker], [], [], 0.05)
            continue
    _, claims = backend.commit([outcome(c, step=step(c.task)) for c in claims], worker.ask(8))
"""


def test_processes_that_are_killed_at_any_moment_lose_and_repeat_no_result(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    backend.submit(request("r", "each"))
    processes = [start(WORK) for _ in range(3)]
    for turn in itertools.count():
        if backend.run("r").state.terminal:
            break
        time.sleep(0.02)
        victim = turn % len(processes)
        if turn % 5 == 0 and turn < 60:
            processes[victim].kill()
            processes[victim].wait()
            processes[victim] = start(WORK)
    assert backend.run("r").state is RunState.SUCCEEDED
    nodes = backend.nodes("r")
    assert len(nodes) == 2 * WIDTH + 2
    assert {node.state for node in nodes} == {NodeState.SUCCEEDED}
    told = Counter((a.path, a.state) for a in backend.attempts("r"))
    assert {n for (_, state), n in told.items() if state == "succeeded"} == {1}
    assert len(backend.arrivals("r", "end")) == 1
    assert backend.waiting() == {}


def test_threads_may_share_a_store(open_store: Open) -> None:
    backend = open_store()
    runs = 40
    recorded: list[bool] = []

    def work() -> None:
        worker = Worker(backend)
        while len(recorded) < runs:
            for claim in worker.claim(3):
                recorded.append(worker.succeed(claim, b"A", ends=True))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(runs):
        backend.submit(request(f"r{number}"))
    for thread in threads:
        thread.join()
    assert recorded == [True] * runs
    assert {run.state for run in backend.runs()} == {RunState.SUCCEEDED}
