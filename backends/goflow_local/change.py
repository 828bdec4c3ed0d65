"""Change: what one write transaction does to runs and nodes, collected and written in bulk.

Rows are read once, changed in memory and written at the end with one statement for many; SQLite spends
its time in b-trees then, not in crossings from Python. Counting happens here too: a node becomes ready
when as many have arrived as it expects, a branch closes when all its scopes have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from goflow.errors import UnknownRun
from goflow.message import Arrival
from goflow_local import rows
from goflow_local.memory import Memory
from goflow_local.rows import ENDS, OPEN, READY, RUN_COLUMNS, WAITING, WORK, RunRow, code_of
from goflow_local.sql import Connection
from goflow_local.store import Store, now

#: scopes released in one bite; one that has no window may have a million
_BITE: Final = 1000

_READ_RUN = f"SELECT {RUN_COLUMNS} FROM run WHERE id = ?"
_READ_NAME = f"SELECT {RUN_COLUMNS} FROM run WHERE name = ?"
_ALTER_RUN = (
    "UPDATE run SET flow = ?, fingerprint = ?, definition = ?, state = ?, ending = ?, started = ?,"
    " finished = ?, deadline = ?, round = ?, owner = ?, revision = ?, result = ?, failure = ?"
    " WHERE id = ?"
)
#: counted when asked for, a backlog of 667,000 runs took 120 ms
_UNDERWAY = "INSERT INTO underway VALUES (?, ?) ON CONFLICT (definition) DO UPDATE SET runs = runs + excluded.runs"
_TOUCH_RUN = "UPDATE run SET revision = ? WHERE id = ?"
_READ_SPOT = (
    "SELECT id, path, state, expects, arrived, width, window, items, released, done, ready"
    " FROM node WHERE run = ? AND path = ?"
)
_ADD_SPOT = (
    "INSERT INTO node (id, run, path, state, expects, arrived, round, ready)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ALTER_SPOT = (
    "UPDATE node SET state = ?, arrived = ?, released = ?, done = ?, ready = ? WHERE id = ?"
)
_ADD_START = (
    "INSERT INTO node (id, run, path, state, expects, arrived, scope, pos, round, ready)"
    " VALUES (?, ?, ?, 1, 1, 1, ?, ?, ?, ?)"
)
_ADD_ARRIVAL = "INSERT OR IGNORE INTO arrival VALUES (?, ?, ?, ?, ?, ?, ?)"
_ENQUEUE = "INSERT OR IGNORE INTO queue VALUES (?, ?, ?)"
_QUEUED = "SELECT 1 FROM queue WHERE lane = ? LIMIT 1"
_READ_ITEMS = (
    "SELECT pos, prefix, starts FROM item WHERE node = ? AND pos >= ? ORDER BY pos LIMIT ?"
)


class Spot(msgspec.Struct, gc=False):
    """A node row as far as arrivals and scopes change it."""

    id: int
    path: str
    state: int
    expects: int
    arrived: int
    width: int | None = None
    window: int | None = None
    items: int | None = None
    released: int | None = None
    done: int | None = None
    ready: float | None = None
    fresh: bool = False


class Change:
    """The working set of one transaction. Make it, change things, then `finish`."""

    def __init__(self, store: Store, connection: Connection, memory: Memory | None = None) -> None:
        self.store = store
        self.connection = connection
        #: what may be believed without a look into the file, if anything may
        self.memory = memory
        self.execute = connection.execute
        self.now = now()
        #: lanes that have got tasks, and how many of those were taken right away
        self.balance: dict[int, int] = {}
        #: whether workers must look in any case, for a task to kill
        self.alarm = False
        self._runs: dict[int, RunRow] = {}
        self._seen: dict[int, int] = {}
        #: by definition, how many more runs have not ended than before
        self._underway: dict[int, int] = {}
        self._spots: dict[tuple[int, str], Spot] = {}
        self._inbox: dict[tuple[int, str, bool], list[tuple[Any, ...]]] = {}
        self._starts: list[tuple[Any, ...]] = []
        self._queue: list[tuple[int, int, int]] = []

    # -- runs -------------------------------------------------------------------------------------

    def run(self, key: int) -> RunRow:
        """The run with this key, to be changed in place."""
        run = self._runs.get(key)
        if run is None:
            run = None if self.memory is None else self.memory.runs.get(key)
            run = self._keep(run or rows.row_of(self.execute(_READ_RUN, (key,)).fetchone()))
        return run

    def owned(self, run_id: str, worker: int) -> int | None:
        """The key of the run with this id, if this worker owns it."""
        for run in self._runs.values():
            if run.id == run_id:
                return run.key if run.owner == worker else None
        return owned(self.connection, run_id, worker)

    def find(self, run_id: str) -> RunRow | None:
        """The run with this id, if there is one."""
        found = self.execute(_READ_NAME, (run_id,)).fetchone()
        if found is None:
            return None
        return self._runs.get(found[0]) or self._keep(rows.row_of(found))

    def named(self, run_id: str) -> RunRow:
        """The run with this id. Raises UnknownRun."""
        run = self.find(run_id)
        if run is None:
            raise unknown_run(self.connection, run_id)
        return run

    def _keep(self, run: RunRow) -> RunRow:
        self._runs[run.key] = run
        self._seen[run.key] = run.revision
        return run

    def add_run(self, run: RunRow) -> None:
        """A run that was inserted in this transaction."""
        self._runs[run.key] = run
        self._seen[run.key] = -1
        self.count_run(run, 1)

    def count_run(self, run: RunRow, number: int) -> None:
        """So many more runs of this one's definition have not ended: whoever begins, ends or adopts one says so."""
        self._underway[run.definition] = self._underway.get(run.definition, 0) + number

    # -- nodes ------------------------------------------------------------------------------------

    def arrive(self, run: RunRow, sender: int, arrival: Arrival) -> None:
        """A datum for a node. `sender` is the node whose output it is where it brings no own payload."""
        payload = arrival.payload
        media, data = (
            (None, None) if payload is None else (code_of(payload.media_type), payload.data)
        )
        where = (run.key, arrival.target, arrival.closing)
        row = (
            arrival.closing,
            arrival.source,
            sender,
            arrival.carries,
            media,
            data,
            arrival.expects,
        )
        box = self._inbox.get(where)
        if box is None:
            self._inbox[where] = [row]
        else:
            box.append(row)

    def spot(self, run: RunRow, path: str, expects: int) -> Spot | None:
        """The node at a path. One that is expected to get something (`expects` > 0) is made."""
        at = (run.key, path)
        spot = self._spots.get(at)
        if spot is None and self.memory is not None and at in self.memory.open:
            spot = self._spots[at] = self.memory.open[at]
        if spot is None:
            found = self.execute(_READ_SPOT, at).fetchone()
            if found is not None:
                spot = Spot(*found)
            elif expects:
                spot = Spot(run.new_id(), path, WAITING, expects, 0, fresh=True)
            else:
                return None
            self._spots[at] = spot
        return spot

    def start(self, run: RunRow, path: str, scope: int, pos: int) -> None:
        """A node that starts a scope: ready, its input is the scope's item (0: the run's payload)."""
        node = run.new_id()
        self._starts.append((node, run.key, path, scope, pos, run.round, self.now))
        self.enqueue(run, node, path)

    def enqueue(self, run: RunRow, node: int, path: str) -> None:
        """Queue a node that is ready; where nobody may claim it now, until somebody may."""
        self.enqueue_in(run.lane_for(path), node)

    def enqueue_in(self, lane: int, node: int) -> None:
        """Queue a node in this lane."""
        self._queue.append((lane, int(self.now * 1_000_000), node))
        self.balance[lane] = self.balance.get(lane, 0) + 1

    def release(self, run: RunRow, spot: Spot) -> None:
        """Start as many further scopes of an open branch as its window lets through."""
        released, items, done = spot.released or 0, spot.items or 0, spot.done or 0
        room = items - released
        if spot.window:
            room = min(room, spot.window - (released - done))
        while room > 0:
            bite = self.execute(_READ_ITEMS, (spot.id, released, min(room, _BITE))).fetchall()
            if not bite:
                break
            for pos, prefix, starts in bite:
                for name in starts.split("/"):
                    self.start(run, prefix + name, spot.id, pos)
            released += len(bite)
            room -= len(bite)
            if len(bite) == _BITE:
                self._write_starts()
                self.connection.executemany(_ENQUEUE, self._queue)
                self._queue.clear()
        spot.released = released

    def settle_nodes(self) -> None:
        """Count and write everything that has arrived; what is complete is queued."""
        connection = self.connection
        for (key, path, closing), box in self._inbox.items():
            run = self._runs[key]
            spot = self.spot(run, path, 0 if closing else box[0][6])
            if spot is None:
                continue  # a closing arrival for a branch that a rewind has removed
            if not closing and spot.expects != box[0][6]:
                self._expect(spot, box[0][6])
            before = connection.total_changes()
            connection.executemany(_ADD_ARRIVAL, [(spot.id, *row[:6]) for row in box])
            self._count(run, spot, closing, connection.total_changes() - before)
        self._inbox.clear()
        added, altered = [], []
        for (key, path), spot in self._spots.items():
            if spot.fresh:
                at, round = spot.ready, self._runs[key].round
                added.append(
                    (spot.id, key, path, spot.state, spot.expects, spot.arrived, round, at)
                )
            else:
                altered.append(
                    (spot.state, spot.arrived, spot.released, spot.done, spot.ready, spot.id)
                )
            if self.memory is not None:
                spot.fresh = False
                self.memory.keep_spot(key, spot)
        self._spots.clear()
        if added:
            connection.executemany(_ADD_SPOT, added)
        if altered:
            connection.executemany(_ALTER_SPOT, altered)
        self._write_starts()

    def _expect(self, spot: Spot, expects: int) -> None:
        """Another definition has given the node more or fewer edges."""
        spot.expects = expects
        self.execute("UPDATE node SET expects = ? WHERE id = ?", (expects, spot.id))

    def _count(self, run: RunRow, spot: Spot, closing: bool, new: int) -> None:
        """What `new` arrivals make of a node."""
        if closing:
            spot.done = (spot.done or 0) + new
            self.check_closing(run, spot)
            return
        spot.arrived += new
        if spot.state == WAITING and spot.arrived >= spot.expects:
            self.make_ready(run, spot)

    def check_closing(self, run: RunRow, spot: Spot) -> None:
        """Close a branch whose scopes have all arrived, else release further ones."""
        if spot.state != OPEN or spot.width is None:
            return
        if (spot.done or 0) >= spot.width:
            self.make_ready(run, spot)
        else:
            self.release(run, spot)

    def make_ready(self, run: RunRow, spot: Spot) -> None:
        spot.state = READY
        spot.ready = spot.ready or self.now
        self.enqueue(run, spot.id, spot.path)

    def _write_starts(self) -> None:
        if self._starts:
            self.connection.executemany(_ADD_START, self._starts)
            self._starts.clear()

    def write_queue(self) -> None:
        """Write what this transaction has queued, before anybody reads the queue."""
        self.settle_nodes()
        if self._queue:
            self.connection.executemany(_ENQUEUE, self._queue)
            self._queue.clear()

    def hand_over(self, lanes: Sequence[int], limit: int) -> list[tuple[int, int, int]]:
        """Some of what this transaction has queued in lanes that are empty but for that: whoever
        claims in the same transaction can have it without a detour over the table."""
        self.settle_nodes()
        if not self._queue or any(self.execute(_QUEUED, (lane,)).fetchone() for lane in lanes):
            return []
        first: list[tuple[int, int, int]] = []
        rest: list[tuple[int, int, int]] = []
        for entry in self._queue:
            (first if entry[0] in lanes and len(first) < limit else rest).append(entry)
        self._queue = rest
        return first

    # -- the end ----------------------------------------------------------------------------------

    def finish(self) -> list[int]:
        """Write what is left; the ports of all that must be woken after the commit."""
        self.write_queue()
        touched, altered = [], []
        topics = set()
        for key, run in self._runs.items():
            if run.altered:
                altered.append(
                    (
                        run.flow, run.fingerprint, run.definition, run.state, run.ending,
                        run.started, run.finished, run.deadline, run.round, run.owner,
                        run.revision, run.result, run.failure, key,
                    )
                )  # fmt: skip
            elif run.revision != self._seen[key]:
                touched.append((run.revision, key))
            else:
                continue
            topics.add(key)
            if run.finished == self.now:
                topics.add(ENDS)
            if self.memory is not None:
                self.memory.keep_run(run)
        if touched:
            self.connection.executemany(_TOUCH_RUN, touched)
        if altered:
            self.connection.executemany(_ALTER_RUN, altered)
        if self._underway:
            self.connection.executemany(_UNDERWAY, self._underway.items())
        if self.alarm or any(n > 0 and claimable(lane) for lane, n in self.balance.items()):
            topics.add(WORK)
        return self._ports(topics) if topics else []

    def _ports(self, topics: set[int]) -> list[int]:
        """The ports of those who listen for any of these topics."""
        memory = self.memory or Memory()
        if memory.listeners is None:
            memory.listeners = listeners(self.connection)
        found = memory.listeners
        return [port for port, topic in found if topic in topics]


def claimable(lane: int) -> bool:
    """Whether anybody claims from a lane: not if it is one where tasks are parked (see RunRow)."""
    return lane > 0 or lane % 2 == 0


def owned(connection: Connection, run_id: str, worker: int) -> int | None:
    """The key of the run with this id, if this worker owns it."""
    query = "SELECT id FROM run WHERE name = ? AND owner = ?"
    found: tuple[int] | None = connection.execute(query, (run_id, worker)).fetchone()
    return None if found is None else found[0]


def listeners(connection: Connection) -> list[tuple[int, int]]:
    """The port and the topic of all who listen."""
    return connection.execute("SELECT port, topic FROM listener").fetchall()


def unknown_run(connection: Connection, run_id: str) -> UnknownRun:
    """The error for an id that no run has, with the nearest of the newest ids."""
    found = connection.execute("SELECT name FROM run ORDER BY id DESC LIMIT 1000").fetchall()
    return UnknownRun(run_id, [name for (name,) in found])
