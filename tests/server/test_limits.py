"""What a client may take: sizes and times, told apart by what it sends on a bare socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from goflow.backend import load_backend
from goflow.config import Config, Local, Redis, Serve
from goflow.host import register
from goflow.loader import load
from goflow.server import app, limits, protocol, serving
from goflow.server.serving import Server, serve
from tests.server.house import FLOWS


class InThread:
    """A server in a thread of this process, so that tests can shorten its patience."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = ""

    def _serve(self) -> None:
        serve(self._config, started=self._started)

    def _started(self, server: Server, url: str) -> None:
        self._server, self.url = server, url
        self._ready.set()

    def __enter__(self) -> InThread:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.drain()
        self._thread.join()

    def stop_listening(self) -> None:
        """Drain; return once nobody can connect any more."""
        self._server.drain()
        while True:
            try:
                self.socket().close()
            except ConnectionRefusedError:
                return

    def socket(self) -> socket.socket:
        """A connection; reading from it never takes for ever."""
        where = urlsplit(self.url)
        connection = socket.create_connection((where.hostname, where.port))
        connection.settimeout(20)
        return connection

    def exchange(self, *pieces: bytes) -> bytes:
        """What the server says to these bytes until it closes."""
        with self.socket() as connection:
            for piece in pieces:
                try:
                    connection.sendall(piece)
                except (BrokenPipeError, ConnectionResetError):
                    break
            return read_all(connection)


def test_a_server_that_has_ended_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    def left() -> tuple[int, int]:
        app("local", config(tmp_path))  # one that never serves has none either
        with (
            InThread(config(tmp_path)) as server,
            httpx.Client(base_url=server.url, trust_env=False) as http,
        ):
            assert http.get("/flows").status_code == 200
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    first = left()  # with what a process has once, and a store's lock file for good
    assert left() == first


def test_a_request_that_meets_the_closing_server_is_answered_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER", 5.0)
    asked = b"GET /flows HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with InThread(config(tmp_path)) as server, server.socket() as used, server.socket() as new:
        used.sendall(asked)
        assert b'"flows"' in used.recv(65536)
        server.stop_listening()
        for connection in (used, new):
            connection.sendall(asked)
            said = read_all(connection)
            assert (status(said), b"connection: close" in said.lower()) == (200, True)


def test_a_closing_server_waits_for_nobody_who_says_nothing(tmp_path: Path) -> None:
    with InThread(config(tmp_path)) as server, server.socket() as connection:
        server.stop_listening()
        assert read_all(connection) == b""


def read_all(connection: socket.socket) -> bytes:
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


def config(folder: Path, **serve: object) -> Config:
    """A configuration with its store in a folder, on any free port."""
    given = Serve(port=0, max_body=1000, **serve)  # type: ignore[arg-type]
    return Config(local=Local(path=str(folder)), serve=given)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InThread]:
    """A server that takes bodies of 1000 bytes and is patient for a moment only; no worker."""
    monkeypatch.setattr(limits, "IDLE", 0.2)
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(serving, "PATIENCE", 0.2)  # when a test is over nobody waits any more
    settings = config(tmp_path)
    with load_backend("local", settings) as store:
        for flow in load(FLOWS).values():
            register(store, flow)
    with InThread(settings) as server:
        yield server


HEAD = b"POST /flow/each HTTP/1.1\r\nHost: localhost\r\n"
#: what follows the target of a whole request
WHOLE = b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n3"


def held(port: int) -> bool:
    """Whether this process has the server's end of the connection that came from a port."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as each:
                if each.getpeername()[1:] == (port,):
                    return True
    return False


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def test_who_closes_for_sending_gets_the_answers_to_all_it_asked(small: InThread) -> None:
    head = b" HTTP/1.1\r\nHost: localhost\r\n"
    body = b"Content-Length: 1\r\nX-Request-Id: r1\r\n\r\n3"
    with small.socket() as connection:
        connection.sendall(b"POST /flow/each" + head + body)
        connection.sendall(b"GET /flow/each/request/r1/result?wait=0.3" + head + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        said = read_all(connection)
    assert said.count(b" 202 Accepted\r\n") == 2
    assert said.count(b"\r\nconnection: close\r\n") == 1


def test_a_large_answer_reaches_who_closes_for_sending(small: InThread) -> None:
    with small.socket() as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        _, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert json.loads(body)["openapi"]


@pytest.mark.parametrize(
    "part",
    [b"GET /flo", b"POST /flow/each HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhal"],
)
def test_who_closes_in_the_middle_of_a_request_is_told_so(small: InThread, part: bytes) -> None:
    with small.socket() as connection:
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        said = read_all(connection)
    assert status(said) == 400
    assert b"in the middle of a request" in said


@pytest.mark.parametrize(
    "part",
    [b"GET /flo", b"POST /flow/each HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhal"],
)
def test_who_closes_in_the_middle_of_a_second_request_gets_the_answer_to_the_first(
    small: InThread, part: bytes
) -> None:
    with small.socket() as connection:
        connection.sendall(b"POST /flow/each?wait=0.5" + WHOLE)
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        said = read_all(connection)
    assert status(said) == 202
    assert json.loads(said.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0])["run_id"]


def test_an_answer_is_whole_though_its_beginning_was_sent_ahead(small: InThread) -> None:
    with small.socket() as connection:
        connection.sendall(b"POST /flow/each?wait=2.5" + WHOLE)
        connection.sendall(b"POST /flow/each?wait=0.5" + WHOLE)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"H"
        said = b"H" + read_all(connection)
    first, second = said.split(b"HTTP/1.1 202 Accepted\r\n")[1:]
    assert said.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert json.loads(first.partition(b"\r\n\r\n")[2])["state"] == "queued"
    assert json.loads(second.partition(b"\r\n\r\n")[2])["state"] == "queued"


@pytest.mark.parametrize(("asked", "apart"), [(1, 0), (2, 0), (2, 0.2)])
def test_who_vanishes_while_it_waits_is_let_go(small: InThread, asked: int, apart: float) -> None:
    with small.socket() as connection:
        port = connection.getsockname()[1]
        for _ in range(asked):
            connection.sendall(b"POST /flow/each?wait=60" + WHOLE)
            time.sleep(apart)
        until(lambda: held(port), "the server has the connection")
    began = time.monotonic()
    until(lambda: not held(port), "the server lets go of the connection")
    assert time.monotonic() - began < 2
    until(lambda: not small._server.server_state.tasks, "nothing waits for its sake")


def test_the_kernel_asks_after_clients_that_are_silent(small: InThread) -> None:
    with small.socket() as mine:
        mine.sendall(b"GET /flows HTTP/1.1\r\nHost: localhost\r\n\r\n")
        mine.recv(65536)
        (theirs,) = [
            found
            for each in small._server.server_state.connections
            if (found := each.transport.get_extra_info("socket")).getpeername()
            == mine.getsockname()
        ]
        assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                assert theirs.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == seconds


def test_who_vanishes_after_it_closed_for_sending_is_let_go(small: InThread) -> None:
    with small.socket() as connection:
        port = connection.getsockname()[1]
        connection.sendall(b"POST /flow/each?wait=60" + WHOLE)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        assert held(port), "it still waits for its answer"
    until(lambda: not held(port), "the server lets go of the connection")


def test_who_closes_without_a_request_gets_nothing(small: InThread) -> None:
    with small.socket() as connection:
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(small: InThread) -> None:
    with httpx.Client(base_url=small.url, trust_env=False) as http:
        assert http.post("/flow/each", content=b"x" * 1000).status_code == 202
        answer = http.post("/flow/each", content=b"x" * 1001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_declared_body_is_refused_before_it_is_sent(small: InThread) -> None:
    assert status(small.exchange(HEAD + b"Content-Length: 1001\r\n\r\n")) == 413


def test_a_body_without_a_length_is_cut_off_while_it_streams(small: InThread) -> None:
    chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
    said = small.exchange(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 1000)
    assert status(said) == 413


def test_a_body_that_stops_coming_is_408(small: InThread) -> None:
    said = small.exchange(HEAD + b"Content-Length: 900\r\n\r\nabc")
    assert status(said) == 408


def test_a_body_that_drips_is_408(small: InThread) -> None:
    head = HEAD + b"Content-Length: 900\r\n\r\n"
    with small.socket() as connection:
        connection.sendall(head)
        connection.settimeout(0.05)
        said = b""
        for _ in range(400):  # each byte comes in time, all of them never would
            try:
                connection.sendall(b"x")
                said = connection.recv(65536)
                break
            except TimeoutError:
                continue
    assert status(said) == 408


def test_headers_that_stop_coming_are_408(small: InThread) -> None:
    said = small.exchange(HEAD)
    assert status(said) == 408
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"


def test_a_connection_that_says_nothing_is_closed(small: InThread) -> None:
    assert small.exchange() == b""


def test_headers_without_end_are_431(small: InThread) -> None:
    lines = [b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(50)]
    said = small.exchange(HEAD, *lines)
    assert status(said) == 431


def test_a_header_line_without_end_is_431(small: InThread) -> None:
    assert status(small.exchange(HEAD + b"X: ", *[b"v" * 4096] * 20)) == 431


def test_too_many_headers_are_431(small: InThread) -> None:
    said = small.exchange(HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(120)) + b"\r\n")
    assert status(said) == 431


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /flow/each HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_client_error(small: InThread, said: bytes) -> None:
    answer = small.exchange(said)
    assert answer == b"" or 400 <= status(answer) < 500
    assert b"Traceback" not in answer


POST = b"POST /flow/each HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5\r\n folded: 1\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\nX: 1\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Host: elsewhere.example\r\n",
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_heard(
    small: InThread, headers: bytes
) -> None:
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = small.exchange(POST + headers + b"\r\n" + smuggled)
    assert status(answer) == 400
    assert code_of(answer) == "bad_request"
    assert answer.count(b"HTTP/1.1") == 1


def code_of(answer: bytes) -> str:
    told: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return told


def test_a_body_in_chunks_over_http_1_0_is_refused(small: InThread) -> None:
    old = POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert status(small.exchange(old)) == 400


@pytest.mark.parametrize("size", [b"zz", b"-1", b"0x5", b"f" * 18, b"5\n", b"4"])
def test_a_chunk_that_is_none_is_refused(small: InThread, size: bytes) -> None:
    answer = small.exchange(
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabcde\r\n0\r\n\r\n"
    )
    assert (status(answer), code_of(answer)) == (400, "bad_request")


def test_a_trailer_is_no_header(small: InThread) -> None:
    """Whoever checks headers in front of this server has not seen it."""
    trailers = b"X-Request-Id: ../..\r\nOrigin: http://evil.example\r\nHost: evil.example\r\n"
    answer = small.exchange(
        POST
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        + trailers
        + b"\r\n"
    )
    assert status(answer) == 202


def test_what_was_refused_adds_nothing_to_the_request_before_it(small: InThread) -> None:
    """Nor is a refusal taken for the answer to that one: the connection ends without."""
    first = POST + b"X-Request-Id: first\r\nContent-Length: 3\r\n\r\nabc"
    second = POST + b"Host: elsewhere.example\r\nContent-Length: 4\r\n\r\nEVIL"
    answer = small.exchange(first + second)
    assert answer == b"" or status(answer) == 202
    with httpx.Client(base_url=small.url, trust_env=False) as http:
        taken = http.get("/flow/each/request/first/payload")
    assert taken.status_code == 404 or taken.content == b"abc"


def test_who_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Config(local=Local(path=str(tmp_path)), serve=Serve(port=0, max_body=50_000_000))
    with load_backend("local", settings) as store:
        for flow in load(FLOWS).values():
            register(store, flow)
    with InThread(settings) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        big = b"x" * 40_000_000
        path = http.post("/flow/each", content=big).headers["location"]
        monkeypatch.setattr(limits, "IDLE", 0.3)
        with server.socket() as connection:
            connection.sendall(f"GET {path}/payload HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while 'route="payload"' not in http.get("/metrics").text:
                pass  # until the server has given up on it
            assert len(read_all(connection)) < len(big)


def test_a_full_queue_is_429_with_retry_after(tmp_path: Path) -> None:
    settings = config(tmp_path, max_queued=1)
    with load_backend("local", settings) as store:
        for flow in load(FLOWS).values():
            register(store, flow)
    with InThread(settings) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        named = {"x-request-id": "first"}
        assert http.post("/flow/each", headers=named).status_code == 202
        full = http.post("/flow/each")
        assert (full.status_code, full.json()["error"]["code"]) == (429, "too_many")
        assert int(full.headers["retry-after"]) > 0
        assert http.post("/flow/each", headers=named).status_code == 202


def test_a_store_that_is_away_is_503() -> None:
    away = Config(backend="redis", redis=Redis(url="redis://127.0.0.1:1/0"))

    async def ask() -> list[httpx.Response]:
        application = app("redis", away)
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answers = [await http.get("/flows"), await http.get("/healthz")]
        await application.state.service.lanes.close()
        return answers

    flows, health = asyncio.run(ask())
    assert (flows.status_code, flows.json()["error"]["code"]) == (503, "store_away")
    assert flows.headers["retry-after"]
    assert health.status_code == 503
