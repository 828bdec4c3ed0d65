"""What `goflow doctor` looks at in a Redis store: the server, then every key under our prefix.

Repaired is only what no run needs any more, or what a run on its way would lose. A key that holds something
else is named and left alone: it may be somebody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from goflow.backend import Finding
from goflow.errors import BackendError
from goflow_redis.census import KEY_TYPES, keys_of_store
from goflow_redis.store import MS

if TYPE_CHECKING:
    from goflow_redis.backend import RedisBackend

#: the part of maxmemory from which a server is called almost full
ALMOST_FULL: Final = 0.9

_SECTIONS: Final = ("server", "memory", "persistence", "replication")


def diagnose(backend: RedisBackend, fix: bool) -> list[Finding]:
    """Every check, in the order people read them. Raises BackendError."""
    servers = _servers(backend)
    findings = []
    for key, told in servers:
        of_server = [
            _server(told),
            _eviction(told),
            _persistence(backend, key, told),
            _memory(told),
            _expiry(backend, key),
        ]
        if len(servers) > 1:
            place = f"port {told.get('tcp_port')}: "
            of_server = [replace(found, text=place + found.text) for found in of_server]
        findings += of_server
    findings += keys_of_store(backend, fix)
    if any(found.name == KEY_TYPES and not found.ok for found in findings):
        return findings  # nor can the workers be read: what is wrong is named
    return [*findings, _workers(backend)]


def _servers(backend: RedisBackend) -> list[tuple[str, dict[str, str]]]:
    """INFO of each server that has keys of ours, with a key that leads to it."""
    servers: dict[str, tuple[str, dict[str, str]]] = {}
    for key in (backend.keys.directory, *backend.keys.partitions):
        parts = backend.link.ask_all(key, [("INFO", section) for section in _SECTIONS])
        lines = (
            line.strip().decode().partition(":") for part in parts for line in part.splitlines()
        )
        told = {name: value for name, mark, value in lines if mark}
        servers.setdefault(told["run_id"], (key, told))
    return list(servers.values())


def _server(told: dict[str, str]) -> Finding:
    version = told["redis_version"]
    kind = "Valkey" if "valkey_version" in told else "Redis"
    shown = told.get("valkey_version", version)
    text = f"{kind} {shown}, {told.get('redis_mode', 'standalone')}, {told.get('role', 'master')}"
    old = int(version.partition(".")[0]) < 7
    if old:
        text += (
            "; 7.0 or later is better: a full server then still lets runs that are under way finish"
        )
    return Finding(name="server", ok=True, text=text, warning=old)


def _eviction(told: dict[str, str]) -> Finding:
    policy = told.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys-"):  # with maxmemory set such a server is refused
        text = f"{policy} would throw queued work away once maxmemory is set: set noeviction"
        return Finding(name="eviction", ok=False, text=text)
    volatile = policy.startswith("volatile-")
    if volatile:
        policy += ": finished runs may go before their retention when memory is short; noeviction keeps them"
    return Finding(name="eviction", ok=True, text=policy, warning=volatile)


def _persistence(backend: RedisBackend, key: str, told: dict[str, str]) -> Finding:
    """What a crash of the server may lose."""
    name = "persistence"
    for field, what in (
        ("aof_last_write_status", "the append-only file"),
        ("rdb_last_bgsave_status", "the snapshot"),
    ):
        if told.get(field, "ok") != "ok":
            text = f"the server could not write {what}: see its log (disk full, no permission?)"
            return Finding(name=name, ok=False, text=text)
    if told.get("aof_enabled") == "1":
        fsync = _setting(backend, key, "appendfsync")
        if fsync is None:
            text = "append-only file; appendfsync, which this user may not read, says what a crash may lose"
            return Finding(name=name, ok=True, text=text)
        lost = {
            "always": "nothing it has answered",
            "everysec": "about the last second",
        }.get(fsync, "what the system had not written yet, some 30 s")
        text = f"append-only file, appendfsync {fsync}: a crash may lose {lost}"
        return Finding(name=name, ok=True, text=text)
    save = _setting(backend, key, "save")
    if save == "":
        text = "off: a restart of the server loses every run; fine for development, else set appendonly yes"
        return Finding(name=name, ok=True, text=text, warning=True)
    how = "snapshots only" if save else "no append-only file"
    text = (
        f"{how}: a crash may lose everything since the last snapshot; appendonly yes loses a second"
    )
    return Finding(name=name, ok=True, text=text, warning=True)


def _setting(backend: RedisBackend, key: str, name: str) -> str | None:
    """A server's setting; None where this user may not ask."""
    try:
        found = backend.link.ask(key, "CONFIG", "GET", name)
    except BackendError:
        return None
    return found[1].decode() if found else None


def _memory(told: dict[str, str]) -> Finding:
    used, most = int(told["used_memory"]), int(told.get("maxmemory", "0"))
    if not most:
        text = f"{_megabytes(used)} in use, no maxmemory: the machine's memory is the limit"
        return Finding(name="memory", ok=True, text=text)
    text = f"{_megabytes(used)} of {_megabytes(most)} in use ({used / most:.0%})"
    if used < ALMOST_FULL * most:
        return Finding(name="memory", ok=True, text=text)
    text += ": raise maxmemory, shorten retention.finished_runs, or `goflow dead drop` old failures"
    return Finding(name="memory", ok=False, text=text)


def _expiry(backend: RedisBackend, key: str) -> Finding:
    """Whether the server answers while it frees a large run whose retention is over."""
    setting = _setting(backend, key, "lazyfree-lazy-expire")
    if setting == "yes":
        text = "what is past its retention is freed beside other work"
    elif setting is None:
        text = "lazyfree-lazy-expire, which this user may not read, is best set to yes"
    else:
        text = (
            "nobody is answered while a large run that is past its retention is freed (tenths of a second for 100,000"
            " nodes): set lazyfree-lazy-expire yes"
        )
    return Finding(name="expiry", ok=True, text=text)


def _workers(backend: RedisBackend) -> Finding:
    """Workers whose lease is over, and whether somebody is there to take over what they held."""
    top = backend.keys.directory
    leases = backend.link.ask(top, "ZRANGE", f"{top}:alive", 0, -1, "WITHSCORES")
    now = backend.clock() * MS
    ends = {int(worker): float(end) for worker, end in zip(leases[::2], leases[1::2], strict=True)}
    gone = {worker for worker, end in ends.items() if end <= now}
    alive = len(ends) - len(gone)
    held = sum(1 for holder, *_ in backend.held() if holder not in ends or holder in gone)
    text = f"{alive} alive" + (f", {len(gone)} gone" if gone else "")
    if not held:
        return Finding(name="workers", ok=True, text=text)
    tasks = "1 task" if held == 1 else f"{held} tasks"
    text += f"; {tasks} held by workers that are gone"
    if alive:
        return Finding(name="workers", ok=True, text=f"{text}: others take over after one lease")
    return Finding(name="workers", ok=False, text=f"{text}: start a worker, it takes over")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
