"""Who waits for a run while its store is away for a moment."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.shell import ask, end_of, goflow, started, trace, until, worker
from tests.redis.server import RedisServer

KEPT = ("--appendonly", "yes", "--appendfsync", "always")


def listening(server: RedisServer) -> int:
    """How many wait for the server to say something."""
    return int(server.client.info("clients")["blocked_clients"])


def test_who_waits_outlasts_a_server_that_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RedisServer(*KEPT) as server:
        monkeypatch.setenv("GOFLOW_BACKEND", server.url)
        with worker():
            goflow("submit", "gate", "--data", "x", "--request-id", "r")
            until(lambda: "gate" in trace())
            before = listening(server)
            with (
                started("result", "r", "--wait") as result,
                started("show", "r", "--live") as shown,
                started("logs", "r", "-f") as logs,
            ):
                waiting = [result, shown, logs]
                until(lambda: listening(server) == before + len(waiting))
                server.kill()
                for process in waiting:  # each says so before anybody starts it again
                    assert process.stderr is not None
                    while b"trying again" not in (line := process.stderr.readline()):
                        assert line, "it ended"
                server.start()
                Path("open").touch()
                ended = [end_of(process) for process in waiting]
            assert [each.code for each in ended] == [0, 0, 0]
            assert ended[0].out == b"x!?"
            assert all("it is there again" in each.err for each in ended)


def test_who_waits_no_longer_than_a_time_ends_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RedisServer() as server:
        monkeypatch.setenv("GOFLOW_BACKEND", server.url)
        goflow("submit", "gate", "--request-id", "r")
        with started("result", "r", "--wait", "1.5") as process:
            until(lambda: listening(server))
            server.kill()
            ended = end_of(process)
        assert ended.code == 2
        assert "cannot be reached" in ended.err


def test_waiting_for_a_server_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as server:
        monkeypatch.setenv("GOFLOW_BACKEND", server.url)
        goflow("submit", "gate", "--request-id", "r")
        with started("result", "r", "--wait") as process:
            until(lambda: listening(server))
            server.kill()
            assert process.stderr is not None
            while b"trying again" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert end_of(process).code == 130


def test_sentinels_that_are_all_away_are_told_as_that() -> None:
    told = ask("runs", "--backend", "redis+sentinel://127.0.0.1:1,127.0.0.1:2", code=2)
    assert "no sentinel that can be reached names a master" in told.err
