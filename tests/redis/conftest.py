"""Private Redis servers for the tests of the Redis backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis.server import RedisServer


@pytest.fixture(scope="session")
def shared() -> Iterator[RedisServer]:
    """A server that all tests of a session share, empty at the start of each."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    """The shared server, emptied."""
    shared.client.flushall()
    shared.client.script_flush()
    shared.client.config_set("maxmemory", "0")
    return shared


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that this test may kill."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server
