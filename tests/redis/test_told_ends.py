"""The end of a run that SUBMIT arranged to be told: of this run, and not longer than that lasts."""

from __future__ import annotations

import time

import pytest

from goflow import Client
from goflow_redis import RedisBackend
from goflow_redis.keys import NEWS_LIFE
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer
from tests.redis.test_waits import FLOW, finish, meanwhile, until_somebody_listens


@pytest.fixture
def store(server: RedisServer) -> RedisBackend:
    """A store whose client has waited for a run, so that the end of the next is told without a question."""
    backend = open_store(server.url, "waits")
    ended_meanwhile(backend, server, "before")
    return backend


def submit(store: RedisBackend, name: str) -> Client:
    client = Client(store)
    client.submit("one", b"x", run_id=name, plan=FLOW.plan)
    return client


def told(client: Client, server: RedisServer, name: str, made: bytes) -> str:
    """The result of a run that ends while somebody waits for it."""

    def end() -> None:
        until_somebody_listens(server)
        finish(server.url, made)

    with meanwhile(end):
        return client.wait(name, 20).text()


def ended_meanwhile(store: RedisBackend, server: RedisServer, name: str) -> str:
    return told(submit(store, name), server, name, b"done")


def test_an_id_that_is_free_again_is_taken_though_the_news_of_its_last_run_are_still_there(
    store: RedisBackend, server: RedisServer
) -> None:
    assert ended_meanwhile(store, server, "again") == "done"
    key = store.keys.run("again")
    assert server.client.exists(f"{key}:ev")
    server.client.delete(key, f"{key}:d")  # as its retention does, where that is a short one
    assert told(submit(store, "again"), server, "again", b"anew") == "anew"


def test_who_waits_after_the_news_have_gone_has_the_result_at_once(
    store: RedisBackend, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = submit(store, "late")
    finish(server.url)
    server.client.delete(f"{store.keys.run('late')}:ev")  # as its life does
    gone, now = NEWS_LIFE / 1000, time.time
    monkeypatch.setattr("time.time", lambda: now() + gone)
    began = time.monotonic()
    assert client.wait("late", 60).text() == "done"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_news_of_an_end_that_was_waited_for_are_soon_gone(
    store: RedisBackend, server: RedisServer, large: bool
) -> None:
    """Each takes more than 4 KB: who waits for one run after the other would fill the server."""
    made = b"x" * 5000 if large else b"done"
    names = ["asked", "told", "late"]
    for name in names[:2]:
        assert told(submit(store, name), server, name, made).encode() == made
    submit(store, names[2])
    finish(server.url, made)
    with open_store(server.url, "waits") as another:
        assert Client(another).wait(names[2], 20).data == made
    lives = [server.client.pttl(f"{store.keys.run(name)}:ev") for name in names]
    assert all(life <= NEWS_LIFE for life in lives), lives


def test_who_watches_a_run_that_has_ended_hears_of_its_next_round(store: RedisBackend) -> None:
    client = submit(store, "r")
    waker = store.watch("r")
    end = store.watch_end("r")
    try:
        client.stop("r")
        waker.clear()
        end.close()
        assert store.link.ask("r", "PTTL", f"{store.keys.run('r')}:ev") > NEWS_LIFE
    finally:
        waker.close()


def test_after_a_retry_the_result_of_the_round_before_is_not_told(
    store: RedisBackend, server: RedisServer
) -> None:
    client = submit(store, "twice")
    finish(server.url, b"first")
    client.retry("twice", from_node="a", plan=FLOW.plan)
    with pytest.raises(TimeoutError):
        client.wait("twice", 1)


def test_a_connection_that_was_kept_and_is_cut_costs_nobody_the_wait(
    store: RedisBackend, server: RedisServer
) -> None:
    server.client.client_kill_filter(_type="normal", skipme=True)
    assert ended_meanwhile(store, server, "next") == "done"
