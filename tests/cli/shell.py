"""Real `goflow` processes for tests, and flows for them to run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from goflow_cli.main import main

GOFLOW = (sys.executable, "-m", "goflow_cli.main")
#: seconds after which a process that should have ended or said something is given up
PATIENCE = 60.0

FLOWS = '''
import os
import sys
import time
from pathlib import Path

import goflow


def note(line):
    fd = os.open("trace.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, (line + "\\n").encode())
    os.close(fd)


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)


@goflow.flow("echo")
def echo(workflow, context):
    workflow.dag.node("echo", lambda data: data)


@goflow.flow("loud")
def loud(workflow, context):
    def work(data):
        print("said aloud")
        print("and complained", file=sys.stderr)
        return b"quiet result"

    workflow.dag.node("speak", work)


@goflow.flow("options")
def options(workflow, context):
    workflow.dag.node("tell", lambda data, options: options)


@goflow.flow("doubtful")
def doubtful(workflow, context):
    """a >> b >> c, where b fails unless there is a file called `fine`."""

    def named(name):
        def work(data):
            note(name)
            if name == "b" and not Path("fine").exists():
                raise ValueError("no luck")
            return data + name.encode()

        return work

    for name in "abc":
        workflow.dag.node(name, named(name))
    workflow.dag.edge("a", "b")
    workflow.dag.edge("b", "c")


@goflow.flow("gate")
def gate(workflow, context):
    """before >> gate >> after: the gate opens when there is a file called `open`."""

    def pass_through(data):
        note("gate")
        wait_for("open")
        return data + b"!"

    def before(data):
        note("before")
        return data

    def after(data):
        note("after")
        return data + b"?"

    workflow.dag.node("before", before)
    workflow.dag.node("gate", pass_through)
    workflow.dag.node("after", after)
    workflow.dag.edge("before", "gate")
    workflow.dag.edge("gate", "after")
    workflow.finally_(lambda state: note(f"finally {state}"))


@goflow.flow("gated-twice")
def gated_twice(workflow, context):
    """The same nodes, and a handler at the end that cannot be hurried."""
    gate(workflow, context)
    workflow._handlers.clear()

    @workflow.finally_
    def end(state):
        note("finally")
        wait_for("end")


@goflow.flow("retrying")
def retrying(workflow, context):
    def work(data):
        note("try")
        raise OSError("not yet")

    workflow.dag.node("hopeful", work, retries=3, retry_delay=3600)
'''


class Ended(NamedTuple):
    """What a process left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def goflow(
    *arguments: str | bytes,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    code: int | None = 0,
) -> Ended:
    """Run one command to its end. `code` is what it must end with; None leaves it to the test."""
    done = subprocess.run(
        [*GOFLOW, *arguments],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        env={**os.environ, **(env or {})},
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr.decode())
    assert code is None or ended.code == code, ended
    assert "Traceback" not in ended.err, ended.err
    return ended


def ask(*arguments: str, code: int = 0) -> Ended:
    """The same in this very process, which takes a tenth of the time: for commands that only read."""
    streams = [TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        ended = main(list(arguments))
    out, err = (stream.detach().getvalue() for stream in streams)
    assert ended == code, (ended, out, err)
    return Ended(ended, out, err.decode())


@contextmanager
def started(
    *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the background; killed where it outlives the block."""
    process = subprocess.Popen(
        [*GOFLOW, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def end_of(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for its end."""
    out, err = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode, out, err.decode())


@contextmanager
def worker(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker over flows.py that has registered its flows; drained at the block's end."""
    with started("worker", "flows.py", *arguments) as process:
        assert process.stderr is not None
        assert b"at a time" in process.stderr.readline()
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            end_of(process)


def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def trace() -> list[str]:
    """What node bodies have noted so far, in order."""
    path = Path("trace.txt")
    return path.read_text().split("\n")[:-1] if path.exists() else []


def runs() -> list[dict[str, Any]]:
    """The store's runs, the newest first."""
    found: list[dict[str, Any]] = ask("runs", "--json").json
    return found


def nodes(run_id: str) -> dict[str, str]:
    """The states of a run's nodes."""
    return {n["path"]: n["state"] for n in ask("show", run_id, "--json").json["nodes"]}
