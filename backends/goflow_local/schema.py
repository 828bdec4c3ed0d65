"""The tables, and opening a file that holds them.

A run has an integer key, handed out once and never again. The id of everything that belongs to it is
`key << 32 | n`, n being the run's revision when it was made: ids need no lookup, never come back, and
all rows of a run lie side by side in every table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import apsw

from goflow.errors import BackendError

#: in the file's header: what it is, and the shape of its tables
APPLICATION: Final = 0x676F666C  # "gofl"
VERSION: Final = 5

#: older ones can corrupt a WAL database that several connections write
OLDEST_SQLITE: Final = (3, 51, 3)

#: seconds to wait for another process's transaction
PATIENCE: Final = 30.0

#: WAL pages between checkpoints: pages written again and again are synced once
CHECKPOINT: Final = 4000

TABLES: Final = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE, flow TEXT NOT NULL, fingerprint TEXT NOT NULL,
    definition INTEGER NOT NULL, digest TEXT NOT NULL, handlers INTEGER NOT NULL, timeout REAL,
    created REAL NOT NULL, state TEXT NOT NULL, ending TEXT, started REAL, finished REAL,
    deadline REAL, round INTEGER NOT NULL, owner INTEGER NOT NULL, revision INTEGER NOT NULL,
    result INTEGER, failure BLOB);
CREATE INDEX run_deadline ON run (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX run_ended ON run (state, finished) WHERE finished IS NOT NULL;
CREATE INDEX run_owner ON run (owner) WHERE owner > 0;
CREATE INDEX run_listed ON run (flow, state);

CREATE TABLE request (run INTEGER PRIMARY KEY, words BLOB NOT NULL, media, data BLOB NOT NULL);

CREATE TABLE node (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path TEXT NOT NULL, state INTEGER NOT NULL,
    expects INTEGER NOT NULL, arrived INTEGER NOT NULL, scope INTEGER, pos INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, round INTEGER NOT NULL,
    ran INTEGER NOT NULL DEFAULT 0, token INTEGER NOT NULL DEFAULT 0,
    worker INTEGER NOT NULL DEFAULT 0, doomed INTEGER NOT NULL DEFAULT 0,
    rescue INTEGER NOT NULL DEFAULT 0,
    ready REAL, queued REAL, started REAL, finished REAL, due REAL,
    width INTEGER, window INTEGER, items INTEGER, released INTEGER, done INTEGER, staged INTEGER,
    digest TEXT, failure BLOB);
CREATE UNIQUE INDEX node_path ON node (run, path);
CREATE INDEX node_held ON node (run) WHERE state = 2;
CREATE INDEX node_due ON node (due) WHERE state = 4;
CREATE INDEX node_broken ON node (run) WHERE state > 5;

CREATE TABLE arrival (
    node INTEGER, closing INTEGER, source TEXT, sender INTEGER, carries INTEGER NOT NULL, media,
    data BLOB, PRIMARY KEY (node, closing, source)) WITHOUT ROWID;
CREATE TABLE output (node INTEGER PRIMARY KEY, media, data BLOB NOT NULL);
CREATE TABLE opening (node INTEGER PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE item (
    node INTEGER, pos INTEGER, prefix TEXT NOT NULL, starts TEXT NOT NULL, media,
    data BLOB NOT NULL, PRIMARY KEY (node, pos)) WITHOUT ROWID;

CREATE TABLE queue (lane INTEGER, at INTEGER, node INTEGER, PRIMARY KEY (lane, at, node))
    WITHOUT ROWID;

CREATE TABLE context (
    run INTEGER, key TEXT, number INTEGER, media, data BLOB, first INTEGER NOT NULL,
    kept INTEGER NOT NULL, PRIMARY KEY (run, key, number)) WITHOUT ROWID;
CREATE TABLE access (
    run INTEGER, id INTEGER, path TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    token TEXT NOT NULL, closing INTEGER NOT NULL, handler INTEGER NOT NULL, at REAL NOT NULL,
    reads BLOB, writes BLOB, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE log (
    run INTEGER, id INTEGER, path TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    time REAL NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE attempt (
    run INTEGER, id INTEGER, path TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    state TEXT NOT NULL, started REAL NOT NULL, finished REAL NOT NULL, error TEXT,
    worker INTEGER NOT NULL, digest TEXT NOT NULL, queued REAL, token TEXT NOT NULL,
    PRIMARY KEY (run, id)) WITHOUT ROWID;

CREATE TABLE definition (
    id INTEGER PRIMARY KEY, flow TEXT NOT NULL, fingerprint TEXT NOT NULL, plan BLOB,
    file TEXT NOT NULL DEFAULT '', registered REAL NOT NULL DEFAULT 0, UNIQUE (flow, fingerprint));
CREATE TABLE worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, pid INTEGER NOT NULL,
    started REAL NOT NULL, concurrency INTEGER NOT NULL, flows BLOB NOT NULL, seen REAL NOT NULL,
    gone REAL);
CREATE TABLE listener (id INTEGER PRIMARY KEY AUTOINCREMENT, port INTEGER NOT NULL,
    topic INTEGER NOT NULL);
CREATE TABLE nonce (name TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX nonce_until ON nonce (until);
CREATE TABLE trash (run INTEGER PRIMARY KEY);
CREATE TABLE untold (
    run INTEGER, round INTEGER, state TEXT, started REAL, finished REAL, until REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (run, round)) WITHOUT ROWID;
CREATE TABLE figure (flow TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (flow, name)) WITHOUT ROWID;
CREATE TABLE underway (definition INTEGER PRIMARY KEY, runs INTEGER NOT NULL);
"""

#: how many runs of each definition have not ended, counted
COUNT_UNDERWAY: Final = (
    "SELECT definition, count(*) AS runs FROM run WHERE finished IS NULL GROUP BY definition"
)

#: what turns the tables of a version into those of the next, without touching what they hold
#: (3: `context` gets other columns, so that a process of an older goflow that has the file open fails over its
#: next value, and does not write one that nothing numbers)
UPGRADES: Final = {
    2: "CREATE INDEX run_listed ON run (flow, state); DROP INDEX run_active",
    3: """
ALTER TABLE context RENAME TO before;
CREATE TABLE context (
    run INTEGER, key TEXT, number INTEGER, media, data BLOB, first INTEGER NOT NULL,
    kept INTEGER NOT NULL, PRIMARY KEY (run, key, number)) WITHOUT ROWID;
CREATE TABLE access (
    run INTEGER, id INTEGER, path TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    token TEXT NOT NULL, closing INTEGER NOT NULL, handler INTEGER NOT NULL, at REAL NOT NULL,
    reads BLOB, writes BLOB, PRIMARY KEY (run, id)) WITHOUT ROWID;
INSERT INTO context SELECT run, key, 0, media, data, 0, 0 FROM before;
DROP TABLE before;
""",
    4: "CREATE TABLE underway (definition INTEGER PRIMARY KEY, runs INTEGER NOT NULL);"
    f" INSERT INTO underway {COUNT_UNDERWAY}",
}


def connect(path: str, sync: str) -> apsw.Connection:
    """The database in a file (":memory:" for none), made where there is none yet.

    Raises apsw errors, and BackendError where the file or the SQLite library is not for us.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST_SQLITE:
        raise BackendError(
            f"expected SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer, got"
            f" {apsw.sqlite_lib_version()}: older ones can corrupt a store that several processes"
            " use. Install a newer apsw (pip install -U apsw)"
        )
    connection = apsw.Connection(path, statementcachesize=200)
    connection.set_busy_handler(wait_a_little())
    # without this, binding a LIMIT has the statement planned again: 70 us each time
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # 4 MB: the ends of b-trees, where runs write; more of it made nothing faster, only processes larger
    connection.execute("PRAGMA cache_size = -4000; PRAGMA temp_store = memory")
    found = connection.pragma("user_version")
    if found != VERSION:
        _create(connection, path)
    connection.execute(f"PRAGMA synchronous = {sync}")
    connection.wal_autocheckpoint(CHECKPOINT)
    return connection


def _create(connection: apsw.Connection, path: str) -> None:
    """Make the tables, or bring older ones up to date, unless another process just did."""
    _check(connection, path)
    if connection.pragma("user_version") == 0:
        connection.execute("PRAGMA synchronous = off")  # an empty file has nothing to lose
    _use_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check(connection, path)
        version = connection.pragma("user_version")
        if version == 0:
            connection.execute(TABLES)
            connection.pragma("application_id", APPLICATION)
        while version in UPGRADES:
            connection.execute(UPGRADES[version])
            version += 1
        connection.pragma("user_version", VERSION)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _use_wal(connection: apsw.Connection) -> None:
    """Switch to WAL. SQLite does not ask the busy handler when two processes do so at once."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


def _check(connection: apsw.Connection, path: str) -> None:
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    empty = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    if version == 0 and application == 0 and empty:
        return
    if application != APPLICATION:
        raise BackendError(
            f"{path} is a SQLite database, but no goflow store: move it away, or set local.path"
        )
    if version != VERSION and version not in UPGRADES:
        newer = "a newer" if version > VERSION else "an older"
        raise BackendError(
            f"{path} was made by {newer} goflow (its tables have version {version}, expected"
            f" {VERSION}): use that goflow, or move the folder {os.path.dirname(path)} away"
        )


def wait_a_little() -> Callable[[int], bool]:
    """A busy handler that looks again soon: our transactions take some tenths of a millisecond."""
    began = 0.0

    def wait(calls: int) -> bool:
        nonlocal began
        now = time.monotonic()
        if calls == 0:
            began = now
        time.sleep(min(0.0001 * 1.5 ** min(calls, 10), 0.005))
        return now - began < PATIENCE

    return wait
