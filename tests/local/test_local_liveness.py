"""Who is alive: killed, frozen and forked processes, and runs that lose their owner."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from goflow.backend import Retry
from goflow.state import NodeState, RunState
from goflow.testing.store import FLOW, OTHER, Worker, edge, request, worker_info
from goflow_local import LocalBackend
from tests.local.conftest import Open, Start, said

CLAIM = """
worker = Worker(backend)
claims = worker.claim(run_id=os.environ.get("RUN", ""))
say(f"{worker.id} {[claim.task.path for claim in claims]}")
sys.stdin.readline()
say(worker.succeed(claims[0], b"late", ends=True))
"""

OWN = """
worker = Worker(backend)
backend.submit(request("owned", "a", "b", owner=worker.id))
claim = worker.one("a", run_id="owned")
say(worker.id)
sys.stdin.readline()
"""


def freeze(backend: LocalBackend, worker: Worker) -> None:
    """Let a worker's last sign of life be long ago."""
    backend._store.write(
        lambda c: c.execute("UPDATE worker SET seen = seen - 1000 WHERE id = ?", (worker.id,))
    )


def settle(backend: LocalBackend) -> None:
    """Let the workers of this connection have been there for longer than a lease."""
    backend._store.blind_at = float("-inf")


def test_the_tasks_of_a_killed_process_come_back_at_the_next_tick(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    backend.submit(request("r"))
    process = start(CLAIM)
    assert said(process).endswith("['a']")
    worker = Worker(backend)
    backend.tick(worker.id)
    assert worker.claim() == [], "it lives, however long it takes"
    process.kill()
    process.wait()
    backend.tick(worker.id)
    claim = worker.one("a")
    assert (claim.task.lost, claim.task.attempt) == (1, 1)
    assert worker.succeed(claim, b"A", ends=True)
    assert [attempt.state for attempt in backend.attempts("r")] == ["lost", "succeeded"]


def test_a_stop_ends_a_run_at_once_whose_holder_was_killed(open_store: Open, start: Start) -> None:
    """No worker may be there to notice that what is to be killed is dead."""
    backend = open_store()
    backend.submit(request("r", "a", "b"))
    process = start(CLAIM)
    said(process)
    process.kill()
    process.wait()
    assert backend.control("r", "stop").state is RunState.STOPPED
    assert {node.state for node in backend.nodes("r")} == {NodeState.STOPPED}


def test_a_process_stopped_for_less_than_its_lease_keeps_its_tasks(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    backend.submit(request("r"))
    process = start(CLAIM)
    said(process)
    process.send_signal(signal.SIGSTOP)
    worker = Worker(backend)
    backend.tick(worker.id)
    assert worker.claim() == []
    process.send_signal(signal.SIGCONT)
    process.communicate("\n")
    assert backend.run("r").state is RunState.SUCCEEDED


def test_a_worker_frozen_for_longer_than_its_lease_is_refused(open_store: Open) -> None:
    backend, elsewhere = open_store(), open_store()
    frozen, worker = Worker(backend), Worker(elsewhere)
    backend.submit(request("r"))
    claim = frozen.one("a")
    freeze(backend, frozen)
    settle(elsewhere)
    assert [info.alive for info in backend.workers()] == [False, True]
    elsewhere.tick(worker.id)
    again = worker.one("a")
    assert again.task.lost == 1
    assert frozen.lost(claim) == [("a", "lost")]
    assert not frozen.succeed(claim, b"late", ends=True)
    assert [info.alive for info in backend.workers()] == [True, True], "it is back"
    assert worker.succeed(again, b"A", ends=True)


def test_a_worker_that_renews_is_not_taken_for_frozen(open_store: Open) -> None:
    backend, elsewhere = open_store(), open_store()
    slow, worker = Worker(backend), Worker(elsewhere)
    backend.submit(request("r"))
    claim = slow.one("a")
    freeze(backend, slow)
    settle(elsewhere)
    assert slow.lost(claim) == []
    elsewhere.tick(worker.id)
    assert worker.claim() == []
    assert slow.succeed(claim, b"A", ends=True)


def test_whoever_could_not_write_either_takes_nobody_for_frozen(open_store: Open) -> None:
    """After a full disk, or a suspended machine, every sign of life is old."""
    backend, elsewhere = open_store(), open_store()
    slow, worker = Worker(backend), Worker(elsewhere)
    backend.submit(request("r"))
    claim = slow.one("a")
    freeze(backend, slow)
    freeze(backend, worker)
    settle(elsewhere)
    elsewhere.tick(worker.id)
    assert worker.claim() == []
    elsewhere.tick(worker.id)
    assert worker.claim() == [], "its own sign of life is new, but not for long"
    assert slow.succeed(claim, b"A", ends=True)


def test_whoever_renews_late_takes_nobody_for_frozen(open_store: Open) -> None:
    """Everybody waits for a process that was frozen in the middle of a transaction; who is first after it was not
    the only one that waited."""
    backend, elsewhere = open_store(), open_store()
    slow, worker = Worker(backend), Worker(elsewhere)
    backend.submit(request("r", "a", "b"))
    claim, other = slow.one("a"), worker.one("b")
    freeze(backend, slow)
    freeze(backend, worker)
    settle(elsewhere)
    assert worker.lost(other) == [], "it renews"
    elsewhere.tick(worker.id)
    assert worker.claim() == []
    assert slow.succeed(claim, b"A")


def test_whoever_has_only_come_takes_nobody_for_frozen(open_store: Open) -> None:
    """It cannot know what kept them from giving a sign of life: the disk may have been full until now."""
    backend, elsewhere = open_store(), open_store()
    slow = Worker(backend)
    backend.submit(request("r"))
    claim = slow.one("a")
    freeze(backend, slow)
    worker = Worker(elsewhere)
    elsewhere.tick(worker.id)
    assert worker.claim() == []
    settle(elsewhere)
    elsewhere.tick(worker.id)
    assert worker.one("a").task.lost == 1, "but after a lease it does"
    assert not slow.succeed(claim, b"late", ends=True)


def test_a_run_is_not_taken_from_an_owner_that_is_only_frozen(open_store: Open) -> None:
    backend, elsewhere = open_store(), open_store()
    owner, worker = Worker(backend), Worker(elsewhere)
    backend.submit(request("r", "a", "b", owner=owner.id))
    claim = owner.one("a", run_id="r")
    freeze(backend, owner)
    settle(elsewhere)
    elsewhere.tick(worker.id)
    assert worker.claim() == []
    assert not backend.run("r").abandoned
    assert owner.succeed(claim, b"A")
    assert owner.one("b", run_id="r")


def test_a_killed_owners_run_is_abandoned_until_a_worker_adopts_it(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    process = start(OWN)
    said(process)
    assert not backend.run("owned").abandoned
    process.kill()
    process.wait()
    assert backend.run("owned").abandoned
    stranger = Worker(backend, (OTHER,))
    backend.tick(stranger.id)
    assert stranger.claim() == []
    assert backend.run("owned").abandoned, "it does not know the flow"
    worker = Worker(backend)
    backend.tick(worker.id)
    run = backend.run("owned")
    assert (run.owner, run.abandoned) == (0, False)
    assert {(c.task.path, c.task.lost) for c in worker.claim()} == {("a", 1), ("b", 0)}


def test_a_worker_that_owns_a_run_adopts_no_other(open_store: Open, start: Start) -> None:
    backend = open_store()
    process = start(OWN)
    said(process)
    process.kill()
    process.wait()
    owner = Worker(backend)
    backend.submit(request("mine", owner=owner.id))
    backend.tick(owner.id)
    assert owner.claim() == []
    assert owner.succeed(owner.one("a", run_id="mine"), b"A", ends=True)
    backend.tick(owner.id)
    assert owner.claim(run_id="mine") == []
    assert backend.run("owned").abandoned, "not even after its own has ended"


def test_stopping_an_abandoned_run_ends_it_at_once(open_store: Open, start: Start) -> None:
    process = start(OWN)
    said(process)
    process.kill()
    process.wait()
    backend = open_store()
    assert backend.control("owned", "stop").state is RunState.STOPPED
    assert {node.state for node in backend.nodes("owned")} == {NodeState.STOPPED}


def test_what_was_ready_when_an_owned_run_failed_goes_on_in_a_new_round(open_store: Open) -> None:
    backend = open_store()
    owner, heir = Worker(backend), Worker(backend)
    backend.submit(request("r", "a", "b", "c", owner=owner.id))
    assert owner.fail(owner.one("a", run_id="r"))
    assert owner.claim(run_id="r") == []
    assert backend.run("r").state is RunState.FAILED
    backend.retry("r", Retry(owner=heir.id))
    claims = {claim.task.path: claim for claim in heir.claim(run_id="r")}
    assert set(claims) == {"a", "b", "c"}
    assert heir.claim() == []


def test_a_second_store_in_the_process_does_not_cost_it_its_locks(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    open_store().close()
    other = start("worker = Worker(backend); backend.tick(worker.id); say(worker.paths())")
    assert said(other) == "[]"
    assert worker.succeed(claim, b"A", ends=True)


def test_threads_that_open_a_store_at_the_same_moment_share_its_locks(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one takes the other's listeners and workers for dead, and unlocks them by looking."""
    opening, open_file = threading.Barrier(2), os.open
    opened: list[LocalBackend] = []

    def open_slowly(path: str, *how: int) -> int:
        with suppress(threading.BrokenBarrierError):  # the other waits for its turn
            opening.wait(0.2)
        return open_file(path, *how)

    monkeypatch.setattr(os, "open", open_slowly)
    threads = [threading.Thread(target=lambda: opened.append(open_store())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client, host = opened
    worker = Worker(host)
    with client.watch() as waker:
        host.tick(worker.id)  # looks for dead listeners
        client.submit(request("r"))
        assert select.select([waker], [], [], 1)[0]


def test_a_store_that_is_made_anew_in_the_same_place_knows_no_old_locks(
    open_store: Open, tmp_path: Path
) -> None:
    first = open_store()
    Worker(first)
    first.close()
    for file in (tmp_path / "store").iterdir():
        file.unlink()
    backend = open_store()
    process_locks = backend._store.locks
    assert not process_locks.alive(1)
    assert Worker(backend).id == 1
    assert process_locks.alive(1)


def test_a_lock_that_outlived_its_store_costs_a_number_and_not_the_start(
    open_store: Open, start: Start, tmp_path: Path
) -> None:
    process = start(
        "waker = backend.watch(); say(backend.enter(worker_info(()))); sys.stdin.read()"
    )
    assert said(process) == "1"
    for file in (tmp_path / "store").iterdir():
        if file.name != "workers.lock":
            file.unlink()
    backend = open_store()
    worker = Worker(backend)
    assert worker.id == 2, "1 is still somebody's lock"
    assert [info.id for info in backend.workers()] == [2]
    with backend.watch() as waker:
        backend.submit(request("r"))
        assert select.select([waker], [], [], 10)[0]


def test_workers_are_told_what_they_do(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", "a", "b"))
    worker.claim(1)
    (info,) = backend.workers()
    assert info.doing == ("r/a",)
    assert info.flows == (FLOW,)


def test_an_idle_tick_writes_nothing(open_store: Open, tmp_path: Path) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    assert worker.retry(claim, at=time.time() + 3600)
    backend.submit(request("owned", owner=worker.id))
    backend.tick(worker.id)
    log = tmp_path / "store" / "goflow.db-wal"
    before = (log.stat().st_size, log.stat().st_mtime_ns)
    for _ in range(20):
        backend.tick(worker.id)
        assert worker.claim() == []
        assert worker.lost() == []
    assert (log.stat().st_size, log.stat().st_mtime_ns) == before


def test_a_tick_is_a_sign_of_life(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    freeze(backend, worker)
    assert not backend.workers()[0].alive
    backend.tick(worker.id)
    assert backend.workers()[0].alive


@pytest.mark.parametrize("leaves", [True, False])
def test_who_is_gone_is_listed_no_more_once_it_was_noticed(open_store: Open, leaves: bool) -> None:
    backend = open_store()
    gone, worker = Worker(backend), Worker(backend)
    if leaves:
        backend.leave(gone.id)
    else:
        backend._store.locks.drop(gone.id)
        assert [info.alive for info in backend.workers()] == [False, True]
    backend.tick(worker.id)
    assert [info.id for info in backend.workers()] == [worker.id]


def test_a_worker_that_leaves_gives_back_what_it_holds(open_store: Open) -> None:
    backend = open_store()
    leaving, worker = Worker(backend), Worker(backend)
    backend.submit(request("r"))
    claim = leaving.one("a")
    backend.leave(leaving.id)
    again = worker.one("a")
    assert not leaving.succeed(claim, b"late")
    assert worker.succeed(again, b"A", edge("a", "b"))
    assert backend.enter(worker_info((FLOW,))) > worker.id
