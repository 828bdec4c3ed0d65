"""Dead letters: runs that failed, listed, looked at, continued, dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import ask, goflow, nodes, runs, trace

SEVERAL = """
import goflow


@goflow.flow("twice")
def twice(workflow, context):
    def fails(data):
        raise ValueError("first" if data == b"1" else "second")

    workflow.dag.node("start")
    each = workflow.dag.foreach_branch("each", lambda data: {"x": b"1", "y": b"2"})
    each.node("fails", fails)
    workflow.dag.edge("start", "each")


@goflow.flow("slow")
def slow(workflow, context):
    import time

    workflow.timeout = 0.2
    workflow.dag.node("sleeps", lambda data: time.sleep(60))
"""


def fail(run_id: str) -> None:
    """A run of `doubtful` that failed at b."""
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", run_id, "--data", "x", code=1)


def test_failed_runs_are_listed_with_node_error_and_round() -> None:
    fail("bad")
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "good")
    listed = ask("dead", "list").text
    head, row = listed.splitlines()
    assert head.split() == ["RUN", "FLOW", "NODE", "FAILED", "ROUND", "ERROR"]
    assert row.split()[:3] == ["bad", "doubtful", "b"]
    assert "no luck" in row
    assert "good" not in listed
    (told,) = ask("dead", "list", "--json").json
    assert (told["run_id"], told["node"], told["round"]) == ("bad", "b", 1)
    assert told["finished"] >= told["created"]
    assert ask("dead", "list", "--flow", "echo", "--json").json == []


def test_no_dead_letter_is_said_to_people_and_an_empty_list_to_programs() -> None:
    told = ask("dead", "list")
    assert told.out == b""
    assert "no run has failed" in told.err
    assert ask("dead", "list", "--json").json == []


def test_a_dead_letter_shows_every_failure_with_its_traceback() -> None:
    Path("several.py").write_text(SEVERAL)
    goflow("run", "several.py", "--flow", "twice", "--request-id", "r1", code=1)
    plain = ask("show", "r1").text
    told = ask("dead", "show", "r1").text
    assert told.startswith(plain[: plain.index("\n\n")])
    failed = [path for path, state in nodes("r1").items() if state == "failed" and "/" in path]
    assert failed
    for path in failed:
        assert f"{path} failed at:\n" in told
    assert told.count("raise ValueError") == len(failed)
    whole = ask("dead", "show", "r1", "--json").json
    assert {each["path"] for each in whole["failures"]} == set(failed)
    assert all("raise ValueError" in each["detail"] for each in whole["failures"])
    assert all(each["type"] == "ValueError" for each in whole["failures"])
    assert whole["nodes"] == ask("show", "r1", "--json").json["nodes"]


def test_a_run_that_took_too_long_is_a_dead_letter_too() -> None:
    Path("several.py").write_text(SEVERAL)
    goflow("run", "several.py", "--flow", "slow", "--request-id", "r1", code=1)
    assert "timed out after 0.2 s" in ask("dead", "list").text
    first = ask("dead", "show", "r1", "--json").json["failures"][0]
    assert (first["path"], first["message"]) == ("", "timed out after 0.2 s")


def test_dead_letters_are_continued_from_where_they_failed() -> None:
    for run_id in ("r1", "r2"):
        fail(run_id)
    Path("trace.txt").unlink()
    Path("fine").touch()
    assert goflow("dead", "retry", "r1", "r2", "r1").out == b"xabcxabc"
    assert trace() == ["b", "c", "b", "c"], "what was done stays done"
    assert ask("dead", "list", "--json").json == []


def test_a_retry_that_fails_again_says_so_and_the_next_one_is_still_tried() -> None:
    for run_id in ("r1", "r2"):
        fail(run_id)
    goflow("dead", "retry", "r1", "r2", code=1)
    assert [told["round"] for told in ask("dead", "list", "--json").json] == [2, 2]


def test_a_dropped_run_is_forgotten_at_once() -> None:
    for run_id in ("r1", "r2", "r3"):
        fail(run_id)
    dropped = ask("dead", "drop", "r1", "r2", "r1")
    assert dropped.out == b""
    assert "dropped r1, r2" in dropped.err
    assert [run["run_id"] for run in runs()] == ["r3"]
    assert "no run 'r1'" in ask("show", "r1", code=2).err
    assert ask("dead", "drop", "r3", "--json").json == {"dropped": ["r3"]}
    assert runs() == []


@pytest.mark.parametrize("command", ["show", "retry", "drop"])
def test_a_run_that_has_not_failed_is_no_dead_letter(command: str) -> None:
    fail("bad")
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "good")
    refused = ask("dead", command, "good", code=2)
    assert "run good has not failed: it is succeeded" in refused.err
    assert "goflow dead list" in refused.err
    assert "bad" in ask("dead", command, "bda", code=2).err, "the nearest name is told"
    if command != "show":
        ask("dead", command, "bad", "good", code=2)
    assert [told["round"] for told in ask("dead", "list", "--json").json] == [1], "all or none"


def test_dead_alone_says_what_it_can_do() -> None:
    asked, told = ask("dead", "--help").text, ask("dead", code=2)
    assert all(word in asked for word in ("list", "show", "retry", "drop"))
    assert (told.out, told.err) == (b"", asked), "the same, to stderr"
