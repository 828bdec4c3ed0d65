"""Client, AsyncClient and `goflow submit` over HTTP: signed, and otherwise as over a backend."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

import goflow
from goflow import errors
from goflow.config import Config, Serve
from goflow.payload import JSON, Payload
from tests.redis.server import RedisServer
from tests.server.conftest import SECRET, registered
from tests.server.house import House


def until(true: Callable[[], object]) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def client(locked: House) -> Iterator[goflow.Client]:
    """A client that signs."""
    with goflow.Client(locked.url, config=Config(serve=Serve(secret=SECRET))) as client:
        yield client


def test_a_run_is_submitted_waited_for_and_listed(client: goflow.Client) -> None:
    run = client.submit("each", b"3")
    assert (run.flow, run.state.terminal) == ("each", False)
    assert client.wait(run.id, timeout=20).json() == [0, 1, 4]
    assert client.run(run.id).state == "succeeded"
    assert client.result(run.id) == Payload(b"[0,1,4]", JSON)
    assert run.id in [each.id for each in client.runs("each", "succeeded", limit=5)]


def test_payload_query_and_run_id_arrive_as_they_were_given(client: goflow.Client) -> None:
    query = {"a": ["1", "2 & 3"], "ü/?": [""]}
    run = client.submit("asked", {"x": "ä"}, run_id="named-by-me", query=query)
    assert run.id == "named-by-me"
    assert client.wait(run.id, timeout=20).json()["options"] == query
    assert client.submit("asked", {"x": "ä"}, run_id="named-by-me", query=query).id == run.id
    with pytest.raises(errors.Conflict, match="named-by-me"):
        client.submit("asked", "other", run_id="named-by-me")


def test_one_text_in_a_query_is_one_value(client: goflow.Client) -> None:
    run = client.submit("asked", "x", query={"size": "large"})
    assert client.wait(run.id, timeout=20).json()["options"] == {"size": ["large"]}
    with pytest.raises(errors.PayloadError, match="expected a list of texts for 'size'"):
        client.submit("asked", "x", query=cast("Any", {"size": 5}))


def test_a_run_is_paused_resumed_stopped_and_retried(client: goflow.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = client.submit("gated", str(gate))
    assert client.pause(run.id).state == "paused"
    assert client.resume(run.id).state in ("queued", "running")
    assert client.stop(run.id).state in ("stopping", "stopped")
    with pytest.raises(errors.RunStopped):
        client.wait(run.id, timeout=20)
    gate.touch()
    assert client.retry(run.id).round == 2
    assert client.wait(run.id, timeout=20).text() == str(gate)
    assert client.retry(run.id, from_node="after").round == 3
    assert client.wait(run.id, timeout=20).text() == str(gate)


def test_what_goes_wrong_is_raised_as_over_a_backend(client: goflow.Client, tmp_path: Path) -> None:
    failed = client.submit("failing")
    with pytest.raises(errors.RunFailed, match="second: ValueError: no <b>good</b>") as caught:
        client.wait(failed.id, timeout=20)
    assert caught.value.run_id == failed.id
    with pytest.raises(errors.UnknownFlow, match="did you mean 'echo'"):
        client.submit("ecco")
    with pytest.raises(errors.UnknownRun, match="no run 'nowhere'"):
        client.wait("nowhere")
    with pytest.raises(errors.UnknownNode, match="no node 'x'"):
        client.retry(failed.id, from_node="x")
    with pytest.raises(errors.ConfigError, match="'wait' is HTTP's own"):
        client.submit("echo", query={"wait": ["1"]})
    with pytest.raises(errors.ConfigError, match="is a server, not a backend"):
        client.plan("echo")
    slow = client.submit("gated", str(tmp_path / "never"))
    with pytest.raises(errors.Conflict, match="has not ended"):
        client.result(slow.id)
    with pytest.raises(TimeoutError, match=r"has not ended after 0\.1 s: it is running"):
        client.wait(slow.id, timeout=0.1)
    client.stop(slow.id)


def test_a_wrong_secret_is_told(locked: House) -> None:
    for secret in ("", "wrong"):
        client = goflow.Client(locked.url, config=Config(serve=Serve(secret=secret)))
        with client, pytest.raises(errors.BackendError, match=r"does not let us in.*GOFLOW_SERVE"):
            client.runs()


@pytest.mark.parametrize(
    "url", ["http://", "http://user:pass@localhost:1", "http://localhost:1/x", "http://localhost:x"]
)
def test_a_url_that_is_no_servers_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        goflow.Client(url, config=Config())
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, b"hi"), (200, b"[1]"), (200, b'{"runs": 1}'), (200, b'{"runs": [{"state": "x"}]}'),
        (404, b'["no"]'), (404, b'{"error": {"code": "gone"}}'),
    ],
)  # fmt: skip
def test_a_server_that_is_not_there_or_is_another_is_told(status: int, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(said), said)
                )

        thread = threading.Thread(target=greet)
        thread.start()
        client = goflow.Client(url, config=Config())
        with client, pytest.raises(errors.BackendError, match="as no goflow server does"):
            client.runs()
        thread.join()
    client = goflow.Client(url, config=Config())
    with client, pytest.raises(errors.BackendError, match=f"{url}: Connection refused"):
        client.runs()


def test_a_client_keeps_as_many_connections_as_it_needs(client: goflow.Client) -> None:
    """Also where each request needs a new one, as a retry does; what nobody needs for a while is closed."""
    link = client._server  # type: ignore[attr-defined]
    failed = client.submit("failing").id
    for _ in range(3):
        with pytest.raises(errors.RunFailed):
            client.wait(failed, timeout=20)
        client.retry(failed)
    assert len(link._idle) == 1
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.runs(), range(40)))
    link._idle = [(each, since - 60) for each, since in link._idle]
    idle = [each for each, _ in link._idle]
    client.runs()
    assert len(link._idle) == 1
    assert all(each.sock is None for each in idle)


def test_a_connection_that_the_server_closed_is_not_the_callers_trouble(
    client: goflow.Client,
) -> None:
    client.runs(limit=1)
    kept = client._server._idle  # type: ignore[attr-defined]
    assert len(kept) == 1
    kept[0][0].sock.shutdown(socket.SHUT_RDWR)
    assert client.submit("echo").flow == "echo"


def test_the_asynchronous_twin_waits_for_many_at_once(locked: House) -> None:
    async def main() -> list[str]:
        config = Config(serve=Serve(secret=SECRET))
        async with goflow.AsyncClient(locked.url, config=config) as client:
            runs = [await client.submit("echo", str(i)) for i in range(8)]
            payloads = await asyncio.gather(*(client.wait(run.id, 20) for run in runs))
            return [payload.text() for payload in payloads]

    assert asyncio.run(main()) == [str(i) for i in range(8)]


def test_many_are_waited_for_in_one_call(locked: House, client: goflow.Client) -> None:
    runs = [client.submit("echo", str(i)) for i in range(3)]
    results = client.wait_all([run.id for run in runs], timeout=20)
    assert [result.text() for result in results] == ["0", "1", "2"]

    async def main() -> list[str]:
        config = Config(serve=Serve(secret=SECRET))
        async with goflow.AsyncClient(locked.url, config=config) as twin:
            return [each.text() for each in await twin.wait_all([run.id for run in runs], 20)]

    assert asyncio.run(main()) == ["0", "1", "2"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_wait_outlasts_a_server_that_is_away_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, asynchronous: bool
) -> None:
    gate = tmp_path / "gate"

    def wait(url: str, run_id: str) -> str:
        if not asynchronous:
            with goflow.Client(url, config=Config()) as client:
                return client.wait(run_id, timeout=60).text()

        async def main() -> str:
            async with goflow.AsyncClient(url, config=Config()) as client:
                return (await client.wait(run_id, timeout=60)).text()

        return asyncio.run(main())

    with ThreadPoolExecutor(1) as thread:
        with House(tmp_path / "house") as house, house.client() as http:
            registered(http)
            run = http.post("/flow/gated", content=str(gate)).json()["run_id"]
            waiting = thread.submit(wait, house.url, run)
            until(lambda: http.get(f"/runs/{run}").json()["state"] == "running")
            time.sleep(0.3)
            house.process.kill()
        until(lambda: "(trying again)" in caplog.text)
        with pytest.raises(TimeoutError, match=rf"no word of run {run} after 0\.3 s.*refused"):
            goflow.Client(house.url, config=Config()).wait(run, timeout=0.3)
        gate.touch()
        assert not waiting.done()
        with House(tmp_path / "house", "--port", house.url.rpartition(":")[2]):
            assert waiting.result(60) == str(gate)
    assert "it is there again" in caplog.text or asynchronous


def test_a_wait_ends_at_once_when_the_servers_store_refuses(tmp_path: Path) -> None:
    with RedisServer() as server:
        house = House(tmp_path / "house").setting("GOFLOW_BACKEND", server.url)
        with house, house.client() as http, ThreadPoolExecutor(1) as thread:
            registered(http)
            with goflow.Client(house.url, config=Config()) as client:
                run = client.submit("gated", str(tmp_path / "never")).id
                until(lambda: client.run(run).state == "running")
                waiting = thread.submit(client.wait, run)
                time.sleep(0.3)
                server.client.execute_command("ACL", "SETUSER", "default", "-@all", "+acl")
                with pytest.raises(errors.BackendError, match="may not do what goflow") as caught:
                    waiting.result(15)  # before one question's 30 s are over
            assert type(caught.value) is errors.BackendError
            refused = http.get(f"/runs/{run}")
            assert (refused.status_code, "retry-after" in refused.headers) == (500, False)
            assert refused.json()["error"]["code"] == "store_refuses"
            health = http.get("/healthz")
            assert (health.status_code, health.json()["error"]["code"]) == (503, "store_refuses")
            server.client.execute_command("ACL", "SETUSER", "default", "+@all")  # it ends sooner


def test_payloads_that_are_away_are_told_and_asking_again_helps(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    large = b"x" * 2000
    house = House(tmp_path / "house").setting("GOFLOW_PAYLOAD_BLOBS", str(blobs))
    with house.setting("GOFLOW_PAYLOAD_INLINE_LIMIT", "1000"), house.client() as http:
        registered(http)
        run = http.post("/flow/echo?wait=20", content=large)
        assert run.content == large
        result = f"/flow/echo/request/{run.headers['x-request-id']}/result"
        aside = blobs.rename(tmp_path / "aside")
        blobs.write_text("no folder any more")
        for refused in (http.get(result), http.post("/flow/echo", content=large)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "payloads_away")
            assert "retry-after" in refused.headers
            assert str(blobs) in refused.json()["error"]["message"]
        assert http.post("/flow/echo?wait=20", content=b"small").content == b"small"
        blobs.unlink()
        aside.rename(blobs)
        assert http.get(result).content == large


def test_a_store_that_reads_only_is_told_as_that(tmp_path: Path) -> None:
    with RedisServer() as server:
        house = House(tmp_path / "house").setting("GOFLOW_BACKEND", server.url)
        with house, house.client() as http, goflow.Client(house.url, config=Config()) as client:
            registered(http)
            server.client.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(errors.BackendError, match="read-only replica") as caught:
                client.submit("echo")
            assert type(caught.value) is errors.BackendError


def test_a_name_that_never_was_is_told_to_who_waits_and_one_that_was_comes_back(
    http: httpx.Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with goflow.Client("http://goflow.invalid", config=Config()) as client:
        with pytest.raises(errors.BackendError, match="name right") as caught:
            client.wait("r")
        assert type(caught.value) is errors.BackendError
    with goflow.Client(house.url, config=Config()) as client:
        client.runs(limit=1)
        client.close()
        monkeypatch.setattr(client._server, "_address", ("goflow.invalid", 80))  # type: ignore[attr-defined]
        with pytest.raises(errors.StoreAway):
            client.runs(limit=1)


def submit(house: House, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goflow_cli.main", "submit", "--server", house.url, *arguments]
    environment = os.environ | {"GOFLOW_SERVE_SECRET": SECRET}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_submit_signs_and_ends_as_the_run_does(locked: House, tmp_path: Path) -> None:
    done = submit(locked, tmp_path, "echo", "--data", "hi", "--wait", "--request-id", "cli-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi", "cli-1\n")
    done = submit(locked, tmp_path, "each", "--data", "2", "--wait", "20", "--json")
    assert json.loads(done.stdout)["result"] == [0, 1]
    done = submit(locked, tmp_path, "failing", "--wait")
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed: second: ValueError" in done.stderr
    done = submit(locked, tmp_path, "ecco")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'echo'" in done.stderr
    done = submit(locked, tmp_path, "echo", "--backend", "local")
    assert done.returncode == 2


def test_the_clients_requests_are_signed_and_do_not_carry_the_secret(
    locked: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    import http.client

    sent: list[bytes] = []
    send = http.client.HTTPConnection.send

    def spy(self: http.client.HTTPConnection, data: bytes) -> None:
        sent.append(bytes(data))
        send(self, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", spy)
    with goflow.Client(locked.url, config=Config(serve=Serve(secret=SECRET))) as client:
        client.runs()
    assert b"X-Goflow-Signature: v1=" in sent[0]
    assert SECRET.encode() not in b"".join(sent)


def test_a_backend_of_that_name_is_told_what_it_is() -> None:
    from goflow.backend import load_backend

    with pytest.raises(errors.ConfigError, match="goflow submit --server http://x:1"):
        load_backend("http://x:1", Config())


def test_a_run_is_found_by_its_id_alone(http: httpx.Client) -> None:
    name = http.post("/flow/echo").headers["x-request-id"]
    told = http.get(f"/runs/{name}").json()
    assert told["links"]["self"] == f"/flow/echo/request/{name}"
    assert http.get("/runs/none").status_code == 404
    assert http.get("/runs?flow=echo&limit=1").json()["runs"][0]["flow"] == "echo"


def test_a_server_that_ends_a_tls_handshake_is_away_and_one_that_speaks_no_tls_is_a_mistake() -> (
    None
):
    listener = socket.create_server(("127.0.0.1", 0))
    says = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"]

    def answer() -> None:
        for said in says:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

    thread = threading.Thread(target=answer)
    thread.start()
    port = listener.getsockname()[1]
    with listener, goflow.Client(f"https://127.0.0.1:{port}") as client:
        with pytest.raises(errors.StoreAway):
            client.run("r1")
        with pytest.raises(errors.BackendError) as told:
            client.run("r1")
        thread.join(10)
    assert not isinstance(told.value, errors.StoreAway), told.value
