"""What running tasks print, for backends that record it while they run."""

from __future__ import annotations

import pytest

from goflow.backend import Backend, Printing
from goflow.message import Claim
from goflow.testing.store import Store, edge
from goflow.testing.suite.base import Suite
from goflow.testing.suite.watching import woken


def say(backend: Backend, *said: tuple[Claim, bytes]) -> None:
    """Tasks have printed something."""
    if not isinstance(backend, Printing):
        pytest.skip("this backend records what tasks print when they have ended")
    backend.printed([(claim.task, data) for claim, data in said])


def said(store: Store, run_id: str = "r") -> list[tuple[str, int, bytes]]:
    """What the logs hold, as any connection sees it."""
    lines = store.connect().logs(run_id)
    ids = [line.id for line in lines]
    assert ids == sorted(set(ids))
    assert all(line.time > 0 and line.round == 1 for line in lines)
    return [(line.path, line.attempt, line.data) for line in lines]


class Speaking(Suite):
    def test_what_running_tasks_print_is_there_before_they_end(self, store: Store) -> None:
        w = store.worker()
        for run_id in ("r", "other"):
            store.submit(run_id, "a", "b")
        claims = {(c.task.run_id, c.task.path): c for c in w.claim()}
        a, b, c = (claims[key] for key in (("r", "a"), ("r", "b"), ("other", "a")))
        before = store.run()
        say(w.backend, (a, b"1\n"), (b, b"2\n"), (c, b"elsewhere"), (a, b"3\n"))
        assert store.run().revision > before.revision
        say(w.backend, (a, b"\xff\x004"))
        printed = [("a", 1, b"1\n"), ("b", 1, b"2\n"), ("a", 1, b"3\n"), ("a", 1, b"\xff\x004")]
        assert said(store) == printed
        assert said(store, "other") == [("a", 1, b"elsewhere")]
        assert w.lost(a, b) == [], "they are held as before"
        assert w.succeed(a, b"A", edge("a", "c"), log=b"end\n")
        assert w.retry(b, at=0)
        assert said(store) == [*printed, ("a", 1, b"end\n")]

    def test_a_task_that_is_held_no_more_adds_nothing(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b")
        old, ended = zombie.each("a", "b")
        say(zombie.backend, (old, b"of the lost one\n"))
        assert zombie.succeed(ended, b"B")
        store.vanish(zombie)
        store.tick()
        say(zombie.backend, (old, b"late\n"), (ended, b"late\n"))
        new = w.one("a")
        before = store.run()
        say(zombie.backend, (old, b"late\n"))
        assert store.run() == before
        say(w.backend, (new, b"of the next one\n"))
        assert said(store) == [("a", 1, b"of the lost one\n"), ("a", 1, b"of the next one\n")]

    def test_every_attempt_has_its_own(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        first = w.one("a")
        say(w.backend, (first, b"1\n"))
        assert w.retry(first, at=0, log=b"2\n")
        store.tick()
        say(w.backend, (w.one("a"), b"3\n"))
        assert said(store) == [("a", 1, b"1\n"), ("a", 1, b"2\n"), ("a", 2, b"3\n")]

    def test_whoever_watches_the_run_wakes(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        waker = store.connect().watch("r")
        try:
            for _ in range(3):
                waker.clear()
                say(w.backend, (claim, b"x"))
                assert woken(waker)
        finally:
            waker.close()
