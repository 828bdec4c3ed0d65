"""A terminal that closes over a worker: what it executes is finished first, as with SIGTERM."""

from __future__ import annotations

import os
import pty
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.shell import GOFLOW, ask, end_of, goflow, nodes, started, trace, until, worker


def pids() -> list[int]:
    """The processes of the workers that are there."""
    return [worker["pid"] for worker in ask("workers", "--json").json if worker["alive"]]


def hang_up(*command: str) -> None:
    """Type a command at an interactive shell; once the node at the gate executes, close the terminal."""
    shell, terminal = pty.fork()
    if shell == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    os.write(terminal, (shlex.join([*GOFLOW, *command]) + "\n").encode())
    until(lambda: "gate" in trace())
    os.close(terminal)
    os.waitpid(shell, 0)  # and with it the kernel has told everybody


@pytest.mark.parametrize("command", [("worker", "flows.py"), ("serve", "flows.py", "--port", "0")])
def test_a_terminal_that_closes_drains(command: tuple[str, ...]) -> None:
    """Its shell hands the hangup on, then the kernel sends one more, which is no second request."""
    goflow("submit", "gate", "--request-id", "r1", "--data", "x")
    hang_up(*command)
    assert nodes("r1")["gate"] == "running"
    Path("open").touch()
    until(lambda: not pids())
    assert trace()[:2] == ["before", "gate"]
    [gate] = [n for n in ask("show", "r1", "--json").json["nodes"] if n["path"] == "gate"]
    assert (gate["state"], gate["attempt"]) == ("succeeded", 1)


def test_a_second_signal_after_a_hangup_hands_back_at_once() -> None:
    goflow("submit", "gate", "--request-id", "r1", "--data", "x")
    with worker() as process:
        until(lambda: "gate" in trace())
        assert process.stderr is not None
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
        assert b"drain" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert end_of(process).code == 0
    assert nodes("r1")["gate"] == "ready"


def test_nohup_lives_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started("worker", "flows.py") as process:
            signal.signal(signal.SIGHUP, before)
            until(pids)
            process.send_signal(signal.SIGHUP)
            told = goflow("submit", "echo", "--data", "still here", "--wait", "30")
            assert told.text == "still here"
            process.send_signal(signal.SIGTERM)
            assert end_of(process).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
