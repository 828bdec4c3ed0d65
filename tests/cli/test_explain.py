"""`goflow explain`: every reason why a run or a node is where it is, with what to do."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import ask, end_of, goflow, started, until, worker

FLOWS = '''
import os, time
from pathlib import Path
import goflow


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)


@goflow.flow("ways")
def ways(workflow, context):
    """first >> way (chooses l) >> each (one at a time) >> last; `first` and the items wait for files."""
    dag = workflow.dag
    first = dag.node("first", lambda data: wait_for("first"))
    way = dag.conditional_branch("way", ["l", "r"], lambda data: "l")
    way["l"].node("left")
    way["r"].node("right")
    each = dag.foreach_branch("each", lambda data: range(3), max_parallel=1)
    each.node("item", lambda data: wait_for("items"), timeout=60)
    first >> "way" >> "each" >> dag.node("last")


@goflow.flow("hopeful")
def hopeful(workflow, context):
    def work(data):
        raise OSError("not yet")

    workflow.dag.node("hopeful", work, retries=3, retry_delay=3600)


@goflow.flow("fails")
def fails(workflow, context):
    def work(data):
        raise OSError("no disk")

    workflow.dag.node("bad", work) >> workflow.dag.node("next")
    workflow.dag.node("slow", lambda data: wait_for("slow"))
'''


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows.py").write_text(FLOWS)


def why(*arguments: str) -> list[tuple[str, str, str]]:
    """Kind, text and advice of each reason."""
    told: Any = ask("explain", "r", *arguments, "--json").json
    return [(each["kind"], each["text"], each["todo"]) for each in told["reasons"]]


def submit(flow: str) -> None:
    goflow("submit", flow, "--request-id", "r")


def state(path: str) -> str:
    nodes = ask("show", "r", "--json").json["nodes"]
    return {str(n["path"]): str(n["state"]) for n in nodes}.get(path, "")


def test_a_run_without_a_worker_says_to_start_one() -> None:
    goflow("run", "flows.py", "--flow", "hopeful", "--request-id", "other", "--detach")
    submit("ways")
    assert why() == [
        ("ready", "1 ready node waits for a worker: first", ""),
        ("no worker", "no worker knows the flow 'ways'", "start `goflow worker FILE`"),
    ]
    assert why("first")[0][1] == "first is ready and waits for a worker"
    assert why("last") == [
        ("parents missing", "last waits for each (waiting)", "`goflow explain r each` says why")
    ]
    goflow("pause", "r")
    assert why() == [("paused", "it is paused: nothing starts", "`goflow resume r`")]
    assert why("first") == why()
    goflow("stop", "other")


def test_a_run_on_its_way_says_what_runs_and_what_waits_its_turn() -> None:
    with worker("--concurrency", "1"):
        submit("ways")
        until(lambda: state("first") == "running")
        (running,) = why()
        assert running[0] == "running"
        assert running[1].startswith(f"first is running on {os.uname().nodename}:")
        goflow("submit", "ways", "--request-id", "behind")
        ((_, _, _), queued) = [
            tuple(each.values()) for each in ask("explain", "behind", "--json").json["reasons"]
        ]
        assert queued[0] == "queued"
        assert queued[1] == "all 1 slots of 1 worker of its flow are busy"
        goflow("stop", "behind")
        Path("first").touch()
        until(lambda: state("each[0]/item") == "running")
        assert (
            why("way[r]/right")[0][1]
            == "way[r]/right was skipped: the condition way chose otherwise"
        )
        assert (
            why("each")[0][1]
            == "each is open: 0 of 3 scopes are complete, 1 at a time (max_parallel)"
        )
        assert "(its timeout is 1m00s)" in why("each[0]/item")[0][1]
        turn = why("each[2]/item")[0]
        assert turn[0] == "max_parallel"
        Path("items").touch()
        until(lambda: state("last") == "succeeded")
    assert why()[0][0] == "succeeded"
    assert why("last")[0][1].startswith("last succeeded in attempt 1")


def test_a_retry_says_when_and_a_failure_how_to_look() -> None:
    with worker():
        submit("hopeful")
        until(lambda: state("hopeful") == "retrying")
        (reason,) = why()
        assert reason == why("hopeful")[0]
        assert "failed (OSError: not yet) and is tried again " in reason[1]
        assert re.search(
            r"hopeful +retrying +1 ", ask("show", "r").text
        )  # the second has not begun
        goflow("stop", "r")
        until(lambda: why()[0][0] == "stopped")
    assert "goflow retry r" in why("hopeful")[0][2]


def test_a_failed_run_tells_the_node_and_what_it_kept_from_starting() -> None:
    with worker():
        submit("fails")
        until(lambda: state("bad") == "failed")
        ending = why()
        assert ending[0][:2] == (
            "ending",
            "it is about to end as failed (bad: OSError: no disk): its running nodes finish,"
            " nothing new starts",
        )
        assert ending[1][1].startswith("slow is running on ")
        Path("slow").touch()
        until(lambda: why()[0][0] == "failed")
    assert why()[0][1] == "bad failed: OSError: no disk"
    assert "`goflow debug r bad` runs it again here" in why()[0][2]
    assert why("next")[0][1] == (
        "next was skipped: the run failed before it could start (bad: OSError: no disk)"
    )


def test_a_retried_run_tells_of_which_round_an_attempt_is() -> None:
    """They are counted anew in each, as `show` lists them."""
    Path("slow").touch()
    goflow("run", "flows.py", "--flow", "fails", "--request-id", "r", code=1)
    goflow("retry", "r", code=1)
    assert (
        why("bad")[0][1] == "bad failed in attempt 1 of round 2 (2 tries in all): OSError: no disk"
    )
    assert re.search(r"bad +2 +1 +failed", ask("show", "r").text)


def test_a_run_whose_owner_is_gone_says_so() -> None:
    with started("run", "flows.py", "--flow", "ways", "--request-id", "r") as process:
        until(lambda: any(run["run_id"] == "r" for run in ask("runs", "--json").json))
        until(lambda: state("first") == "running")
        process.send_signal(signal.SIGKILL)
        end_of(process)
    ((kind, text, todo),) = why()
    assert (kind, text) == ("abandoned", "it is abandoned: the process that executed it is gone")
    assert "goflow retry r" in todo
    assert why("first") == [(kind, text, todo)], "the node that was running says no other"
    (run,) = ask("runs", "--json").json
    assert (run["state"], run["abandoned"]) == ("running", True)


def test_a_lost_worker_is_told_with_what_follows() -> None:
    with started("worker", "flows.py") as process:
        submit("ways")
        until(lambda: state("first") == "running")
        process.send_signal(signal.SIGKILL)
        end_of(process)
    ((kind, text, todo),) = why()
    assert (kind, text) == ("worker lost", "first is held by a worker that is gone")
    assert todo.startswith("start `goflow worker FILE`")


def test_another_definition_is_told_with_both_ways_out(home: Path) -> None:
    submit("ways")
    (home / "flows.py").write_text(FLOWS.replace('each" >> dag.node("last")', 'each"'))
    with worker():
        kind, text, todo = why()[1]
        assert kind == "no worker knows this definition"
        assert "the workers of 'ways' have" in text
        assert "--adopt" in todo
