"""Ended runs whose traces are to be told, and the figures that are counted as runs end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from goflow.figures import Figures, Name, place
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.rows import RunRow
from goflow_local.sql import Connection
from goflow_local.store import now

if TYPE_CHECKING:
    from goflow.untold import Ended

_COUNT = (
    "INSERT INTO figure VALUES (?, ?, ?) ON CONFLICT (flow, name)"
    " DO UPDATE SET value = value + excluded.value"
)
_BEGUN = "INSERT OR IGNORE INTO untold (run, round, started) VALUES (?, ?, ?)"
_ENDED = "UPDATE untold SET state = ?, finished = ? WHERE run = ? AND round = ?"


def to_be_told(change: Change, run: RunRow, started: float | None = None) -> None:
    """This round is to be told once it has ended."""
    change.execute(_BEGUN, (run.key, run.round, started))


def ended(change: Change, run: RunRow) -> None:
    """A run is terminal: count it, and have it told where traces are on."""
    took = max(0, int((change.now - run.created) * 1000))
    numbers = ((f"runs:{run.state}", 1), (f"run:{place(took)}", 1), ("run:ms", took))
    add(change.connection, (((run.flow, name), number) for name, number in numbers))
    if change.store.traced:
        to_be_told(change, run)
    change.execute(_ENDED, (run.state, change.now, run.key, run.round))


def untold(connection: Connection, limit: int, lease: float) -> list[Ended]:
    """The oldest that nobody is telling, leased."""
    from goflow.untold import Ended

    at = now()
    found = connection.execute(
        "SELECT run, untold.round, untold.state, untold.started, untold.finished, name FROM untold"
        " JOIN run ON run.id = untold.run WHERE untold.finished IS NOT NULL AND until <= ?"
        " ORDER BY untold.finished LIMIT ?",
        (at, limit),
    ).fetchall()
    given = [
        Ended(
            run_id=name,
            round=round,
            state=RunState(state),
            started=started,
            finished=finished,
            key=str(run),
        )
        for run, round, state, started, finished, name in found
    ]
    telling(connection, given, lease)
    return given


def any_untold(connection: Connection) -> bool:
    """Whether there may be something to tell; a look, which writes nothing."""
    query = "SELECT 1 FROM untold WHERE finished IS NOT NULL AND until <= ? LIMIT 1"
    return connection.execute(query, (now(),)).fetchone() is not None


def telling(connection: Connection, given: Sequence[Ended], lease: float) -> None:
    """Nobody else gets these for a while."""
    until = now() + lease
    query = "UPDATE untold SET until = ? WHERE run = ? AND round = ?"
    connection.executemany(query, [(until, int(each.key), each.round) for each in given])


def told(connection: Connection, given: Sequence[Ended]) -> None:
    """They are told."""
    query = "DELETE FROM untold WHERE run = ? AND round = ?"
    connection.executemany(query, [(int(each.key), each.round) for each in given])


def count(connection: Connection, numbers: Mapping[Name, int]) -> None:
    """Add what a worker has counted."""
    add(connection, numbers.items())


def add(connection: Connection, numbers: Iterable[tuple[Name, int]]) -> None:
    """Add to figures."""
    connection.executemany(_COUNT, [(*name, number) for name, number in numbers])


def figures(connection: Connection) -> Figures:
    """Everything that was counted; the rest is read off indexes."""
    counted = connection.execute("SELECT flow, name, value FROM figure")
    numbers = {(flow, name): value for flow, name, value in counted.fetchall()}
    active = connection.execute(
        "SELECT flow, sum(runs) FROM underway JOIN definition ON id = definition WHERE runs > 0 GROUP BY flow"
    )
    oldest: dict[str, float] = {}
    lanes = connection.execute("SELECT id, flow FROM definition").fetchall()
    for lane, flow in lanes:
        query = "SELECT at FROM queue WHERE lane = ? LIMIT 1"
        for (at,) in connection.execute(query, (lane,)):
            oldest[flow] = min(oldest.get(flow, at / 1e6), at / 1e6)
    return Figures(
        numbers=numbers,
        active=dict(active.fetchall()),
        oldest=oldest,
    )
