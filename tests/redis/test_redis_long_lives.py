"""What shows only after a while: idle workers, many waits on one connection, a server that is full."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow.backend import WorkerInfo
from goflow.engine import request
from goflow.errors import StoreFull
from goflow.payload import Payload
from goflow.plan import Graph, Node, Plan
from goflow.testing.store import Worker
from goflow.testing.store import request as of
from goflow_redis import RedisBackend
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer

PLAN = Plan("flow", Graph({"a": Node("a")}, ()))
ME = WorkerInfo(id=0, host="h", pid=1, started=0.0, concurrency=1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def store(server: RedisServer, tmp_path: Path) -> Iterator[RedisBackend]:
    with open_store(server.url, tmp_path.name) as opened:
        yield opened


def test_a_worker_that_holds_nothing_stays_alive_by_its_ticks(store: RedisBackend) -> None:
    me = store.enter(ME)
    top = store.keys.directory
    store.link.ask(top, "ZADD", f"{top}:alive", "XX", 1, me)
    assert not store.workers()[0].alive
    store.tick(me)
    assert store.workers()[0].alive


def test_a_worker_that_the_store_has_lost_is_there_again_under_its_number(
    server: RedisServer, store: RedisBackend
) -> None:
    """As when a replica takes over that had not heard of it."""
    gone, me = store.enter(ME), store.enter(ME)
    server.client.delete(*store.keys.of_directory()[1:])
    store.leave(gone)
    for worker in (gone, me):
        store.renew(worker, ())
    assert [(info.id, info.alive) for info in store.workers()] == [(me, True)]
    assert store.enter(ME) == me + 1, "numbers are not given twice"


def test_who_leaves_hands_back_nothing_of_another_with_its_number(
    server: RedisServer, store: RedisBackend
) -> None:
    """As after a failover that lost the last numbers that were given."""
    me = Worker(store)
    with open_store(server.url, store.keys.namespace) as elsewhere:
        server.client.decr(f"{store.keys.directory}:ids")
        other = Worker(elsewhere)
        assert other.id == me.id
        store.submit(of("r", "a", "b"))
        mine, others = me.one(), other.one()
        elsewhere.leave(other.id)
        (back,) = me.claim(9)
        assert back.task.path == others.task.path
        assert all(me.succeed(claim, ends=claim is mine) for claim in (back, mine))


def test_a_worker_whose_clock_is_wrong_forgets_nobody(
    store: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, other = store.enter(ME), store.enter(ME)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 7200)
    store.tick(me)
    assert [(info.id, info.alive) for info in store.workers()] == [(me, True), (other, True)]


def test_one_connection_may_wait_any_number_of_times(store: RedisBackend) -> None:
    run = store.submit(request(PLAN, "waited-for", Payload(b"x")))
    for _ in range(150):
        store.watch(run.id).close()


def test_a_full_server_takes_no_run_and_can_still_be_opened_and_read(
    server: RedisServer, store: RedisBackend
) -> None:
    store.submit(request(PLAN, "first", Payload(b"x")))
    server.client.config_set("maxmemory", 1)
    try:
        with open_store(server.url, store.keys.namespace) as later:
            assert [run.id for run in later.runs()] == ["first"]
            with pytest.raises(StoreFull, match="maxmemory reached"):
                later.submit(request(PLAN, "second", Payload(b"x")))
    finally:
        server.client.config_set("maxmemory", 0)


def test_a_full_server_hears_signs_of_life(server: RedisServer, store: RedisBackend) -> None:
    """From 7.0 on. A full 6.2 refuses every script, and says so (docs/operations.md)."""
    me = store.enter(ME)
    major = int(server.client.info("server")["redis_version"].partition(".")[0])
    top = store.keys.directory
    store.link.ask(top, "ZADD", f"{top}:alive", "XX", 1, me)
    server.client.config_set("maxmemory", 1)
    try:
        if major < 7:
            with pytest.raises(StoreFull):
                store.renew(me, ())
            return
        store.renew(me, ())
        assert store.workers()[0].alive
    finally:
        server.client.config_set("maxmemory", 0)
