"""RedisBackend: the whole seam over one Redis service, and how it is opened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from goflow.errors import BackendError
from goflow_redis.address import parse
from goflow_redis.directory import Directory
from goflow_redis.keys import CLUSTER_PARTITIONS, SCHEMA, STANDALONE_PARTITIONS, Keys
from goflow_redis.link import Link
from goflow_redis.queue import Queue
from goflow_redis.runs import Runs
from goflow_redis.ticks import Ticks

if TYPE_CHECKING:
    from goflow.config import Config

#: below this, streams and scripts lack what the queues need
OLDEST = (6, 2)


class RedisBackend(Queue, Runs, Directory, Ticks):
    """A store that many machines share. Any worker may take any run (`exclusive` is False)."""

    exclusive = False

    @property
    def name(self) -> str:
        """What error messages call it, without credentials."""
        return self.link.name

    @classmethod
    def open(cls, url: str, config: Config, *, ephemeral: bool = False) -> RedisBackend:
        """Open the store that a URL means; the bare name `redis` means `config.redis.url`.

        `ephemeral` is the local backend's: a Redis keeps what it keeps.
        Raises ConfigError for a bad URL, BackendError where the server is away or cannot keep runs.
        """
        address = parse(url if urlsplit(url).scheme else config.redis.url)
        link = Link(address)
        try:
            info = link.greet()
            _refuse_unfit(link.name, info)
            keys = Keys(config.redis.namespace)
            keys.split(_partitions(link, keys))
        except BaseException:
            link.close()
            raise
        return cls(
            link, keys, lease=config.worker.lease, retention=config.retention.finished_runs
        )

    def close(self) -> None:
        """Close every connection."""
        self.link.close()

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
    wanted = STANDALONE_PARTITIONS if link.cluster is None else CLUSTER_PARTITIONS
    answers: list[Any] = link.ask_all(
        key,
        [
            ("HSETNX", key, "schema", SCHEMA),
            ("HSETNX", key, "partitions", wanted),
            ("HSETNX", key, "created", int(time.time())),
            ("HMGET", key, "schema", "partitions"),
        ],
    )
    schema, partitions = map(int, answers[-1])
    if schema != SCHEMA:
        raise BackendError(
            f"{link.name} holds runs of schema {schema} under namespace {keys.namespace!r}, this goflow"
            f" reads {SCHEMA}; use the release that wrote them, or another namespace"
        )
    return partitions
