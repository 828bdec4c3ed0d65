"""Wake-ups between processes, and none where there is nothing new."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from goflow.backend import Waker
from goflow.errors import UnknownRun
from goflow.testing.store import Worker, closes, edge, request, scopes, success
from goflow_local import LocalBackend
from goflow_local.housekeeping import duties
from goflow_local.liveness import LISTENERS
from tests.local.conftest import Open, Start, said


def rang(waker: Waker, seconds: float = 0.0) -> bool:
    """Whether it was woken; forgets it then."""
    readable, _, _ = select.select([waker], [], [], seconds)
    waker.clear()
    return bool(readable)


def listeners(backend: LocalBackend) -> int:
    return int(
        backend._store.read(lambda c: c.execute("SELECT count(*) FROM listener").fetchone()[0])
    )


def test_a_run_submitted_by_another_process_wakes_workers(open_store: Open, start: Start) -> None:
    backend = open_store()
    with backend.watch() as waker:
        process = start("sys.stdin.readline(); backend.submit(request('r')); say('done')")
        assert not rang(waker)
        process.communicate("\n")
        assert rang(waker, 10)


def test_another_process_hears_that_a_run_has_ended(open_store: Open, start: Start) -> None:
    backend = open_store()
    backend.submit(request("r"))
    process = start(
        "import select; waker = backend.watch('r'); say('ready')\n"
        "while not backend.run('r').state.terminal:\n"
        "    select.select([waker], [], []); waker.clear()\n"
        "say('over')"
    )
    assert said(process) == "ready"
    worker = Worker(backend)
    assert worker.succeed(worker.one("a"), b"A", ends=True)
    assert said(process) == "over"


def test_a_commit_that_takes_what_it_made_wakes_nobody(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    with other.watch() as waker:
        done = success(claim, b"A", edge("a", "b"))
        _, claims = backend.commit([done], worker.ask(1))
        assert not rang(waker)
        done = success(claims[0], b"B", edge("b", "c"), edge("b", "d"))
        _, claims = backend.commit([done], worker.ask(1))
        assert len(claims) == 1
        assert rang(waker), "one is left for somebody else"


def test_scopes_that_only_follow_others_wake_nobody(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker = Worker(backend)
    backend.submit(request("r", "each"))
    with other.watch() as waker:
        assert worker.open(worker.one("each"), scopes("each", "abcdef"), window=3)
        assert rang(waker), "three at once"
        (first,) = worker.claim(1)
        done = success(first, b"", closes("each", "a"))
        backend.commit([done], worker.ask(1))
        assert not rang(waker), "one came, one was taken"


def test_an_owner_does_not_wake_workers_that_may_not_help(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    owner = Worker(backend)
    with other.watch() as waker:
        backend.submit(request("r", "a", owner=owner.id))
        rang(waker)
        claim = owner.one("a", run_id="r")
        done = success(claim, b"A", edge("a", "b"), edge("a", "c"))
        _, claims = backend.commit([done], owner.ask(1, "r"))
        assert len(claims) == 1
        assert not rang(waker)


def test_a_run_wakes_its_own_listeners_only(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r1"))
    backend.submit(request("r2"))
    with backend.watch("r1") as one, backend.watch("r2") as two:
        assert worker.claim(1)[0].task.run_id == "r1"
        assert (rang(one), rang(two)) == (True, False)


@pytest.mark.parametrize(
    "act",
    [
        lambda backend: backend.control("r", "pause"),
        lambda backend: backend.control("r", "stop"),
    ],
    ids=["pause", "stop"],
)
def test_control_is_heard_by_whoever_shows_the_run(
    open_store: Open, act: Callable[[LocalBackend], object]
) -> None:
    backend, other = open_store(), open_store()
    backend.submit(request("r"))
    with other.watch("r") as waker:
        act(backend)
        assert rang(waker)


def test_a_stop_wakes_the_worker_that_must_kill(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    with backend.watch() as waker:
        other.control("r", "stop")
        assert rang(waker)
        assert worker.lost(claim) == [("a", "stop")]


def test_a_refused_commit_wakes_nobody(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    assert worker.release(claim)
    with backend.watch() as work, backend.watch("r") as run:
        assert not worker.succeed(claim, b"late")
        assert not rang(work)
        assert not rang(run)


def test_a_listener_that_closes_leaves_nothing(open_store: Open) -> None:
    backend = open_store()
    waker = backend.watch()
    assert listeners(backend) == 1
    waker.close()
    waker.close()
    assert listeners(backend) == 0


def test_a_listener_may_outlive_its_store(open_store: Open) -> None:
    backend = open_store()
    waker = backend.watch()
    backend.close()
    waker.close()
    assert listeners(open_store()) == 1, "housekeeping will find it"


def test_listeners_of_a_killed_process_are_swept_away(open_store: Open, start: Start) -> None:
    process = start("waker = backend.watch(); say('ready'); sys.stdin.readline()")
    assert said(process) == "ready"
    process.kill()
    process.wait()
    backend = open_store()
    worker = Worker(backend)
    with backend.watch() as waker:
        assert listeners(backend) == 2
        backend.tick(worker.id)
        assert listeners(backend) == 1
        backend.submit(request("r"))
        assert rang(waker)


def test_the_lock_of_a_listener_is_none_of_a_worker(open_store: Open) -> None:
    backend = open_store()
    with backend.watch():
        worker = Worker(backend)
        locks = backend._store.locks
        assert locks.alive(LISTENERS + 1)
        assert locks.alive(worker.id)
        found = backend._store.read(lambda c: duties(c, backend._store, worker.id))
        assert not found.any
    assert not locks.alive(LISTENERS + 1)
    assert locks.alive(worker.id)


def test_nobody_can_watch_a_run_that_is_not_there(open_store: Open) -> None:
    backend = open_store()
    with pytest.raises(UnknownRun):
        backend.watch("nowhere")
    assert listeners(backend) == 0
