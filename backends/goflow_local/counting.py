"""What becomes ready in one write transaction: decided by counting, since the store knows no DAG.

A node is ready when as many have arrived as it expects; a branch closes when all its scopes have, and opens further
ones as its window lets through. Rows are read once, counted in memory and written with one statement for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from goflow.message import Arrival
from goflow_local.memory import Memory
from goflow_local.rows import OPEN, READY, WAITING, RunRow, code_of
from goflow_local.sql import Connection

#: scopes released in one bite; one that has no window may have a million
_BITE: Final = 1000

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


class Counting:
    """The nodes and tasks of one transaction's working set; see `Change`, which is one."""

    def __init__(self, connection: Connection, memory: Memory | None, now: float) -> None:
        self.connection = connection
        #: what may be believed without a look into the file, if anything may
        self.memory = memory
        self.execute = connection.execute
        self.now = now
        #: lanes that have got tasks, and how many of those were taken right away
        self.balance: dict[int, int] = {}
        self._runs: dict[int, RunRow] = {}
        self._spots: dict[tuple[int, str], Spot] = {}
        self._inbox: dict[tuple[int, str, bool], list[tuple[Any, ...]]] = {}
        self._starts: list[tuple[Any, ...]] = []
        self._queue: list[tuple[int, int, int]] = []

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
        if not (self._inbox or self._spots or self._starts):
            return  # as three times of four
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

    def enqueue(self, run: RunRow, node: int, path: str) -> None:
        """Queue a node that is ready; where nobody may claim it now, until somebody may."""
        self.enqueue_in(run.lane_for(path), node)

    def enqueue_in(self, lane: int, node: int) -> None:
        """Queue a node in this lane."""
        self._queue.append((lane, int(self.now * 1_000_000), node))
        self.balance[lane] = self.balance.get(lane, 0) + 1

    def write_queue(self) -> None:
        """Write what this transaction has queued, before anybody reads the queue."""
        self.settle_nodes()
        if self._queue:
            self.connection.executemany(_ENQUEUE, self._queue)
            self._queue.clear()

    def hand_over(
        self, lanes: Sequence[int], limit: int
    ) -> tuple[list[tuple[int, int, int]], bool]:
        """Some of what this transaction has queued in lanes that are empty but for that: whoever
        claims in the same transaction can have it without a detour over the table. And whether that was all: a
        chain's step need not look into the table then."""
        self.settle_nodes()
        if not self._queue or any(self.execute(_QUEUED, (lane,)).fetchone() for lane in lanes):
            return [], False
        first: list[tuple[int, int, int]] = []
        rest: list[tuple[int, int, int]] = []
        for entry in self._queue:
            (first if entry[0] in lanes and len(first) < limit else rest).append(entry)
        self._queue = rest
        return first, len(first) < limit

    def _write_starts(self) -> None:
        if self._starts:
            self.connection.executemany(_ADD_START, self._starts)
            self._starts.clear()
