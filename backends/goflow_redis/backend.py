"""RedisBackend: the whole seam over one Redis service, and how it is opened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from goflow.backend import Finding
from goflow.errors import BackendError
from goflow_redis.address import parse
from goflow_redis.directory import Directory
from goflow_redis.keys import CLUSTER_PARTITIONS, SCHEMA, STANDALONE_PARTITIONS, Keys
from goflow_redis.link import Link
from goflow_redis.runs import Runs
from goflow_redis.ticks import Ticks
from goflow_redis.told import Told

if TYPE_CHECKING:
    from goflow.config import Config

#: below this, streams and scripts lack what the queues need
OLDEST = (6, 2)


class RedisBackend(Directory, Runs, Ticks, Told):
    """A store that many machines share. Any worker may take any run (`exclusive` is False)."""

    exclusive = False
    _url = ""
    _ephemeral = False

    @classmethod
    def open(cls, url: str, config: Config, *, ephemeral: bool = False) -> RedisBackend:
        """Open the store that a URL means; the bare name `redis` means `config.redis.url`.

        `ephemeral` gives it a namespace of its own, whose keys vanish when it is closed.
        Raises ConfigError for a bad URL, BackendError where the server is away or cannot keep runs.
        """
        address = parse(url if urlsplit(url).scheme else config.redis.url)
        link = Link(address, lease=config.worker.lease)
        try:
            info = link.greet()
            _refuse_unfit(link.name, info)
            brief = f"~{uuid4().hex}" if ephemeral else ""
            keys = Keys(config.redis.namespace + brief)
            keys.split(_partitions(link, keys))
        except BaseException:
            link.close()
            raise
        kept = config.retention
        backend = cls(
            link,
            keys,
            lease=config.worker.lease,
            retention=kept.finished_runs,
            dead=kept.dead,
            traced=config.telemetry.on,
        )
        backend._ephemeral = ephemeral
        backend._url = url if urlsplit(url).scheme else config.redis.url
        return backend

    def close(self) -> None:
        """Close every connection."""
        try:
            if self._ephemeral:
                self._erase()
        finally:
            self.link.close()

    def elsewhere(self, config: Config) -> Config:
        """The configuration with which another process opens the same store."""
        from msgspec.structs import replace

        there = replace(config.redis, url=self._url, namespace=self.keys.namespace)
        return replace(config, backend=self._url, redis=there)

    def diagnose(self, fix: bool) -> list[Finding]:
        """What `goflow doctor` tells of this store."""
        from goflow_redis.doctor import diagnose

        return diagnose(self, fix)

    def _erase(self) -> None:
        """Remove every key of this namespace."""
        for partition in self.keys.partitions:
            flows = self.flows(partition)
            asked = [("ZRANGE", self.keys.runs(partition, flow), 0, -1) for flow in flows]
            runs = [found for each in self.link.ask_all(partition, asked) for found in each]
            for key in self.keys.of_partition(partition, self.classes(partition), flows):
                self.link.ask(partition, "UNLINK", key)
            for run_id in map(bytes.decode, runs):
                waiting = self.link.ask(partition, "SMEMBERS", f"{partition}:r:{run_id}:x")
                branches = [branch.decode() for branch in waiting]
                self.link.ask(partition, "UNLINK", *self.keys.of_run(run_id, branches))
        self.link.ask(self.keys.directory, "UNLINK", *self.keys.of_directory())

    def __enter__(self) -> RedisBackend:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _refuse_unfit(name: str, info: dict[str, str]) -> None:
    """A server that is too old, only reads, or would throw queued work away is no store."""
    version = tuple(map(int, info["redis_version"].split(".")[:2]))
    if version < OLDEST:
        raise BackendError(
            f"{name} is version {info['redis_version']}; goflow needs 6.2 or later (7.0 recommended)"
        )
    if info.get("role") == "slave" and info.get("slave_read_only", "1") == "1":
        raise BackendError(
            f"{name} is a read-only replica; give the master's URL, or redis+sentinel:// to follow it"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys-") and info.get("maxmemory", "0") != "0":
        raise BackendError(
            f"{name} evicts any key when memory is short (maxmemory-policy {policy}) and would lose"
            " runs; set maxmemory-policy noeviction (or volatile-ttl)"
        )


def _partitions(link: Link, keys: Keys) -> int:
    """How many partitions the store has; an empty one is set up."""
    key = f"{keys.directory}:meta"
    read = ("HMGET", key, "schema", "partitions")
    try:
        found = link.ask(key, *read)
    except BackendError:
        kind = link.ask(key, "TYPE", key).decode()
        if kind in ("hash", "none"):
            raise
        raise BackendError(
            f"{link.name}: the key {key} holds a {kind}, expected a hash: remove or rename it, or use"
            " another redis.namespace"
        ) from None
    if None in found:  # a full server refuses writes, and may hold a store all the same
        wanted = STANDALONE_PARTITIONS if link.cluster is None else CLUSTER_PARTITIONS
        found = link.ask_all(
            key,
            [
                ("HSETNX", key, "schema", SCHEMA),
                ("HSETNX", key, "partitions", wanted),
                ("HSETNX", key, "created", int(time.time())),
                read,
            ],
        )[-1]
    schema, partitions = map(int, found)
    if schema != SCHEMA:
        raise BackendError(
            f"{link.name} holds runs of schema {schema} under namespace {keys.namespace!r}, this goflow"
            f" reads {SCHEMA}; use the release that wrote them, or set another redis.namespace"
        )
    return partitions
