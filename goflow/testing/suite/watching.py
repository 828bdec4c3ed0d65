"""Waking up: whoever listens hears of a change that another connection made."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from goflow.backend import EndWatcher, Retry, Waker
from goflow.testing.store import Store, closes, edge, scopes
from goflow.testing.suite.base import Suite

#: seconds after which a waker that stays silent has failed; no test waits this long to pass
_BOUND = 20.0
#: seconds a waker must be able to be silent where nothing happens
_SILENCE = 0.05


class Watching(Suite):
    @contextmanager
    def watch(self, store: Store, run_id: str | None = None) -> Iterator[Waker]:
        """A waker on a connection of its own."""
        waker = store.connect().watch(run_id)
        try:
            yield waker
        finally:
            waker.close()

    @contextmanager
    def watch_end(self, store: Store) -> Iterator[Waker]:
        """The same for the end of "r" alone, where the backend can watch for that."""
        backend = store.connect()
        if not isinstance(backend, EndWatcher):
            pytest.skip("this backend is watched for every change")
        waker = backend.watch_end("r")
        try:
            yield waker
        finally:
            waker.close()

    def hears(self, waker: Waker, change: Callable[[], object]) -> None:
        """The waker is readable after a change that came after it was cleared."""
        waker.clear()
        change()
        assert woken(waker), "a change was missed"

    def test_it_wakes_for_a_new_run(self, store: Store) -> None:
        with self.watch(store) as waker:
            for number in range(10):
                self.hears(waker, lambda number=number: store.submit(f"r{number}"))  # type: ignore[misc]

    def test_what_happens_before_anybody_looks_is_not_missed(self, store: Store) -> None:
        with self.watch(store) as waker:
            store.submit("r")
            assert woken(waker)
            assert woken(waker), "it stays readable until it is cleared"

    def test_it_wakes_for_every_way_a_task_becomes_ready(self, store: Store) -> None:
        w, zombie = store.worker(), store.worker(own=True)
        store.submit("r", "a", "b", "c", "each")
        gone = zombie.one("a")
        b, c, each = w.each("b", "c", "each")
        with self.watch(store) as waker:
            self.hears(waker, lambda: w.succeed(b, b"", edge("b", "next")))
            self.hears(waker, lambda: w.release(c))
            self.hears(waker, lambda: w.open(each, scopes("each", "12"), window=1, keys=None))
            claims = {claim.task.path: claim for claim in w.claim()}
            first = claims["each[1]/x"]
            self.hears(waker, lambda: w.succeed(first, b"", closes("each", "1")))
            self.hears(waker, lambda: w.retry(claims["c"], at=0) and store.tick())
            store.vanish(zombie)
            self.hears(waker, store.tick)
            store.backend.control("r", "pause")
            self.hears(waker, lambda: store.backend.control("r", "resume"))
        assert gone.task.path in w.paths()

    def test_it_wakes_for_handlers_and_new_rounds(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~on_failure", "~finally"))
        claim = w.one("a")
        with self.watch(store) as waker:
            self.hears(waker, lambda: w.fail(claim))
            handler = w.one("~on_failure")
            self.hears(waker, lambda: w.succeed(handler))
            assert w.succeed(w.one("~finally"))
            self.hears(waker, lambda: store.backend.retry("r", Retry()))

    def test_a_run_can_be_watched_to_its_end(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~finally",))
        with self.watch(store, "r") as waker:
            waker.clear()
            claim = w.one("a")
            assert woken(waker)
            self.hears(waker, lambda: store.backend.control("r", "pause"))
            self.hears(waker, lambda: store.backend.control("r", "resume"))
            self.hears(waker, lambda: w.succeed(claim, b"A", edge("a", "b")))
            b = w.one("b")
            self.hears(waker, lambda: w.succeed(b, b"B", ends=True))
            handler = w.one("~finally")
            self.hears(waker, lambda: w.succeed(handler))
            assert store.run().state.terminal

    def test_the_end_alone_can_be_watched(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~finally",))
        with self.watch(store, "r") as of_all, self.watch_end(store) as waker:
            self.hears(of_all, lambda: w.succeed(w.one("a"), b"A", edge("a", "b")))
            self.hears(of_all, lambda: store.backend.control("r", "pause"))
            self.hears(of_all, lambda: store.backend.control("r", "resume"))
            waker.clear()  # it may be woken by more; what matters is that it is woken again
            self.hears(of_all, lambda: w.succeed(w.one("b"), b"B", ends=True))
            handler = w.one("~finally")
            waker.clear()
            self.hears(waker, lambda: w.succeed(handler))
            assert store.run().state.terminal

    def test_whoever_waits_for_an_end_is_not_woken_by_the_way_to_it(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        with self.watch_end(store) as waker:
            assert w.succeed(w.one("a"), b"A", edge("a", "b"))
            store.backend.control("r", "pause")
            store.backend.control("r", "resume")
            assert not select.select([waker], [], [], _SILENCE)[0]
            self.hears(waker, lambda: w.succeed(w.one("b"), b"B", ends=True))

    @pytest.mark.parametrize("end", ["succeeded", "failed", "stopped"])
    def test_an_end_that_has_come_wakes_at_once_and_again(self, store: Store, end: str) -> None:
        w = store.worker()
        store.submit("r")
        if end == "succeeded":
            assert w.succeed(w.one("a"), b"", ends=True)
        elif end == "failed":
            assert w.fail(w.one("a"))
        else:
            store.backend.control("r", "stop")
        with self.watch_end(store) as waker:
            assert woken(waker)
            waker.clear()
            assert woken(waker)

    @pytest.mark.parametrize("end", ["failed", "stopped", "retried"])
    def test_whoever_waits_for_a_run_hears_of_every_end(self, store: Store, end: str) -> None:
        w = store.worker()
        store.submit("r")
        if end == "stopped":
            with self.watch(store, "r") as waker:
                self.hears(waker, lambda: store.backend.control("r", "stop"))
            return
        claim = w.one("a")
        with self.watch(store, "r") as waker:
            self.hears(waker, lambda: w.fail(claim))
            if end == "retried":
                self.hears(waker, lambda: store.backend.retry("r", Retry()))

    def test_a_run_that_has_ended_can_be_watched(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.fail(w.one("a"))
        with self.watch(store, "r") as waker:
            self.hears(waker, lambda: store.backend.retry("r", Retry()))

    def test_everyone_who_listens_wakes(self, store: Store) -> None:
        store.submit("r")
        with (
            self.watch(store, "r") as one,
            self.watch(store, "r") as two,
            self.watch(store) as three,
        ):
            for waker in (one, two, three):
                waker.clear()
            store.backend.control("r", "pause")
            store.backend.control("r", "resume")
            assert all(woken(waker) for waker in (one, two, three))

    def test_one_connection_can_have_several_wakers_and_hear_itself(self, store: Store) -> None:
        store.submit("r")
        wakers = [store.backend.watch("r"), store.backend.watch(), store.backend.watch("r")]
        wakers.pop().close()
        for waker in wakers:
            waker.clear()
        store.backend.control("r", "pause")
        store.backend.control("r", "resume")
        for waker in wakers:
            assert woken(waker)
            waker.close()

    def test_a_cleared_waker_is_silent_while_nothing_happens(self, store: Store) -> None:
        store.submit("r")
        with self.watch(store) as any_work, self.watch(store, "r") as one_run:
            store.backend.control("r", "pause")
            store.backend.control("r", "resume")
            for waker in (any_work, one_run):
                assert woken(waker)
                assert quietens(waker)


def woken(waker: Waker) -> bool:
    """Whether it is readable, or becomes so."""
    return bool(select.select([waker], [], [], _BOUND)[0])


def quietens(waker: Waker) -> bool:
    """Whether it is silent after a while of clearing, so that a loop around it can sleep."""
    for _ in range(int(_BOUND / _SILENCE)):
        waker.clear()
        if not select.select([waker], [], [], _SILENCE)[0]:
            return True
    return False
