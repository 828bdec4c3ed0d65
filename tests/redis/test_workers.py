"""Real `goflow worker` processes over a Redis that comes, goes and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from goflow.backend import Run
from goflow.client import Client
from goflow.config import Config
from goflow.state import RunState
from goflow_redis import RedisBackend
from tests.cli.shell import GOFLOW
from tests.redis.server import RedisServer

FLOWS = """
import os
import time
from pathlib import Path

import goflow


def note(line):
    with open("trace.txt", "a") as file:
        file.write(line + "\\n")


@goflow.flow("quick")
def quick(workflow, context):
    workflow.dag.node("a", lambda data: data)


@goflow.flow("held")
def held(workflow, context):
    def work(data):
        note(f"{context.attempt}")
        print("so far")
        while not Path("go").exists():
            time.sleep(0.01)
        print("through")
        return data

    workflow.dag.node("a", work)


@goflow.flow("wide")
def wide(workflow, context):
    each = workflow.dag.foreach_branch("each", lambda data: ["x"] * 40, execution_only=True)

    def work(data):
        begun = Path("begun")
        begun.mkdir(exist_ok=True)
        (begun / context.node.replace("/", "-")).touch()
        while len(list(begun.iterdir())) < 4:  # as many as both workers have places
            time.sleep(0.01)
        return str(os.getppid())

    each.node("who", work)
"""


@contextmanager
def started(folder: Path, url: str, *options: str, **environment: str) -> Iterator[Any]:
    """A worker in the background."""
    (folder / "flow.py").write_text(FLOWS)
    process = subprocess.Popen(
        [*GOFLOW, "worker", "flow.py", "--backend", url, *options],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **{f"GOFLOW_WORKER_{k.upper()}": v for k, v in environment.items()}},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        if process.stderr is not None and not process.stderr.closed:
            process.communicate()


def ended(process: Any, seconds: float = 20.0) -> str:
    """What it told, once it has ended with 0."""
    _, told = process.communicate(timeout=seconds)
    assert process.returncode == 0, told
    return str(told)


def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def held_run(client: Client, folder: Path) -> Run:
    """A run whose node is executing."""
    until(lambda: any(d.flow == "held" for d in client.backend.definitions()))
    run = client.submit("held", b"through it")
    until(lambda: (folder / "trace.txt").exists())
    return run


def test_a_worker_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    with RedisServer() as own:
        own.kill()
        with started(tmp_path, own.url) as worker:
            assert "redis.sock: cannot be reached" in worker.stderr.readline()
            own.start()
            with RedisBackend.open(own.url, Config()) as backend:
                until(backend.definitions)
                client = Client(backend)
                assert client.wait(client.submit("quick", b"late").id, timeout=20).data == b"late"
            worker.terminate()
            assert "drained" in ended(worker)


def test_a_worker_outlasts_a_server_that_dies_and_comes_back(
    own: RedisServer, tmp_path: Path
) -> None:
    with started(tmp_path, own.url) as worker, RedisBackend.open(own.url, Config()) as backend:
        client = Client(backend)
        run = held_run(client, tmp_path)
        own.kill()
        (tmp_path / "go").touch()
        while "trying again" not in worker.stderr.readline():
            pass
        own.start()
        assert client.wait(run.id, timeout=20).data == b"through it"
        assert (tmp_path / "trace.txt").read_text() == "1\n", "executed once, committed later"
        worker.terminate()
        ended(worker)


def test_a_worker_that_drains_hands_back_without_a_penalty(
    server: RedisServer, tmp_path: Path
) -> None:
    with RedisBackend.open(server.url, Config()) as backend:
        client = Client(backend)
        with started(tmp_path, server.url, grace="0.3") as worker:
            run = held_run(client, tmp_path)
            (info,) = backend.workers()
            assert info.doing == (f"{run.id}/a",)
            assert (info.alive, {flow for flow, _ in info.flows}) == (
                True,
                {"quick", "held", "wide"},
            )
            begun = time.monotonic()
            worker.terminate()
            ended(worker)
            assert time.monotonic() - begun >= 0.3, "the node had its grace"
        assert backend.workers() == []
        assert backend.held() == []
        (tmp_path / "go").touch()
        with started(tmp_path, server.url) as worker:
            client.wait(run.id, timeout=20)
            assert [node.attempt for node in backend.nodes(run.id)] == [1]
            assert (tmp_path / "trace.txt").read_text() == "1\n1\n"
            worker.terminate()
            ended(worker)


def test_what_a_node_prints_is_there_while_it_runs(server: RedisServer, tmp_path: Path) -> None:
    with (
        RedisBackend.open(server.url, Config()) as backend,
        started(tmp_path, server.url) as worker,
    ):
        run = held_run(Client(backend), tmp_path)
        command = [*GOFLOW, "logs", run.id, "-f", "--backend", server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "== a\n"
            assert follower.stdout.readline() == "so far\n"
            assert backend.run(run.id).state is RunState.RUNNING
            (tmp_path / "go").touch()
            assert follower.communicate(timeout=20)[0] == "through\n"
        worker.terminate()
        ended(worker)


def test_a_second_signal_hands_back_at_once(server: RedisServer, tmp_path: Path) -> None:
    with (
        RedisBackend.open(server.url, Config()) as backend,
        started(tmp_path, server.url, grace="60") as worker,
    ):
        run = held_run(Client(backend), tmp_path)
        worker.terminate()
        time.sleep(0.2)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        ended(worker, 10)
        assert backend.waiting() == {(run.flow, run.fingerprint): 1}
        assert backend.run(run.id).state is RunState.RUNNING


@pytest.mark.chaos  # five seconds of patience
def test_a_worker_ends_though_its_server_is_away(own: RedisServer, tmp_path: Path) -> None:
    with (
        RedisBackend.open(own.url, Config()) as backend,
        started(tmp_path, own.url, grace="0.5") as worker,
    ):
        held_run(Client(backend), tmp_path)
        own.kill()
        (tmp_path / "go").touch()
        while "trying again" not in worker.stderr.readline():
            pass
        worker.terminate()
        ended(worker, 20)


def test_two_workers_share_what_there_is(server: RedisServer, tmp_path: Path) -> None:
    with (
        RedisBackend.open(server.url, Config()) as backend,
        started(tmp_path, server.url, concurrency="2") as one,
        started(tmp_path, server.url, concurrency="2") as other,
    ):
        until(lambda: len(backend.workers()) == 2 and len(backend.definitions()) == 3)
        client = Client(backend)
        quick = client.wait(client.submit("quick", b"").id, timeout=20)
        run = client.submit("wide", b"")
        late = client.submit("quick", b"not behind it")
        assert client.wait(late.id, timeout=20).data == b"not behind it"
        assert not backend.run(run.id).state.terminal, "a small run waits for no wide one"
        client.wait(run.id, timeout=20)
        paths = [node.path for node in backend.nodes(run.id) if node.path.endswith("who")]
        shares = [backend.output(run.id, path) for path in paths]
        pids = [share.data for share in shares if share is not None]
        counts = sorted(pids.count(str(each.pid).encode()) for each in (one, other))
        assert sum(counts) == 40
        assert counts[0] >= 2, "each takes as many as it has places for, and leaves the rest"
        assert quick.data == b""
        for each in (one, other):
            each.terminate()
        for each in (one, other):
            ended(each)
