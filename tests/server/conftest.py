"""One server for all tests that do not change what it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.redis.server import RedisServer
from tests.server.house import House

#: the secret of the server that has one
SECRET = "correct horse battery staple"


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server without a secret, with a worker beside it that has registered its flows."""
    with House(tmp_path_factory.mktemp("house")) as house, house.client() as http:
        registered(http)
        yield house


@pytest.fixture(scope="session")
def redis_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The same over a Redis of its own."""
    with RedisServer() as server:
        house = House(tmp_path_factory.mktemp("redis-house"))
        house.setting("GOFLOW_BACKEND", "redis").setting("GOFLOW_REDIS_URL", server.url)
        with house, house.client() as http:
            registered(http)
            yield house


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with a secret."""
    house = House(tmp_path_factory.mktemp("locked")).setting("GOFLOW_SERVE_SECRET", SECRET)
    with house, house.client(authorization=f"Bearer {SECRET}") as http:
        registered(http)
        yield house


@pytest.fixture
def http(house: House) -> Iterator[httpx.Client]:
    """A client of the server without a secret."""
    with house.client() as client:
        yield client


def registered(http: httpx.Client) -> None:
    """Wait until the worker is there."""
    until = time.monotonic() + 20
    while not http.get("/workers").json()["workers"]:
        assert time.monotonic() < until, "no worker came"
        time.sleep(0.02)
