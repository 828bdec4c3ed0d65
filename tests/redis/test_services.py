"""Every kind of service a URL may name: TLS, users with few rights, sockets, sentinels."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from goflow.backend import Backend, Printing, Retry
from goflow.client import Client
from goflow.config import Config
from goflow.errors import BackendError, ConfigError
from goflow.message import Rewind
from goflow.state import RunState
from goflow.testing.store import Worker, closes, edge, request, scopes
from goflow_redis import RedisBackend
from goflow_redis.address import parse
from tests.cli.shell import GOFLOW
from tests.redis.certificates import make_certificates
from tests.redis.hooks import documented_rule, open_store
from tests.redis.sentinel import Watched
from tests.redis.server import RedisServer, free_port


def a_whole_life(backend: Backend) -> None:
    """Whatever a worker, a client and an operator ask of a store."""
    w = Worker(backend)
    waker = backend.watch()
    backend.submit(request("r", "each", handlers=("~finally",), timeout=60.0))
    run_waker = backend.watch("r")
    each = w.one("each")
    assert isinstance(backend, Printing)
    backend.printed([(each.task, b"at once")])
    backend.stage(each.task, scopes("each", "12"))
    assert w.open(each, scopes("each", "3"), expects=3, window=2)
    a, b = w.each("each[1]/x", "each[2]/x")
    assert w.retry(a, at=0)
    assert w.succeed(b, b"B", closes("each", "2"), log=b"printed")
    backend.tick(w.id)
    assert w.lost() == []
    again, c = w.each("each[1]/x", "each[3]/x")
    assert w.lost(again, c) == []
    backend.control("r", "pause")
    backend.control("r", "resume")
    assert w.succeed(again, b"A", closes("each", "1"))
    assert w.succeed(c, b"C", closes("each", "3"))
    assert w.succeed(w.one("each"), b"all", edge("each", "last"))
    assert w.succeed(w.one("last"), b"end", ends=True)
    assert w.succeed(w.one("~finally"))
    assert backend.result("r").data == b"end"
    waker.clear()
    run_waker.clear()
    backend.retry("r", Retry(rewind=Rewind(removed=("last",), ready=("last",))))
    assert w.fail(w.one("last"))
    assert w.succeed(w.one("~finally"))
    assert backend.run("r").state is RunState.FAILED
    assert backend.attempts("r")
    assert backend.logs("r")
    assert backend.nodes("r")
    assert [info.id for info in backend.workers()] == [w.id]
    assert backend.waiting() == {}
    assert backend.remember("nonce", 60)
    backend.forget("r")
    backend.leave(w.id)
    waker.close()
    run_waker.close()


# -- users ----------------------------------------------------------------------------------------


def test_the_documented_user_may_do_all_that_goflow_does(server: RedisServer) -> None:
    rule = documented_rule()
    assert rule[0] == "~gf:*"
    server.client.execute_command("ACL", "SETUSER", "goflow", "on", ">secret", *rule)
    try:
        with open_store(f"unix://goflow:secret@{server.socket}", "few") as backend:
            a_whole_life(backend)
            found = backend.diagnose(True)
        with RedisBackend.open(
            f"unix://goflow:secret@{server.socket}", Config(), ephemeral=True
        ) as brief:
            brief.submit(request("r"))
        outside: Any = redis.Redis(
            unix_socket_path=str(server.socket), username="goflow", password="secret"
        )
        for refused in (
            ["GET", "other"],
            ["FLUSHALL"],
            ["CONFIG", "SET", "maxmemory", "1"],
            ["KEYS", "*"],
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                outside.execute_command(*refused)
        outside.close()
    finally:
        server.client.acl_deluser("goflow")
    assert [each for each in found if not each.ok] == []


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server that speaks TLS alone and wants a client's certificate: its port, and the certificates."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    port = free_port()
    names = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}
    files = [
        word for name, file in names.items() for word in (f"--tls-{name}-file", str(folder / file))
    ]
    try:
        server = RedisServer("--tls-port", str(port), *files)
    except AssertionError:
        pytest.skip("this redis-server was built without TLS")
    with server:
        yield port, folder


def test_a_server_that_speaks_tls_is_a_store(tls: tuple[int, Path]) -> None:
    port, folder = tls
    mine = f"ssl_certfile={folder}/client.crt&ssl_keyfile={folder}/client.key"
    with open_store(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder}/ca.crt&{mine}", "tls") as b:
        a_whole_life(b)


@pytest.mark.parametrize(
    ("scheme", "options", "says"),
    [
        ("redis", "", "is the URL right? Does it speak TLS only (rediss://)?"),
        ("rediss", "", "name the authority with ?ssl_ca_certs=FILE"),
        ("rediss", "?ssl_ca_certs={folder}/ca.crt", "(?ssl_certfile=FILE&ssl_keyfile=FILE)?"),
    ],
)
def test_what_is_wrong_with_tls_is_told(
    tls: tuple[int, Path], scheme: str, options: str, says: str
) -> None:
    port, folder = tls
    with pytest.raises(BackendError) as caught:
        RedisBackend.open(
            f"{scheme}://u:s3cret@127.0.0.1:{port}{options.format(folder=folder)}", Config()
        )
    assert str(caught.value).endswith(says)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_is_told_as_that_alone(tls: tuple[int, Path]) -> None:
    port, folder = tls
    mine = f"ssl_certfile={folder}/client.crt&ssl_keyfile={folder}/client.key"
    place = f"127.0.0.1:{port}/0?ssl_ca_certs={folder}/ca.crt&{mine}"
    with pytest.raises(BackendError, match=r"user name or password is wrong .*host\)$"):
        RedisBackend.open(f"rediss://nobody:s3cret@{place}", Config())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h?ssl_cacerts=x", "ssl_ca_certs"),
        ("rediss://h?ssl_ca_certs=/nowhere.crt", "no.* called /nowhere.crt"),
        ("redis://h?ssl_cert_reqs=none", "needs TLS"),
        ("unix:///s?tls=maybe", "1 or 0"),
        ("redis://h?socket_timeout=-1", "seconds"),
        ("redis://h/zero", "database number"),
        ("redis://a,b/0", "redis\\+cluster"),
    ],
)
def test_an_option_that_means_nothing_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(url)


# -- sentinels ------------------------------------------------------------------------------------

FLOW_FILE = """
import time

import goflow


@goflow.flow("slow")
def slow(workflow, context):
    def work(data):
        time.sleep(0.3)
        return data

    names = [f"n{number}" for number in range(8)]
    for name in names:
        workflow.dag.node(name, work)
    for one, other in zip(names, names[1:]):
        workflow.dag.edge(one, other)
"""


def test_a_worker_follows_a_failover_and_goes_on_by_itself(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW_FILE)
    with Watched() as service:
        with pytest.raises(BackendError, match="the master's name"):
            RedisBackend.open(service.url.replace("/main", "/other"), Config())
        options = ("--backend", service.url)
        worker = subprocess.Popen(
            [*GOFLOW, "worker", "flow.py", *options],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            # a commit that the replica had not got leaves a hold that nobody renews
            env={**os.environ, "GOFLOW_WORKER_LEASE": "2"},
        )
        try:
            with RedisBackend.open(service.url, Config()) as backend:
                eventually(backend.definitions)
                client = Client(backend)
                run = client.submit("slow", b"through it")
                eventually(lambda: backend.nodes(run.id))
                eventually(service.in_step)
                service.master.kill()
                eventually(lambda: patiently(lambda: backend.run(run.id).state.terminal))
                assert client.wait(run.id).data == b"through it"
                assert backend.run(run.id).round == 1
                assert service.replica.client.info("replication")["role"] == "master"
                assert [node.attempt for node in backend.nodes(run.id)] == [1] * 8
        finally:
            worker.terminate()
            _, told = worker.communicate(timeout=30)
    assert worker.returncode == 0, told
    assert "drained" in told


def patiently(question: Callable[[], bool]) -> bool:
    """The answer, no while the store is away."""
    try:
        return question()
    except BackendError:
        return False


def eventually(question: Callable[[], Any]) -> None:
    """Wait until the answer is yes."""
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)
