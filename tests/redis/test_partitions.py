"""A store of many partitions: a worker looks where there may be something, and nowhere else."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from goflow.abilities import Attentive
from goflow.errors import BackendError
from goflow.message import Claim
from goflow.testing.store import FLOW, OTHER, Worker, edge, request, success
from goflow.testing.suite.watching import woken
from goflow_redis import RedisBackend
from goflow_redis.keys import SCHEMA
from goflow_redis.queuewaker import QueueWaker
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer

PARTITIONS = 16


def neighbours(backend: RedisBackend) -> list[str]:
    """Ids of runs that lie in one partition."""
    partition = backend.keys.partition("r0")
    return [f"r{n}" for n in range(200) if backend.keys.partition(f"r{n}") == partition]


@pytest.fixture
def backend(server: RedisServer) -> Iterator[RedisBackend]:
    """A connection to an empty store of many partitions."""
    meta = {"schema": SCHEMA, "partitions": PARTITIONS, "created": 1}
    server.client.hset("gf:{many}:meta", mapping=meta)
    with open_store(server.url, "many") as opened:
        yield opened


def calls(server: RedisServer) -> int:
    """Scripts that were called so far."""
    return int(server.client.info("commandstats")["cmdstat_evalsha"]["calls"])


def runs_apart(backend: RedisBackend, count: int) -> list[str]:
    """Ids of runs that lie in as many partitions."""
    found: dict[str, str] = {}
    for number in range(1000):
        found.setdefault(backend.keys.partition(f"r{number}"), f"r{number}")
    return list(found.values())[:count]


def test_a_step_of_a_chain_takes_one_call_whatever_the_partitions(
    server: RedisServer, backend: RedisBackend
) -> None:
    w = Worker(backend, (FLOW, OTHER))
    waker = backend.watch()
    try:
        for run_id in runs_apart(backend, 4):
            backend.submit(request(run_id, "n0"))
        held = w.claim()
        assert w.claim() == []
        assert len(held) == 4
        before, steps = calls(server), 20
        for number in range(1, steps + 1):
            following: list[Claim] = []
            for claim in held:
                made = success(claim, b"x", edge(claim.task.path, f"n{number}"))
                accepted, claims = backend.commit([made], w.ask(10))
                assert accepted == [True]
                following += claims
            while select.select([waker], [], [], 0)[0]:  # as a worker would
                waker.clear()
                following += w.claim(10)
            held = following
            assert sorted(claim.task.path for claim in held) == [f"n{number}"] * 4
        taken = calls(server) - before
        assert taken < 1.5 * 4 * steps, f"{taken} calls for {4 * steps} nodes"
    finally:
        waker.close()


def test_a_busy_worker_is_woken_for_what_it_did_not_look_for(backend: RedisBackend) -> None:
    first, second, third = runs_apart(backend, 3)
    w = Worker(backend)
    waker = backend.watch()
    try:
        assert w.claim() == []
        backend.submit(request(first))
        assert woken(waker)
        waker.clear()
        (held,) = w.claim()
        assert w.claim() == []
        backend.submit(request(second))
        backend.submit(request(third))
        _, claims = backend.commit([success(held, b"", ends=True)], w.ask(10))
        while len(claims) < 2:
            assert woken(waker), "or it would wait for ever"
            waker.clear()
            claims += w.claim(10)
        assert {claim.task.run_id for claim in claims} == {second, third}
    finally:
        waker.close()


def test_a_busy_worker_goes_on_with_what_one_call_did_not_come_to(backend: RedisBackend) -> None:
    """While it listens for that queue already: nobody would ring again."""
    w = Worker(backend)
    waker = backend.watch()
    joins = [f"n{number}" for number in range(1000)]
    try:
        run_id = neighbours(backend)[0]
        backend.submit(request(run_id, "a", "b"))
        (a, b) = w.claim()
        assert w.claim() == []
        assert w.succeed(a, b"A", *(edge("a", name, 2) for name in joins))
        _, claims = backend.commit(
            [success(b, b"B", *(edge("b", name, 2) for name in reversed(joins)))], w.ask(10)
        )
        assert len(claims) == 10
    finally:
        waker.close()


def test_a_worker_is_woken_for_what_came_between_the_claim_and_its_answer(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = runs_apart(backend, 2)
    w = Worker(backend)
    partition = backend.keys.partition(first)
    known = next(f"k{n}" for n in range(1000) if backend.keys.partition(f"k{n}") == partition)
    backend.submit(request(known))  # so that the queue is no news any more
    waker = backend.watch()
    try:
        assert w.succeed(w.one("a"), b"", ends=True)
        assert w.claim() == [], "from here on it listens"
        claim, missed = backend.link.run_once, [first]

        def claim_and_miss(*call: Any) -> Any:
            answer = claim(*call)
            if missed:
                run_id = missed.pop()
                backend.submit(request(run_id))
                # the bell is heard before its worker looks at the answer
                assert woken(waker)
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(backend.link, "run_once", claim_and_miss)
            claims: list[Claim] = []
            backend._exchange(partition, (), w.ask(10), claims)
            assert claims == [], "the run came too late for this claim"
        assert woken(waker), "or the run would wait for the next round"
        waker.clear()
        assert [claim.task.run_id for claim in w.claim()] == [first]
        backend.submit(request(second))
        assert woken(waker)
    finally:
        waker.close()


def test_a_worker_that_is_about_to_sleep_hears_of_what_came_since_its_claim(
    backend: RedisBackend,
) -> None:
    w = Worker(backend)
    names = neighbours(backend)
    backend.submit(request(names[0]))  # so that the queue is no news any more
    waker = backend.watch()
    assert isinstance(waker, Attentive)
    try:
        assert w.succeed(w.one("a"), b"", ends=True)
        assert w.claim() == []
        waker.attend()
        backend.submit(request(names[1]))
        assert woken(waker)
        waker.clear()
        assert [claim.task.run_id for claim in w.claim()] == [names[1]]
        for run_id in names[2:4]:
            assert w.claim() == []
            backend.submit(request(run_id))
            assert not select.select([waker], [], [], 0.05)[0], "it listens though it is at work"
            assert waker.due
            waker.attend()
            assert not waker.due
            assert woken(waker), "or the run would wait for the next round"
            waker.clear()
            assert [claim.task.run_id for claim in w.claim()] == [run_id]
    finally:
        waker.close()


def test_a_worker_that_could_not_listen_looks_again_at_once(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when both the connection that is kept and the one made in its place are cut."""
    w = Worker(backend)
    names = neighbours(backend)
    backend.submit(request(names[0]))
    waker = backend.watch()
    assert isinstance(waker, QueueWaker)

    def cut(key: str) -> NoReturn:
        raise BackendError("the connection was cut")

    try:
        assert w.succeed(w.one("a"), b"", ends=True)
        assert w.claim() == []
        waker.attend()
        backend.submit(request(names[1]))
        assert woken(waker)
        waker.clear()
        assert w.succeed(w.one("a"), b"", ends=True)
        assert w.claim() == []
        with monkeypatch.context() as patch:
            patch.setattr(backend.link, "listener", cut)
            waker._queues[backend.keys.partition(names[0])].close()
            waker.attend()
        backend.submit(request(names[2]))
        assert woken(waker), "or the run would wait for the next round"
        waker.clear()
        assert [claim.task.run_id for claim in w.claim()] == [names[2]]
        assert w.claim() == []
        waker.attend()
        assert not select.select([waker], [], [], 0.3)[0], (
            "it listens again, and is not woken for nothing"
        )
    finally:
        waker.close()


def test_a_worker_that_can_listen_to_no_partition_pauses_once(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not once for each of them before it looks again."""
    w = Worker(backend)
    waker = backend.watch()
    assert isinstance(waker, QueueWaker)
    assert len(backend.keys.partitions) > 1
    pauses: list[float] = []

    def cut(key: str) -> NoReturn:
        raise BackendError("the connection was cut")

    try:
        waker.attend()
        assert w.claim() == []
        with monkeypatch.context() as patch:
            patch.setattr(backend.link, "listener", cut)
            patch.setattr("goflow_redis.queuewaker.time.sleep", pauses.append)
            for ear in waker._queues.values():
                ear.close()
            waker.attend()
        assert len(pauses) == 1
        assert woken(waker)
    finally:
        waker.close()


def test_a_bell_and_the_news_of_a_queue_may_be_heard_at_once(backend: RedisBackend) -> None:
    """Before the first claim, when news have it listen anew."""
    w = Worker(backend, (FLOW, OTHER))
    names = neighbours(backend)
    backend.submit(request(names[0]))
    waker = backend.watch()
    try:
        backend.submit(request(names[2], flow=OTHER))
        backend.submit(request(names[1]))
        assert woken(waker)
        time.sleep(0.1)  # both have been said by now
        waker.clear()
        assert {claim.task.run_id for claim in w.claim()} == set(names[:3])
        backend.submit(request(names[3], flow=OTHER))
        assert woken(waker)
    finally:
        waker.close()
