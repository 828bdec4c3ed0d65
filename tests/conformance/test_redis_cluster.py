"""The same rules on a Redis Cluster of three masters: sixteen partitions, every script in one slot."""

from __future__ import annotations

import atexit
import functools
import hashlib
from pathlib import Path
from typing import ClassVar

from goflow.backend import Backend
from goflow.state import NodeState, RunState
from goflow.testing.conformance import BackendConformance
from goflow.testing.store import Store
from tests.redis.cluster import RedisCluster
from tests.redis.hooks import RedisHooks, open_store


@functools.cache
def shared_cluster() -> RedisCluster:
    """One cluster for all tests of this process; each store is a namespace of its own."""
    cluster = RedisCluster()
    atexit.register(cluster.close)
    return cluster


class TestRedisCluster(RedisHooks, BackendConformance):
    wide: ClassVar[int] = 3000

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        namespace = hashlib.sha1(str(folder).encode()).hexdigest()[:12]
        return open_store(shared_cluster().url, namespace, ephemeral=ephemeral)

    def test_stopping_kills_what_runs_and_starts_nothing(self, store: Store) -> None:
        """Between partitions tasks come in any order, so the run beside it is submitted later."""
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b = w.one("a"), w.one("b")
        store.submit("r2")
        assert store.backend.control("r", "stop").state is RunState.STOPPING
        assert [claim.task.run_id for claim in w.claim()] == ["r2"]
        assert sorted(w.lost(a, b)) == [("a", "stop"), ("b", "stop")]
        assert w.killed(a)
        assert w.killed(b)
        assert store.state() is RunState.STOPPED
        assert store.node("c").state is NodeState.STOPPED
