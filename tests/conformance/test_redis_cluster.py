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
from goflow.testing.store import Store, Worker, request
from goflow.wholesale import submit_all
from goflow_redis import RedisBackend
from tests.redis.cluster import RedisCluster
from tests.redis.hooks import RedisHooks, documented_rule, open_store


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

    def test_runs_submitted_at_once_are_listed_in_their_order(self, store: Store) -> None:
        """Those of a partition: each partition writes its own at once, at its own moment."""
        names = [f"r{n}" for n in (3, 1, 4, 15, 9, 2, 6, 5)]
        submit_all(store.backend, [request(name) for name in names])
        listed = [run.id for run in store.backend.runs()]
        assert sorted(listed) == sorted(names)
        assert isinstance(store.backend, RedisBackend)
        of = store.backend.keys.partition
        for partition in {of(name) for name in names}:
            mine = [name for name in names if of(name) == partition]
            assert [name for name in listed if name in mine] == mine[::-1]


def test_doctor_looks_at_every_server_of_a_cluster_and_repairs() -> None:
    """As a user who may do no more than docs/operations.md says."""
    cluster = shared_cluster()
    for client in cluster.clients:
        client.execute_command(
            "ACL", "SETUSER", "goflow", "on", ">pw", *documented_rule(), "+cluster"
        )
    url = cluster.url.replace("//", "//goflow:pw@")
    with open_store(url, "doctor") as backend:
        w = Worker(backend)
        for number in range(24):
            backend.submit(request(f"r{number}"))
        while claims := w.claim():
            assert all(w.succeed(claim, b"A", ends=True) for claim in claims)
        found = backend.diagnose(False)
        assert [each for each in found if not each.ok] == []
        told = [each.text for each in found if each.name == "server"]
        assert sorted(text.split(":")[0] for text in told) == sorted(
            f"port {port}" for port in cluster.ports
        )
        for number in range(24):
            key = backend.keys.run(f"r{number}")
            assert backend.link.ask(key, "PERSIST", key) == 1
        assert [each.name for each in backend.diagnose(False) if not each.ok] == ["leaks"]
        fixed = [each for each in backend.diagnose(True) if each.fixed]
        assert [each.name for each in fixed] == ["leaks"]
        assert "24 entries" in fixed[0].text
        assert [each for each in backend.diagnose(False) if not each.ok] == []
