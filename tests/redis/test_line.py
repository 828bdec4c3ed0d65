"""Connections that a link keeps: in step after refusals, replaced when their server has closed them, never shared
with a fork or between threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from goflow.errors import BackendError
from goflow_redis.address import parse
from goflow_redis.line import Line
from goflow_redis.link import Link
from tests.redis.server import RedisServer


@pytest.fixture
def link(server: RedisServer) -> Iterator[Link]:
    made = Link(parse(server.url))
    yield made
    made.close()


def identity(link: Link) -> int:
    """The server's number of the connection that answers."""
    return int(link.ask("gf", "CLIENT", "ID"))


def test_calls_one_after_the_other_share_a_connection(link: Link) -> None:
    assert identity(link) == identity(link)


def test_a_refusal_is_raised_and_leaves_the_connection_in_step(link: Link) -> None:
    before = identity(link)
    with pytest.raises(BackendError, match=r"not an integer"):
        link.ask_all("gf", [("SET", "k", "text"), ("INCR", "k"), ("GET", "k")])
    assert link.ask("gf", "GET", "k") == b"text"
    assert identity(link) == before


def test_answers_larger_than_one_read_arrive_whole(link: Link) -> None:
    large = os.urandom(300_000)
    link.ask("gf", "SET", "k", large)
    assert link.ask_all("gf", [("GET", "k"), ("STRLEN", "k")]) == [large, len(large)]


def test_one_that_was_closed_while_it_rested_is_replaced_without_a_word(
    link: Link, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goflow_redis.line.FRESH", 0.0)
    steady, before = link.servers.steady_since(""), identity(link)
    server.client.client_kill_filter(_id=str(before))
    assert identity(link) != before
    assert link.servers.steady_since("") == steady


def test_one_that_is_cut_takes_the_idle_ones_with_it(link: Link, server: RedisServer) -> None:
    taken = [link._lines._take() for _ in range(3)] if link._lines else []
    assert link._lines is not None
    link._lines._idle += taken
    server.client.client_kill_filter(_type="normal", skipme=True)
    assert link.ask("gf", "PING") == b"PONG"
    assert len(link._lines._idle) == 1


def test_threads_do_not_share_one(link: Link) -> None:
    waiting = threading.Thread(target=link.ask, args=("gf", "BLPOP", "list", 10))
    waiting.start()
    try:
        assert link.ask("gf", "PING") == b"PONG"
    finally:
        link.ask("gf", "RPUSH", "list", "go")
        waiting.join()


def test_a_fork_does_not_use_its_parents(link: Link) -> None:
    before = identity(link)
    pid = os.fork()
    if not pid:
        os._exit(identity(link) == before)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert identity(link) == before


def number(listener: Line) -> int:
    """The server's number of a connection to wait on."""
    listener.say(("CLIENT", "ID"))
    return int(listener.hear())


def test_a_fork_does_not_listen_on_a_connection_that_its_parent_kept(link: Link) -> None:
    kept = link.listener("gf")
    before = number(kept)
    assert link.hand_on(kept)
    pid = os.fork()
    if not pid:
        os._exit(number(link.listener("gf")) == before)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    again = link.listener("gf")
    assert number(again) == before, "its parent uses it again"
    again.close()
