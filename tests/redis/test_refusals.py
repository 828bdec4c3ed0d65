"""A Redis that is away, refuses or is unfit is told in one message, with the place and without credentials."""

from __future__ import annotations

import pytest

from goflow.config import Config, Redis
from goflow.errors import BackendError, ConfigError, StoreFull
from goflow.message import Request
from goflow.payload import Payload
from goflow.testing.store import FLOW, Worker, edge, request
from goflow_redis import RedisBackend
from goflow_redis.address import parse
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer, free_port


def refusal(url: str) -> str:
    """What opening this URL says."""
    with pytest.raises(BackendError) as caught:
        RedisBackend.open(url, Config())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_a_server_that_is_away_is_named_without_credentials(scheme: str) -> None:
    port = free_port()
    text = refusal(f"{scheme}://alice:s3cret@127.0.0.1:{port}/0")
    assert f"127.0.0.1:{port}" in text
    assert "s3cret" not in text
    assert "alice" not in text


def test_a_wrong_password_says_so(server: RedisServer) -> None:
    server.client.acl_setuser("bob", enabled=True, passwords=["+right"], categories=["+@all"])
    server.client.acl_setuser("bob", keys=["*"], enabled=True)
    try:
        text = refusal(f"unix://bob:wrong@{server.socket}")
        assert "password" in text
        assert "wrong@" not in text
        opened = RedisBackend.open(f"unix://bob:right@{server.socket}", Config())
        opened.submit(request("r"))
        opened.close()
    finally:
        server.client.acl_deluser("bob")


def test_a_user_without_rights_says_which(server: RedisServer) -> None:
    server.client.acl_setuser("eve", enabled=True, passwords=["+pw"], commands=["+ping"])
    try:
        assert "may not do what goflow needs" in refusal(f"unix://eve:pw@{server.socket}")
    finally:
        server.client.acl_deluser("eve")


def test_a_read_only_replica_is_refused(own: RedisServer) -> None:
    own.client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    assert "read-only replica" in refusal(own.url)


def test_an_eviction_policy_that_would_lose_runs_is_refused(server: RedisServer) -> None:
    server.client.config_set("maxmemory", "100mb")
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert "noeviction" in refusal(server.url)
    finally:
        server.client.config_set("maxmemory-policy", "noeviction")


def test_a_store_of_another_schema_is_refused(server: RedisServer) -> None:
    RedisBackend.open(server.url, Config()).close()
    # 2 knew no pieces that wait for demand, 1 listed runs by their date alone
    for schema in (99, 3, 2, 1):
        server.client.hset("gf:{goflow}:meta", "schema", schema)
        assert f"schema {schema}" in refusal(server.url)


def test_a_key_of_another_type_is_told_and_nothing_is_half_written(server: RedisServer) -> None:
    with open_store(server.url, "types") as backend:
        server.client.set("gf:{types.0}:r:r", "somebody else's")
        with pytest.raises(BackendError, match="goflow doctor"):
            backend.submit(request("r"))
        assert backend.waiting() == {}
        server.client.delete("gf:{types.0}:r:r")
        backend.submit(request("r"))
        assert Worker(backend).paths() == ["a"]


def test_a_full_redis_takes_no_new_run_and_still_drains(server: RedisServer) -> None:
    with open_store(server.url, "full") as backend:
        w = Worker(backend)
        backend.submit(request("r", "a", "b"))
        server.client.config_set("maxmemory", "100kb")
        with pytest.raises(StoreFull, match="maxmemory"):
            backend.submit(request("r2"))
        assert [run.id for run in backend.runs()] == ["r"], "nothing of it is left behind"
        if server.client.info("server")["redis_version"].startswith("6."):
            return  # it refuses every script then: it drains only after it was given more memory
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "c"))
        assert w.retry(b, at=0)
        backend.tick(w.id)
        assert w.succeed(w.one("c"), b"", ends=True)
        server.client.config_set("maxmemory", "0")
        backend.submit(request("r2"))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://:pw@db:7000/3", "db:7000"),
        ("rediss://db", "db:6379"),
        ("redis://[::1]:7000", "::1:7000"),
        ("unix:///run/redis.sock?db=2", "unix socket /run/redis.sock"),
        ("redis+sentinel://u:p@s1,s2:26380/main/2", "sentinel s1:26379, s2:26380 (master main)"),
        ("redis+cluster://u:p@c1:7000,c2", "cluster c1:7000, c2:6379"),
    ],
)
def test_what_a_url_means(url: str, name: str) -> None:
    assert parse(url).name == name


def test_a_sentinel_url_tells_master_database_and_login() -> None:
    address = parse("redis+sentinel://us%40er:p%3Aw@s1/main/2?tls=1")
    assert (address.username, address.password) == ("us@er", "p:w")
    assert (address.master, address.db, address.tls) == ("main", 2, True)


@pytest.mark.parametrize("url", ["http://db", "redis://db:port", "redis+sentinel://s/m/x"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="Redis URL"):
        parse(url)


def test_the_bare_name_means_the_configured_url(server: RedisServer) -> None:
    config = Config(redis=Redis(url=server.url, namespace="bare"))
    with RedisBackend.open("redis", config) as backend:
        backend.submit(Request("r", *FLOW, Payload(b""), {}, "d", ("a",)))
    assert server.client.exists("gf:{bare.0}:r:r")
