"""A store of many partitions: a worker looks where there may be something, and nowhere else."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pytest

from goflow.message import Claim
from goflow.testing.store import FLOW, OTHER, Worker, edge, request, success
from goflow.testing.suite.watching import woken
from goflow_redis import RedisBackend
from goflow_redis.keys import SCHEMA
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer

PARTITIONS = 16


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
