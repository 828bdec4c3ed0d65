"""What a worker's wall clock does to the dates it hands over: a store counts by its own."""

from __future__ import annotations

import time

import msgspec

from goflow.testing.store import Worker, failure, outcome, request
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer


def test_an_attempt_comes_again_after_its_delay_though_the_clock_was_set_back_since(
    server: RedisServer,
) -> None:
    with open_store(server.url, "clocks") as backend:
        worker = Worker(backend)
        backend.submit(request("r", "a"))
        claim = worker.one("a")
        ahead = time.time() + 7200
        failed = outcome(claim, failure=failure(claim), retry_at=ahead + 0.2)
        accepted, _ = backend.commit([msgspec.structs.replace(failed, finished=ahead)], None)
        assert accepted == [True]
        due = backend.tick(worker.id)
        assert due is not None
        assert due < time.time() + 1
