"""Who waits for tasks hears of every one that a call leaves, and of none that it has taken itself."""

from __future__ import annotations

import select
from collections.abc import Callable

from goflow.backend import Retry, Waker
from goflow.testing.store import FLOW, Store, closes, edge, scopes, success
from goflow_redis import RedisBackend
from goflow_redis.words import Word


def rings(waker: Waker) -> bool:
    """Whether it wakes within half a second."""
    return bool(select.select([waker], [], [], 0.5)[0])


def whoever_listens_hears_of_every_task(store: Store) -> None:
    """Each way in which a task becomes ready, and is not taken by the same call."""
    w, zombie = store.worker(), store.worker(own=True)
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    partition = backend.keys.partitions[0]
    queue = backend.keys.queue(partition, *FLOW)
    bell = queue.replace(":q:", ":b:")

    def heard(change: Callable[[], object]) -> None:
        before = backend.link.ask(bell, "XREVRANGE", bell, "+", "-", "COUNT", 1)
        change()
        after = backend.link.ask(bell, "XREVRANGE", bell, "+", "-", "COUNT", 1)
        assert after != before, "a task that was left is not heard of"

    heard(lambda: store.submit("r", "a", "b", "c", "each"))
    lost = zombie.one("a")
    b, c, each = w.each("b", "c", "each")
    heard(lambda: w.succeed(b, b"", edge("b", "next")))
    heard(lambda: w.release(c))
    heard(lambda: w.open(each, scopes("each", "12"), window=1, keys=None))
    claims = {claim.task.path: claim for claim in w.claim()}
    heard(lambda: w.succeed(claims["each[1]/x"], b"", closes("each", "1")))
    heard(lambda: w.retry(claims["c"], at=0) and store.tick())
    store.vanish(zombie)
    heard(store.tick)
    backend.link.ask(queue, "XTRIM", queue, "MAXLEN", 0)
    held: list[Word] = [backend.lives, 1, "r", 1, 1, lost.task.path]
    heard(lambda: backend.link.run("lost", partition, held))

    store.submit("s", handlers=("~finally",))
    claim = next(each for each in w.claim() if each.task.run_id == "s")
    backend.control("s", "pause")
    assert w.fail(claim)
    heard(lambda: backend.control("s", "stop"))
    assert w.succeed(w.one("~finally"))
    heard(lambda: backend.retry("s", Retry()))


def a_bell_forgets_what_is_long_past(store: Store) -> None:
    """However often it rings, it holds what two nodes of a stream hold at most."""
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    bell = backend.keys.queue(backend.keys.partitions[0], *FLOW).replace(":q:", ":b:")
    for number in range(250):
        store.submit(f"r{number}")
    assert backend.link.ask(bell, "XLEN", bell) <= 200


def what_a_call_leaves_is_heard_of(store: Store) -> None:
    """A worker that takes one of two tasks that it has made ready wakes another for the second."""
    w = store.worker()
    store.submit("r")
    claim = w.one("a")
    waker = store.connect().watch()
    try:
        made = success(claim, b"", edge("a", "b"), edge("a", "c"))
        _, claims = w.backend.commit([made], w.ask(1))
        assert len(claims) == 1
        assert rings(waker), "the other is not heard of"
    finally:
        waker.close()


def a_chain_wakes_nobody_else(store: Store) -> None:
    """Who takes the next step with the call that made it ready leaves nothing for others."""
    w = store.worker()
    store.submit("r", "n0")
    claim = w.one("n0")
    waker = store.connect().watch()
    try:
        for number in range(1, 4):
            made = success(claim, b"", edge(claim.task.path, f"n{number}"))
            _, (claim,) = w.backend.commit([made], w.ask(9))
            assert not select.select([waker], [], [], 0.05)[0], "woken for nothing"
    finally:
        waker.close()
