"""`goflow serve` as a process: the worker beside it, draining, dying, reloading; FlowService too."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from goflow.server.serving import PATIENCE
from tests.redis.server import RedisServer
from tests.server.conftest import registered
from tests.server.house import House


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (
        FileNotFoundError,
        ProcessLookupError,
    ):  # gone before it was opened, or before it was read
        return False
    return state != "Z"


def worker_pid(http: httpx.Client) -> int:
    registered(http)
    pid: int = http.get("/workers").json()["workers"][0]["pid"]
    return pid


def test_user_code_runs_in_another_process_than_the_server(tmp_path: Path) -> None:
    with House(tmp_path / "house") as house, house.client() as http:
        pid = worker_pid(http)
        assert pid != house.process.pid
        loaded = Path(f"/proc/{house.process.pid}/maps").read_text()
        assert "uvloop" in loaded


@pytest.fixture(params=["local", "redis"])
def over(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], House]]:
    """Houses over one store of either kind."""
    if request.param == "local":
        yield House
        return
    with RedisServer() as server:
        yield (
            lambda folder: (
                House(folder)
                .setting("GOFLOW_BACKEND", "redis")
                .setting("GOFLOW_REDIS_URL", server.url)
            )
        )


def test_sigterm_under_load_loses_no_accepted_run(
    over: Callable[[Path], House], tmp_path: Path
) -> None:
    accepted: list[str] = []
    with over(tmp_path / "house") as house, house.client() as http:
        pid = worker_pid(http)

        def load() -> None:
            with house.client() as client, contextlib.suppress(httpx.TransportError):
                while True:
                    answer = client.post("/flow/each", content=b"2")
                    assert answer.status_code == 202
                    accepted.append(answer.headers["location"])

        callers = [threading.Thread(target=load) for _ in range(4)]
        for caller in callers:
            caller.start()
        until(lambda: len(accepted) > 50, "runs are accepted")
        house.process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join()
        house.process.wait(30)
        assert (house.process.returncode, alive(pid)) == (0, False)
    with over(tmp_path / "house") as again, again.client() as http:
        for path in accepted:
            answer = http.get(f"{path}/result?wait=20")
            assert (answer.status_code, answer.json()) == (200, [0, 1])


@pytest.mark.parametrize("n", range(2))
def test_no_request_that_was_sent_is_lost_while_the_server_ends(tmp_path: Path, n: int) -> None:
    answered: list[int] = []
    lost: list[Exception] = []

    def ask(caller: int) -> None:
        """Call until nobody listens, in pauses of up to 0.3 s; every other caller connects anew each time."""
        dice, kept = random.Random(f"{n} {caller}"), caller % 2
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while True:
            try:
                if connection.sock is None:
                    connection.connect()
            except ConnectionRefusedError:
                return
            try:
                connection.request("POST", "/flow/echo", b"x", {"X-Async": "true"})
                answer = connection.getresponse()
                answer.read()
                answered.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                lost.append(error)
                return
            if not kept or answer.will_close:
                connection.close()
            time.sleep(dice.choice((0, 0.01, 0.3)))

    with House(tmp_path / "house", "--no-worker") as house:
        with house.client() as client:
            until(lambda: client.get("/flows").json()["flows"], "the flows are registered")
        port = urlsplit(house.url).port or 0
        callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(12)]
        for caller in callers:
            caller.start()
        until(lambda: len(answered) > 100, "requests are answered")
        house.process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join()
        house.process.wait(30)
        assert (lost, house.process.returncode, set(answered)) == ([], 0, {202})


def test_a_waiting_request_is_answered_when_the_server_drains(tmp_path: Path) -> None:
    house = House(tmp_path / "house").setting("GOFLOW_WORKER_GRACE", "0")
    with house, house.client() as http:
        worker_pid(http)
        gate = str(tmp_path / "never")
        code = (
            "import sys, httpx;"
            "a = httpx.post(sys.argv[1], content=sys.argv[2], timeout=60, trust_env=False);"
            "print(a.status_code, a.json()['run_id'])"
        )
        asking = subprocess.Popen(
            [sys.executable, "-c", code, f"{house.url}/flow/gated?wait=60", gate],
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: http.get("/flow/gated/request").json()["runs"], "the run is accepted")
        house.process.send_signal(signal.SIGTERM)
        said, _ = asking.communicate(timeout=30)
        assert said.startswith("202 ")
        house.process.wait(30)
        assert house.process.returncode == 0


@contextlib.contextmanager
def waiting(house: House) -> Iterator[socket.socket]:
    """A request that waits for a minute."""
    where = urlsplit(house.url)
    request = b"POST /flow/echo?wait=60 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with house.client() as http:
        until(lambda: http.get("/flows").json()["flows"], "the flows are registered")
        with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
            connection.sendall(request)
            until(lambda: http.get("/flow/echo/request").json()["runs"], "the run is accepted")
            yield connection


def until_nobody_listens(house: House) -> None:
    """Wait until the server drains."""

    def refused() -> bool:
        where = urlsplit(house.url)
        try:
            socket.create_connection((where.hostname, where.port), timeout=20).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, "the server drains")


def test_a_second_signal_ends_a_server_at_once_that_drains_already(tmp_path: Path) -> None:
    with House(tmp_path / "house", "--no-worker") as house, waiting(house) as connection:
        house.process.send_signal(signal.SIGTERM)
        until_nobody_listens(house)
        began = time.monotonic()
        house.process.send_signal(signal.SIGTERM)
        assert house.process.wait(20) == 0
        assert time.monotonic() - began < PATIENCE / 2
        said = connection.makefile("rb").read()
        assert said.startswith(b"HTTP/1.1 202 "), "what waits is told where its run is"


def test_the_first_signal_ends_a_server_at_once_that_drains_by_itself(tmp_path: Path) -> None:
    with House(tmp_path / "house", "--no-worker") as registering, registering.client() as http:
        until(lambda: http.get("/flows").json()["flows"], "the flows are registered")
    gate, bad = tmp_path / "gate", tmp_path / "bad.py"
    bad.write_text(
        f"import time, pathlib\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.02)\n"
        "raise RuntimeError('no flow')\n"
    )
    with (
        House(tmp_path / "house", str(bad), "--no-worker", files=False) as house,
        waiting(house),
    ):
        gate.touch()
        until_nobody_listens(house)
        began = time.monotonic()
        house.process.send_signal(signal.SIGTERM)
        assert house.process.wait(20) == 2
        assert time.monotonic() - began < PATIENCE / 2


def test_the_worker_ends_with_a_killed_server(tmp_path: Path) -> None:
    with House(tmp_path / "house") as house, house.client() as http:
        pid = worker_pid(http)
        house.process.kill()
        until(lambda: not alive(pid), "the worker ends")


def test_a_killed_worker_is_started_again_and_no_run_is_lost(tmp_path: Path) -> None:
    with House(tmp_path / "house") as house, house.client() as http:
        pid = worker_pid(http)
        gate = tmp_path / "gate"
        path = http.post("/flow/gated", content=str(gate)).headers["location"]
        until(lambda: http.get(path).json()["state"] == "running", "the gate waits")
        os.kill(pid, signal.SIGKILL)
        gate.touch()
        answer = http.get(f"{path}/result?wait=20")
        assert (answer.status_code, answer.text) == (200, str(gate))


def test_without_a_worker_the_flows_are_known_all_the_same(tmp_path: Path) -> None:
    with House(tmp_path / "house", "--no-worker") as house, house.client() as http:
        until(lambda: http.get("/flows").json()["flows"], "the flows are registered")
        assert http.get("/workers").json()["workers"] == []
        answer = http.post("/flow/echo?wait=0.1")
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")


FLOW = """
def define_workflow(workflow, context):
    workflow.dag.node("one", lambda data: "{}")
"""


def test_reload_takes_a_changed_file_and_outlives_a_broken_one(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW.format("first"))
    house = House(tmp_path / "house", str(flow), "--reload", files=False)
    with house, house.client() as http:
        worker_pid(http)
        assert http.post("/flow/flow").text == "first"
        flow.write_text("this is no Python")
        until(lambda: http.get("/flows").json()["problems"], "the problem is told")
        assert "flow.py:1:" in http.get("/flows").json()["problems"][0]
        page = http.get("/", headers={"accept": "text/html"}).text
        assert "Could not be loaded" in page
        assert "flow.py:1:" in page
        flow.write_text(FLOW.format("second"))
        os.utime(flow, ns=(1, 1))  # a change that no clock's resolution hides
        until(lambda: not http.get("/flows").json()["problems"], "the file is sound again")
        registered(http)
        assert http.post("/flow/flow").text == "second"


def goflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goflow_cli.main", *arguments]
    environment = os.environ | {"GOFLOW_LOCAL_PATH": str(folder / "store")}
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_a_redis_py_of_the_users_in_the_current_folder_is_not_taken_for_the_library(
    tmp_path: Path,
) -> None:
    with RedisServer() as server:
        house = House(tmp_path).setting("GOFLOW_BACKEND", server.url)
        (tmp_path / "redis.py").write_text("raise ImportError('this is no client')")
        with house, house.client() as http:
            registered(http)


def test_a_flow_file_that_cannot_be_loaded_ends_serve_with_2(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("this is no Python")
    done = goflow(tmp_path, "serve", "flow.py", "--port", "0")
    assert done.returncode == 2
    assert "flow.py:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_loaded_does_not_keep_the_others_from_work(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(FLOW.format("fine"))
    bad.write_text("import nothing_like_that")
    house = House(tmp_path / "house", str(bad), str(good), files=False)
    with house, house.client() as http:
        registered(http)
        assert http.post("/flow/good").text == "fine"
        (problem,) = http.get("/flows").json()["problems"]
        assert "bad.py:1" in problem
        assert "nothing_like_that" in problem
        assert "bad.py:1" in house.log.read_text()


def test_a_taken_port_is_told(tmp_path: Path, house: House) -> None:
    port = house.url.rsplit(":", 1)[1]
    done = goflow(tmp_path, "serve", "--port", port)
    assert done.returncode == 2
    assert f"cannot serve at 127.0.0.1:{port}" in done.stderr


SERVICE = """
import sys, goflow
service = goflow.FlowService(port=0, worker_concurrency=1, request_auth_secret="s3cret")
service.register("greet", lambda workflow, context: workflow.dag.node("g", lambda data: b"hi " + data))
getattr(service, sys.argv[1])()
print("ended")
"""


@pytest.mark.parametrize("way", ["start", "start_server"])
def test_flow_service_serves_with_its_secret(tmp_path: Path, way: str) -> None:
    with socket_port() as port:
        pass
    script = SERVICE.replace("port=0", f"port={port}")
    environment = os.environ | {"GOFLOW_LOCAL_PATH": str(tmp_path / "store")}
    process = subprocess.Popen(
        [sys.executable, "-c", script, way],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            until(lambda: serving(http), "it serves")
            assert http.get("/flows").status_code == 401
            http.headers["authorization"] = "Bearer s3cret"
            wait = "20" if way == "start" else "0"
            answer = http.post(f"/flow/greet?wait={wait}", content=b"you", timeout=30)
            assert answer.status_code == (200 if way == "start" else 202)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert said == "ended\n"


def test_flow_service_starts_a_server_again_that_died(tmp_path: Path) -> None:
    environment = os.environ | {"GOFLOW_LOCAL_PATH": str(tmp_path / "store")}
    with socket_port() as port:
        pass
    script = SERVICE.replace("port=0", f"port={port}")
    process = subprocess.Popen(
        [sys.executable, "-c", script, "start"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            http.headers["authorization"] = "Bearer s3cret"
            until(lambda: serving(http), "it serves")
            [server] = [pid for pid in children(process.pid) if "goflow.server.apart" in words(pid)]
            os.kill(server, signal.SIGKILL)
            until(lambda: not alive(server), "the server is gone")
            until(lambda: serving(http), "it serves again")
            answer = http.post("/flow/greet?wait=20", content=b"you", timeout=30)
            assert (answer.status_code, answer.text) == (200, "hi you")
    finally:
        process.send_signal(signal.SIGTERM)
        said, told = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "ended\n")
    assert told == "the server ended (SIGKILL), starting it again\n"


def children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]


def words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


GROWING = """
import sys, threading, goflow
service = goflow.FlowService(port=0, worker_concurrency=1)
service.register("first", lambda workflow, context: workflow.dag.node("n", lambda data: b"1" + data))

def later():
    with goflow.Client("local") as client:
        assert client.wait(service.execute("first", "a").id, 30).text() == "1a"
        service.register("second", lambda w, c: w.dag.node("n", lambda data: b"2" + data))
        assert client.wait(service.execute("second", "b").id, 30).text() == "2b"
        assert client.wait(client.submit("first", "c").id, 30).text() == "1c"
    print("all fine")
    service.shutdown()

threading.Thread(target=later).start()
getattr(service, sys.argv[1])()
"""


@pytest.mark.parametrize("way", ["start", "start_worker"])
def test_flow_service_takes_further_flows_while_it_runs(tmp_path: Path, way: str) -> None:
    environment = os.environ | {"GOFLOW_LOCAL_PATH": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "-c", GROWING, way],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all fine\n", "")


def serving(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def socket_port() -> PortHolder:
    return PortHolder()


class PortHolder:
    """A port that was free a moment ago."""

    def __enter__(self) -> int:
        import socket

        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_start_refuses_an_open_backend(tmp_path: Path) -> None:
    import goflow
    from goflow.backend import load_backend
    from goflow.config import Config, Local
    from goflow.errors import ConfigError

    with load_backend("local", Config(local=Local(path=str(tmp_path)))) as store:
        service = goflow.FlowService(backend=store)
        with pytest.raises(ConfigError, match="name or URL"):
            service.start()
