"""What the shared suites need to know about the Redis backend."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from string import ascii_letters

from goflow.backend import Backend, FlowKey
from goflow.config import Config, Redis
from goflow.testing.hooks import BackendHooks
from goflow.testing.store import FLOW, Store
from goflow_redis import RedisBackend
from tests.redis.server import RedisServer


@functools.cache
def shared_server() -> RedisServer:
    """One server for all suites of this process; each store is a namespace of its own."""
    import atexit

    server = RedisServer()
    atexit.register(server.close)
    return server


def open_store(url: str, namespace: str, *, ephemeral: bool = False) -> RedisBackend:
    """A connection that trusts idle times from the start: tests have no slow networks."""
    config = Config(redis=Redis(url=url, namespace=namespace))
    backend = RedisBackend.open(url, config, ephemeral=ephemeral)
    backend.grace = 0.0
    return backend


def teach(backend: RedisBackend, server: RedisServer) -> None:
    """Let the server know every script, so that a cut hits the script itself and no NOSCRIPT."""
    for script in backend.link._scripts.values():
        assert server.client.script_load(script.text) == script.sha


def documented_rule() -> list[str]:
    """The ACL rule of docs/operations.md, without the user's name and password."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("ACL SETUSER goflow ")]
    return line.split()[5:]


def expire_leases(backend: RedisBackend, worker: int) -> None:
    """Make everything a worker holds look as old as if it had been silent for an hour."""
    top = backend.keys.directory
    backend.link.ask(top, "ZADD", f"{top}:alive", "XX", 1, worker)
    for holder, run_id, path, hold in backend.held():
        if holder == worker:
            run = backend.run(run_id)
            queue = backend.keys.queue(backend.keys.partition(run_id), run.flow, run.fingerprint)
            entry = hold.rstrip(ascii_letters)
            claim = ("XCLAIM", queue, "g", "w", 0, entry, "IDLE", 3_600_000, "JUSTID")
            assert backend.link.ask(queue, *claim) == [entry.encode()], path


def redis_of(store: Store) -> RedisBackend:
    """The store's first connection."""
    assert isinstance(store.backend, RedisBackend)
    return store.backend


def queue_of(store: Store, flow: FlowKey = FLOW) -> str:
    """The queue of a flow."""
    backend = redis_of(store)
    return backend.keys.queue(backend.keys.partitions[0], *flow)


class RedisHooks(BackendHooks):
    """A namespace of the shared server for each folder; a worker vanishes when its leases run out."""

    loses = True

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        namespace = hashlib.sha1(str(folder).encode()).hexdigest()[:12]
        return open_store(shared_server().url, namespace, ephemeral=ephemeral)

    def vanish(self, backend: Backend, worker: int) -> None:
        assert isinstance(backend, RedisBackend)
        expire_leases(backend, worker)

    def snapshot(self, backend: Backend) -> object:
        client = shared_server().client
        keys = client.keys(f"gf:{{{_namespace(backend)}[.}}]*")
        return [(key, max(0, client.pttl(key)), client.dump(key)) for key in keys]

    def restore(self, backend: Backend, snapshot: object) -> None:
        client = shared_server().client
        for key in client.keys(f"gf:{{{_namespace(backend)}[.}}]*"):
            client.delete(key)
        assert isinstance(snapshot, list)
        for key, life, value in snapshot:
            if value is not None:
                client.restore(key, life, value)


def _namespace(backend: Backend) -> str:
    assert isinstance(backend, RedisBackend)
    return backend.keys.namespace
