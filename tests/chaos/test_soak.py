"""What a fleet keeps does not grow with what it has done: minutes of steady work whose runs are soon forgotten.

Two things were found this way that no short test had seen: lists of runs that one busy flow kept from being
rid of what had gone, and news of ends that stayed for half an hour.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import goflow
from goflow.config import Config, Retention
from goflow_redis.keys import NEWS_LIFE
from tests.redis.server import RedisServer
from tests.server.conftest import registered
from tests.server.house import House

#: how long the work goes on; in the first third everything has come to what it stays at
SECONDS = float(os.environ.get("GOFLOW_SOAK_SECONDS", "180"))
#: seconds that runs are kept
KEPT = 8
#: what may be more at the end than after the first third, beside a quarter: one sample is not like the other
SLACK = {"MiB": 4, "files": 10, "KiB": 300, "keys": 300, "listed": 300, "rows": 1000}

#: tables of a local store that hold nothing but what belongs to runs
OF_RUNS = (
    "run",
    "request",
    "node",
    "arrival",
    "output",
    "item",
    "log",
    "attempt",
    "queue",
    "access",
)

Measured = dict[str, float]


def of_processes(house: House) -> Measured:
    """Memory and open files of the server and of the worker beside it."""
    server = house.process.pid
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    sizes = [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        for pid in (str(server), *children)
    ]
    files = sum(1 for _ in Path(f"/proc/{server}/fd").iterdir())
    return {"MiB": sum(sizes) / 2**20, "files": files}


def of_redis(server: RedisServer) -> Measured:
    client = server.client
    listed = sum(client.zcard(key) for key in client.keys("*:runs:*"))
    size = client.memory_stats()["dataset.bytes"] / 1024
    return {"KiB": size, "keys": client.dbsize(), "listed": listed}


def by_table(store: Path) -> dict[str, int]:
    """Rows of the tables of a local store."""
    with closing(sqlite3.connect(f"file:{store}/goflow.db?mode=ro", uri=True)) as file:
        tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables
        }


def of_file(store: Path) -> Measured:
    return {"rows": sum(by_table(store).values())}


def work(url: str, folder: Path, over: threading.Event) -> None:
    """What clients do all day: run, wait, fail, retry, stop, list."""
    random.seed(url)
    never = str(folder / "never")
    config = Config(retention=Retention(finished_runs=KEPT, dead=KEPT))  # a stop is its own
    with goflow.Client(url, config=config) as client:
        while not over.is_set():
            name = random.choice(["echo"] * 6 + ["each", "failing", "gated"])
            run = client.submit(name, never if name == "gated" else b"3").id
            if name == "gated":
                client.stop(run)
            elif name == "failing":
                for again in (True, False):
                    with pytest.raises(goflow.RunFailed):
                        client.wait(run, 60)
                    if again:
                        client.retry(run)
            else:
                client.wait(run, 60)
            over.wait(0.005)


@contextmanager
def at_work(urls: list[str], folder: Path) -> Iterator[threading.Event]:
    """Some clients at work, until the block ends or one of them fails."""
    over, failed = threading.Event(), []

    def one(url: str) -> None:
        try:
            work(url, folder, over)
        except BaseException as error:
            failed.append(error)
            over.set()

    threads = [threading.Thread(target=one, args=(url,)) for url in urls for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield over
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failed == []


def most(measure: Callable[[], Measured], over: threading.Event) -> Measured:
    """The most of some looks: of what comes and goes one look says little."""
    looks = []
    for _ in range(8):
        looks.append(measure())
        over.wait(1.5)
    return {name: max(look[name] for look in looks) for name in looks[0]}


def more(first: Measured, last: Measured) -> Mapping[str, str]:
    return {
        name: f"{first[name]:.0f} to {last[name]:.0f}"
        for name in first
        if last[name] > 1.25 * first[name] + SLACK[name]
    }


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


@pytest.mark.chaos
@pytest.mark.parametrize("store", ["local", "redis"])
def test_what_is_kept_does_not_grow_with_what_was_done(store: str, tmp_path: Path) -> None:
    with RedisServer() as server:
        house = House(tmp_path / "house")
        for name in ("FINISHED_RUNS", "DEAD"):
            house.setting(f"GOFLOW_RETENTION_{name}", f"{KEPT}s")
        if store == "redis":
            house.setting("GOFLOW_BACKEND", server.url)
        folder = house.folder / "store"

        def measure() -> Measured:
            return of_processes(house) | (of_redis(server) if store == "redis" else of_file(folder))

        with house, house.client() as http:
            registered(http)
            urls = [house.url, server.url] if store == "redis" else [house.url]
            with at_work(urls, tmp_path) as over:
                over.wait(SECONDS / 3)
                first = most(measure, over)
                over.wait(2 * SECONDS / 3)
                last = most(measure, over)
            print(f"{store}: {first} to {last}")
            assert more(first, last) == {}
            if store == "redis":
                rest = NEWS_LIFE / 1000 + 60
                gone = until(lambda: not server.client.keys("*:r:*"), rest)
                left = [
                    (key, server.client.pttl(key), server.client.type(key))
                    for key in server.client.keys("*:r:*")
                ]
                assert gone, left[:20]
                assert until(lambda: not server.client.keys("*:runs:*"), 60)
            else:
                gone = until(lambda: not any(by_table(folder)[name] for name in OF_RUNS), 60)
                assert gone, by_table(folder)
