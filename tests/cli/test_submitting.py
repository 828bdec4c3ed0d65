"""Runs handed to workers: submit, --wait, worker, its signals, and several commands on one store."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.shell import ask, end_of, goflow, nodes, runs, started, trace, until, worker


def test_without_a_worker_it_says_what_the_run_waits_for() -> None:
    ended = goflow("submit", "echo", "--data", "x")
    run_id = ended.text.strip()
    assert ended.out == f"{run_id}\n".encode()
    assert "no worker" in ended.err
    assert run_id in ended.err
    assert "goflow worker" in ended.err
    assert ask("result", run_id, code=3).out == b""
    waited = goflow("result", run_id, "--wait", "0.05", code=3)
    assert "queued" in waited.err


def test_a_worker_takes_what_was_submitted_before_and_after_it_came() -> None:
    early = goflow("submit", "echo", "--data", "early").text.strip()
    with worker():
        assert goflow("result", early, "--wait", "30").out == b"early"
        ended = goflow("submit", "echo", "--data", "late", "--wait")
        assert ended.out == b"late"
        late = runs()[0]["run_id"]
        assert ended.err == f"{late}\n"
        told = goflow("submit", "echo", "--data", "x", "--wait", "30", "--json")
        assert told.json["result"] == "x"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--wait", "echo"),
        ("echo", "--wait", "30"),
        ("--wait", "30", "echo"),
        ("--wait", "30s", "echo"),
        ("--wait=30", "echo"),
        ("--data", "x", "--wait", "echo"),
        ("--wait", "--", "echo"),
        ("--wait", "--data", "x", "echo"),
    ],
    ids=" ".join,
)
def test_a_word_after_wait_that_is_no_number_is_not_consumed(arguments: tuple[str, ...]) -> None:
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "r1", "--data", "x")
    data = () if "--data" in arguments else ("--data", "x")
    ended = goflow("submit", "--request-id", "r1", *data, *arguments)
    assert ended.out == b"x"
    assert ended.err == "r1\n"


def test_wait_that_runs_out_ends_with_3_and_says_so() -> None:
    ended = goflow("submit", "echo", "--wait", "0", code=3)
    assert ended.out == b""
    assert "has not ended after 0 s" in ended.err


def test_a_failed_run_ends_the_waiting_with_1() -> None:
    with worker():
        ended = goflow("submit", "doubtful", "--wait", code=1)
        assert ended.out == b""
        assert "ValueError: no luck" in ended.err


def test_the_same_request_id_again_returns_the_run_and_another_is_a_conflict() -> None:
    first = goflow("submit", "echo", "--request-id", "r1", "--data", "x")
    assert goflow("submit", "echo", "--request-id", "r1", "--data", "x").out == first.out == b"r1\n"
    refused = goflow("submit", "echo", "--request-id", "r1", "--data", "y", code=2)
    assert "r1" in refused.err
    assert refused.out == b""
    assert len(runs()) == 1


def test_submit_as_json_tells_the_run() -> None:
    told = goflow("submit", "echo", "--json").json
    assert (told["flow"], told["state"]) == ("echo", "queued")


def test_workers_and_flows_are_listed_while_they_live() -> None:
    with worker("--flow", "echo", "--flow", "gate", "--concurrency", "2") as process:
        [told] = ask("workers", "--json").json
        assert told["pid"] == process.pid
        assert told["concurrency"] == 2
        assert told["alive"] is True
        assert sorted(flow for flow, _ in told["flows"]) == ["echo", "gate"]
        run_id = goflow("submit", "gate").text.strip()
        until(lambda: trace() == ["before", "gate"])
        assert f"{run_id}" in ask("workers").text
        flows = {flow["flow"]: flow for flow in goflow("flows", "--json").json}
        assert flows["echo"]["workers"] == 1
        assert flows["options"]["workers"] == 0
        Path("open").touch()
        goflow("result", run_id, "--wait")
    assert ask("workers", "--json").json == []


def test_sigterm_drains_within_grace() -> None:
    with worker() as process:
        run_id = goflow("submit", "gate", "--data", "x").text.strip()
        until(lambda: "gate" in trace())
        process.send_signal(signal.SIGTERM)
        Path("open").touch()
        ended = end_of(process)
    assert ended.code == 0
    assert "drained" in ended.err
    states = nodes(run_id)
    assert states["gate"] == "succeeded"
    assert "after" not in trace()
    with worker():
        assert goflow("result", run_id, "--wait").out == b"x!?"
    assert trace() == ["before", "gate", "after", "finally succeeded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_hands_back_at_once_without_an_attempt_penalty(number: int) -> None:
    with worker() as process:
        run_id = goflow("submit", "gate", "--data", "x").text.strip()
        until(lambda: "gate" in trace())
        process.send_signal(number)
        assert process.stderr is not None
        assert b"draining: 1 task may run for 30 s more" in process.stderr.readline()
        process.send_signal(number)
        ended = end_of(process)
    assert ended.code == 0
    assert "drained, 1 task handed back" in ended.err
    assert nodes(run_id)["gate"] == "ready"
    Path("open").touch()
    with worker():
        assert goflow("result", run_id, "--wait").out == b"x!?"
    told = {n["path"]: n for n in ask("show", run_id, "--json").json["nodes"]}
    assert told["gate"]["attempt"] == 1
    assert trace() == ["before", "gate", "gate", "after", "finally succeeded"]


def test_grace_is_what_goflow_toml_says() -> None:
    Path("goflow.toml").write_text('flows = ["flows.py"]\n[worker]\ngrace = 0.1\n')
    with worker() as process:
        run_id = goflow("submit", "gate").text.strip()
        until(lambda: "gate" in trace())
        process.send_signal(signal.SIGTERM)
        assert end_of(process).code == 0
    assert nodes(run_id)["gate"] == "ready"


def test_a_killed_workers_tasks_are_taken_over() -> None:
    with worker() as first:
        run_id = goflow("submit", "gate", "--data", "x").text.strip()
        until(lambda: "gate" in trace())
        with worker():
            first.kill()
            until(lambda: trace().count("gate") == 2)
            Path("open").touch()
            assert goflow("result", run_id, "--wait").out == b"x!?"
    told = {n["path"]: n for n in ask("show", run_id, "--json").json["nodes"]}
    assert told["gate"]["attempt"] == 1
    assert trace().count("before") == 1


def test_a_worker_that_was_frozen_for_longer_than_its_lease_comes_too_late() -> None:
    """Another has its node by then; what the frozen one made is not recorded, and it works on."""
    Path("goflow.toml").write_text('flows = ["flows.py"]\n[worker]\nlease = 2\n')
    with worker() as frozen:
        run_id = goflow("submit", "gate", "--data", "x").text.strip()
        until(lambda: "gate" in trace())
        frozen.send_signal(signal.SIGSTOP)
        with worker() as other:
            until(lambda: trace().count("gate") == 2)
            Path("open").touch()
            assert goflow("result", run_id, "--wait").out == b"x!?"
            other.send_signal(signal.SIGTERM)
            end_of(other)
        frozen.send_signal(signal.SIGCONT)
        again = goflow("submit", "gate", "--data", "y", "--wait", "30")
        assert again.out == b"y!?"
    told = {n["path"]: n for n in ask("show", run_id, "--json").json["nodes"]}
    assert told["gate"]["attempt"] == 1
    attempts = ask("show", run_id, "--json").json["attempts"]
    assert [a["state"] for a in attempts if a["path"] == "gate"] == ["lost", "succeeded"]
    assert trace().count("after") == 2


def test_a_node_is_not_run_twice_because_it_is_long() -> None:
    Path("goflow.toml").write_text('flows = ["flows.py"]\n[worker]\nlease = 2\n')
    with worker(), worker():
        run_id = goflow("submit", "gate", "--data", "x").text.strip()
        until(lambda: "gate" in trace())
        time.sleep(2.5)
        Path("open").touch()
        assert goflow("result", run_id, "--wait").out == b"x!?"
    assert trace() == ["before", "gate", "after", "finally succeeded"]


def test_several_commands_at_once_on_one_store() -> None:
    """Two runs in the foreground, a worker, submits and readers, all at the same time."""
    with worker():
        own = [
            ("run", "flows.py", "--flow", "gate", "--request-id", f"own-{n}", "--data", f"{n}")
            for n in range(2)
        ]
        given = [("submit", "gate", "--request-id", f"given-{n}", "--wait") for n in range(2)]
        with (
            started(*own[0]) as a,
            started(*own[1]) as b,
            started(*given[0]) as c,
            started(*given[1]) as d,
        ):
            until(lambda: trace().count("gate") == 4)
            listed = {run["run_id"]: run["state"] for run in runs()}
            assert listed == dict.fromkeys(("own-0", "own-1", "given-0", "given-1"), "running")
            assert nodes("own-0")["gate"] == "running"
            alive = ask("workers", "--json").json
            assert len(alive) == 3
            Path("open").touch()
            ends = [end_of(process) for process in (a, b, c, d)]
    assert [end.code for end in ends] == [0, 0, 0, 0]
    assert [end.out for end in ends] == [b"0!?", b"1!?", b"!?", b"!?"]
    assert {run["state"] for run in runs()} == {"succeeded"}
    assert trace().count("after") == 4


def test_a_worker_leaves_runs_of_another_definition_alone() -> None:
    old = Path("flows.py").read_text()
    run_id = goflow("submit", "echo", "--data", "x").text.strip()
    Path("flows.py").write_text(old.replace('node("echo", lambda', 'node("echo2", lambda'))
    with worker():
        assert goflow("submit", "echo", "--data", "new", "--wait", "30").out == b"new"
        assert ask("show", run_id, "--json").json["state"] == "queued"
        assert "no worker knows this definition" in ask("explain", run_id).text
    Path("flows.py").write_text(old)
    with worker():
        assert goflow("result", run_id, "--wait", "30").out == b"x"


def test_the_definition_is_the_last_registered_where_goflow_toml_names_no_file() -> None:
    Path("goflow.toml").write_text("")
    refused = goflow("submit", "echo", code=2)
    assert "goflow worker FILE" in refused.err
    with worker():
        assert goflow("submit", "echo", "--data", "x", "--wait").out == b"x"
