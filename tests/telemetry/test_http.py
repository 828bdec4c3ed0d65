"""Trace contexts over HTTP: a caller's is continued, and the answer says where to look."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.server.house import House
from tests.telemetry.collector import check, collecting

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_request_is_answered_with_the_span_of_its_run(tmp_path: Path) -> None:
    with collecting() as collector:
        house = House(tmp_path / "house")
        for name, value in collector.environment.items():
            house.setting(name, value)
        with house, house.client() as http:
            _wait_for_flow(http)
            given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r1"}
            answers = [http.post("/flow/echo", content=b"x", headers=given)]
            answers.append(http.post("/flow/echo", content=b"x", headers={"x-request-id": "r1"}))
            plain = http.post("/flow/echo", content=b"x")
            (root, other) = collector.wait_for("flow echo", 2)
    if root.trace != TRACE:
        root, other = other, root
    assert check(collector.of(TRACE), callers=PARENT) == root
    expected = f"00-{TRACE}-{root.id}-01"
    assert [answer.headers["traceparent"] for answer in answers] == [expected] * 2
    assert plain.headers["traceparent"] == f"00-{other.trace}-{other.id}-01"
    assert check(collector.of(other.trace)) == other


def _wait_for_flow(http: httpx.Client) -> None:
    until = time.monotonic() + 20
    while not any(flow["flow"] == "echo" for flow in http.get("/flows").json()["flows"]):
        assert time.monotonic() < until
        time.sleep(0.02)
