"""Steering runs: pause, resume, stop, retry, and signals to whoever executes one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.shell import ask, end_of, goflow, nodes, runs, started, trace, until, worker

GATE = ("run", "flows.py", "--flow", "gate", "--request-id", "r1", "--data", "x")


@contextmanager
def at_the_gate() -> Iterator[Popen[bytes]]:
    """A foreground run whose node `gate` executes."""
    with started(*GATE) as process:
        until(lambda: "gate" in trace())
        yield process


def listens(process: Popen[bytes]) -> bool:
    """Whether it has come to wait for news of a run."""
    try:
        found = Path(f"/proc/{process.pid}/fd").iterdir()
        return any("socket:" in str(fd.readlink()) for fd in found)
    except FileNotFoundError:  # closed while we looked
        return False


def test_pause_lets_running_nodes_finish_and_starts_nothing_more() -> None:
    with at_the_gate() as process:
        for _ in range(2):
            paused = goflow("pause", "r1")
            assert "r1 is paused" in paused.err
            assert paused.out == b""
        Path("open").touch()
        until(lambda: nodes("r1")["gate"] == "succeeded")
        assert ask("show", "r1", "--json").json["state"] == "paused"
        assert "goflow resume r1" in ask("explain", "r1").text
        assert "after" not in trace()
        assert goflow("resume", "r1", "--json").json["state"] == "running"
        assert end_of(process)[:2] == (0, b"x!?")
    assert trace() == ["before", "gate", "after", "finally succeeded"]


def test_resume_of_a_run_that_is_not_paused_is_harmless() -> None:
    with at_the_gate() as process:
        goflow("resume", "r1")
        Path("open").touch()
        assert end_of(process).code == 0


def test_resume_says_when_no_worker_is_there() -> None:
    goflow("submit", "echo", "--request-id", "r1")
    goflow("pause", "r1")
    assert "no worker" in goflow("resume", "r1").err


def test_stop_kills_what_runs_and_finally_still_runs() -> None:
    with at_the_gate() as process:
        goflow("stop", "r1")
        ended = end_of(process)
    assert ended.code == 4
    assert ended.out == b""
    assert "r1 was stopped" in ended.err
    assert trace() == ["before", "gate", "finally stopped"]
    assert nodes("r1")["gate"] == "stopped"
    assert ask("result", "r1", code=4).out == b""
    refused = goflow("pause", "r1", code=2)
    assert "r1" in refused.err


def test_stop_reaches_a_run_on_a_worker() -> None:
    with worker():
        goflow("submit", "gate", "--request-id", "r1")
        until(lambda: "gate" in trace())
        goflow("stop", "r1")
        waited = goflow("result", "r1", "--wait", "30", code=4)
        assert "stopped" in waited.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_local_run(number: int) -> None:
    with at_the_gate() as process:
        process.send_signal(number)
        ended = end_of(process)
    assert ended.code == 130
    assert ended.out == b""
    assert "goflow retry r1" in ended.err
    assert trace() == ["before", "gate", "finally stopped"]
    assert [run["state"] for run in runs()] == ["stopped"]


def test_a_second_signal_lets_go_at_once() -> None:
    """The run is about to end, its handler takes for ever; the second Ctrl-C does not wait for it."""
    command = ("run", "flows.py", "--flow", "gated-twice", "--request-id", "r1")
    with started(*command) as process:
        until(lambda: "gate" in trace())
        process.send_signal(signal.SIGINT)
        until(lambda: "finally" in trace())
        process.send_signal(signal.SIGINT)
        ended = end_of(process)
    assert ended.code == 130
    assert ended.out == b""
    [run] = runs()
    assert run["state"] == "stopping"
    Path("end").touch()
    with worker():
        assert goflow("result", "r1", "--wait", "30", code=4).out == b""
    assert trace().count("finally") == 2


def test_interrupting_the_waiting_leaves_the_run_alone() -> None:
    goflow("submit", "echo", "--request-id", "r1")
    with started("result", "r1", "--wait") as process:
        assert process.stderr is not None
        assert b"no worker" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        ended = end_of(process)
    assert ended.code == 130
    assert "goes on" in ended.err
    assert [run["state"] for run in runs()] == ["queued"]


def test_retry_continues_from_the_unfinished_nodes() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    assert goflow("retry", "r1", code=1).out == b""
    Path("fine").touch()
    again = goflow("retry", "r1")
    assert again.out == b"abc"
    assert trace() == ["a", "b", "b", "b", "c"]
    told = ask("show", "r1", "--json").json
    assert told["round"] == 3
    assert [a["state"] for a in told["attempts"]] == ["succeeded", "failed", "failed"] + [
        "succeeded"
    ] * 2
    assert ask("result", "r1").out == b"abc"


def test_retry_from_a_node_repeats_it_and_all_after_it() -> None:
    Path("fine").touch()
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1")
    refused = goflow("retry", "r1", code=2)
    assert "--from" in refused.err
    assert goflow("retry", "r1", "--from", "b").out == b"abc"
    assert trace() == ["a", "b", "c", "b", "c"]


def test_a_corrected_function_finishes_an_old_run() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    text = Path("flows.py").read_text()
    Path("flows.py").write_text(text.replace('raise ValueError("no luck")', "pass"))
    assert goflow("retry", "r1").out == b"abc"
    told = ask("show", "r1", "--json").json
    digests = {(a["path"], a["state"]): a["digest"] for a in told["attempts"]}
    assert digests["b", "failed"] != digests["b", "succeeded"]


def test_another_definition_needs_adopt() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    text = Path("flows.py").read_text()
    more = text.replace(
        'workflow.dag.edge("b", "c")\n',
        'workflow.dag.edge("b", "c")\n    workflow.dag.edge("c", "d")\n'
        '    workflow.dag.node("d", named("d"))\n',
        1,
    )
    Path("flows.py").write_text(more)
    Path("fine").touch()
    refused = goflow("retry", "r1", code=2)
    assert "--adopt" in refused.err
    assert goflow("retry", "r1", "--adopt").out == b"abcd"
    assert trace() == ["a", "b", "b", "c", "d"]


def test_adopt_says_which_nodes_are_gone() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    text = Path("flows.py").read_text()
    Path("flows.py").write_text(
        text.replace('for name in "abc"', 'for name in "xbc"').replace(
            'workflow.dag.edge("a", "b")', 'workflow.dag.edge("x", "b")'
        )
    )
    refused = goflow("retry", "r1", "--adopt", code=2)
    assert "no node 'a'" in refused.err


def test_retry_of_a_live_run_is_an_error() -> None:
    with at_the_gate():
        refused = goflow("retry", "r1", code=2)
        assert "r1" in refused.err
        goflow("submit", "echo", "--request-id", "r2")
        goflow("retry", "r2", code=2)


def test_a_killed_run_is_abandoned_and_retry_continues_it() -> None:
    with at_the_gate() as process:
        process.kill()
        process.wait()
    listed = ask("runs").text
    assert "owner is gone" in listed
    refused = ask("result", "r1", code=2)
    assert "goflow retry r1" in refused.err
    assert "goflow retry r1" in ask("explain", "r1").text
    Path("open").touch()
    assert goflow("retry", "r1").out == b"x!?"
    assert trace() == ["before", "gate", "gate", "after", "finally succeeded"]


def test_a_killed_run_is_adopted_by_a_worker() -> None:
    with at_the_gate() as process:
        process.kill()
        process.wait()
    Path("open").touch()
    with worker():
        assert goflow("result", "r1", "--wait", "30").out == b"x!?"
    assert trace() == ["before", "gate", "gate", "after", "finally succeeded"]


def test_a_stopped_abandoned_run_says_what_its_handler_waits_for() -> None:
    with at_the_gate() as process:
        process.kill()
        process.wait()
    assert "goflow worker FILE" in goflow("stop", "r1").err
    assert "goflow worker FILE" in goflow("retry", "r1", code=2).err
    with worker():
        goflow("result", "r1", "--wait", code=4)
    assert trace() == ["before", "gate", "finally stopped"]
    Path("open").touch()
    assert goflow("retry", "r1").out == b"x!?"


def test_whoever_waits_learns_that_the_owner_is_gone() -> None:
    with at_the_gate() as process, started("result", "r1", "--wait") as waiting:
        until(lambda: listens(waiting))
        process.kill()
        process.wait()
        ended = end_of(waiting)
    assert ended.code == 2
    assert "goflow retry r1" in ended.err


def test_following_the_logs_ends_when_the_owner_is_gone() -> None:
    with at_the_gate() as process, started("logs", "r1", "-f") as following:
        until(lambda: listens(following))
        process.kill()
        process.wait()
        ended = end_of(following)
    assert ended.code == 0
    assert "goflow retry r1" in ended.err


def test_the_same_run_again_waits_for_the_first() -> None:
    with at_the_gate() as process, started(*GATE) as again:
        until(lambda: listens(again))
        assert trace() == ["before", "gate"]
        Path("open").touch()
        assert end_of(process)[:2] == (0, b"x!?")
        assert end_of(again).out == b"x!?"
    assert trace() == ["before", "gate", "after", "finally succeeded"]


def test_of_two_retries_at_once_one_wins() -> None:
    with at_the_gate() as process:
        process.kill()
        process.wait()
    with started("retry", "r1") as first, started("retry", "r1") as second:
        until(lambda: first.poll() is not None or second.poll() is not None)
        winner, loser = (first, second) if first.poll() is None else (second, first)
        lost = end_of(loser)
        assert lost.code == 2
        assert "r1" in lost.err
        until(lambda: trace().count("gate") == 2)
        Path("open").touch()
        assert end_of(winner).out == b"x!?"
    assert trace() == ["before", "gate", "gate", "after", "finally succeeded"]


def test_a_retry_that_is_due_later_is_explained() -> None:
    with started("run", "flows.py", "--flow", "retrying", "--request-id", "r1") as process:
        until(lambda: runs() and nodes("r1").get("hopeful") == "retrying")
        assert "is tried again at" in ask("explain", "r1", "hopeful").text
        process.send_signal(signal.SIGINT)
        assert end_of(process).code == 130
    assert trace() == ["try"]
