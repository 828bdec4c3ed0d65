"""What nodes print and log: kept, echoed, followed, and harmless; what services tell."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import GOFLOW, ask, end_of, goflow, nodes, runs, started, until, worker

FLOWS = """
import os
import subprocess
import sys
import goflow


@goflow.flow("speaks")
def speaks(workflow, context):
    def work(data, options, context):
        print("printed")
        print("to stderr", file=sys.stderr)
        os.write(1, b"written\\n")
        subprocess.run(["echo", "by a process"], check=True)
        import logging
        logging.debug("not seen")
        logging.info("logged %d", 7)
        context.logger.warning("by the context")
        logging.getLogger("library").error("by a library")
        print("\\x1b[2J\\x1b]0;title\\x07\\x9b2Jsteering\\x00")

    workflow.dag.node("speak", work)


@goflow.flow("fails")
def fails(workflow, context):
    def work(data):
        print("before\\nit failed")
        raise OSError("no disk")

    workflow.dag.node("bad", work, retries=1, retry_delay=0)


@goflow.flow("slow")
def slow(workflow, context):
    def work(data):
        from pathlib import Path
        import time
        print("so far")
        print("no end \u20ac", end="", flush=True)
        while not Path("go").exists():
            time.sleep(0.01)
        print(" yet")

    workflow.dag.node("work", work)
"""

CONFIGURED = """
import logging
import goflow

logging.basicConfig(format="mine: %(message)s", level=logging.DEBUG)


@goflow.flow("configured")
def configured(workflow, context):
    workflow.dag.node("speak", lambda data: logging.debug("as wanted"))
"""


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows.py").write_text(FLOWS)


def run(flow: str, code: int = 0) -> str:
    return goflow("run", "flows.py", "--flow", flow, "--request-id", "r", code=code).err


def test_all_that_a_node_says_is_kept_in_order() -> None:
    run("speaks")
    lines = ask("logs", "r").text.splitlines()
    assert lines[:5] == ["== speak", "printed", "to stderr", "written", "by a process"]
    times = [re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", line) for line in lines[5:8]]
    assert times == [
        "TIME INFO root: logged 7",
        "TIME WARNING goflow.speaks.speak: by the context",
        "TIME ERROR library: by a library",
    ]
    assert "not seen" not in "".join(lines)


def test_a_flow_that_configures_logging_has_its_own_way(home: Path) -> None:
    (home / "flows.py").write_text(CONFIGURED)
    assert "speak │ mine: as wanted" in run("configured")


def test_what_a_node_prints_is_there_while_it_runs(home: Path) -> None:
    with started("run", "flows.py", "--flow", "slow", "--request-id", "r") as process:
        until(runs)
        with started("logs", "r", "work", "--follow") as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"== work\n"
            assert follower.stdout.readline() == b"so far\n"
            assert os.read(follower.stdout.fileno(), 100).decode() == "no end \u20ac"
            assert nodes("r") == {"work": "running"}
            assert ask("logs", "r").text == "== work\nso far\nno end \u20ac\n"
            (home / "go").touch()
            assert end_of(follower).out == b" yet\n"
        assert end_of(process).code == 0
    pieces = [json.loads(line)["text"] for line in ask("logs", "r", "--json").text.splitlines()]
    assert pieces == ["so far\n", "no end \u20ac", " yet\n"]


def test_what_steers_a_terminal_reaches_none() -> None:
    assert "\x1b" not in run("speaks")
    for text in (ask("logs", "r").text, ask("logs", "r", "--json").text):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), text
    assert ask("logs", "r").text.endswith("steering\N{REPLACEMENT CHARACTER}\n")


def test_raw_logs_are_the_bytes_and_for_no_terminal() -> None:
    run("speaks")
    assert b"\x1b[2J\x1b]0;title\x07" in ask("logs", "r", "--raw").out
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*GOFLOW, "logs", "r", "--raw"], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"--raw is for a file or a pipe" in done.stderr


def test_every_line_is_echoed_with_the_node_that_printed_it() -> None:
    told = run("fails", code=1)
    assert told.count("bad │ before\nbad │ it failed\n") == 2
    assert re.search(r"bad retrying \d+ ms: OSError: no disk, again in", told)
    assert ask("logs", "r").text == (
        "== bad\nbefore\nit failed\n== bad (attempt 2)\nbefore\nit failed\n"
    )


def test_a_service_tells_events_as_json_where_that_is_wanted() -> None:
    env = {"GOFLOW_LOGS_FORMAT": "json"}
    with started("worker", "flows.py", env=env) as process:
        until(lambda: any(worker["alive"] for worker in ask("workers", "--json").json))
        goflow("submit", "fails", "--request-id", "r", "--wait", code=1)
        process.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in end_of(process).err.splitlines()]
    events = [(each["event"], each["level"]) for each in told]
    printed = [("printed", "info")] * 2
    assert events == [
        ("started", "info"), *printed, ("retrying", "warning"), *printed, ("failed", "error"),
        ("drained", "info"),
    ]  # fmt: skip
    failed = told[-2]
    assert (failed["run_id"], failed["node"], failed["attempt"]) == ("r", "bad", 2)
    assert failed["error"] == "OSError: no disk"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", failed["time"])


def test_a_worker_in_plain_lines_names_run_and_node() -> None:
    with worker() as process:
        goflow("submit", "fails", "--request-id", "r", "--wait", code=1)
        process.send_signal(signal.SIGTERM)
        told = end_of(process).err
    assert "r bad │ before\n" in told
    assert re.search(r"(?m)^\d\d:\d\d:\d\d r bad: OSError: no disk$", told)
