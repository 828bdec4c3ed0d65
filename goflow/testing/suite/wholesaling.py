"""Doing many at once: submits in one call, results in one look, one waker for all ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from goflow.backend import Run
from goflow.client import Client
from goflow.errors import Conflict, RunFailed, RunStopped, UnknownRun
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import Store, request
from goflow.testing.suite.base import Suite
from goflow.testing.suite.watching import woken
from goflow.wholesale import Ends, Look, Wholesale, results, submit_all


class Wholesaling(Suite):
    @contextmanager
    def ends(self, store: Store) -> Iterator[Ends]:
        """A waker for ends on a connection of its own, where the backend has such."""
        backend = store.connect()
        if not isinstance(backend, Wholesale):
            pytest.skip("this backend is asked for one run after the other")
        waker = backend.watch_ends()
        try:
            yield waker
        finally:
            waker.close()

    def test_many_submits_at_once_are_as_many_runs(self, store: Store) -> None:
        asked = [request(f"r{n}", "a", "b", payload=str(n).encode()) for n in range(150)]
        runs = submit_all(store.backend, asked)
        seen = store.connect()
        assert [seen.run(each.run_id) for each in asked] == runs
        assert [seen.request(each.run_id) for each in asked] == asked
        w, claims = store.worker(), []
        while more := w.claim():
            claims += more
        assert {(c.task.run_id, c.task.path) for c in claims} == {
            (each.run_id, path) for each in asked for path in "ab"
        }
        assert all(w.data(c) == {"": c.task.run_id[1:].encode()} for c in claims)

    def test_runs_submitted_at_once_are_listed_in_their_order(self, store: Store) -> None:
        names = [f"r{n}" for n in (3, 1, 4, 15, 9, 2, 6, 5)]
        submit_all(store.backend, [request(name) for name in names])
        assert [run.id for run in store.backend.runs()] == names[::-1]

    def test_one_conflict_among_many_is_an_answer_in_its_place(self, store: Store) -> None:
        first = store.submit("taken", payload=b"one")
        asked = [request("before"), request("taken", payload=b"two"), request("after")]
        before, conflict, after = submit_all(store.backend, asked)
        assert isinstance(conflict, Conflict)
        assert (store.run("before"), store.run("after")) == (before, after)
        assert store.run("taken") == first

    def test_the_same_run_twice_in_one_call_is_one_run(self, store: Store) -> None:
        asked = [request("r"), request("r"), request("r", payload=b"other")]
        first, second, third = submit_all(store.backend, asked)
        assert first == second == store.run("r")
        assert isinstance(third, Conflict)
        assert store.worker().paths() == ["a"]

    def test_large_payloads_at_once_arrive_whole(self, store: Store) -> None:
        asked = [request(f"r{n}", payload=bytes([n]) * 700_000) for n in range(4)]
        assert all(isinstance(run, Run) for run in submit_all(store.backend, asked))
        assert [store.backend.request(each.run_id) for each in asked] == asked

    def test_nothing_to_submit_and_nobody_to_look_at_is_nothing(self, store: Store) -> None:
        assert submit_all(store.backend, []) == []
        assert results(store.backend, []) == []

    def test_one_look_tells_runs_and_what_they_made(self, store: Store) -> None:
        w = store.worker()
        for name in ("good", "empty", "bad", "stopped"):
            store.submit(name)
        claims = {claim.task.run_id: claim for claim in w.claim()}
        assert w.succeed(claims["good"], Payload(b"[1]", "application/json"), ends=True)
        assert w.succeed(claims["empty"], Payload(), ends=True)
        assert w.fail(claims["bad"])
        store.backend.control("stopped", "stop")
        store.submit("waiting")
        names = ["waiting", "good", "nobody", "empty", "bad", "stopped"]
        found = dict(zip(names, results(store.connect(), names), strict=True))
        assert isinstance(found.pop("nobody"), UnknownRun)
        assert found == {
            "waiting": (store.run("waiting"), None),
            "good": (store.run("good"), Payload(b"[1]", "application/json")),
            "empty": (store.run("empty"), Payload()),
            "bad": (store.run("bad"), None),
            "stopped": (store.run("stopped"), None),
        }

    def test_every_end_wakes_and_is_told(self, store: Store) -> None:
        w = store.worker()
        names = {"good", "bad", "stopped"}
        with self.ends(store) as ends:
            for name in [*names, "queued"]:
                store.submit(name)
            claims = {claim.task.run_id: claim for claim in w.claim()}
            assert w.succeed(claims["good"], b"", ends=True)
            assert heard(ends, {"good"})
            assert w.fail(claims["bad"])
            store.backend.control("stopped", "stop")
            assert w.killed(claims["stopped"])
            assert heard(ends, {"bad", "stopped"})

    def test_a_run_ends_when_its_last_handler_has(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~finally",))
        with self.ends(store) as ends:
            assert w.succeed(w.one("a"), b"A", ends=True)
            ends.clear()
            assert not ends.ended({"r"})
            assert w.succeed(w.one("~finally"))
            assert heard(ends, {"r"})

    def test_many_ends_are_all_told(self, store: Store) -> None:
        w, names = store.worker(), [f"r{n}" for n in range(300)]
        with self.ends(store) as ends:
            submit_all(store.backend, [request(name) for name in names])
            while claims := w.claim(50):
                assert all(w.succeed(claim, b"", ends=True) for claim in claims)
            assert heard(ends, set(names))

    def test_what_is_told_with_an_end_is_what_a_look_finds(self, store: Store) -> None:
        w, made = store.worker(), {"small": b"A", "empty": b"", "large": b"x" * 100_000}
        with self.ends(store) as ends:
            submit_all(store.backend, [request(name) for name in made])
            assert all(w.succeed(c, made[c.task.run_id], ends=True) for c in w.claim(50))
            told: dict[str, Look | None] = {}
            while len(told) < len(made) and woken(ends):
                ends.clear()
                told |= ends.ended(made) or dict.fromkeys(made)
        for name, look in told.items():
            assert look is None or [look] == results(store.backend, [name])

    def test_a_waker_of_ends_tells_of_no_run_that_nobody_wants(self, store: Store) -> None:
        w = store.worker()
        with self.ends(store) as ends:
            store.submit("other")
            assert w.succeed(w.one("a"), b"", ends=True)
            assert woken(ends)
            ends.clear()
            assert not ends.ended({"r"})

    def test_a_waker_of_ends_hears_nothing_of_what_was_before(self, store: Store) -> None:
        w = store.worker()
        store.submit("before")
        assert w.succeed(w.one("a"), b"", ends=True)
        assert store.state("before") is RunState.SUCCEEDED
        with self.ends(store) as ends:
            store.submit("r")
            assert w.succeed(w.one("a"), b"", ends=True)
            assert heard(ends, {"r"})

    def test_a_client_gets_all_results_in_the_order_of_their_ids(self, store: Store) -> None:
        w, names = store.worker(), [f"r{n}" for n in range(70)]
        submit_all(store.backend, [request(name) for name in names])
        claims = w.claim(70)
        first, late = claims[:40], claims[40:]
        assert all(w.succeed(claim, claim.task.run_id.encode(), ends=True) for claim in first)
        with while_waiting(lambda: [w.succeed(c, c.task.run_id.encode(), ends=True) for c in late]):
            results = Client(store.connect()).wait_all([*names, "r3"], timeout=20)
        assert [result.text() for result in results] == [*names, "r3"]

    def test_a_client_hears_of_the_first_of_many_that_fails(self, store: Store) -> None:
        w, client = store.worker(), Client(store.connect())
        submit_all(store.backend, [request(name) for name in ("slow", "bad")])
        claims = {claim.task.run_id: claim for claim in w.claim()}
        with while_waiting(lambda: w.fail(claims["bad"])), pytest.raises(RunFailed, match="bad"):
            client.wait_all(["slow", "bad"], timeout=20)
        store.submit("stopped")
        store.backend.control("stopped", "stop")
        with pytest.raises(RunStopped, match="stopped"):
            client.wait_all(["slow", "stopped"], timeout=20)
        with pytest.raises(UnknownRun, match="nobody"):
            client.wait_all(["slow", "nobody"], timeout=20)

    def test_a_client_waits_for_many_no_longer_than_it_is_told_to(self, store: Store) -> None:
        w, client = store.worker(), Client(store.connect())
        store.submit("done")
        assert w.succeed(w.one("a"), b"", ends=True)
        store.submit("slow")
        with pytest.raises(TimeoutError, match="slow"):
            client.wait_all(["done", "slow"], timeout=0.1)
        assert client.wait_all(["done"], timeout=0) == [Payload()]
        assert client.wait_all([]) == []


@contextmanager
def while_waiting(act: Callable[[], object]) -> Iterator[None]:
    """What happens a moment later, while the caller waits."""
    timer = threading.Timer(0.1, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def heard(ends: Ends, wanted: set[str]) -> bool:
    """Whether it wakes until all these ends were told; one that cannot tell makes everybody look."""
    until = time.monotonic() + 20
    while wanted and time.monotonic() < until:
        if not woken(ends):
            return False
        ends.clear()
        told = ends.ended(wanted)
        wanted = set() if told is None else wanted - set(told)
    return not wanted
