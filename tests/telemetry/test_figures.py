"""Figures for Prometheus: true whichever server is asked, and as cheap after many runs."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow.backend import Backend
from goflow.figures import PLACES, Meter
from goflow.message import Failure, Outcome, Step, Task
from goflow.server.stored import stored
from goflow_local import LocalBackend
from tests.redis.server import RedisServer
from tests.server.house import House


def read(text: str) -> dict[str, float]:
    """Samples by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_every_server_of_a_store_tells_the_same(tmp_path: Path) -> None:
    with RedisServer() as server:
        houses = [
            House(tmp_path / name, *options)
            .setting("GOFLOW_BACKEND", "redis")
            .setting("GOFLOW_REDIS_URL", server.url)
            for name, options in (("one", ()), ("other", ("--no-worker",)))
        ]
        one, other = houses
        with one, other, one.client() as http, other.client() as elsewhere:
            _wait_for_flow(http)
            for number in range(3):
                http.post("/flow/echo", content=b"x", params={"wait": "20"})
                elsewhere.post("/flow/echo", content=b"x", params={"wait": "20"})
                assert http.get(f"/flow/nothing{number}").status_code == 404
            seen = _settled(elsewhere, 'goflow_attempts_total{flow="echo",state="succeeded"}', 6)
            same = read(http.get("/metrics").text)
    assert _of_store(seen) == _of_store(same)
    assert seen['goflow_runs_total{flow="echo",state="succeeded"}'] == 6
    assert seen['goflow_runs_active{flow="echo"}'] == 0
    assert seen['goflow_run_seconds_count{flow="echo"}'] == 6
    assert seen['goflow_attempt_seconds_count{flow="echo"}'] == 6
    assert seen['goflow_queue_wait_seconds_count{flow="echo"}'] == 6
    assert 0 < seen['goflow_run_seconds_sum{flow="echo"}'] < 60
    assert not any("nothing" in name for name in seen)


def _of_store(seen: dict[str, float]) -> dict[str, float]:
    return {
        name: value for name, value in seen.items() if "flow=" in name and "accepted" not in name
    }


def _wait_for_flow(http: httpx.Client) -> None:
    until = time.monotonic() + 20
    while not any(flow["flow"] == "echo" for flow in http.get("/flows").json()["flows"]):
        assert time.monotonic() < until
        time.sleep(0.02)


def _settled(http: httpx.Client, name: str, value: float) -> dict[str, float]:
    """The figures, as soon as this one is what it should be: workers hand theirs over once a second."""
    until = time.monotonic() + 10
    while True:
        seen = read(http.get("/metrics").text)
        if seen.get(name) == value or time.monotonic() > until:
            return seen
        time.sleep(0.1)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_buckets_hold_what_is_below_their_bound(durations: list[float]) -> None:
    meter = Meter()
    for seconds in durations:
        task = Task("r", "f", "p", "n", "t", ready=1000.0 - seconds)
        meter.add(Outcome(task, 1000.0, 1000.0 + seconds, step=Step()))
    numbers = meter.numbers()
    for name in ("attempt", "wait"):
        counts = [numbers.get(("f", f"{name}:{at}"), 0) for at in range(PLACES)]
        assert sum(counts) == len(durations)
        for at in range(PLACES - 1):
            below = sum(seconds * 1000 < 2**at - 0.01 for seconds in durations)
            not_above = sum(seconds * 1000 < 2**at + 0.01 for seconds in durations)
            assert below <= sum(counts[: at + 1]) <= not_above


def test_an_attempt_counts_by_how_it_ended() -> None:
    meter, task = Meter(), Task("r", "f", "p", "n", "t")
    failure = Failure("ValueError", "no")
    for outcome in (
        Outcome(task, 1.0, 2.0, failure=failure, retry_at=3.0),
        Outcome(task, 1.0, 2.0, failure=failure),
        Outcome(task, 1.0, 2.0, stopped=True),
        Outcome(task, 1.0, 2.0, step=Step()),
    ):
        meter.add(outcome)
    numbers = {name: count for (_, name), count in meter.numbers().items()}
    assert numbers["attempts:failed"] == 2
    assert (numbers["attempts:stopped"], numbers["attempts:succeeded"]) == (1, 1)
    assert numbers["retries"] == 1
    assert numbers["attempt:ms"] == 4000


def test_what_may_have_been_handed_over_is_the_same_until_it_has_been() -> None:
    meter, task = Meter(), Task("r", "f", "p", "n", "t")
    meter.add(Outcome(task, 1.0, 2.0, step=Step()))
    offered = dict(meter.numbers())
    meter.add(Outcome(task, 1.0, 2.0, stopped=True))
    assert meter.numbers() == offered
    meter.clear()
    assert ("f", "attempts:succeeded") not in meter.numbers()
    assert meter.numbers()["f", "attempts:stopped"] == 1
    meter.clear()
    assert meter.numbers() == {}


@pytest.mark.parametrize("state", ["succeeded", "queued"])
def test_what_is_read_does_not_grow_with_the_runs_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("GOFLOW_LOCAL_PATH", str(tmp_path))
    from goflow.config import load_config

    with LocalBackend.open("local", load_config(tmp_path)) as backend:
        backend._store._connection.execute(
            "INSERT INTO definition (id, flow, fingerprint) VALUES (1, 'f', 'p')"
        )
        few = _steps(backend)
        backend._store._connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
            " INSERT INTO run (name, flow, fingerprint, definition, digest, handlers, created,"
            " state, finished, round, owner, revision)"
            " SELECT 'r' || i, 'f', 'p', 1, 'd', 0, 1.0, ?, iif(? = 'queued', NULL, 2.0), 1, 0, 0 FROM n",
            (state, state),
        )
        backend._store._connection.execute(
            "INSERT INTO underway SELECT 1, count(*) FROM run WHERE finished IS NULL"
        )
        assert backend.figures().active == ({"f": 20000} if state == "queued" else {})
        assert _steps(backend) <= few + 5


def _steps(backend: Backend) -> int:
    """Steps of SQLite's machine that a scrape takes, in hundreds."""
    assert isinstance(backend, LocalBackend)
    taken = 0

    def count() -> bool:
        nonlocal taken
        taken += 1
        return False

    connection = backend._store._connection
    connection.set_progress_handler(count, 100)
    assert list(stored(backend))
    connection.set_progress_handler(None)
    return taken
