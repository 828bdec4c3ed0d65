"""Who hears of what, and which queues a claim looks into after that."""

from __future__ import annotations

import select
import threading
import time

from goflow.backend import FlowKey, Waker
from goflow.message import Claim
from goflow.testing.store import FLOW, Store, Worker, edge, success
from goflow_redis import RedisBackend, queuewaker
from tests.redis.hooks import queue_of, redis_of

OTHER = ("other", FLOW[1])


def a_change_of_a_run_is_heard(store: Store) -> None:
    """Whoever watches a run wakes when it is paused."""
    store.submit("r")
    waker = store.backend.watch("r")
    try:
        store.backend.control("r", "pause")
        assert select.select([waker], [], [], 0.5)[0]
    finally:
        waker.close()


def rings(waker: Waker, seconds: float) -> bool:
    """Whether it wakes."""
    return bool(select.select([waker], [], [], seconds)[0])


def who_waits_for_the_end_hears_of_it_alone(store: Store) -> None:
    """A pause does not wake it, the end does."""
    store.submit("r")
    waker = redis_of(store).watch_end("r")
    try:
        store.backend.control("r", "pause")
        assert not rings(waker, 0.1)
        store.backend.control("r", "stop")
        assert rings(waker, 0.5)
    finally:
        waker.close()


def a_run_whose_end_submit_tells_ends_with_its_result(store: Store) -> None:
    """Who has waited for a run alone need not ask to be told of the next, nor for what it made."""
    w, backend = store.worker(own=True), redis_of(store)
    for name in ("r", "s"):
        store.submit(name)
        assert backend.end_told == (name if name == "s" else "")
        waker = backend.watch_end(name)
        try:
            assert not rings(waker, 0.05)
            assert w.succeed(w.one("a"), b"made", ends=True)
            assert rings(waker, 0.5)
            told = waker.made()
            assert told is not None
            assert told.data == b"made"
        finally:
            waker.close()


def who_watches_all_hears_all_beside_who_waits_for_the_end(store: Store) -> None:
    """Somebody who comes later and wants less takes nothing from it."""
    store.submit("r")
    of_all, of_end = redis_of(store).watch("r"), redis_of(store).watch_end("r")
    try:
        store.backend.control("r", "pause")
        assert rings(of_all, 0.5)
    finally:
        of_all.close()
        of_end.close()


def redis_of_worker(w: Worker) -> RedisBackend:
    """A worker's connection."""
    assert isinstance(w.backend, RedisBackend)
    return w.backend


def bell_of(store: Store, flow: FlowKey = FLOW) -> str:
    """What rings for it."""
    return queue_of(store, flow).replace(":q:", ":b:")


def resting(store: Store, *flows: FlowKey) -> tuple[Worker, queuewaker.QueueWaker]:
    """A worker that listens to these flows, and has found nothing in their queues."""
    w = store.worker(*flows, own=True)
    for flow in flows:  # there are queues
        store.submit(f"before-{flow[0]}", flow=flow)
        store.backend.control(f"before-{flow[0]}", "stop")
    ear = redis_of_worker(w).watch()
    assert isinstance(ear, queuewaker.QueueWaker)
    assert w.claim() == []
    return w, ear


def rung(ear: queuewaker.QueueWaker, bell: str) -> None:
    """Wait until it has heard this bell."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        rings(ear, 0.1)
        ear.clear()
        if bell in (ear._rung[bell.partition(":b:")[0]] or ()):
            return
    raise AssertionError(f"{bell} did not ring")


def what_rang_and_what_an_outcome_makes_ready_are_claimed_together(store: Store) -> None:
    """The queue of what is committed is looked into though it has not rung, and so is the one that has."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r")
    rung(ear, bell_of(store))
    (claim,) = w.claim(9)
    store.submit("s", flow=OTHER)
    rung(ear, bell_of(store, OTHER))
    _, claims = w.backend.commit([success(claim, b"", edge("a", "b"))], w.ask(9))
    assert sorted(each.task.path + each.task.run_id for each in claims) == ["as", "br"]
    ear.close()


def a_queue_it_does_not_listen_to_is_looked_into(store: Store) -> None:
    """A flow that is asked for since a moment is looked for whichever queue rang."""
    w, ear = resting(store, FLOW)
    both = Worker(w.backend, (FLOW, OTHER))
    store.submit("s")
    rung(ear, bell_of(store))
    store.submit("r", flow=OTHER)
    assert sorted(claim.task.run_id for claim in both.claim(9)) == ["r", "s"]
    ear.close()


def another_thread_looks_into_every_queue(store: Store) -> None:
    """What rang for one thread's worker says nothing to the others."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r")
    rung(ear, bell_of(store))
    store.submit("s", flow=OTHER)
    found: list[Claim] = []
    thread = threading.Thread(target=lambda: found.extend(w.claim(9)))
    thread.start()
    thread.join()
    assert sorted(claim.task.run_id for claim in found) == ["r", "s"]
    ear.close()


def once_in_a_while_all_are_looked_into(store: Store) -> None:
    """What was not heard of is found though another queue rings."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r", flow=OTHER)
    rung(ear, bell_of(store, OTHER))
    ear._rung[redis_of(store).keys.partitions[0]] = {bell_of(store)}
    assert w.claim() == [], "it has looked into all a moment ago"
    ear._rung[redis_of(store).keys.partitions[0]] = {bell_of(store)}
    ear._round_at.clear()
    assert w.paths() == ["a"]
    ear.close()
