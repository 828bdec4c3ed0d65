"""What many waiting callers and streams cost, and that nothing of it stays."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import httpx

from tests.server.house import House


def descriptors(house: House) -> int:
    return len(os.listdir(f"/proc/{house.process.pid}/fd"))  # noqa: PTH208


def start(http: httpx.Client, gate: Path) -> str:
    path: str = http.post("/flow/gated", content=str(gate)).headers["location"]
    return path


def test_streams_and_waits_that_clients_leave_let_go_of_everything(
    house: House, http: httpx.Client, tmp_path: Path
) -> None:
    path = start(http, tmp_path / "gate")
    http.get("/metrics")  # every lane has opened its store
    before = descriptors(house)
    for _ in range(20):
        with http.stream("GET", f"{path}/events") as stream:
            next(stream.iter_lines())
        assert http.get(f"{path}/result?wait=0.12").status_code == 202
    until = time.monotonic() + 20
    while descriptors(house) > before + 1:
        assert time.monotonic() < until, f"{before} descriptors became {descriptors(house)}"
        time.sleep(0.05)
    (tmp_path / "gate").touch()
    assert http.get(f"{path}/result?wait=20").status_code == 200


def test_all_streams_of_a_run_share_one_listener_and_see_its_end(
    house: House, http: httpx.Client, tmp_path: Path
) -> None:
    path = start(http, tmp_path / "gate")
    ended: list[str] = []
    opened = threading.Barrier(31)

    def watch() -> None:
        with house.client() as client, client.stream("GET", f"{path}/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            opened.wait()
            ended.append([line for line in lines if line.startswith("event: ")][-1])

    watchers = [threading.Thread(target=watch) for _ in range(30)]
    for watcher in watchers:
        watcher.start()
    opened.wait()
    (tmp_path / "gate").touch()
    for watcher in watchers:
        watcher.join()
    assert ended == ["event: end"] * 30
