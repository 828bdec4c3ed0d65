"""What `goflow doctor` looks at in a local store, and what it repairs.

Repaired is only what no run needs any more and what the kernel says is dead; a damaged file is told and
left alone.
"""

# ruff: noqa: PTH202 (pathlib costs 5 ms at every start)

from __future__ import annotations

import os
from typing import Final

import apsw

from goflow.backend import Finding
from goflow_local.change import Change
from goflow_local.liveness import LISTENERS
from goflow_local.reaping import take_back
from goflow_local.retention import clear
from goflow_local.rows import READY
from goflow_local.schema import COUNT_UNDERWAY, VERSION
from goflow_local.sql import Connection
from goflow_local.store import Store

#: bytes that must be free on the disk before it is called short
ROOM: Final = 256 * 1024 * 1024

#: rows of the queue whose node is not ready, or is gone
_STRAY_ENTRIES: Final = f" FROM queue WHERE NOT EXISTS (SELECT 1 FROM node WHERE node.id = queue.node AND node.state = {READY})"
#: runs whose rows are there though they are not, nor are they being removed
_STRAY_RUNS: Final = (
    "SELECT DISTINCT run FROM (SELECT run FROM node UNION ALL SELECT run FROM request UNION ALL"
    " SELECT run FROM attempt UNION ALL SELECT run FROM log UNION ALL SELECT run FROM context"
    " UNION ALL SELECT run FROM access)"
    " WHERE run NOT IN (SELECT id FROM run) AND run NOT IN (SELECT run FROM trash)"
)
#: definitions for which another number of runs is kept than there are
_MISCOUNTED: Final = (
    "SELECT definition, sum(runs) AS off FROM (SELECT definition, runs FROM underway UNION ALL"
    f" SELECT definition, -runs FROM ({COUNT_UNDERWAY})) GROUP BY definition HAVING off <> 0"
)


def diagnose(store: Store, fix: bool) -> list[Finding]:
    """Every check, in the order people read them. Raises BackendError."""
    found = [_library(), *store.read(lambda connection: _file(store, connection))]
    if not all(finding.ok for finding in found):
        return [*found, *_disk(store)]  # a damaged file is not written to
    return [
        *found,
        _trash(store, fix),
        _orphans(store, fix),
        _queue(store, fix),
        _counts(store, fix),
        _workers(store, fix),
        _listeners(store, fix),
        *_disk(store),
    ]


def _library() -> Finding:
    # an older SQLite is refused when the store is opened
    text = f"SQLite {apsw.sqlite_lib_version()}, apsw {apsw.apsw_version()}"
    return Finding(name="SQLite", ok=True, text=text)


def _file(store: Store, connection: Connection) -> list[Finding]:
    """What the file says of itself."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (sync,) = connection.execute("PRAGMA synchronous").fetchone()
    damage = [text for (text,) in connection.execute("PRAGMA quick_check(5)") if text != "ok"]
    kept = {
        1: 'normal: survives any kill of processes; `[local] sync = "full"` a power cut too',
        2: "full: survives a power cut too",
    }.get(sync, str(sync))
    return [
        Finding(name="tables", ok=version == VERSION, text=f"version {version}"),
        Finding(
            name="integrity",
            ok=not damage,
            text=f"{store.path} is damaged ({'; '.join(damage)}): restore a backup, or move it away"
            if damage
            else "quick_check finds nothing wrong",
        ),
        Finding(name="sync", ok=True, text=kept),
    ]


def _trash(store: Store, fix: bool) -> Finding:
    """Runs that are past their retention and not removed whole yet. A worker removes them by itself."""
    name = "removed runs"
    left = store.read(lambda c: c.execute("SELECT run FROM trash").fetchall())
    if not left:
        return Finding(name=name, ok=True, text="nothing left of them")
    many = _many(len(left), "removed run has", "removed runs have")
    if not fix:
        text = f"{many} rows left: the next worker, or `goflow doctor --fix`, clears them"
        return Finding(name=name, ok=True, text=text)
    for (key,) in left:
        _clear(store, key)
    return Finding(name=name, ok=True, text=f"{many} been cleared", fixed=True)


def _orphans(store: Store, fix: bool) -> Finding:
    """Rows whose run is not there."""
    name = "orphans"
    runs = [key for (key,) in store.read(lambda c: c.execute(_STRAY_RUNS).fetchall())]
    if not runs:
        return Finding(name=name, ok=True, text="every row belongs to a run")
    many = _many(len(runs), "run that is gone has", "runs that are gone have")
    if not fix:
        return _untidy(name, f"{many} rows left: `goflow doctor --fix` removes them")

    def throw_away(connection: Connection) -> None:
        connection.executemany("INSERT OR IGNORE INTO trash VALUES (?)", [(key,) for key in runs])
        connection.executemany("DELETE FROM request WHERE run = ?", [(key,) for key in runs])

    store.write(throw_away)
    for key in runs:
        _clear(store, key)
    return Finding(name=name, ok=True, text=f"{many} been cleared", fixed=True)


def _queue(store: Store, fix: bool) -> Finding:
    """Entries of the queue that no worker could do anything with."""
    name = "queue"

    def look(connection: Connection) -> tuple[int, int]:
        (all_,) = connection.execute("SELECT count(*) FROM queue").fetchone()
        (stray,) = connection.execute(f"SELECT count(*){_STRAY_ENTRIES}").fetchone()
        return all_, stray

    waiting, stray = store.read(look)
    lost = store.read(_forgotten)
    problems = []
    if stray:
        problems.append(f"{_many(stray, 'entry', 'entries')} for nodes that are not ready")
    if lost:
        problems.append(f"{_many(len(lost), 'ready node', 'ready nodes')} missing from it")
    if not problems:
        return Finding(name=name, ok=True, text=f"{_many(waiting, 'task', 'tasks')} in it")
    told = " and ".join(problems)
    if not fix:
        return _untidy(name, f"{told}: `goflow doctor --fix` puts it right")

    def mend(connection: Connection) -> list[int]:
        connection.execute(f"DELETE{_STRAY_ENTRIES}")
        change = Change(store, connection)
        for node, key, path in _forgotten(connection):
            change.enqueue(change.run(key), node, path)
        return change.finish()

    store.ring(store.write(mend))
    return Finding(name=name, ok=True, text=f"{told}: put right", fixed=True)


def _forgotten(connection: Connection) -> list[tuple[int, int, str]]:
    """Ready nodes of runs on their way that stand in no queue: id, run, path."""
    found: list[tuple[int, int, str]] = connection.execute(
        "SELECT node.id, node.run, node.path FROM node JOIN run ON run.id = node.run"
        f" WHERE node.state = {READY} AND run.finished IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.node = node.id)"
    ).fetchall()
    return found


def _counts(store: Store, fix: bool) -> Finding:
    """The numbers of runs on their way. A process of an older goflow that has the file open does not keep them."""
    name = "counts"
    wrong = store.read(lambda c: c.execute(f"SELECT 1 FROM ({_MISCOUNTED}) LIMIT 1").fetchone())
    if not wrong:
        (going,) = store.read(lambda c: c.execute("SELECT total(runs) FROM underway").fetchone())
        text = f"{_many(int(going), 'run', 'runs')} on {'its' if going == 1 else 'their'} way"
        return Finding(name=name, ok=True, text=text)
    if not fix:
        return _untidy(
            name, "the runs on their way are miscounted: `goflow doctor --fix` counts them again"
        )
    store.write(lambda c: c.execute(f"DELETE FROM underway; INSERT INTO underway {COUNT_UNDERWAY}"))
    return Finding(name=name, ok=True, text="the runs on their way are counted again", fixed=True)


def _workers(store: Store, fix: bool) -> Finding:
    """Workers whose process has ended and that nobody has missed yet."""
    name = "workers"

    def look(connection: Connection) -> list[int]:
        found = connection.execute("SELECT id FROM worker WHERE gone IS NULL").fetchall()
        return [id for (id,) in found]

    known = store.read(look)
    dead = [id for id in known if not store.locks.alive(id)]
    if not dead:
        return Finding(
            name=name, ok=True, text=f"{_many(len(known), 'process', 'processes')} alive"
        )
    many = _many(len(dead), "process has", "processes have")
    if not fix:
        return _untidy(
            name,
            f"{many} ended without leaving: the next worker, or `goflow doctor --fix`, takes back what"
            " it held",
        )

    def take(connection: Connection) -> list[int]:
        change = Change(store, connection)
        for id in dead:
            take_back(change, id, dead=True)
        return change.finish()

    store.ring(store.write(take))
    text = f"{many} ended without leaving: what it held is taken back"
    return Finding(name=name, ok=True, text=text, fixed=True)


def _listeners(store: Store, fix: bool) -> Finding:
    """Sockets that are told of changes although nobody listens any more."""
    name = "listeners"
    known = store.read(lambda c: c.execute("SELECT id FROM listener").fetchall())
    dead = [(id,) for (id,) in known if not store.locks.alive(LISTENERS + id)]
    if not dead:
        return Finding(name=name, ok=True, text=f"{len(known)} alive")
    many = _many(len(dead), "listener that is", "listeners that are")
    if not fix:
        return _untidy(name, f"{many} gone: the next worker or `goflow doctor --fix` removes it")
    store.write(lambda c: c.executemany("DELETE FROM listener WHERE id = ?", dead))
    return Finding(name=name, ok=True, text=f"{many} gone: removed", fixed=True)


def _disk(store: Store) -> list[Finding]:
    if store.path == ":memory:":
        return []
    import shutil

    files = [store.path, f"{store.path}-wal"]
    size = sum(os.path.getsize(file) for file in files if os.path.exists(file))  # noqa: PTH110
    free = shutil.disk_usage(os.path.dirname(store.path)).free
    text = f"the store takes {_bytes(size)}, {_bytes(free)} are free"
    if free >= ROOM:
        return [Finding(name="disk", ok=True, text=text)]
    return [Finding(name="disk", ok=False, text=f"{text}: make room, or set local.path")]


def _clear(store: Store, key: int) -> None:
    while not store.write(lambda connection: clear(Change(store, connection), key)):
        pass  # in bites: others write between them


def _untidy(name: str, text: str) -> Finding:
    return Finding(name=name, ok=False, text=text)


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
