"""Change: what one write transaction does to runs and nodes, collected and written in bulk.

Rows are read once, changed in memory and written at the end with one statement for many; SQLite spends
its time in b-trees then, not in crossings from Python. What becomes ready by it is counted in counting.py; here are
the runs, and the end: all is written, and whoever must be woken is named.
"""

from __future__ import annotations

from goflow.errors import UnknownRun
from goflow_local import rows
from goflow_local.counting import Counting
from goflow_local.memory import Memory
from goflow_local.rows import ENDS, RUN_COLUMNS, WORK, RunRow
from goflow_local.sql import Connection
from goflow_local.store import Store, now

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


class Change(Counting):
    """The working set of one transaction. Make it, change things, then `finish`."""

    def __init__(self, store: Store, connection: Connection, memory: Memory | None = None) -> None:
        super().__init__(connection, memory, now())
        self.store = store
        #: whether workers must look in any case, for a task to kill
        self.alarm = False
        self._seen: dict[int, int] = {}
        #: by definition, how many more runs have not ended than before
        self._underway: dict[int, int] = {}

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
