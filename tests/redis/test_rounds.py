"""A new round of a huge run: what is repeated is forgotten in pieces, none of which holds up the server."""

from __future__ import annotations

import itertools
import select
from typing import Any

import pytest

from goflow.backend import Retry
from goflow.errors import Conflict
from goflow.message import Claim, Rewind
from goflow.state import NodeState, RunState
from goflow.testing.store import Worker, closes, edge, outcome, request, scopes, success
from goflow_redis import RedisBackend, retry
from tests.redis.hooks import open_store, teach
from tests.redis.proxy import Proxy
from tests.redis.server import RedisServer
from tests.redis.test_keys import leaks

WIDE = 350
AGAIN = Retry(
    rewind=Rewind(removed=("each", "end"), ready=("each",), dropped=(("end", "each", False),))
)


def execute(w: Worker, result: bytes) -> None:
    """each[0]/x ... and what closes them, then the end."""
    keys = [str(number) for number in range(WIDE)]
    each = w.one("each")
    w.backend.stage(each.task, scopes("each", keys))
    assert w.open(each, [], expects=WIDE)
    while (claims := w.claim(100)) and not claims[0].task.closing:
        done = [success(c, result, closes("each", c.task.path[5:-3])) for c in claims]
        assert all(w.backend.commit(done)[0])
    assert set(w.data(claims[0]).values()) == {result}
    assert w.succeed(claims[0], b"all " + result, edge("each", "end"))
    assert w.succeed(w.one("end"), b"end " + result, ends=True)


def finished(backend: RedisBackend) -> Worker:
    """A wide run that has succeeded, and who executed it."""
    w = Worker(backend)
    backend.submit(request("r", "each"))
    execute(w, b"first")
    return w


def test_what_is_repeated_goes_in_pieces_and_its_history_stays(server: RedisServer) -> None:
    with open_store(server.url, "rounds") as backend:
        w = finished(backend)
        assert backend.retry("r", AGAIN).state is RunState.QUEUED
        assert server.client.exists("gf:{rounds.0}:r:r")
        assert [node.path for node in backend.nodes("r")] == ["each"]
        assert backend.nodes("r")[0].state is NodeState.READY
        execute(w, b"second")
        assert backend.result("r").data == b"end second"
        attempts = [(each.round, each.path) for each in backend.attempts("r")]
        assert len(attempts) == len(set(attempts)) + 2, "opening and closing a branch are two"
        for round_ in (1, 2):
            assert sum(1 for each, path in attempts if each == round_ and "/" in path) == WIDE
        assert leaks(server, backend) == []


def test_no_script_of_it_gets_all_of_them(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        finished(backend)
        asked: list[int] = []
        run = backend.link.run

        def counted(script: str, partition: str, args: Any) -> Any:
            asked.append(len(args))
            return run(script, partition, args)

        monkeypatch.setattr(backend.link, "run", counted)
        backend.retry("r", AGAIN)
        assert max(asked) < 10 * retry.PIECE
        assert len(asked) > WIDE // retry.PIECE


def test_a_retry_that_was_interrupted_leaves_the_result_and_is_repeated(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        w = finished(backend)
        run, calls = backend.link.run, []

        def dying(script: str, partition: str, args: Any) -> Any:
            calls.append(script)
            if calls.count("prepare") == 3:
                raise KeyboardInterrupt
            return run(script, partition, args)

        monkeypatch.setattr(backend.link, "run", dying)
        with pytest.raises(KeyboardInterrupt):
            backend.retry("r", AGAIN)
        monkeypatch.undo()
        assert backend.run("r").state is RunState.SUCCEEDED
        assert backend.result("r").data == b"end first"
        assert leaks(server, backend) == []
        inside = Rewind(removed=("each[3]/x",), ready=("each[3]/x",), reopened=("each",))
        with pytest.raises(Conflict, match="was begun that repeats each, end"):
            backend.retry("r", Retry(rewind=inside))
        backend.retry("r", AGAIN)
        execute(w, b"second")
        assert backend.result("r").data == b"end second"
        again = [each for each in backend.attempts("r") if each.round == 1 and "/" in each.path]
        assert len(again) == WIDE, "none is told twice"


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_piece_whose_reply_was_lost_is_forgotten_once(server: RedisServer, cut: str) -> None:
    proxy = Proxy(server.socket)
    try:
        with open_store(proxy.url, "rounds") as backend:
            teach(backend, server)
            w = finished(backend)
            proxy.arm(cut, nth=2)
            backend.retry("r", AGAIN)
            assert proxy.cuts == 1
            execute(w, b"second")
            told = [each for each in backend.attempts("r") if each.round == 1 and "/" in each.path]
            assert len(told) == WIDE
    finally:
        proxy.close()


def unfinished(backend: RedisBackend, run_id: str = "r") -> tuple[Worker, list[str]]:
    """A run that was stopped with many nodes on their way, and who executed them."""
    w, names = Worker(backend), [f"n{number}" for number in range(WIDE)]
    backend.submit(request(run_id, *names))
    stop_all(w, w.claim(WIDE), run_id)
    return w, names


def stop_all(w: Worker, claims: list[Claim], run_id: str = "r") -> None:
    w.backend.control(run_id, "stop")
    assert all(w.backend.commit([outcome(claim, stopped=True) for claim in claims])[0])
    assert w.backend.run(run_id).state is RunState.STOPPED


def interrupt(monkeypatch: pytest.MonkeyPatch, backend: RedisBackend, nth: int) -> None:
    """Its caller dies at the nth piece."""
    run, pieces = backend.link.run, itertools.count(1)

    def dying(script: str, partition: str, args: Any) -> Any:
        if script == "prepare" and next(pieces) == nth:
            raise KeyboardInterrupt
        return run(script, partition, args)

    monkeypatch.setattr(backend.link, "run", dying)


def sizes(monkeypatch: pytest.MonkeyPatch, backend: RedisBackend) -> list[int]:
    """How many words each script call gets from now on."""
    asked: list[int] = []
    run = backend.link.run

    def counted(script: str, partition: str, args: Any) -> Any:
        asked.append(len(args))
        return run(script, partition, args)

    monkeypatch.setattr(backend.link, "run", counted)
    return asked


def test_very_many_unfinished_nodes_go_on_in_pieces(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        w, names = unfinished(backend)
        asked = sizes(monkeypatch, backend)
        assert backend.retry("r", Retry()).state is RunState.QUEUED
        assert max(asked) < 10 * retry.PIECE
        assert {node.state for node in backend.nodes("r")} == {NodeState.READY}
        assert [each.round for each in backend.attempts("r")] == [1] * WIDE
        assert leaks(server, backend) == []
        assert sorted(claim.task.path for claim in w.claim(2 * WIDE)) == sorted(names)
        assert len(backend.attempts("r")) == WIDE, "what is held has not been recorded"


def test_who_waits_for_work_wakes_for_nodes_that_go_on_in_pieces(server: RedisServer) -> None:
    with open_store(server.url, "rounds") as backend:
        w, _ = unfinished(backend)
        assert w.claim() == []
        waker = backend.watch()
        try:
            backend.retry("r", Retry())
            assert select.select([waker], [], [], 5)[0]
        finally:
            waker.close()


def test_a_retry_of_very_many_nodes_that_was_interrupted_is_repeated(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        w, names = unfinished(backend)
        interrupt(monkeypatch, backend, 3)
        with pytest.raises(KeyboardInterrupt):
            backend.retry("r", Retry())
        monkeypatch.undo()
        assert backend.run("r").state is RunState.STOPPED
        assert w.claim() == [], "nothing has begun"
        assert leaks(server, backend) == []
        backend.retry("r", Retry())
        assert sorted(claim.task.path for claim in w.claim(2 * WIDE)) == sorted(names)
        assert len(backend.attempts("r")) == WIDE, "none is told twice"


def test_a_run_shows_what_failed_though_a_retry_of_it_was_interrupted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        w, names = Worker(backend), [f"n{number}" for number in range(WIDE)]
        backend.submit(request("r", *names))
        claims = w.claim(WIDE)
        assert all(w.fail(claim, f"boom {claim.task.path}") for claim in claims)
        before, tries = backend.nodes("r"), backend.attempts("r")
        assert {node.state for node in before} == {NodeState.FAILED}
        for nth in (3, 2):
            interrupt(monkeypatch, backend, nth)
            with pytest.raises(KeyboardInterrupt):
                backend.retry("r", Retry())
            monkeypatch.undo()
            assert backend.nodes("r") == before
            assert sorted(backend.attempts("r"), key=str) == sorted(tries, key=str)
        backend.retry("r", Retry())
        begun = {(n.state, n.attempt, n.started, n.error) for n in backend.nodes("r")}
        assert begun == {(NodeState.READY, 1, None, None)}
        assert sorted(claim.task.path for claim in w.claim(2 * WIDE)) == sorted(names)
        assert {node.error for node in backend.nodes("r")} == {None}


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_piece_of_unfinished_nodes_whose_reply_was_lost_is_parked_once(
    server: RedisServer, cut: str
) -> None:
    proxy = Proxy(server.socket)
    try:
        with open_store(proxy.url, "rounds") as backend:
            teach(backend, server)
            w, names = unfinished(backend)
            proxy.arm(cut, nth=2)
            backend.retry("r", Retry())
            assert proxy.cuts == 1
            assert server.client.llen("gf:{rounds.0}:r:r:k") == WIDE - 64
            assert sorted(claim.task.path for claim in w.claim(2 * WIDE)) == sorted(names)
            assert len(backend.attempts("r")) == WIDE
    finally:
        proxy.close()


def test_nodes_that_go_on_in_pieces_outlive_a_pause_a_stop_and_another_round(
    server: RedisServer,
) -> None:
    with open_store(server.url, "rounds") as backend:
        w, names = unfinished(backend)
        backend.retry("r", Retry())
        begun = w.claim(10)
        backend.control("r", "pause")
        assert w.claim() == []
        backend.control("r", "resume")
        begun += w.claim(100)
        assert len(begun) == 110
        stop_all(w, begun)
        assert not server.client.exists("gf:{rounds.0}:r:r:k")
        backend.retry("r", Retry())
        assert sorted(claim.task.path for claim in w.claim(2 * WIDE)) == sorted(names)


def test_of_what_arrived_at_a_wide_branch_only_what_changes_is_written(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(server.url, "rounds") as backend:
        w = finished(backend)
        asked = sizes(monkeypatch, backend)
        inside = Rewind(
            removed=("each[3]/x", "end"),
            ready=("each[3]/x",),
            dropped=(("end", "each", False), ("each", "3", True)),
            reopened=("each",),
        )
        backend.retry("r", Retry(rewind=inside))
        assert max(asked) < 60
        assert w.succeed(w.one("each[3]/x"), b"again", closes("each", "3"))
        values = w.data(w.one("each"))
        assert len(values) == WIDE
        assert (values["3"], values["4"]) == (b"again", b"first")


def test_what_arrived_at_a_repeated_branch_is_forgotten_in_pieces(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIELDS", 10)
    with open_store(server.url, "rounds") as backend:
        w = finished(backend)
        asked = sizes(monkeypatch, backend)
        for _ in range(2):
            backend.retry("r", AGAIN)
            assert max(asked) < 10 * retry.PIECE
            execute(w, b"second")
        assert backend.result("r").data == b"end second"
