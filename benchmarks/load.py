"""HTTP load from 32 connections, by the cheapest client there is: it shares the machine with what it measures.

`wrk` where it is on PATH (a C program, 10 microseconds a request), else a client of our own (30).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

CONNECTIONS: Final = 32
#: what every request brings
BODY: Final = "x" * 100

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99: Final = re.compile(r"\b99%\s+([\d.]+)(us|ms|s|m)\b")
_WRONG: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_BROKEN: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Load(NamedTuple):
    """What a load saw: requests per second, the 99th percentile in ms, and answers that were no success."""

    rate: float
    p99: float
    errors: int


def load(url: str, seconds: int, headers: Mapping[str, str] | None = None) -> Load:
    """POST to one URL as fast as it answers."""
    if shutil.which("wrk"):
        return _wrk(url, seconds, headers or {})
    return asyncio.run(_own(url, seconds, headers or {}))


def _wrk(url: str, seconds: int, headers: Mapping[str, str]) -> Load:
    lines = ['wrk.method = "POST"', f'wrk.body = "{BODY}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    with tempfile.TemporaryDirectory(prefix="goflow-bench-") as folder:
        script = Path(folder, "post.lua")
        script.write_text("\n".join(lines))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
        told = subprocess.run(
            [*command, "-s", str(script), url], check=True, capture_output=True, text=True
        ).stdout
    rate, p99 = _RATE.search(told), _P99.search(told)
    assert rate is not None, told
    assert p99 is not None, told
    errors = sum(int(n) for found in _BROKEN.findall(told) for n in found)
    errors += sum(map(int, _WRONG.findall(told)))
    return Load(float(rate[1]), float(p99[1]) * _MS[p99[2]], errors)


class _Caller(asyncio.Protocol):
    """One connection: the next request goes out when an answer is whole."""

    def __init__(self, request: bytes, until: float, times: list[float]) -> None:
        self._request = request
        self._until = until
        self._times = times
        self._got = b""
        self._sent = 0.0
        self.errors = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, mark, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if not mark or length is None or len(body) < int(length[1]):
            return
        self._got = b""
        self._times.append(time.perf_counter() - self._sent)
        self.errors += not head.startswith(b"HTTP/1.1 2")
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += time.perf_counter() < self._until
        self.over.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def _same(caller: _Caller) -> _Caller:
    return caller


async def _own(url: str, seconds: int, headers: Mapping[str, str]) -> Load:
    parts = urlsplit(url)
    given = {"Host": parts.netloc, "Content-Length": str(len(BODY)), **headers}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    request = ("\r\n".join([*lines, "", ""]) + BODY).encode()
    began = time.perf_counter()
    times: list[float] = []
    loop = asyncio.get_running_loop()
    callers = [_Caller(request, began + seconds, times) for _ in range(CONNECTIONS)]
    for caller in callers:
        await loop.create_connection(partial(_same, caller), parts.hostname or "", parts.port or 80)
    await asyncio.gather(*(caller.over for caller in callers))
    took = time.perf_counter() - began
    times.sort()
    p99 = times[int(len(times) * 0.99)] * 1000
    return Load(len(times) / took, p99, sum(caller.errors for caller in callers))
